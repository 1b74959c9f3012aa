//! Classifies statements by what they may do to their transaction and to the schema, which decides how they are
//! journalled. Pure.
//!
//! A statement that is not recognised for certain is [`StatementKind::Unclassified`]. It runs with an
//! implicit-commit probe (see [`super::execute`]), which finds out what it did.

mod cursor;
mod ddl;
mod inspect;
mod statement;

use cursor::TokenCursor;
use ddl::{alter, create, drop_objects, rename};
pub use inspect::{
    assigns_only_user_variables, depends_on_state, is_compound, lock_tables_with, names, prepared_name, user_variables,
};
pub use statement::{Ddl, DdlKind, Object, ObjectKind, ObjectName, StatementKind};

/// Classifies `sql`, a single statement.
pub fn classify(sql: &str) -> StatementKind {
    let mut cursor = TokenCursor::new(sql);
    let Some(verb) = cursor.word() else {
        return if cursor.take("(") { StatementKind::Dml { target: None } } else { StatementKind::Unclassified };
    };
    match verb.as_str() {
        "INSERT" | "REPLACE" => dml(cursor, &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]),
        "UPDATE" => dml(cursor, &["LOW_PRIORITY", "IGNORE"]),
        "DELETE" => dml(cursor, &["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]),
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "DO" | "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" | "HELP"
        | "SIGNAL" | "GET" | "HANDLER" => StatementKind::Dml { target: None },
        "LOAD" if matches!(cursor.word().as_deref(), Some("DATA" | "XML")) => StatementKind::Dml { target: None },
        "SET" => set(cursor),
        "USE" => cursor.name().map_or(StatementKind::Unclassified, StatementKind::Use),
        "PREPARE" | "DEALLOCATE" => StatementKind::Session,
        "BEGIN" => match cursor.word().as_deref() {
            None | Some("WORK") => StatementKind::Begin,
            _ => StatementKind::Unclassified,
        },
        "START" if cursor.word().as_deref() == Some("TRANSACTION") => StatementKind::Begin,
        "COMMIT" | "ROLLBACK" => end_of_transaction(&verb, &cursor.rest_upper()),
        "SAVEPOINT" | "RELEASE" => StatementKind::Savepoint,
        "LOCK" if matches!(cursor.word().as_deref(), Some("TABLE" | "TABLES")) => StatementKind::LockTables,
        "UNLOCK" if matches!(cursor.word().as_deref(), Some("TABLE" | "TABLES")) => StatementKind::UnlockTables,
        "CREATE" => create(cursor),
        "ALTER" => alter(cursor),
        "DROP" => drop_objects(cursor),
        "RENAME" => rename(cursor),
        "TRUNCATE" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "CHECKSUM" | "FLUSH" | "GRANT" | "REVOKE"
        | "CACHE" => StatementKind::Idempotent,
        _ => StatementKind::Unclassified,
    }
}

fn end_of_transaction(verb: &str, rest: &[String]) -> StatementKind {
    let has = |word: &str| rest.iter().any(|other| other == word);
    if has("TO") {
        return StatementKind::Savepoint;
    }
    match verb {
        // `AND CHAIN` opens the next transaction, as `BEGIN` does.
        "COMMIT" if has("CHAIN") && !has("NO") => StatementKind::Begin,
        "COMMIT" => StatementKind::Commit,
        _ if has("CHAIN") && !has("NO") => StatementKind::Unclassified,
        _ => StatementKind::Rollback,
    }
}

/// DML with the table after `modifiers`.
fn dml(mut cursor: TokenCursor<'_>, modifiers: &[&str]) -> StatementKind {
    cursor.skip_words(modifiers);
    StatementKind::Dml { target: cursor.object_name() }
}

fn set(mut cursor: TokenCursor<'_>) -> StatementKind {
    let text: Vec<String> = cursor.rest_upper();
    match text.first().map(String::as_str) {
        Some("GLOBAL" | "PERSIST" | "PERSIST_ONLY" | "PASSWORD" | "DEFAULT" | "RESOURCE") => {
            return StatementKind::Idempotent;
        }
        Some("STATEMENT") => return StatementKind::Unclassified,
        _ => {}
    }
    if text.iter().any(|token| token.starts_with("@@GLOBAL") || token.starts_with("@@PERSIST")) {
        return StatementKind::Idempotent;
    }
    let assigned = text.windows(2).position(|pair| {
        let names = ["AUTOCOMMIT", "@@AUTOCOMMIT", "@@SESSION.AUTOCOMMIT", "@@LOCAL.AUTOCOMMIT"];
        names.contains(&pair[0].as_str()) && matches!(pair[1].as_str(), "=" | ":")
    });
    let Some(assigned) = assigned else { return StatementKind::Session };
    match text[assigned + 1..].iter().find(|token| !matches!(token.as_str(), "=" | ":")).map(String::as_str) {
        Some("0" | "OFF" | "FALSE") => StatementKind::Autocommit(false),
        // Dumps restore the old value from a variable; autocommit was on before.
        Some(_) => StatementKind::Autocommit(true),
        None => StatementKind::Unclassified,
    }
}

#[cfg(test)]
mod tests;
