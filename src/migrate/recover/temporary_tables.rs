//! Which statements create a script's temporary tables again.
//!
//! A temporary table ends with its session. It can be created again only if its rows come from literals in the script;
//! anything else that may have changed it makes it unrepeatable, until the script drops it.

use crate::migrate::classify::{Ddl, DdlKind, ObjectName, StatementKind, depends_on_state};
use crate::migrate::sql::{TokenKind, tokens};

#[derive(Debug)]
struct TemporaryTable {
    name: ObjectName,
    /// Number of the first statement that made it unrepeatable.
    unrepeatable: Option<u64>,
}

/// The temporary tables that exist, in the order in which they were created.
#[derive(Debug, Default)]
pub struct TemporaryTables(Vec<TemporaryTable>);

/// The action of a resumed session for a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplayAction {
    /// Run it for this table.
    Run(ObjectName),
    /// Don't run the statements of these tables, which were dropped.
    Forget(Vec<ObjectName>),
    Nothing,
}

/// Statements that begin with these words change only their target. A temporary table that is not the target stays
/// unchanged.
const READING_VERBS: [&str; 10] =
    ["SELECT", "INSERT", "REPLACE", "DO", "CREATE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "SET"];

impl TemporaryTables {
    /// Adds statement `k`, which ran before.
    pub fn add(&mut self, k: u64, text: &str, kind: &StatementKind) -> ReplayAction {
        match kind {
            StatementKind::TemporaryTable { dropped: false, names } => {
                let Some(name) = names.first() else { return ReplayAction::Nothing };
                let unrepeatable = depends_on_state(text).then_some(k);
                self.0.push(TemporaryTable { name: name.clone(), unrepeatable });
                return ReplayAction::Run(name.clone());
            }
            StatementKind::TemporaryTable { names, .. } => return self.forget(names),
            _ if self.0.is_empty() => return ReplayAction::Nothing,
            StatementKind::Ddl(Ddl { kind: DdlKind::Drop, objects, .. }) => {
                let names: Vec<ObjectName> = objects.iter().map(|object| object.name.clone()).collect();
                return self.forget(&names);
            }
            // The statement may change any of the temporary tables.
            StatementKind::Unclassified => {
                self.0.iter_mut().for_each(|table| table.mark(k));
                return ReplayAction::Nothing;
            }
            _ => {}
        }
        let Some(table) = self.0.iter_mut().find(|table| mentions(text, &table.name)) else {
            return ReplayAction::Nothing;
        };
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
            return ReplayAction::Run(table.name.clone());
        }
        let verb = tokens(text).find(|token| token.kind == TokenKind::Word).map(|token| token.upper());
        if !verb.is_some_and(|verb| READING_VERBS.contains(&verb.as_str())) {
            self.0.iter_mut().filter(|table| mentions(text, &table.name)).for_each(|table| table.mark(k));
        }
        ReplayAction::Nothing
    }

    /// Number of the first statement that made one of the existing tables unrepeatable.
    pub fn first_unrepeatable(&self) -> Option<u64> {
        self.0.iter().filter_map(|table| table.unrepeatable).min()
    }

    fn forget(&mut self, names: &[ObjectName]) -> ReplayAction {
        let dropped = self.0.extract_if(.., |table| names.iter().any(|name| same(name, &table.name)));
        ReplayAction::Forget(dropped.map(|table| table.name).collect())
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

fn mentions(text: &str, name: &ObjectName) -> bool {
    tokens(text).filter_map(|token| token.name()).any(|found| found.eq_ignore_ascii_case(&name.name))
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
