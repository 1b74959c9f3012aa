//! `migrate rollback`: undoes the newest applications with the DOWN that was stored when they were applied.

use std::time::{Duration, Instant};

use mysql::Conn;

use super::event::{Event, Events};
use super::execute::{self, Context, Direction};
use super::files::MigrationFile;
use super::journal::{Journal, JournalRow, State};
use super::recover::recover;
use super::script::Script;
use super::status::ParsedMigration;
use super::up::{check_packets, open_locked, packet_limit, reset_session, tell};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::shutdown::Shutdown;

/// What to undo, and how patiently.
#[derive(Debug, Clone)]
pub struct Options {
    /// So many, newest application first.
    pub limit: u64,
    /// Instead: everything newer than this version.
    pub to: Option<Version>,
    /// Tell what would run, and touch nothing.
    pub dry_run: bool,
    /// How long to wait for another migrator, and for metadata locks.
    pub lock_timeout: Duration,
}

/// Undoes what `options` choose; returns what was undone.
///
/// # Errors
/// Refuses, before anything runs, what has no DOWN; otherwise as [`super::up::up`].
pub fn rollback(
    database: &Database,
    files: &[ParsedMigration],
    options: &Options,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<Vec<Version>> {
    let mut conn = database.connect()?;
    if options.dry_run {
        let journal = Journal::new(&database.name, None);
        let chosen = select(journal.history(&mut conn)?, options)?;
        for row in &chosen {
            let text = journal.texts(&mut conn, row.version)?.down.unwrap_or_default();
            let done = if row.state == State::RollingBack { row.done } else { 0 };
            tell(&Script::text(&text, label(row)), done, events)?;
        }
        return Ok(chosen.iter().map(|row| row.version).collect());
    }
    let history = Journal::new(&database.name, None).history(&mut conn)?;
    if select(history, options)?.is_empty() {
        return Ok(Vec::new());
    }
    let lock = open_locked(&mut conn, database, options.lock_timeout, shutdown, events)?;
    let journal = Journal::new(&database.name, Some(&lock));
    let chosen = select(journal.history(&mut conn)?, options)?;
    let of = chosen.len() as u64;
    let mut undone = Vec::new();
    for (i, mut row) in chosen.into_iter().enumerate() {
        if i > 0 {
            reset_session(&mut conn, database, &lock, options.lock_timeout, shutdown, events)?;
            // The lock was free for a moment.
            let history = journal.history(&mut conn)?;
            let Some(now) = history.into_iter().find(|now| now.version == row.version) else { continue };
            row = now;
        }
        let version = row.version;
        let file = files.iter().map(|(file, _)| file).find(|file| file.version == version);
        let place = Some((i as u64 + 1, of));
        undo(&mut conn, database, &journal, row, place, file, options.lock_timeout, shutdown, events)?;
        undone.push(version);
    }
    lock.release(&mut conn);
    Ok(undone)
}

/// Undoes one migration, or goes on with it; `place` tells which of how many, where that hasn't been told.
///
/// # Errors
/// As [`rollback`].
#[expect(clippy::too_many_arguments, reason = "everything that one migration needs, once")]
pub fn undo(
    conn: &mut Conn,
    database: &Database,
    journal: &Journal,
    mut row: JournalRow,
    place: Option<(u64, u64)>,
    file: Option<&MigrationFile>,
    patience: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<()> {
    let started = Instant::now();
    let stored = journal.texts(conn, row.version)?.down;
    let Some(stored) = stored else { return Err(irreversible(&row)) };
    let current = file.map(MigrationFile::down_text).transpose()?.flatten();
    let mut script = Script::text(&stored, label(&row));
    match &current {
        Some(current) if *current != stored => {
            let begun = row.state == State::RollingBack;
            let edited = Script::text(current, label(&row));
            if begun && edited.prefix(row.done)?.checksum.as_deref() == Some(row.done_checksum.as_str()) {
                events(Event::Note(format!("{}: going on with the DOWN file as it is now", label(&row))));
                script = edited;
            } else {
                events(Event::Note(format!("{}: the DOWN file was changed since; the stored one is run", label(&row))));
            }
        }
        None if file.is_none() => {
            events(Event::Note(format!("{}: the files are gone; the stored DOWN is run", label(&row))))
        }
        _ => {}
    }
    let summary = script.summary()?;
    check_packets(packet_limit(conn)?, &script, &summary)?;
    if row.state == State::RollingBack {
        recover(conn, journal, &script, &summary, &mut row, Some(&stored))?;
    }
    if let Some((i, of)) = place {
        let migration = format!("{}_{}", row.version, row.name);
        events(Event::Begins { i, of, migration, bytes: script.length(), session: conn.connection_id() });
    }
    let way = Direction::Down { row: &row };
    let mut ctx = Context { conn, journal, shutdown, events, schema: &database.name, patience, owed: None };
    execute::run(&mut ctx, &script, &summary, row.version, &way)?;
    events(Event::RolledBack {
        version: row.version,
        name: row.name,
        statements: summary.total,
        took: started.elapsed(),
    });
    Ok(())
}

/// What `options` choose of the history, newest application first.
///
/// # Errors
/// Refuses what can't be undone.
pub fn select(mut history: Vec<JournalRow>, options: &Options) -> Result<Vec<JournalRow>> {
    if let Some(to) = options.to
        && !history.iter().any(|row| row.version == to)
    {
        return Err(Error::usage(format!("{to} is not applied; `airun migrate status` lists what is")));
    }
    history.sort_by_key(|row| std::cmp::Reverse((row.state == State::RollingBack, row.sequence)));
    let limit = if options.to.is_some() { u64::MAX } else { options.limit };
    let chosen: Vec<JournalRow> = history
        .into_iter()
        .filter(|row| options.to.is_none_or(|to| row.version > to))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    for row in &chosen {
        match row.state {
            State::Applying => {
                return Err(Error::new(
                    ErrorKind::PartiallyApplied,
                    format!("{} stopped half-way; finish it with `airun migrate up` before you roll back", label(row)),
                ));
            }
            State::Baseline => {
                return Err(Error::failure(format!(
                    "{} was recorded by a baseline, not applied; there is nothing to undo",
                    label(row)
                )));
            }
            State::Applied | State::RollingBack if !row.reversible => return Err(irreversible(row)),
            State::Applied | State::RollingBack => {}
        }
    }
    Ok(chosen)
}

fn irreversible(row: &JournalRow) -> Error {
    Error::failure(format!("{}_{} has no DOWN, so it can't be rolled back; nothing was touched", row.version, row.name))
}

/// What messages call a migration's stored DOWN.
pub fn label(row: &JournalRow) -> String {
    format!("{}_{}_DOWN.sql", row.version, row.name)
}
