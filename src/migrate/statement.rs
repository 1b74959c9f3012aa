//! What a statement does to its transaction and to the schema: enough to know how it is journalled. Pure.
//!
//! A mistake here is harmless for what is called [`Kind::Opaque`]: such a statement runs under a tripwire (see
//! [`super::run`]) that tells what it did. So whatever isn't known for certain is opaque.

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, is_code};
use super::sql::tokens;

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
    /// Makes or drops a temporary table, which neither commits nor outlives the session.
    TemporaryTable(ObjectName),
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

/// The user variables (`@x`, lower-case, unquoted) that `sql` names.
pub fn user_variables(sql: &str) -> Vec<String> {
    // Most statements of a large load have no `@`: don't lex them for nothing.
    if !sql.contains('@') {
        return Vec::new();
    }
    let mut found = Vec::new();
    for token in tokens(sql) {
        if let Some(name) = token.user_variable() {
            let name = name.to_lowercase();
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
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

fn create(mut cursor: Cursor<'_>) -> Kind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return Kind::Opaque };
        let kind = match token.upper().as_str() {
            "TEMPORARY" => {
                cursor.skip_words(&["TABLE", "SEQUENCE", "IF", "NOT", "EXISTS"]);
                return cursor.object_name().map_or(Kind::Opaque, Kind::TemporaryTable);
            }
            "TABLE" | "VIEW" | "SEQUENCE" => ObjectKind::Table,
            "PROCEDURE" => ObjectKind::Procedure,
            "FUNCTION" => ObjectKind::Function,
            "TRIGGER" => ObjectKind::Trigger,
            "EVENT" => ObjectKind::Event,
            "DATABASE" | "SCHEMA" => ObjectKind::Database,
            "USER" | "ROLE" => ObjectKind::Account,
            "PACKAGE" => {
                cursor.skip_words(&["BODY"]);
                ObjectKind::Package
            }
            "INDEX" => return create_index(cursor),
            "SERVER" | "TABLESPACE" | "LOGFILE" | "RESOURCE" | "REFERENCE" => return Kind::Opaque,
            _ => continue,
        };
        cursor.skip_words(&["IF", "NOT", "EXISTS"]);
        return one(Shape::Create, kind, &mut cursor);
    }
    Kind::Opaque
}

fn create_index(mut cursor: Cursor<'_>) -> Kind {
    cursor.skip_words(&["IF", "NOT", "EXISTS"]);
    let index = cursor.name();
    if !cursor.find_word("ON") {
        return Kind::Opaque;
    }
    match one(Shape::Alter, ObjectKind::Table, &mut cursor) {
        Kind::Definition(definition) => Kind::Definition(Definition { index, ..definition }),
        other => other,
    }
}

fn alter(mut cursor: Cursor<'_>) -> Kind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return Kind::Opaque };
        let kind = match token.upper().as_str() {
            "TABLE" | "SEQUENCE" => {
                cursor.skip_words(&["IF", "EXISTS"]);
                return alter_table(cursor);
            }
            "VIEW" => ObjectKind::Table,
            "PROCEDURE" => ObjectKind::Procedure,
            "FUNCTION" => ObjectKind::Function,
            "EVENT" => ObjectKind::Event,
            "DATABASE" | "SCHEMA" => ObjectKind::Database,
            "USER" | "ROLE" => return Kind::Repeatable,
            "SERVER" | "TABLESPACE" | "INSTANCE" | "LOGFILE" | "RESOURCE" => return Kind::Repeatable,
            _ => continue,
        };
        cursor.skip_words(&["IF", "EXISTS"]);
        let name = cursor.object_name();
        let mut objects: Vec<Object> = name.map(|name| Object { kind, name }).into_iter().collect();
        if kind == ObjectKind::Event && cursor.find_word("RENAME") {
            cursor.skip_words(&["TO"]);
            objects.extend(cursor.object_name().map(|name| Object { kind, name }));
        }
        return definition(Shape::Alter, objects);
    }
    Kind::Opaque
}

fn alter_table(mut cursor: Cursor<'_>) -> Kind {
    let table = |name| Object { kind: ObjectKind::Table, name };
    let Some(name) = cursor.object_name() else { return Kind::Opaque };
    let mut objects = vec![table(name)];
    let mut shape = Shape::Alter;
    while let Some(token) = cursor.next() {
        match token.upper().as_str() {
            // Not `RENAME COLUMN`, `RENAME INDEX` and `RENAME KEY`.
            "RENAME" if !matches!(cursor.peek_upper().as_deref(), Some("COLUMN" | "INDEX" | "KEY")) => {
                cursor.skip_words(&["TO", "AS"]);
                cursor.take("=");
                objects.extend(cursor.object_name().map(table));
                shape = Shape::Move;
            }
            "EXCHANGE" if cursor.find_word("WITH") => {
                cursor.skip_words(&["TABLE"]);
                // The partitioned table keeps its looks and its identity; the other one's identity tells.
                objects = cursor.object_name().map(table).into_iter().collect();
                shape = Shape::Move;
            }
            _ => {}
        }
    }
    definition(shape, objects)
}

fn drop_objects(mut cursor: Cursor<'_>) -> Kind {
    let mut temporary = false;
    let kind = loop {
        break match cursor.word().as_deref() {
            Some("TEMPORARY") => {
                temporary = true;
                continue;
            }
            Some("TABLE" | "TABLES" | "VIEW" | "SEQUENCE") => ObjectKind::Table,
            Some("PROCEDURE") => ObjectKind::Procedure,
            Some("FUNCTION") => ObjectKind::Function,
            Some("TRIGGER") => ObjectKind::Trigger,
            Some("EVENT") => ObjectKind::Event,
            Some("DATABASE" | "SCHEMA") => ObjectKind::Database,
            Some("USER" | "ROLE") => ObjectKind::Account,
            Some("PACKAGE") => {
                cursor.skip_words(&["BODY"]);
                ObjectKind::Package
            }
            Some("PREPARE") => return Kind::Session(Session::Other),
            Some("INDEX") => {
                return if cursor.find_word("ON") {
                    one(Shape::Alter, ObjectKind::Table, &mut cursor)
                } else {
                    Kind::Opaque
                };
            }
            _ => return Kind::Opaque,
        };
    };
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(name) = cursor.account_or_name(kind) {
        objects.push(Object { kind, name });
        if !cursor.take(",") {
            break;
        }
    }
    match (temporary, objects.first()) {
        (true, Some(object)) => Kind::TemporaryTable(object.name.clone()),
        _ => definition(Shape::Drop, objects),
    }
}

fn rename(mut cursor: Cursor<'_>) -> Kind {
    match cursor.word().as_deref() {
        Some("TABLE" | "TABLES") => {}
        _ => return Kind::Opaque,
    }
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(name) = cursor.object_name() {
        let object = Object { kind: ObjectKind::Table, name };
        if !objects.contains(&object) {
            objects.push(object);
        }
        while !matches!(cursor.peek_upper().as_deref(), None | Some("TO" | ",")) {
            cursor.next();
        }
        if !(cursor.take(",") || cursor.take("TO")) {
            break;
        }
    }
    definition(Shape::Move, objects)
}

fn one(shape: Shape, kind: ObjectKind, cursor: &mut Cursor<'_>) -> Kind {
    definition(shape, cursor.account_or_name(kind).map(|name| Object { kind, name }).into_iter().collect())
}

fn definition(shape: Shape, objects: Vec<Object>) -> Kind {
    if objects.is_empty() { Kind::Opaque } else { Kind::Definition(Definition { shape, objects, index: None }) }
}

/// Whether an opaque statement can do several things one after the other; `EXECUTE` does one.
pub fn is_compound(sql: &str) -> bool {
    Cursor::new(sql).word().as_deref() != Some("EXECUTE")
}

/// The prepared statement that `sql` makes (`true`) or drops (`false`), lower-case.
pub fn prepared_name(sql: &str) -> Option<(String, bool)> {
    let mut cursor = Cursor::new(sql);
    let makes = match cursor.word().as_deref() {
        Some("PREPARE") => true,
        Some("DEALLOCATE" | "DROP") => {
            cursor.skip_words(&["PREPARE"]);
            false
        }
        _ => return None,
    };
    cursor.name().map(|name| (name.to_lowercase(), makes))
}

/// Whether `sql` is a `SET` of user variables and nothing else.
pub fn assigns_only_user_variables(sql: &str) -> bool {
    let mut cursor = Cursor::new(sql);
    if cursor.word().as_deref() != Some("SET") {
        return false;
    }
    // Each assignment starts the statement or follows a comma outside parentheses.
    let mut depth = 0;
    let mut at_target = true;
    while let Some(token) = cursor.next() {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => at_target = true,
            _ if at_target && token.user_variable().is_none() => return false,
            _ => at_target = false,
        }
    }
    true
}

/// Whether `sql` may read tables.
pub fn reads_tables(sql: &str) -> bool {
    let mut words = tokens(sql).filter(is_code).map(|token| token.upper());
    words.any(|word| matches!(word.as_str(), "FROM" | "SELECT" | "JOIN" | "LIKE" | "TABLE" | "USING"))
        && !Cursor::new(sql).takes_plain_create()
}

/// `LOCK TABLES` with airun's own table among the locked ones, where the journal is written while they are.
pub fn lock_tables_with(sql: &str, table: &str) -> String {
    let mut end = sql.len();
    let all: Vec<_> = tokens(sql).filter(is_code).collect();
    // MariaDB's `WAIT n` and `NOWAIT` come after the tables.
    for (i, token) in all.iter().enumerate().skip(2) {
        if matches!(token.upper().as_str(), "NOWAIT" | "WAIT") && i + 2 >= all.len() {
            end = token.text.as_ptr() as usize - sql.as_ptr() as usize;
            break;
        }
    }
    let (tables, rest) = sql.split_at(end);
    // On a line of its own: the statement may end in a comment.
    format!("{tables}\n, {table} WRITE {rest}")
}

#[cfg(test)]
mod tests;
