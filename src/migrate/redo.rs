//! `migrate redo`: undoes the newest applications and applies the same migrations again, from their files.

use super::event::Events;
use super::journal::Journal;
use super::rollback::{self, label, rollback};
use super::script::Script;
use super::status::ParsedMigration;
use super::up::{self, tell, up};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// Undoes what `options` choose and applies it again; returns how many were redone.
///
/// # Errors
/// Refuses, before anything runs, what has no DOWN or no file any more; otherwise as [`rollback()`] and [`up()`].
pub fn redo(
    database: &Database,
    files: Vec<ParsedMigration>,
    options: &rollback::Options,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<u64> {
    let mut conn = database.connect()?;
    let chosen = rollback::select(Journal::new(&database.name, None).history(&mut conn)?, options)?;
    drop(conn);
    let find = |version: Version| files.iter().map(|(file, _)| file).find(|file| file.version == version);
    if let Some(gone) = chosen.iter().find(|row| find(row.version).is_none()) {
        return Err(Error::failure(format!(
            "{}: its UP file is gone, so it can't be applied again; nothing was touched",
            label(gone)
        )));
    }
    let undone = rollback(database, &files, options, shutdown, events)?;
    if options.dry_run {
        for file in chosen.iter().rev().filter_map(|row| find(row.version)) {
            tell(&Script::file(&file.up), 0, events)?;
        }
        return Ok(undone.len() as u64);
    }
    let options = up::Options {
        to: None,
        limit: None,
        only: Some(undone),
        strict: false,
        dry_run: false,
        lock_timeout: options.lock_timeout,
    };
    up(database, files, &options, shutdown, events)
}
