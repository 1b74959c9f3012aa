//! User variables in the journal, so that a resumed script finds the values that its first part computed.

use std::collections::BTreeMap;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::Deserialize;

use super::names::fill;
use super::script::ScriptSummary;
use crate::db::{quote_name, quote_text};
use crate::error::{Error, Result};

/// The user variables as SQL literals, and the last `AUTO_INCREMENT`.
#[derive(Debug, Deserialize)]
struct SessionState {
    variables: BTreeMap<String, String>,
    insert_id: Option<u64>,
}

/// An SQL expression for what the script uses of the session: JSON, or NULL if the script uses nothing. The server
/// computes it, so that it can do so after the client has died.
pub fn capture_sql(summary: &ScriptSummary) -> String {
    if summary.variables.is_empty() && !summary.uses_insert_id {
        return "NULL".to_owned();
    }
    let mut parts = vec!["'{\"variables\":{'".to_owned()];
    for (i, name) in summary.variables.iter().enumerate() {
        let key = format!("{}{}:\"", if i > 0 { "," } else { "" }, serde_json::Value::from(name.as_str()));
        parts.push(quote_text(&key));
        parts.push(fill(LITERAL, &[("variable", &user_variable(name))]));
        parts.push("'\"'".to_owned());
    }
    parts.push("'}'".to_owned());
    if summary.uses_insert_id {
        parts.push("',\"insert_id\":', LAST_INSERT_ID()".to_owned());
    }
    parts.push("'}'".to_owned());
    format!("CONCAT({})", parts.join(", "))
}

/// The value of a user variable as an SQL literal. `HEX` of a text is that of its bytes; `HEX` of a number is not that
/// of its digits.
const LITERAL: &str = "IF({variable} IS NULL, 'NULL', IF(HEX({variable}) = HEX(CAST({variable} AS BINARY)),
  CONCAT('_', CHARSET({variable}), ' x''', HEX({variable}), ''''), CAST({variable} AS CHAR)))";

/// Sets the session to the JSON in the journal.
pub fn restore(conn: &mut Conn, json: Option<&str>) -> Result<()> {
    let Some(json) = json else { return Ok(()) };
    let state: SessionState = serde_json::from_str(json)
        .map_err(|error| Error::failure(format!("failed to parse the journal's session state: {error}")))?;
    let mut sets: Vec<String> =
        state.variables.iter().map(|(name, literal)| format!("{} = {literal}", user_variable(name))).collect();
    sets.extend(state.insert_id.map(|id| format!("LAST_INSERT_ID = {id}")));
    if !sets.is_empty() {
        conn.query_drop(format!("SET {}", sets.join(", ")))?;
    }
    Ok(())
}

fn user_variable(name: &str) -> String {
    format!("@{}", quote_name(name))
}
