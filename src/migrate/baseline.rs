//! `migrate baseline`: adopts a database that was there before airun.

use std::time::Duration;

use super::event::Events;
use super::journal::{Begin, Journal, State, UP_TEXT_MAX};
use super::script::Script;
use super::status::{self, ParsedMigration, Status};
use super::up::{next_sequence, open_locked};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// Records every migration up to and including `to` as there without running it; returns how many.
///
/// # Errors
/// Refuses where something is applied already, and where there is no migration `to`.
pub fn baseline(
    database: &Database,
    files: Vec<ParsedMigration>,
    to: Version,
    limit: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<u64> {
    if !files.iter().any(|(file, _)| file.version == to) {
        return Err(Error::usage(format!("there is no migration {to} in the folder")));
    }
    let mut conn = database.connect_or_create()?;
    let lock = open_locked(&mut conn, database, limit, shutdown, events)?;
    let journal = Journal::new(&database.name, Some(&lock));
    journal.create(&mut conn)?;
    let history = journal.history(&mut conn)?;
    let mut sequence = next_sequence(&history);
    let mut recorded = 0;
    for item in status::compare(files, history) {
        let (Some(file), Some(summary)) = (&item.file, &item.summary) else { continue };
        let unrecorded = matches!(item.status, Status::Pending | Status::OutOfOrder);
        if item.version > to || !unrecorded {
            continue;
        }
        let up_text = if summary.bytes <= UP_TEXT_MAX { Some(Script::file(&file.up).read()?) } else { None };
        let down_text = file.down_text()?;
        let begin = Begin {
            version: item.version,
            name: &item.name,
            state: State::Baseline,
            sequence,
            checksum: &summary.checksum,
            total: summary.total,
            done: summary.total,
            intent: None,
            up_text: up_text.as_deref(),
            down_text: down_text.as_deref(),
            duration: Duration::ZERO,
        };
        journal.begin(&mut conn, &begin)?;
        sequence += 1;
        recorded += 1;
    }
    lock.release(&mut conn);
    Ok(recorded)
}
