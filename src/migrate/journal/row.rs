//! A row of `ai_migrations`.

use std::time::Duration;

use mysql::Row;
use serde::Serialize;

use super::intent::Intent;
use crate::error::{Error, Result};
use crate::migrate::names::JOURNAL_TABLE;
use crate::migrate::version::Version;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The UP has started and not finished.
    Applying,
    /// The UP ran to its end.
    Applied,
    /// Recorded by `migrate baseline` without running it.
    Baseline,
    /// The DOWN has started and not finished.
    RollingBack,
}

impl State {
    const ALL: [State; 4] = [State::Applying, State::Applied, State::Baseline, State::RollingBack];

    /// Returns the value in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Applying => "applying",
            State::Applied => "applied",
            State::Baseline => "baseline",
            State::RollingBack => "rolling_back",
        }
    }

    /// True if a script stopped half-way.
    pub fn is_partial(self) -> bool {
        matches!(self, State::Applying | State::RollingBack)
    }
}

/// The row of a migration, without its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalRow {
    pub version: Version,
    pub name: String,
    pub state: State,
    /// The order in which migrations were applied, which may differ from the order of versions.
    pub applied_order: u64,
    /// Checksum of the UP's statements, hexadecimal.
    pub checksum: String,
    /// Statements of the script that runs or ran: the DOWN's during a rollback, otherwise the UP's.
    pub statements_total: u64,
    /// Statements of it that are known to be applied.
    pub statements_done: u64,
    /// Checksum of those statements, hexadecimal.
    pub done_checksum: String,
    /// The statement that was about to run when the row was last written.
    pub intent: Option<Intent>,
    /// User variables for a resumed script; see [`crate::migrate::session_state`].
    pub session_state: Option<String>,
    /// Why the script stopped, if that could be recorded.
    pub error: Option<String>,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub applied_at: String,
    /// `user@host`, as the server reports it.
    pub applied_by: String,
    /// Running time, without the wait for the lock.
    pub duration: Duration,
    /// True if a DOWN is stored.
    pub reversible: bool,
}

impl JournalRow {
    /// `VERSION_name`
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }

    /// Returns the name of the stored DOWN in messages.
    pub fn down_label(&self) -> String {
        format!("{}_DOWN.sql", self.label())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// The UP as it was applied, if it had at most [`super::UP_TEXT_MAX`] bytes.
    pub up: Option<String>,
    /// The DOWN as it was when the UP was applied.
    pub down: Option<String>,
}

/// Parses a row of [`super::Journal::history`].
pub fn parse_row(mut row: Row) -> Result<JournalRow> {
    let number: u64 = column(&mut row, 0)?;
    let version = Version::from_number(number)
        .ok_or_else(|| Error::failure(format!("`{number}` in `{JOURNAL_TABLE}` is not a version; delete that row")))?;
    let state: String = column(&mut row, 2)?;
    let state = State::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(|| {
        Error::failure(format!(
            "migration {version} has the unknown state `{state}` in `{JOURNAL_TABLE}`; a newer airun wrote it: use that one"
        ))
    })?;
    let intent: Option<String> = column(&mut row, 8)?;
    Ok(JournalRow {
        version,
        name: column(&mut row, 1)?,
        state,
        applied_order: column(&mut row, 3)?,
        checksum: column(&mut row, 4)?,
        statements_total: column(&mut row, 5)?,
        statements_done: column(&mut row, 6)?,
        done_checksum: column(&mut row, 7)?,
        intent: intent.map(|json| Intent::from_json(version, &json)).transpose()?,
        session_state: column(&mut row, 9)?,
        error: column(&mut row, 10)?,
        applied_at: column(&mut row, 11)?,
        applied_by: column(&mut row, 12)?,
        duration: Duration::from_millis(column(&mut row, 13)?),
        reversible: column::<u8>(&mut row, 14)? != 0,
    })
}

/// Takes a column's value. The driver's own conversions panic on an unexpected type.
pub fn column<T: mysql::prelude::FromValue>(row: &mut Row, index: usize) -> Result<T> {
    match row.take_opt(index) {
        Some(Ok(value)) => Ok(value),
        _ => Err(Error::failure(format!("column {index} of `{JOURNAL_TABLE}` has an unexpected type"))),
    }
}
