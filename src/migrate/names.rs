//! Names of airun's own tables, and helpers for SQL.

use mysql::Conn;
use mysql::prelude::{FromRow, Queryable};

use crate::db::quote_name;
use crate::error::Result;

/// The journal: one row for each migration.
pub const JOURNAL_TABLE: &str = "ai_migrations";

/// The lock of a cluster. Created only where `GET_LOCK` is local to a node.
pub const LOCK_TABLE: &str = "ai_migrations_lock";

/// Returns a table's name in SQL, with its database.
pub fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quote_name(schema), quote_name(table))
}

/// Replaces each `{name}` in an SQL template by its SQL text: a quoted name, a literal or a condition.
pub fn fill(template: &str, parameters: &[(&str, &str)]) -> String {
    let mut sql = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        sql.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = parameters.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "no value for `{name}` in {template}");
        sql.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    sql.push_str(rest);
    sql
}

/// The first answer to `queries`. A query that the server refuses is passed over, because it is for another kind of
/// server or needs a privilege.
pub fn first_answer<T: FromRow>(conn: &mut Conn, queries: &[String]) -> Result<Option<T>> {
    for query in queries {
        match conn.query_first(query) {
            Ok(None) | Err(mysql::Error::MySqlError(_)) => {}
            answer => return Ok(answer?),
        }
    }
    Ok(None)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_braces_is_not_filled_again() {
        assert_eq!(fill("a = {a} AND b = {b}", &[("a", "'{b}'"), ("b", "2")]), "a = '{b}' AND b = 2");
    }
}
