//! Finds details in a statement's text: the variables it names, prepared statements, what its result depends on.

use super::cursor::{TokenCursor, is_code};
use crate::migrate::sql::{TokenKind, tokens};

/// User variables (`@x`) that `sql` names, without the `@`, unquoted and in lower case.
pub fn user_variables(sql: &str) -> Vec<String> {
    // Most statements of a large load contain no `@`; skip the lexer for them.
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

/// True if `sql` contains `name`, ignoring case.
pub fn names(sql: &str, name: &str) -> bool {
    tokens(sql).filter_map(|token| token.name()).any(|found| found.eq_ignore_ascii_case(name))
}

/// True if an unclassified statement can have several effects; `EXECUTE` has only one.
pub fn is_compound(sql: &str) -> bool {
    TokenCursor::new(sql).word().as_deref() != Some("EXECUTE")
}

/// Name of the prepared statement that `sql` creates (`true`) or drops (`false`), in lower case.
pub fn prepared_name(sql: &str) -> Option<(String, bool)> {
    let mut cursor = TokenCursor::new(sql);
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

/// True if `sql` is a `SET` of user variables only.
pub fn assigns_only_user_variables(sql: &str) -> bool {
    let mut cursor = TokenCursor::new(sql);
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

/// True if the effect of `sql` depends on more than its own text: on tables, variables, or the time.
pub fn depends_on_state(sql: &str) -> bool {
    const TABLE_READS: [&str; 6] = ["FROM", "SELECT", "JOIN", "LIKE", "USING", "LOAD"];
    let plain_create = is_plain_create_table(sql);
    // Matches `INSERT INTO a TABLE b`, but not `ALTER TABLE a`.
    let first = TokenCursor::new(sql).word();
    let reads_table = matches!(first.as_deref(), Some("INSERT" | "REPLACE" | "CREATE"));
    let code = tokens(sql).filter(is_code);
    code.filter(|token| token.kind != TokenKind::Text).any(|token| {
        let word = token.upper();
        token.user_variable().is_some()
            || token.kind == TokenKind::SystemVariable
            || is_nondeterministic(&word)
            || (!plain_create && TABLE_READS.contains(&word.as_str()))
            || (!plain_create && reads_table && word == "TABLE")
    })
}

fn is_nondeterministic(function: &str) -> bool {
    const TIME: &str = "NOW SYSDATE CURDATE CURTIME CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP \
                        UTC_DATE UTC_TIME UTC_TIMESTAMP UNIX_TIMESTAMP";
    const OTHER: &str = "UUID UUID_SHORT RAND RANDOM_BYTES SLEEP NEXTVAL NEXT LAST_INSERT_ID ROW_COUNT FOUND_ROWS \
                         CONNECTION_ID";
    TIME.split(' ').chain(OTHER.split(' ')).any(|known| known == function)
}

/// True for `CREATE … TABLE name (…)` that neither reads nor copies another table.
fn is_plain_create_table(sql: &str) -> bool {
    let mut cursor = TokenCursor::new(sql);
    if cursor.word().as_deref() != Some("CREATE") || !cursor.find_word("TABLE") {
        return false;
    }
    cursor.skip_words(&["IF", "NOT", "EXISTS"]);
    cursor.object_name().is_some()
        && cursor.take("(")
        && !cursor.rest_upper().iter().any(|word| matches!(word.as_str(), "SELECT" | "LIKE"))
}

/// Adds `along` to a `LOCK TABLES` statement: airun's own tables, since the journal is written while the lock is held.
pub fn lock_tables_with(sql: &str, along: &str) -> String {
    let all: Vec<_> = tokens(sql).filter(is_code).collect();
    // In MariaDB, `WAIT n` and `NOWAIT` follow the tables.
    let mut last_two = all.iter().skip(2).rev().take(2);
    let wait = last_two.find(|token| matches!(token.upper().as_str(), "NOWAIT" | "WAIT"));
    let end = wait.map_or(sql.len(), |token| token.text.as_ptr().addr() - sql.as_ptr().addr());
    let (tables, rest) = sql.split_at(end);
    // On a new line, because the statement may end with a comment.
    format!("{tables}\n, {along} {rest}")
}
