//! `migrate up`: applies what is pending, in version order.

use std::path::Path;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::diff;
use super::event::{Event, Events};
use super::execute::{self, Context, DeferredCommit, Direction};
use super::files;
use super::journal::{Journal, JournalRow, State, UP_TEXT_MAX, UpReplacement};
use super::lock::Lock;
use super::recover::recover;
use super::rollback;
use super::script::{Script, ScriptSummary};
use super::status::{self, MigrationStatus, ParsedMigration, Status};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::fault;
use crate::shutdown::Shutdown;

/// What to apply, and how patiently.
#[derive(Debug, Clone)]
pub struct Options {
    /// Up to and including this one.
    pub to: Option<Version>,
    /// At most so many.
    pub limit: Option<u64>,
    /// None but these.
    pub only: Option<Vec<Version>>,
    /// Refuse what is out of order or missing instead of warning.
    pub strict: bool,
    /// Tell what would run, and touch nothing.
    pub dry_run: bool,
    /// How long to wait for another migrator, and for metadata locks.
    pub lock_timeout: Duration,
}

/// A definition waits so long for a metadata lock before it lets others pass, seconds.
const LOCK_WAIT_SECONDS: u32 = 5;

/// Applies what is pending; returns how many were applied.
///
/// # Errors
/// [`ErrorKind::Drift`] where an applied file was edited, [`ErrorKind::LockHeld`], [`ErrorKind::Interrupted`], or what the server has
/// against a statement.
pub fn up(
    database: &Database,
    files: Vec<ParsedMigration>,
    options: &Options,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<u64> {
    if options.dry_run {
        return dry_run(database, files, options, events);
    }
    let mut conn = database.connect_or_create()?;
    let unlocked = Journal::new(&database.name, None);
    let history = unlocked.history(&mut conn)?;
    let items = status::compare(files, history);
    refuse_edits(&mut conn, database, &items)?;
    if select(&items, options, events)?.is_empty() {
        return Ok(0);
    }
    let lock = open_locked(&mut conn, database, options.lock_timeout, shutdown, events)?;
    let journal = Journal::new(&database.name, Some(&lock));
    journal.create(&mut conn)?;
    let mut files = reads(items);
    let mut applied = 0;
    // Somebody may have been at work until the lock was ours, and again whenever it was free for a moment.
    'history: loop {
        let history = journal.history(&mut conn)?;
        let mut sequence = next_sequence(&history);
        let items = status::compare(files, history);
        refuse_edits(&mut conn, database, &items)?;
        let chosen = select(&items, &options.behind(applied), &mut |_| {})?;
        let of = applied + chosen.len() as u64;
        let limit = packet_limit(&mut conn)?;
        for (file, summary) in chosen.iter().filter_map(|item| item.file.as_ref().zip(item.summary.as_ref())) {
            check_packets(limit, &Script::file(&file.up), summary)?;
        }
        let mut owed = None;
        for item in &chosen {
            events(Event::Begins {
                i: applied + 1,
                of,
                migration: item.label(),
                bytes: item.file.as_ref().map_or(0, |file| Script::file(&file.up).length()),
                session: conn.connection_id(),
            });
            apply(&mut conn, database, &journal, item, sequence, &mut owed, options, shutdown, events)?;
            sequence += 1;
            applied += 1;
            if item.summary.as_ref().is_some_and(|summary| summary.leaves_traces) {
                settle(&mut conn, &journal, &mut owed, events)?;
                reset_session(&mut conn, database, &lock, options.lock_timeout, shutdown, events)?;
                if journal.newest(&mut conn)? >= sequence {
                    files = reads(items);
                    continue 'history;
                }
            }
        }
        settle(&mut conn, &journal, &mut owed, events)?;
        break;
    }
    lock.release(&mut conn);
    Ok(applied)
}

/// Records the end of the last migration, and tells.
fn settle(
    conn: &mut Conn,
    journal: &Journal,
    owed: &mut Option<DeferredCommit>,
    events: &mut Events<'_>,
) -> Result<()> {
    if let Some(owed) = owed.take() {
        owed.settle(conn, journal)?;
        fault::point("settled");
        events(owed.applied());
    }
    Ok(())
}

impl Options {
    /// What is left of them when so many were applied.
    fn behind(&self, applied: u64) -> Self {
        Self { limit: self.limit.map(|limit| limit.saturating_sub(applied)), ..self.clone() }
    }
}

fn reads(items: Vec<MigrationStatus>) -> Vec<ParsedMigration> {
    items.into_iter().filter_map(|item| item.file.zip(item.summary)).collect()
}

/// The number behind the newest application.
pub fn next_sequence(history: &[JournalRow]) -> u64 {
    history.iter().map(|row| row.sequence).max().unwrap_or(0) + 1
}

/// Readies the session and takes the lock.
pub fn open_locked(
    conn: &mut Conn,
    database: &Database,
    limit: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<Lock> {
    ready(conn)?;
    Lock::acquire(conn, database, limit, shutdown, events)
}

fn ready(conn: &mut Conn) -> Result<()> {
    // MySQL's default is a year, during which everybody else waits behind it. The driver takes another collation than the
    // server's default for utf8mb4, and routines keep that of their making.
    conn.query_drop(format!("SET lock_wait_timeout = {LOCK_WAIT_SECONDS}, NAMES utf8mb4"))?;
    Ok(())
}

/// What a script left in its session must not reach the next one. A reset frees the lock, so it is taken again.
pub fn reset_session(
    conn: &mut Conn,
    database: &Database,
    lock: &Lock,
    limit: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<()> {
    conn.reset()?;
    conn.select_db(&database.name)?;
    ready(conn)?;
    lock.again(conn, database, limit, shutdown, events)
}

/// An edited migration means that this database and the next one would differ: that is refused, with what changed.
fn refuse_edits(conn: &mut Conn, database: &Database, items: &[MigrationStatus]) -> Result<()> {
    let mut edits = Vec::new();
    for item in items.iter().filter(|item| item.status == Status::Edited) {
        let Some(file) = &item.file else { continue };
        let kept = Journal::new(&database.name, None).texts(conn, item.version)?.up;
        let diff = diff::describe(kept.as_deref(), &files::read_text(&file.up)?);
        edits.push(format!("`{}` was edited after it was applied:\n{diff}", file.up.display()));
    }
    if edits.is_empty() {
        return Ok(());
    }
    edits.push(
        "put it back and write a new migration for the change, or record the edit with `airun migrate resolve VERSION \
         --accept-edit`"
            .to_owned(),
    );
    Err(Error::new(ErrorKind::Drift, edits.join("\n")))
}

/// What is to be applied; what `--strict` is against is refused here, before anything runs.
fn select<'i>(
    items: &'i [MigrationStatus],
    options: &Options,
    events: &mut Events<'_>,
) -> Result<Vec<&'i MigrationStatus>> {
    if let Some(to) = options.to
        && !items.iter().any(|item| item.version == to)
    {
        return Err(Error::usage(format!("there is no migration {to}; `airun migrate status` lists them")));
    }
    for item in items {
        if item.status != Status::Missing {
            continue;
        }
        let what = format!("{}_{} is applied, and its file is missing", item.version, item.name);
        if options.strict {
            return Err(Error::new(ErrorKind::Drift, what));
        }
        events(Event::Warning(what));
    }
    let wanted = |item: &&MigrationStatus| {
        matches!(item.status, Status::Pending | Status::OutOfOrder | Status::Partial | Status::PartialRollback)
            && options.to.is_none_or(|to| item.version <= to)
            && options.only.as_ref().is_none_or(|only| only.contains(&item.version))
    };
    let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let chosen: Vec<&MigrationStatus> = items.iter().filter(wanted).take(limit).collect();
    for item in &chosen {
        if item.status == Status::OutOfOrder {
            let what = format!("{}_{} is older than a migration that is applied", item.version, item.name);
            if options.strict {
                return Err(Error::failure(format!("{what}; give it a newer version, or leave out `--strict`")));
            }
            events(Event::Warning(what));
        }
    }
    Ok(chosen)
}

#[expect(clippy::too_many_arguments, reason = "everything that one migration needs, once")]
fn apply(
    conn: &mut Conn,
    database: &Database,
    journal: &Journal,
    item: &MigrationStatus,
    sequence: u64,
    owed: &mut Option<DeferredCommit>,
    options: &Options,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<()> {
    let started = Instant::now();
    let mut resumed = item.row.clone();
    if resumed.as_ref().is_some_and(|row| row.state == State::RollingBack) {
        let row = resumed.take().into_iter().next();
        if let Some(row) = row {
            events(Event::Note(format!("finishing the rollback of {}_{} first", item.version, item.name)));
            rollback::undo(
                conn,
                database,
                journal,
                row,
                None,
                item.file.as_ref(),
                options.lock_timeout,
                shutdown,
                events,
            )?;
        }
    }
    let (Some(file), Some(summary)) = (&item.file, &item.summary) else {
        return Err(Error::new(
            ErrorKind::PartiallyApplied,
            format!("{}_{} stopped half-way and its file is missing; bring the file back", item.version, item.name),
        ));
    };
    let script = Script::file(&file.up);
    let up_text = if summary.bytes <= UP_TEXT_MAX { Some(script.read()?) } else { None };
    let down_text = file.down_text()?;
    if let Some(row) = &mut resumed {
        let kept = journal.texts(conn, row.version)?.up;
        recover(conn, journal, &script, summary, row, kept.as_deref())?;
        journal.replace_up(
            conn,
            row.version,
            &UpReplacement {
                state: row.state,
                checksum: &summary.checksum,
                total: summary.total,
                up_text: up_text.as_deref(),
                down_text: down_text.as_deref(),
            },
        )?;
        events(Event::Note(format!(
            "{}_{} goes on after statement {} of {}",
            item.version, item.name, row.done, summary.total
        )));
    }
    let way = Direction::Up {
        name: &item.name,
        sequence,
        up_text: up_text.as_deref(),
        down_text: down_text.as_deref(),
        resumed: resumed.as_ref(),
    };
    if summary.one_transaction || resumed.is_some() {
        settle(conn, journal, owed, events)?;
    }
    let mut ctx = Context {
        conn,
        journal,
        shutdown,
        events,
        schema: &database.name,
        patience: options.lock_timeout,
        owed: owed.take(),
    };
    let ran = execute::run(&mut ctx, &script, summary, item.version, &way);
    let mut left = ctx.owed.take();
    if let Err(error) = ran.as_ref() {
        // It failed before its first record. Where the connection is lost, the next run finds the one before done.
        if let Err(unsettled) = settle(conn, journal, &mut left, events) {
            log::debug!("{unsettled}, after {error}");
        }
    }
    *owed = ran?;
    if owed.is_none() {
        events(Event::Applied {
            version: item.version,
            name: item.name.clone(),
            statements: summary.total,
            took: started.elapsed(),
        });
    }
    Ok(())
}

/// The longest packet that the server takes, bytes.
pub fn packet_limit(conn: &mut Conn) -> Result<u64> {
    let limit: Option<u64> = conn.query_first("SELECT @@max_allowed_packet")?;
    limit.ok_or_else(|| Error::failure("the server doesn't tell its max_allowed_packet"))
}

/// A statement that the server won't take is found before anything runs.
pub fn check_packets(limit: u64, script: &Script<'_>, summary: &ScriptSummary) -> Result<()> {
    let (longest, at) = summary.longest;
    match longest {
        // The packet holds a byte for the command too.
        longest if longest >= limit => Err(Error::failure(format!(
            "{}:{}:{}: a statement of {longest} bytes is over the server's max_allowed_packet of {limit}; raise that, or split it",
            script.label, at.line, at.column
        ))),
        _ => Ok(()),
    }
}

fn dry_run(
    database: &Database,
    files: Vec<ParsedMigration>,
    options: &Options,
    events: &mut Events<'_>,
) -> Result<u64> {
    let mut conn = database.connect_server()?;
    let history = Journal::new(&database.name, None).history(&mut conn)?;
    let items = status::compare(files, history);
    refuse_edits(&mut conn, database, &items)?;
    let chosen = select(&items, options, events)?;
    for item in &chosen {
        if let Some(file) = &item.file {
            tell(&Script::file(&file.up), item.row.as_ref().map_or(0, |row| row.done), events)?;
        }
    }
    Ok(chosen.len() as u64)
}

/// Tells the statements of `script` behind the first `done`.
pub fn tell(script: &Script<'_>, done: u64, events: &mut Events<'_>) -> Result<()> {
    let mut statements = script.statements()?;
    let mut k = 0;
    while let Some(statement) = statements.next().map_err(|error| script.split_error(error))? {
        k += 1;
        if k > done {
            let place = format!("{}:{}", script.label, statement.at.line);
            events(Event::WouldRun { place, text: statement.text.to_owned() });
        }
    }
    Ok(())
}

/// Reads every file, as `migrate check` does; returns how many migrations and statements there are.
///
/// # Errors
/// Names file, line and column of what is wrong, one line each.
pub fn check(folder: &Path) -> Result<(usize, u64)> {
    let files = files::scan(folder)?;
    let mut wrong = Vec::new();
    let mut statements = 0;
    for file in &files {
        for path in [Some(&file.up), file.down.as_ref()].into_iter().flatten() {
            match Script::file(path).summary() {
                Ok(summary) => statements += summary.total,
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    if wrong.is_empty() { Ok((files.len(), statements)) } else { Err(Error::failure(wrong.join("\n"))) }
}
