//! The temporary tables of a script, which go with its session: what makes them again for a resumed one.
//!
//! That is certain only for a table whose rows come from the script's own literals. Whatever else may have filled or
//! changed one makes it lost, until the script drops it.

use crate::migrate::classify::{Ddl, DdlKind, ObjectName, StatementKind, depends_on_state};
use crate::migrate::sql::{TokenKind, tokens};

/// A temporary table that is there.
#[derive(Debug)]
struct Temporary {
    name: ObjectName,
    /// The first statement that made it what can't be repeated.
    lost: Option<u64>,
}

/// Those that are there, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Temporaries(Vec<Temporary>);

/// What the resumed session has to do with a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplayAction {
    /// Run it, as a step that belongs to this table.
    Step(ObjectName),
    /// Forget the steps of these tables.
    Forget(Vec<ObjectName>),
    /// Nothing.
    Nothing,
}

impl Temporaries {
    /// Takes note of statement `k`, which has run before.
    pub fn pass(&mut self, k: u64, text: &str, kind: &StatementKind) -> ReplayAction {
        match kind {
            StatementKind::TemporaryTable { dropped: false, names } => {
                let Some(name) = names.first() else { return ReplayAction::Nothing };
                let lost = depends_on_state(text).then_some(k);
                self.0.push(Temporary { name: name.clone(), lost });
                return ReplayAction::Step(name.clone());
            }
            StatementKind::TemporaryTable { names, .. } => return self.forget(names.clone()),
            _ if self.0.is_empty() => return ReplayAction::Nothing,
            StatementKind::Ddl(Ddl { kind: DdlKind::Drop, objects, .. }) => {
                return self.forget(objects.iter().map(|object| object.name.clone()).collect());
            }
            // It may do anything to any of them.
            StatementKind::Unclassified => {
                self.0.iter_mut().for_each(|table| table.lose(k));
                return ReplayAction::Nothing;
            }
            _ => {}
        }
        let Some(table) = self.0.iter_mut().find(|table| mentions(text, &table.name)) else {
            return ReplayAction::Nothing;
        };
        let own = match kind {
            StatementKind::Dml { target: Some(target) } => same(target, &table.name),
            StatementKind::Ddl(definition) if definition.kind == DdlKind::Alter => {
                definition.objects.iter().any(|object| same(&object.name, &table.name))
            }
            StatementKind::Idempotent => true,
            _ => false,
        };
        if own {
            if depends_on_state(text) {
                table.lose(k);
            }
            return ReplayAction::Step(table.name.clone());
        }
        let first = tokens(text).find(|token| token.kind == TokenKind::Word).map(|token| token.upper());
        // These change nothing but their target, which is another table.
        let reads = ["SELECT", "INSERT", "REPLACE", "DO", "CREATE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "SET"];
        if !first.is_some_and(|first| reads.contains(&first.as_str())) {
            for table in self.0.iter_mut().filter(|table| mentions(text, &table.name)) {
                table.lose(k);
            }
        }
        ReplayAction::Nothing
    }

    /// The first statement after which a table that is still there can't be made again for certain.
    pub fn lost(&self) -> Option<u64> {
        self.0.iter().filter_map(|table| table.lost).min()
    }

    fn forget(&mut self, names: Vec<ObjectName>) -> ReplayAction {
        let gone = |table: &Temporary| names.iter().any(|name| same(name, &table.name));
        let names = self.0.iter().filter(|table| gone(table)).map(|table| table.name.clone()).collect();
        self.0.retain(|table| !gone(table));
        ReplayAction::Forget(names)
    }
}

impl Temporary {
    fn lose(&mut self, k: u64) {
        self.lost = self.lost.or(Some(k));
    }
}

/// Names may come with their database or without, and on some servers their case doesn't matter.
pub fn same(a: &ObjectName, b: &ObjectName) -> bool {
    a.name.eq_ignore_ascii_case(&b.name)
}

fn mentions(text: &str, name: &ObjectName) -> bool {
    tokens(text).filter_map(|token| token.name()).any(|found| found.eq_ignore_ascii_case(&name.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::classify;

    fn lost(statements: &[&str]) -> Option<u64> {
        let mut temporaries = Temporaries::default();
        for (k, text) in (1..).zip(statements) {
            temporaries.pass(k, text, &classify(text));
        }
        temporaries.lost()
    }

    #[test]
    fn only_what_comes_from_the_script_itself_can_be_made_again() {
        const MADE: &str = "CREATE TEMPORARY TABLE tmp (a INT)";
        for (statements, expected) in [
            (&[MADE, "INSERT INTO tmp VALUES (1)", "UPDATE tmp SET a = 2", "ALTER TABLE tmp ADD b INT"][..], None),
            (&[MADE, "INSERT INTO t SELECT a FROM tmp", "SELECT * FROM tmp"], None),
            (&[MADE, "INSERT INTO tmp SELECT a FROM t"], Some(2)),
            (&[MADE, "INSERT INTO tmp SELECT a FROM t", "DROP TEMPORARY TABLE tmp"], None),
            (&[MADE, "INSERT INTO tmp SELECT a FROM t", "DROP TABLE IF EXISTS tmp"], None),
            (&[MADE, "INSERT INTO tmp VALUES (@a)"], Some(2)),
            (&[MADE, "INSERT INTO tmp VALUES (UNIX_TIMESTAMP())"], Some(2)),
            (&["CREATE TEMPORARY TABLE tmp AS SELECT 1 FROM t"], Some(1)),
            (&[MADE, "UPDATE t JOIN tmp ON t.a = tmp.a SET tmp.a = t.b"], Some(2)),
            (&[MADE, "LOAD DATA INFILE 'x' INTO TABLE tmp"], Some(2)),
            (&[MADE, "CALL p()"], Some(2)),
            (&["CALL p()", MADE], None),
        ] {
            assert_eq!(lost(statements), expected, "{statements:?}");
        }
    }
}
