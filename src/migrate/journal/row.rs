//! A row of `ai_migrations` as it is read.

use std::fmt;
use std::time::Duration;

use mysql::Row;
use serde::Serialize;

use super::TABLE;
use crate::error::{Error, Result};
use crate::migrate::recover::evidence::Intent;
use crate::migrate::version::Version;

/// What a row says of its migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The UP has begun and not ended.
    Applying,
    /// The UP has run to its end.
    Applied,
    /// It was there before airun came; see [`crate::migrate::baseline`].
    Baseline,
    /// The DOWN has begun and not ended.
    RollingBack,
}

impl State {
    const ALL: [State; 4] = [State::Applying, State::Applied, State::Baseline, State::RollingBack];

    /// As the table holds it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Applying => "applying",
            State::Applied => "applied",
            State::Baseline => "baseline",
            State::RollingBack => "rolling_back",
        }
    }

    /// Whether the script that makes this state has stopped half-way.
    pub fn is_partial(self) -> bool {
        matches!(self, State::Applying | State::RollingBack)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A migration's row, without its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalRow {
    pub version: Version,
    pub name: String,
    pub state: State,
    /// The order of application, which needn't be the order of versions.
    pub sequence: u64,
    /// Of the UP's statements, hexadecimal.
    pub checksum: String,
    /// Statements of the script that runs or ran (the UP's, or the DOWN's while rolling back).
    pub total: u64,
    /// How many of them are known to have taken effect.
    pub done: u64,
    /// Of those statements, hexadecimal.
    pub done_checksum: String,
    /// What was about to run when the row was last written.
    pub intent: Option<Intent>,
    /// What a resumed script must find in its session; see [`crate::migrate::recover::session`].
    pub session: Option<String>,
    /// Why it stopped, as far as that could be written down.
    pub error: Option<String>,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub at: String,
    /// The server's name for who did it: `user@host`.
    pub by: String,
    /// Running time, without waiting for the lock.
    pub duration: Duration,
    /// Whether a DOWN was stored.
    pub reversible: bool,
}

/// The texts that a row keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// The UP as it was applied; only of files up to [`super::UP_TEXT_MAX`].
    pub up: Option<String>,
    /// The DOWN as it was when the UP was applied.
    pub down: Option<String>,
}

pub fn row(mut row: Row) -> Result<JournalRow> {
    let number: u64 = take(&mut row, 0)?;
    let version = Version::from_number(number)
        .ok_or_else(|| Error::failure(format!("`{number}` in `{TABLE}` is no version; delete that row")))?;
    let state: String = take(&mut row, 2)?;
    let state = State::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(|| {
        Error::failure(format!("`{TABLE}` has {version} as `{state}`; it was written by a newer airun: use that one"))
    })?;
    let intent: Option<String> = take(&mut row, 8)?;
    Ok(JournalRow {
        version,
        name: take(&mut row, 1)?,
        state,
        sequence: take(&mut row, 3)?,
        checksum: take(&mut row, 4)?,
        total: take(&mut row, 5)?,
        done: take(&mut row, 6)?,
        done_checksum: take(&mut row, 7)?,
        intent: intent.map(|json| Intent::from_json(version, &json)).transpose()?,
        session: take(&mut row, 9)?,
        error: take(&mut row, 10)?,
        at: take(&mut row, 11)?,
        by: take(&mut row, 12)?,
        duration: Duration::from_millis(take(&mut row, 13)?),
        reversible: take::<u8>(&mut row, 14)? != 0,
    })
}

/// A column's value; the driver's own conversions panic on a type that they don't expect.
pub fn take<T: mysql::prelude::FromValue>(row: &mut Row, column: usize) -> Result<T> {
    match row.take_opt(column) {
        Some(Ok(value)) => Ok(value),
        _ => Err(Error::failure(format!("column {column} of `{TABLE}` is not of the type that airun gave it"))),
    }
}
