//! User variables in the journal, so that a resumed script finds the values that its first part computed.

use std::collections::BTreeMap;

use mysql::consts::ColumnType;
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use serde::{Deserialize, Serialize};

use super::names::hex;
use super::script::ScriptSummary;
use crate::db::{quote_name, quote_text};
use crate::error::{Error, Result};

/// The user variables as SQL literals, and the last `AUTO_INCREMENT`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SessionState {
    variables: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insert_id: Option<u64>,
}

/// Reads what the script uses of the session. Returns an SQL literal: JSON, or NULL if the script uses nothing.
pub fn capture(conn: &mut Conn, summary: &ScriptSummary) -> Result<String> {
    if summary.variables.is_empty() && !summary.uses_insert_id {
        return Ok(to_sql(None));
    }
    let mut state = SessionState::default();
    if summary.uses_insert_id {
        state.insert_id = conn.query_first("SELECT LAST_INSERT_ID()")?;
    }
    if !summary.variables.is_empty() {
        let list: Vec<String> = summary.variables.iter().map(|name| user_variable(name)).collect();
        // Only the binary protocol distinguishes numbers from text.
        let row: Option<Row> = conn.exec_first(format!("SELECT {}", list.join(", ")), ())?;
        let Some(row) = row else { return Ok(to_sql(None)) };
        let types: Vec<ColumnType> = row.columns_ref().iter().map(|column| column.column_type()).collect();
        for ((name, value), kind) in summary.variables.iter().zip(row.unwrap()).zip(types) {
            state.variables.insert(name.clone(), literal(&value, kind));
        }
    }
    let json = serde_json::to_string(&state)
        .map_err(|error| Error::failure(format!("failed to write the session's variables as JSON: {error}")))?;
    Ok(to_sql(Some(&json)))
}

/// The SQL literal of the journal's JSON.
pub fn to_sql(json: Option<&str>) -> String {
    json.map_or_else(|| "NULL".to_owned(), quote_text)
}

/// An SQL expression for the result of [`capture`], so that the server can compute it after the client has died. It
/// turns numbers into text.
pub fn capture_sql(summary: &ScriptSummary) -> String {
    if summary.variables.is_empty() && !summary.uses_insert_id {
        return to_sql(None);
    }
    let mut parts = vec!["'{\"variables\":{'".to_owned()];
    for (i, name) in summary.variables.iter().enumerate() {
        let key = format!("{}{}:\"", if i > 0 { "," } else { "" }, serde_json::Value::from(name.as_str()));
        let variable = user_variable(name);
        parts.push(quote_text(&key));
        parts.push(format!(
            "IF({variable} IS NULL, 'NULL', CONCAT('_utf8mb4 x''', HEX(CONVERT({variable} USING utf8mb4)), ''''))"
        ));
        parts.push("'\"'".to_owned());
    }
    parts.push("'}'".to_owned());
    if summary.uses_insert_id {
        parts.push("',\"insert_id\":', LAST_INSERT_ID()".to_owned());
    }
    parts.push("'}'".to_owned());
    format!("CONCAT({})", parts.join(", "))
}

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

fn literal(value: &Value, kind: ColumnType) -> String {
    match (value, kind) {
        (Value::Bytes(text), ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL) => {
            String::from_utf8_lossy(text).into_owned()
        }
        (Value::Bytes(bytes), _) => format!("_utf8mb4 x'{}'", hex(bytes)),
        (Value::NULL, _) => "NULL".to_owned(),
        (number, _) => number.as_sql(true),
    }
}
