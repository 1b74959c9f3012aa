//! DDL statements that share one intent. Pure.
//!
//! An intent costs a commit, as does the DDL statement itself. But a statement that creates something new leaves a
//! witness: the object, or the index on a table that the same batch created. The statements of a batch run in order, so
//! after a crash the witnesses that exist show how many statements were applied, and one intent is enough for all.

use super::run::Statement;
use crate::migrate::classify::{Ddl, DdlKind, Object, ObjectKind, names};
use crate::migrate::journal::Witness;

const STATEMENTS_MAX: usize = 32;
const BYTES_MAX: usize = 256 * 1024;

/// A DDL statement that waits to run.
#[derive(Debug)]
pub struct QueuedDdl {
    pub statement: Statement,
    pub ddl: Ddl,
    /// `None` if it can't share an intent.
    pub witness: Option<Witness>,
}

/// Returns the witness that a statement would leave if it joined `batch`; `None` if it can't join.
pub fn witness(batch: &[QueuedDdl], text: &str, ddl: &Ddl, schema: &str) -> Option<Witness> {
    let bytes: usize = batch.iter().map(|queued| queued.statement.text.len()).sum();
    if batch.len() >= STATEMENTS_MAX || bytes + text.len() > BYTES_MAX {
        return None;
    }
    let [object] = ddl.objects.as_slice() else { return None };
    let object = object.in_schema(schema);
    let creates = |queued: &&QueuedDdl| matches!(&queued.witness, Some(Witness::Object(new)) if same(new, &object));
    let creator = batch.iter().find(creates);
    match (&ddl.index, ddl.kind, object.kind) {
        (Some(index), _, _) => {
            let adds = |queued: &QueuedDdl| {
                matches!(&queued.witness, Some(Witness::Index { table, index: other })
                    if same(table, &object) && other.eq_ignore_ascii_case(index))
            };
            // The table may come with an index of that name.
            let free = !batch.iter().any(adds) && !names(&creator?.statement.text, index);
            free.then(|| Witness::Index { table: object, index: index.clone() })
        }
        (None, DdlKind::Create, ObjectKind::Database | ObjectKind::Package | ObjectKind::Account) => None,
        (None, DdlKind::Create, _) if creator.is_none() => Some(Witness::Object(object)),
        _ => None,
    }
}

/// True if two names may mean the same object. On some servers case doesn't matter, and then this is the safe answer.
fn same(a: &Object, b: &Object) -> bool {
    let lower = |object: &Object| {
        (object.name.schema.as_ref().map(|name| name.to_lowercase()), object.name.name.to_lowercase())
    };
    a.kind == b.kind && lower(a) == lower(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::{StatementKind, classify};
    use crate::migrate::sql::Position;

    /// Returns the number of statements that join one batch, from the first one on.
    fn batch_length(statements: &[&str]) -> usize {
        let mut batch = Vec::new();
        for (i, text) in statements.iter().enumerate() {
            let StatementKind::Ddl(ddl) = classify(text) else { return i };
            let Some(witness) = witness(&batch, text, &ddl, "db") else { return i };
            let statement = Statement { k: i as u64 + 1, at: Position::default(), text: (*text).to_owned() };
            batch.push(QueuedDdl { statement, ddl, witness: Some(witness) });
        }
        statements.len()
    }

    #[test]
    fn only_statements_with_a_new_witness_share_an_intent() {
        for (statements, expected) in [
            (&["CREATE TABLE t (a INT)", "CREATE INDEX i ON t (a)", "CREATE VIEW v AS SELECT 1"][..], 3),
            (&["CREATE TABLE t (a INT)", "CREATE INDEX i ON db.T (a)", "CREATE UNIQUE INDEX j ON t (a)"], 3),
            (&["CREATE TABLE t (a INT)", "CREATE INDEX i ON u (a)"], 1),
            (&["CREATE TABLE t (a INT, KEY i (a))", "CREATE INDEX i ON t (a)"], 1),
            (&["CREATE TABLE t (a INT)", "CREATE INDEX i ON t (a)", "CREATE INDEX I ON t (a)"], 2),
            (&["CREATE INDEX i ON t (a)"], 0),
            (&["CREATE VIEW v AS SELECT 1", "CREATE OR REPLACE VIEW v AS SELECT 2"], 1),
            (&["CREATE TABLE t (a INT)", "CREATE TABLE other.t (a INT)", "CREATE PROCEDURE t() SELECT 1"], 3),
            (&["CREATE TABLE t (a INT)", "ALTER TABLE t ADD b INT"], 1),
            (&["CREATE TABLE t (a INT)", "DROP TABLE t"], 1),
            (&["CREATE DATABASE d"], 0),
        ] {
            assert_eq!(batch_length(statements), expected, "{statements:?}");
        }
    }
}
