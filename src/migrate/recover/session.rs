//! What a script keeps in its session, and how a resumed one finds it again.
//!
//! User variables are recorded with each step of the journal, so that they come back as they were and aren't computed
//! anew. The rest (`SET`, `USE`, `PREPARE`, `LOCK TABLES`, temporary tables) is run again from the script's own words.

use std::collections::BTreeMap;

use mysql::consts::ColumnType;
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use serde::{Deserialize, Serialize};

use crate::db::{quote_name, quote_text};
use crate::error::{Error, Result};
use crate::migrate::catalog::hex;
use crate::migrate::classify::{
    ObjectName, SessionStatement, StatementKind, TransactionStatement, assigns_only_user_variables, prepared_name,
    user_variables,
};
use crate::migrate::script::ScriptSummary;

use super::temporary_tables::{ReplayAction, Temporaries};

/// The session's memory at a step, as SQL literals.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    variables: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insert_id: Option<u64>,
}

/// What the journal keeps of the session; `None` where the script has no use for it.
pub fn remember(conn: &mut Conn, summary: &ScriptSummary) -> Result<Option<String>> {
    if summary.variables.is_empty() && !summary.uses_insert_id {
        return Ok(None);
    }
    let mut memory = Memory::default();
    if summary.uses_insert_id {
        memory.insert_id = conn.query_first("SELECT LAST_INSERT_ID()")?;
    }
    if !summary.variables.is_empty() {
        let list: Vec<String> = summary.variables.iter().map(|name| format!("@{}", quote_name(name))).collect();
        // The binary protocol keeps numbers apart from text.
        let row: Option<Row> = conn.exec_first(format!("SELECT {}", list.join(", ")), ())?;
        let Some(row) = row else { return Ok(None) };
        let types: Vec<ColumnType> = row.columns_ref().iter().map(|column| column.column_type()).collect();
        for ((name, value), kind) in summary.variables.iter().zip(row.unwrap()).zip(types) {
            memory.variables.insert(name.clone(), literal(&value, kind));
        }
    }
    Ok(serde_json::to_string(&memory).ok())
}

/// What [`remember`] keeps, as SQL that the server works out by itself: numbers come back as the text that they show as.
pub fn remember_sql(summary: &ScriptSummary) -> String {
    if summary.variables.is_empty() && !summary.uses_insert_id {
        return "NULL".to_owned();
    }
    let mut parts = vec!["'{\"variables\":{'".to_owned()];
    for (i, name) in summary.variables.iter().enumerate() {
        let key = format!("{}{}:\"", if i > 0 { "," } else { "" }, serde_json::Value::from(name.as_str()));
        let variable = format!("@{}", quote_name(name));
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

/// Puts back what [`remember`] kept.
pub fn recall(conn: &mut Conn, json: Option<&str>) -> Result<()> {
    let Some(json) = json else { return Ok(()) };
    let memory: Memory = serde_json::from_str(json)
        .map_err(|error| Error::failure(format!("the journal's session can't be read: {error}")))?;
    let mut sets: Vec<String> =
        memory.variables.iter().map(|(name, literal)| format!("@{} = {literal}", quote_name(name))).collect();
    sets.extend(memory.insert_id.map(|id| format!("LAST_INSERT_ID = {id}")));
    if !sets.is_empty() {
        conn.query_drop(format!("SET {}", sets.join(", ")))?;
    }
    Ok(())
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

/// Gathers, from the statements that have run already, what the rest needs to find in its session.
#[derive(Debug, Default)]
pub struct Replay {
    /// In the script's order; those of a temporary table go with it.
    steps: Vec<(Option<ObjectName>, String)>,
    temporaries: Temporaries,
    prepared: Vec<Prepared>,
    locked: Option<String>,
    schema: Option<String>,
    autocommit: Option<bool>,
}

/// A prepared statement that is there.
#[derive(Debug)]
struct Prepared {
    name: String,
    text: String,
    /// The user variables that its text came from.
    variables: Vec<String>,
    /// A statement that may have given them another value since.
    stale: Option<u64>,
}

impl Replay {
    /// Takes note of statement `k`, which has run before.
    pub fn pass(&mut self, k: u64, text: &str, kind: &StatementKind) {
        match self.temporaries.pass(k, text, kind) {
            ReplayAction::Step(table) => self.steps.push((Some(table), text.to_owned())),
            ReplayAction::Forget(tables) => {
                self.steps.retain(|(of, _)| of.as_ref().is_none_or(|of| !tables.contains(of)))
            }
            ReplayAction::Nothing => {}
        }
        match kind {
            StatementKind::Session(SessionStatement::Use(schema)) => {
                self.schema = Some(schema.clone());
                self.steps.push((None, text.to_owned()));
            }
            StatementKind::Session(SessionStatement::Autocommit(on)) => {
                self.autocommit = Some(*on);
                self.steps.push((None, text.to_owned()));
            }
            StatementKind::Session(SessionStatement::Other) => self.pass_other(text),
            StatementKind::LockTables => self.locked = Some(text.to_owned()),
            StatementKind::UnlockTables | StatementKind::Transaction(TransactionStatement::Begin) => self.locked = None,
            _ => {}
        }
        self.pass_variables(k, text);
    }

    fn pass_other(&mut self, text: &str) {
        match prepared_name(text) {
            Some((name, makes)) => {
                self.prepared.retain(|known| known.name != name);
                if makes {
                    let variables = user_variables(text);
                    self.prepared.push(Prepared { name, text: text.to_owned(), variables, stale: None });
                }
            }
            None if assigns_only_user_variables(text) => {}
            None => self.steps.push((None, text.to_owned())),
        }
    }

    /// A prepared statement is made again from what its variable holds at the end, so that must be what it held then.
    fn pass_variables(&mut self, k: u64, text: &str) {
        if prepared_name(text).is_some() || self.prepared.iter().all(|prepared| prepared.variables.is_empty()) {
            return;
        }
        let named = user_variables(text);
        for prepared in &mut self.prepared {
            if prepared.variables.iter().any(|variable| named.contains(variable)) {
                prepared.stale = prepared.stale.or(Some(k));
            }
        }
    }

    /// Runs it all. Returns the script's `LOCK TABLES` that is still in force, which the caller runs in its own way.
    ///
    /// # Errors
    /// Fails where the server refuses a step, and where a temporary table was filled from other tables, which may have
    /// changed since.
    pub fn run(self, conn: &mut Conn, memory: Option<&str>) -> Result<Restored> {
        if let Some(stale) = self.prepared.iter().find_map(|prepared| prepared.stale) {
            return Err(Error::failure(format!(
                "statement {stale} may have changed the variable that a prepared statement was made from; that went with \
                 the old session and can't be made again for certain: choose where to go on with \
                 `airun migrate resolve VERSION --from-statement K`"
            )));
        }
        if let Some(k) = self.temporaries.lost() {
            return Err(Error::failure(format!(
                "statement {k} gave a temporary table what isn't in the script itself; it went with the old session and \
                 can't be made again for certain: choose where to go on with \
                 `airun migrate resolve VERSION --from-statement K`"
            )));
        }
        recall(conn, memory)?;
        let steps = self.steps.iter().map(|(_, text)| text);
        for step in steps.chain(self.prepared.iter().map(|prepared| &prepared.text)) {
            conn.query_drop(step)
                .map_err(|error| Error::from(error).context(format!("failed to restore the session with `{step}`")))?;
        }
        recall(conn, memory)?;
        Ok(Restored { locked: self.locked, schema: self.schema, autocommit: self.autocommit })
    }
}

/// What the restored session is like.
#[derive(Debug)]
pub struct Restored {
    pub locked: Option<String>,
    pub schema: Option<String>,
    pub autocommit: Option<bool>,
}
