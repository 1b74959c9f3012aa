//! What a statement does to its transaction and to the schema: enough to know how it is journalled. Pure.
//!
//! A mistake here is harmless for what is called [`Kind::Opaque`]: such a statement runs under a tripwire (see
//! [`super::run`]) that tells what it did. So whatever isn't known for certain is opaque.

use serde::{Deserialize, Serialize};

use cursor::Cursor;

mod cursor;
mod ddl;
mod inspect;

use ddl::{alter, create, drop_objects, rename};
pub use inspect::{
    assigns_only_user_variables, depends_on_the_moment, is_compound, lock_tables_with, prepared_name, user_variables,
};

/// How a statement is journalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Reads or changes rows and nothing else: it shares a transaction with its book-keeping.
    Rows {
        /// The table that it changes, where there is one.
        target: Option<ObjectName>,
    },
    /// Changes this session only: run again when a script is resumed.
    Session(Session),
    /// Makes or drops temporary tables, which neither commits nor outlives the session.
    TemporaryTable { dropped: bool, names: Vec<ObjectName> },
    /// Begins or ends a transaction of the script's own.
    Transaction(Transaction),
    /// `LOCK TABLES`: from here on, `ai_migrations` must be among the locked tables.
    LockTables,
    /// `UNLOCK TABLES`
    UnlockTables,
    /// Commits by itself, is atomic by itself, and shows which objects it touches.
    Definition(Definition),
    /// Commits by itself, and doing it twice is doing it once.
    Repeatable,
    /// May do anything: `CALL`, `EXECUTE`, compound statements, whatever isn't known here.
    Opaque,
}

/// What a session statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// `USE`
    Use(String),
    /// `SET autocommit`
    Autocommit(bool),
    /// `SET`, `PREPARE`, `DEALLOCATE`: anything else.
    Other,
}

/// A transaction statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// The transaction goes on: savepoints.
    Within,
}

/// A statement that defines objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// How it shows that it has happened.
    pub shape: Shape,
    /// What it touches.
    pub objects: Vec<Object>,
    /// The index that it adds to its table, by `CREATE INDEX`.
    pub index: Option<String>,
}

/// How a definition shows that it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Its objects are there and not what they were.
    Create,
    /// Its objects are gone.
    Drop,
    /// Its objects are not what they were; where they are, it changed nothing and can run again.
    Alter,
    /// It moves objects between names: their identity tells, not their text.
    Move,
    /// It can't be seen in the statement what it touches: the whole schema tells.
    Unknown,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A table, a view or a sequence: they share their names.
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

/// A name as the statement has it, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectName {
    /// The database, where the statement names it.
    pub schema: Option<String>,
    pub name: String,
}

/// An object that a statement touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    #[serde(flatten)]
    pub name: ObjectName,
}

/// Tells how `sql`, one statement, is journalled.
pub fn classify(sql: &str) -> Kind {
    let mut cursor = Cursor::new(sql);
    let Some(verb) = cursor.word() else {
        return if cursor.take("(") { Kind::Rows { target: None } } else { Kind::Opaque };
    };
    match verb.as_str() {
        "INSERT" | "REPLACE" => insert(cursor),
        "UPDATE" => update(cursor),
        "DELETE" => delete(cursor),
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "DO" | "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" | "HELP"
        | "SIGNAL" | "GET" | "HANDLER" => Kind::Rows { target: None },
        "LOAD" if matches!(cursor.word().as_deref(), Some("DATA" | "XML")) => Kind::Rows { target: None },
        "SET" => set(cursor),
        "USE" => cursor.name().map_or(Kind::Opaque, |name| Kind::Session(Session::Use(name))),
        "PREPARE" | "DEALLOCATE" => Kind::Session(Session::Other),
        "BEGIN" => match cursor.word().as_deref() {
            None | Some("WORK") => Kind::Transaction(Transaction::Begin),
            _ => Kind::Opaque,
        },
        "START" if cursor.word().as_deref() == Some("TRANSACTION") => Kind::Transaction(Transaction::Begin),
        "COMMIT" | "ROLLBACK" => end_of_transaction(&verb, &cursor.rest_upper()),
        "SAVEPOINT" | "RELEASE" => Kind::Transaction(Transaction::Within),
        "LOCK" if matches!(cursor.word().as_deref(), Some("TABLE" | "TABLES")) => Kind::LockTables,
        "UNLOCK" if matches!(cursor.word().as_deref(), Some("TABLE" | "TABLES")) => Kind::UnlockTables,
        "CREATE" => create(cursor),
        "ALTER" => alter(cursor),
        "DROP" => drop_objects(cursor),
        "RENAME" => rename(cursor),
        "TRUNCATE" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "CHECKSUM" | "FLUSH" | "GRANT" | "REVOKE"
        | "CACHE" => Kind::Repeatable,
        _ => Kind::Opaque,
    }
}

fn end_of_transaction(verb: &str, rest: &[String]) -> Kind {
    let has = |word: &str| rest.iter().any(|other| other == word);
    if has("TO") {
        return Kind::Transaction(Transaction::Within);
    }
    match verb {
        // `AND CHAIN` opens the next one: what follows is as behind a `BEGIN`.
        "COMMIT" if has("CHAIN") && !has("NO") => Kind::Transaction(Transaction::Begin),
        "COMMIT" => Kind::Transaction(Transaction::Commit),
        _ if has("CHAIN") && !has("NO") => Kind::Opaque,
        _ => Kind::Transaction(Transaction::Rollback),
    }
}

fn insert(mut cursor: Cursor<'_>) -> Kind {
    cursor.skip_words(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
    Kind::Rows { target: cursor.object_name() }
}

fn update(mut cursor: Cursor<'_>) -> Kind {
    cursor.skip_words(&["LOW_PRIORITY", "IGNORE"]);
    Kind::Rows { target: cursor.object_name() }
}

fn delete(mut cursor: Cursor<'_>) -> Kind {
    cursor.skip_words(&["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]);
    Kind::Rows { target: cursor.object_name() }
}

fn set(mut cursor: Cursor<'_>) -> Kind {
    let text: Vec<String> = cursor.rest_upper();
    match text.first().map(String::as_str) {
        Some("GLOBAL" | "PERSIST" | "PERSIST_ONLY" | "PASSWORD" | "DEFAULT" | "RESOURCE") => return Kind::Repeatable,
        Some("STATEMENT") => return Kind::Opaque,
        _ => {}
    }
    if text.iter().any(|token| token.starts_with("@@GLOBAL") || token.starts_with("@@PERSIST")) {
        return Kind::Repeatable;
    }
    let assigned = text.windows(2).position(|pair| {
        let names = ["AUTOCOMMIT", "@@AUTOCOMMIT", "@@SESSION.AUTOCOMMIT", "@@LOCAL.AUTOCOMMIT"];
        names.contains(&pair[0].as_str()) && matches!(pair[1].as_str(), "=" | ":")
    });
    let Some(assigned) = assigned else { return Kind::Session(Session::Other) };
    match text[assigned + 1..].iter().find(|token| !matches!(token.as_str(), "=" | ":")).map(String::as_str) {
        Some("0" | "OFF" | "FALSE") => Kind::Session(Session::Autocommit(false)),
        // A variable that holds what it was, as dumps have it: it was on.
        Some(_) => Kind::Session(Session::Autocommit(true)),
        None => Kind::Opaque,
    }
}

#[cfg(test)]
mod tests;
