//! What a statement names, and what else its words tell.

use super::cursor::{Cursor, is_code};
use crate::migrate::sql::{TokenKind, tokens};

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

/// Whether what `sql` does depends on more than its own words: on tables, variables, or the moment.
pub fn depends_on_the_moment(sql: &str) -> bool {
    const MOMENT: [&str; 24] = [
        "NOW",
        "SYSDATE",
        "CURDATE",
        "CURTIME",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "UTC_DATE",
        "UTC_TIME",
        "UTC_TIMESTAMP",
        "UNIX_TIMESTAMP",
        "UUID",
        "UUID_SHORT",
        "RAND",
        "LAST_INSERT_ID",
        "ROW_COUNT",
        "FOUND_ROWS",
        "CONNECTION_ID",
        "NEXTVAL",
        "NEXT",
        "RANDOM_BYTES",
        "SLEEP",
    ];
    const TABLES: [&str; 6] = ["FROM", "SELECT", "JOIN", "LIKE", "USING", "LOAD"];
    let plain_create = Cursor::new(sql).takes_plain_create();
    // `INSERT INTO a TABLE b`, not `ALTER TABLE a`.
    let first = Cursor::new(sql).word();
    let reads_table = matches!(first.as_deref(), Some("INSERT" | "REPLACE" | "CREATE"));
    let code = tokens(sql).filter(is_code);
    code.filter(|token| token.kind != TokenKind::Text).any(|token| {
        let word = token.upper();
        token.user_variable().is_some()
            || token.kind == TokenKind::SystemVariable
            || MOMENT.contains(&word.as_str())
            || (!plain_create && TABLES.contains(&word.as_str()))
            || (!plain_create && reads_table && word == "TABLE")
    })
}

/// `LOCK TABLES` with airun's own tables (`along`) among the locked ones: the journal is written while they are.
pub fn lock_tables_with(sql: &str, along: &str) -> String {
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
    format!("{tables}\n, {along} {rest}")
}
