//! Definitions that share one record in the journal.
//!
//! The record costs a commit, as the definition itself does. But of definitions that make something new, each leaves a
//! mark that wasn't there before: the object, or the index on a table that the same chain has made. They run in their
//! order, so after a crash the marks that are there tell how many have happened, and one record before the first of them
//! is enough for all.

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::{Deserialize, Serialize};

use crate::db::quote_text;
use crate::error::Result;
use crate::migrate::catalog;
use crate::migrate::classify::{Ddl, DdlKind, Object, ObjectKind};
use crate::migrate::sql::{Position, tokens};

/// Definitions of a chain, at most.
const STEPS_MAX: usize = 32;
/// Bytes of a chain, at most.
const BYTES_MAX: usize = 256 * 1024;

/// A definition of a chain.
#[derive(Debug)]
pub struct Step {
    /// Its number in the script.
    pub k: u64,
    /// Where it stands.
    pub at: Position,
    pub text: String,
    pub definition: Ddl,
    /// What it leaves.
    pub mark: Witness,
}

/// What is there once a definition has happened, and wasn't before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The object that it makes.
    Object(Object),
    /// The index that it adds to a table.
    Index { table: Object, index: String },
}

/// Definitions that wait to be run together.
#[derive(Debug, Default)]
pub struct DdlBatch {
    steps: Vec<Step>,
    bytes: usize,
}

impl DdlBatch {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The definitions in their order; the chain is empty behind it.
    pub fn take(&mut self) -> Vec<Step> {
        self.bytes = 0;
        std::mem::take(&mut self.steps)
    }

    /// The mark that a definition would leave as the chain's next step; `None` where it can't be one.
    pub fn mark(&self, text: &str, definition: &Ddl, schema: &str) -> Option<Witness> {
        if self.steps.len() >= STEPS_MAX || self.bytes + text.len() > BYTES_MAX {
            return None;
        }
        let [object] = definition.objects.as_slice() else { return None };
        let mut object = object.clone();
        object.name.schema.get_or_insert_with(|| schema.to_owned());
        match (&definition.index, definition.kind) {
            (Some(index), _) => {
                let maker = self.steps.iter().find(|step| step.makes(&object))?;
                let taken = self.steps.iter().any(|step| step.adds(&object, index));
                let mark = Witness::Index { table: object, index: index.clone() };
                // The table may come with an index of that name; a column of that name is taken for one too.
                (!taken && !mentions(&maker.text, index)).then_some(mark)
            }
            (None, DdlKind::Create) => {
                let fits = matches!(
                    object.kind,
                    ObjectKind::Table
                        | ObjectKind::Procedure
                        | ObjectKind::Function
                        | ObjectKind::Trigger
                        | ObjectKind::Event
                );
                let made = self.steps.iter().any(|step| step.makes(&object));
                (fits && !made).then_some(Witness::Object(object))
            }
            _ => None,
        }
    }

    /// Adds a definition that [`DdlBatch::mark`] has taken.
    pub fn push(&mut self, step: Step) {
        self.bytes += step.text.len();
        self.steps.push(step);
    }
}

impl Step {
    fn makes(&self, object: &Object) -> bool {
        matches!(&self.mark, Witness::Object(made) if same(made, object))
    }

    fn adds(&self, table: &Object, name: &str) -> bool {
        matches!(&self.mark, Witness::Index { table: other, index } if same(other, table) && index.eq_ignore_ascii_case(name))
    }
}

impl Witness {
    /// Whether it is there.
    ///
    /// # Errors
    /// Fails where the server doesn't answer, or may not tell.
    pub fn is_there(&self, conn: &mut Conn) -> Result<bool> {
        const INDEXES: &str = "SELECT COUNT(*) FROM information_schema.STATISTICS
            WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} AND INDEX_NAME = {index}";
        match self {
            Witness::Object(object) => Ok(catalog::definition(conn, object)?.is_some()),
            Witness::Index { table, index } => {
                let query = INDEXES
                    .replace("{schema}", &quote_text(table.name.schema.as_deref().unwrap_or_default()))
                    .replace("{table}", &quote_text(&table.name.name))
                    .replace("{index}", &quote_text(index));
                let columns: Option<u64> = conn.query_first(query)?;
                Ok(columns.is_some_and(|columns| columns > 0))
            }
        }
    }
}

/// Whether two names may mean the same object: on some servers case doesn't matter, and then it is better to take them
/// for one.
fn same(a: &Object, b: &Object) -> bool {
    let lower = |object: &Object| {
        (object.name.schema.as_ref().map(|name| name.to_lowercase()), object.name.name.to_lowercase())
    };
    a.kind == b.kind && lower(a) == lower(b)
}

fn mentions(text: &str, name: &str) -> bool {
    tokens(text).filter_map(|token| token.name()).any(|found| found.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::{StatementKind, classify};

    /// How many of the statements make one chain, from the first on.
    fn length(statements: &[&str]) -> usize {
        let mut chain = DdlBatch::default();
        for (i, text) in statements.iter().enumerate() {
            let StatementKind::Ddl(definition) = classify(text) else { return i };
            let Some(mark) = chain.mark(text, &definition, "db") else { return i };
            let (k, at, text) = (i as u64 + 1, Position::default(), (*text).to_owned());
            chain.push(Step { k, at, text, definition, mark });
        }
        statements.len()
    }

    #[test]
    fn only_what_leaves_a_new_mark_is_chained() {
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
            assert_eq!(length(statements), expected, "{statements:?}");
        }
    }
}
