//! The kinds of statements, and the schema objects that they name.

use serde::{Deserialize, Serialize};

/// The possible effects of a statement, which decide how it is recorded in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// DML: reads or changes rows and nothing else, so its journal record can share its transaction.
    Dml {
        /// The table that it changes, if it changes one.
        target: Option<ObjectName>,
    },
    /// Changes only this session: `PREPARE`, `DEALLOCATE`, most kinds of `SET`. Runs again when a script is resumed.
    Session,
    /// `USE`
    Use(String),
    /// `SET autocommit`
    Autocommit(bool),
    /// Creates or drops temporary tables. This neither commits nor outlives the session.
    TemporaryTable { dropped: bool, names: Vec<ObjectName> },
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// Savepoints: the transaction stays open.
    Savepoint,
    /// `LOCK TABLES`. From here on, `ai_migrations` must be among the locked tables.
    LockTables,
    /// `UNLOCK TABLES`
    UnlockTables,
    /// DDL: commits implicitly, is atomic, and names the objects that it changes.
    Ddl(Ddl),
    /// Commits implicitly, and can run twice with the same result.
    Idempotent,
    /// May do anything: `CALL`, `EXECUTE`, compound statements, and everything that is not recognised.
    Unclassified,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ddl {
    pub kind: DdlKind,
    /// The objects that it changes.
    pub objects: Vec<Object>,
    /// The index that `CREATE INDEX` adds.
    pub index: Option<String>,
}

/// How to find out from the schema whether a DDL statement was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlKind {
    /// Its objects exist and differ from what they were before.
    Create,
    /// Its objects no longer exist.
    Drop,
    /// Its objects differ from what they were before. If they don't, it changed nothing and can run again.
    Alter,
    /// It moves objects between names, so that their identity changes and not their text: `RENAME`,
    /// `EXCHANGE PARTITION`.
    Move,
    /// The statement doesn't name what it changes, so only the fingerprint of the whole schema can answer.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A table, a view or a sequence: they share one namespace.
    Table,
    Procedure,
    Function,
    Trigger,
    Event,
    Database,
    Package,
    /// A user or a role.
    Account,
}

impl ObjectKind {
    /// Returns the kind that a keyword of DDL names.
    pub fn from_keyword(word: &str) -> Option<Self> {
        match word {
            "TABLE" | "TABLES" | "VIEW" | "SEQUENCE" => Some(Self::Table),
            "PROCEDURE" => Some(Self::Procedure),
            "FUNCTION" => Some(Self::Function),
            "TRIGGER" => Some(Self::Trigger),
            "EVENT" => Some(Self::Event),
            "DATABASE" | "SCHEMA" => Some(Self::Database),
            "PACKAGE" => Some(Self::Package),
            "USER" | "ROLE" => Some(Self::Account),
            _ => None,
        }
    }

    /// Returns a keyword that names this kind.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::Procedure => "PROCEDURE",
            Self::Function => "FUNCTION",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
            Self::Database => "DATABASE",
            Self::Package => "PACKAGE",
            Self::Account => "USER",
        }
    }
}

/// An object's name as the statement spells it, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectName {
    /// The database, if the statement names it.
    pub schema: Option<String>,
    pub name: String,
}

/// An object that a statement changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    #[serde(flatten)]
    pub name: ObjectName,
}

impl Object {
    /// Returns the same object; `schema` is its database if the statement doesn't name one.
    pub fn in_schema(&self, schema: &str) -> Self {
        let mut object = self.clone();
        object.name.schema.get_or_insert_with(|| schema.to_owned());
        object
    }
}
