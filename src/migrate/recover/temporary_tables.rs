//! Which statements create a script's temporary tables again.
//!
//! A temporary table ends with its session. It can be created again only if its rows come from literals in the script;
//! anything else that may have changed it makes it unrepeatable, until the script drops it.

use crate::migrate::classify::{Ddl, DdlKind, ObjectName, StatementKind, depends_on_state, names};
use crate::migrate::sql::{TokenKind, tokens};

#[derive(Debug)]
struct TemporaryTable {
    name: ObjectName,
    /// The numbers and texts of the statements that create it again.
    steps: Vec<(u64, String)>,
    /// Number of the first statement that made it unrepeatable.
    unrepeatable: Option<u64>,
}

/// The temporary tables that exist, in the order in which they were created.
#[derive(Debug, Default)]
pub struct TemporaryTables(Vec<TemporaryTable>);

/// Statements that begin with these words change only their target. A temporary table that is not the target stays
/// unchanged.
const READING_VERBS: [&str; 10] =
    ["SELECT", "INSERT", "REPLACE", "DO", "CREATE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "SET"];

impl TemporaryTables {
    /// Adds statement `k`, which ran before.
    pub fn add(&mut self, k: u64, text: &str, kind: &StatementKind) {
        match kind {
            StatementKind::TemporaryTable { dropped: false, names } => {
                let unrepeatable = depends_on_state(text).then_some(k);
                let create = |name: &ObjectName| {
                    let steps = vec![(k, text.to_owned())];
                    TemporaryTable { name: name.clone(), steps, unrepeatable }
                };
                self.0.extend(names.iter().map(create));
            }
            StatementKind::TemporaryTable { names, .. } => {
                self.0.retain(|table| !names.iter().any(|name| same(name, &table.name)));
            }
            StatementKind::Ddl(Ddl { kind: DdlKind::Drop, objects, .. }) => {
                self.0.retain(|table| !objects.iter().any(|object| same(&object.name, &table.name)));
            }
            // The statement may change any of the temporary tables.
            StatementKind::Unclassified => self.0.iter_mut().for_each(|table| table.mark(k)),
            _ => self.add_use(k, text, kind),
        }
    }

    /// Adds a statement that may read or change one of the tables.
    fn add_use(&mut self, k: u64, text: &str, kind: &StatementKind) {
        let Some(table) = self.0.iter_mut().find(|table| names(text, &table.name.name)) else { return };
        let is_target = match kind {
            StatementKind::Dml { target: Some(target) } => same(target, &table.name),
            StatementKind::Ddl(Ddl { kind: DdlKind::Alter, objects, .. }) => {
                objects.iter().any(|object| same(&object.name, &table.name))
            }
            StatementKind::Idempotent => true,
            _ => false,
        };
        if is_target {
            if depends_on_state(text) {
                table.mark(k);
            }
            table.steps.push((k, text.to_owned()));
            return;
        }
        let verb = tokens(text).find(|token| token.kind == TokenKind::Word).map(|token| token.upper());
        if !verb.is_some_and(|verb| READING_VERBS.contains(&verb.as_str())) {
            self.0.iter_mut().filter(|table| names(text, &table.name.name)).for_each(|table| table.mark(k));
        }
    }

    /// Returns the number of the first statement that made one of the existing tables unrepeatable.
    pub fn first_unrepeatable(&self) -> Option<u64> {
        self.0.iter().filter_map(|table| table.unrepeatable).min()
    }

    /// Returns the statements that create the tables again, in no particular order.
    pub fn into_steps(self) -> impl Iterator<Item = (u64, String)> {
        self.0.into_iter().flat_map(|table| table.steps)
    }
}

impl TemporaryTable {
    fn mark(&mut self, k: u64) {
        self.unrepeatable = self.unrepeatable.or(Some(k));
    }
}

/// Names may be given with or without their database, and on some servers their case doesn't matter.
fn same(a: &ObjectName, b: &ObjectName) -> bool {
    a.name.eq_ignore_ascii_case(&b.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::classify;

    fn first_unrepeatable(statements: &[&str]) -> Option<u64> {
        let mut tables = TemporaryTables::default();
        for (k, text) in (1..).zip(statements) {
            tables.add(k, text, &classify(text));
        }
        tables.first_unrepeatable()
    }

    #[test]
    fn only_rows_from_the_script_itself_are_repeatable() {
        const CREATE: &str = "CREATE TEMPORARY TABLE tmp (a INT)";
        for (statements, expected) in [
            (&[CREATE, "INSERT INTO tmp VALUES (1)", "UPDATE tmp SET a = 2", "ALTER TABLE tmp ADD b INT"][..], None),
            (&[CREATE, "INSERT INTO t SELECT a FROM tmp", "SELECT * FROM tmp"], None),
            (&[CREATE, "INSERT INTO tmp SELECT a FROM t"], Some(2)),
            (&[CREATE, "INSERT INTO tmp SELECT a FROM t", "DROP TEMPORARY TABLE tmp"], None),
            (&[CREATE, "INSERT INTO tmp SELECT a FROM t", "DROP TABLE IF EXISTS tmp"], None),
            (&[CREATE, "INSERT INTO tmp VALUES (@a)"], Some(2)),
            (&[CREATE, "INSERT INTO tmp VALUES (UNIX_TIMESTAMP())"], Some(2)),
            (&["CREATE TEMPORARY TABLE tmp AS SELECT 1 FROM t"], Some(1)),
            (&[CREATE, "UPDATE t JOIN tmp ON t.a = tmp.a SET tmp.a = t.b"], Some(2)),
            (&[CREATE, "LOAD DATA INFILE 'x' INTO TABLE tmp"], Some(2)),
            (&[CREATE, "CALL p()"], Some(2)),
            (&["CALL p()", CREATE], None),
        ] {
            assert_eq!(first_unrepeatable(statements), expected, "{statements:?}");
        }
    }
}
