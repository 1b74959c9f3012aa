//! Restores the session of a script that resumes.
//!
//! User variables come from the journal; see [`crate::migrate::session_state`]. Everything else (`SET`, `USE`,
//! `PREPARE`, `LOCK TABLES`, temporary tables) comes from running the script's own statements again.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::temporary_tables::TemporaryTables;
use crate::error::{Error, Result};
use crate::migrate::classify::{StatementKind, assigns_only_user_variables, prepared_name, user_variables};
use crate::migrate::session_state;

/// Collects, from the statements that ran before, those that must run again.
#[derive(Debug, Default)]
pub struct Replay {
    /// The numbers and texts of statements that change the session.
    steps: Vec<(u64, String)>,
    temporary_tables: TemporaryTables,
    prepared: Vec<Prepared>,
    restored: Restored,
}

/// The session after [`Replay::run`].
#[derive(Debug, Default)]
pub struct Restored {
    /// The `LOCK TABLES` that is still in force. It is left to the caller, which also locks the journal.
    pub lock_tables: Option<String>,
    /// The database that `USE` chose.
    pub schema: Option<String>,
    /// True after `SET autocommit = 0`.
    pub autocommit_off: bool,
}

#[derive(Debug)]
struct Prepared {
    name: String,
    text: String,
    /// The user variables that its text came from.
    variables: Vec<String>,
    /// Number of the first statement that may have changed them since.
    stale: Option<u64>,
}

impl Replay {
    /// Adds statement `k`, which ran before.
    pub fn add(&mut self, k: u64, text: &str, kind: &StatementKind) {
        self.temporary_tables.add(k, text, kind);
        match kind {
            StatementKind::Use(schema) => {
                self.restored.schema = Some(schema.clone());
                self.steps.push((k, text.to_owned()));
            }
            StatementKind::Autocommit(on) => {
                self.restored.autocommit_off = !on;
                self.steps.push((k, text.to_owned()));
            }
            StatementKind::Session => self.add_other(k, text),
            StatementKind::LockTables => self.restored.lock_tables = Some(text.to_owned()),
            StatementKind::UnlockTables | StatementKind::Begin => self.restored.lock_tables = None,
            _ => {}
        }
        self.mark_stale(k, text);
    }

    fn add_other(&mut self, k: u64, text: &str) {
        match prepared_name(text) {
            Some((name, prepares)) => {
                self.prepared.retain(|prepared| prepared.name != name);
                if prepares {
                    let variables = user_variables(text);
                    self.prepared.push(Prepared { name, text: text.to_owned(), variables, stale: None });
                }
            }
            // The journal holds their values.
            None if assigns_only_user_variables(text) => {}
            None => self.steps.push((k, text.to_owned())),
        }
    }

    /// `PREPARE` runs again with the last value of its variable, which must be the value that it had then.
    fn mark_stale(&mut self, k: u64, text: &str) {
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

    /// Runs the collected statements. `session_state` comes from the journal.
    ///
    /// # Errors
    /// Fails if the server refuses a statement, and if the session can't be restored for certain.
    pub fn run(mut self, conn: &mut Conn, session_state: Option<&str>) -> Result<Restored> {
        const ADVICE: &str = "it ended with its session and can't be restored for certain; choose where to resume with \
                              `airun migrate resolve VERSION --from-statement K`";
        if let Some(k) = self.prepared.iter().find_map(|prepared| prepared.stale) {
            return Err(Error::failure(format!(
                "statement {k} may have changed a variable that a prepared statement was made from: {ADVICE}"
            )));
        }
        if let Some(k) = self.temporary_tables.first_unrepeatable() {
            return Err(Error::failure(format!(
                "statement {k} filled a temporary table with data that is not in the script: {ADVICE}"
            )));
        }
        session_state::restore(conn, session_state)?;
        self.steps.extend(self.temporary_tables.into_steps());
        self.steps.sort_unstable();
        let steps = self.steps.iter().map(|(_, text)| text);
        for text in steps.chain(self.prepared.iter().map(|prepared| &prepared.text)) {
            conn.query_drop(text)
                .map_err(|error| Error::from(error).context(format!("failed to restore the session with `{text}`")))?;
        }
        // Again, because the statements may have changed variables.
        session_state::restore(conn, session_state)?;
        Ok(self.restored)
    }
}
