//! `migrate rollback`: undoes the newest applications with the DOWN that was stored when they were applied.

use std::time::{Duration, Instant};

use mysql::Conn;

use super::event::{Event, Events};
use super::execute::{self, Surroundings, Way};
use super::files::MigrationFile;
use super::journal::{Entry, Journal, State};
use super::recover::recover;
use super::script::Script;
use super::status::Read;
use super::up::{check_packets, fresh_session, packet_limit, prepare, tell};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, Exit, Result};
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
    files: &[Read],
    options: &Options,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<Vec<Version>> {
    let mut conn = database.connect()?;
    if options.dry_run {
        let journal = Journal::new(&database.name, None);
        let chosen = select(journal.history(&mut conn)?, options)?;
        for entry in &chosen {
            let text = journal.texts(&mut conn, entry.version)?.down.unwrap_or_default();
            let done = if entry.state == State::RollingBack { entry.done } else { 0 };
            tell(&Script::text(&text, label(entry)), done, events)?;
        }
        return Ok(chosen.iter().map(|entry| entry.version).collect());
    }
    let history = Journal::new(&database.name, None).history(&mut conn)?;
    if select(history, options)?.is_empty() {
        return Ok(Vec::new());
    }
    let lock = prepare(&mut conn, database, options.lock_timeout, shutdown, events)?;
    let journal = Journal::new(&database.name, Some(&lock));
    let chosen = select(journal.history(&mut conn)?, options)?;
    let of = chosen.len() as u64;
    let mut undone = Vec::new();
    for (i, mut entry) in chosen.into_iter().enumerate() {
        if i > 0 {
            fresh_session(&mut conn, database, &lock, options.lock_timeout, shutdown, events)?;
            // The lock was free for a moment.
            let history = journal.history(&mut conn)?;
            let Some(now) = history.into_iter().find(|now| now.version == entry.version) else { continue };
            entry = now;
        }
        let version = entry.version;
        let file = files.iter().map(|(file, _)| file).find(|file| file.version == version);
        let place = Some((i as u64 + 1, of));
        undo(&mut conn, database, &journal, entry, place, file, options.lock_timeout, shutdown, events)?;
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
    mut entry: Entry,
    place: Option<(u64, u64)>,
    file: Option<&MigrationFile>,
    patience: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<()> {
    let started = Instant::now();
    let stored = journal.texts(conn, entry.version)?.down;
    let Some(stored) = stored else { return Err(irreversible(&entry)) };
    let current = file.map(MigrationFile::down_text).transpose()?.flatten();
    let mut script = Script::text(&stored, label(&entry));
    match &current {
        Some(current) if *current != stored => {
            let begun = entry.state == State::RollingBack;
            let edited = Script::text(current, label(&entry));
            if begun && edited.prefix(entry.done)?.checksum.as_deref() == Some(entry.done_checksum.as_str()) {
                events(Event::Note(format!("{}: going on with the DOWN file as it is now", label(&entry))));
                script = edited;
            } else {
                events(Event::Note(format!(
                    "{}: the DOWN file was changed since; the stored one is run",
                    label(&entry)
                )));
            }
        }
        None if file.is_none() => {
            events(Event::Note(format!("{}: the files are gone; the stored DOWN is run", label(&entry))))
        }
        _ => {}
    }
    let outline = script.outline()?;
    check_packets(packet_limit(conn)?, &script, &outline)?;
    if entry.state == State::RollingBack {
        recover(conn, journal, &script, &outline, &mut entry, Some(&stored))?;
    }
    if let Some((i, of)) = place {
        let migration = format!("{}_{}", entry.version, entry.name);
        events(Event::Begins { i, of, migration, bytes: script.length(), session: conn.connection_id() });
    }
    let way = Way::Down { entry: &entry };
    let mut around = Surroundings { conn, journal, shutdown, events, schema: &database.name, patience, owed: None };
    execute::run(&mut around, &script, &outline, entry.version, &way)?;
    events(Event::RolledBack {
        version: entry.version,
        name: entry.name,
        statements: outline.total,
        took: started.elapsed(),
    });
    Ok(())
}

/// What `options` choose of the history, newest application first.
///
/// # Errors
/// Refuses what can't be undone.
pub fn select(mut history: Vec<Entry>, options: &Options) -> Result<Vec<Entry>> {
    if let Some(to) = options.to
        && !history.iter().any(|entry| entry.version == to)
    {
        return Err(Error::usage(format!("{to} is not applied; `airun migrate status` lists what is")));
    }
    history.sort_by_key(|entry| std::cmp::Reverse((entry.state == State::RollingBack, entry.sequence)));
    let limit = if options.to.is_some() { u64::MAX } else { options.limit };
    let chosen: Vec<Entry> = history
        .into_iter()
        .filter(|entry| options.to.is_none_or(|to| entry.version > to))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    for entry in &chosen {
        match entry.state {
            State::Applying => {
                return Err(Error::new(
                    Exit::Partial,
                    format!(
                        "{} stopped half-way; finish it with `airun migrate up` before you roll back",
                        label(entry)
                    ),
                ));
            }
            State::Baseline => {
                return Err(Error::failure(format!(
                    "{} was recorded by a baseline, not applied; there is nothing to undo",
                    label(entry)
                )));
            }
            State::Applied | State::RollingBack if !entry.reversible => return Err(irreversible(entry)),
            State::Applied | State::RollingBack => {}
        }
    }
    Ok(chosen)
}

fn irreversible(entry: &Entry) -> Error {
    Error::failure(format!(
        "{}_{} has no DOWN, so it can't be rolled back; nothing was touched",
        entry.version, entry.name
    ))
}

/// What messages call a migration's stored DOWN.
pub fn label(entry: &Entry) -> String {
    format!("{}_{}_DOWN.sql", entry.version, entry.name)
}
