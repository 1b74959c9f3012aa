//! `migrate resolve`: the manual way out. It changes what is recorded, never the schema.

use std::time::Duration;

use mysql::Conn;

use super::event::Events;
use super::journal::{Begin, Journal, JournalRow, Resolved, State, UP_TEXT_MAX};
use super::script::Script;
use super::status::{self, MigrationStatus, ParsedMigration, Status};
use super::up::{next_sequence, open_locked};
use super::version::Version;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// What somebody says of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// All of its UP is in the database.
    Applied,
    /// None of its UP is.
    Pending,
    /// The statements before `k`, counted from 1, have happened.
    FromStatement {
        /// The next statement to run.
        k: u64,
    },
    /// The file as it is now is what was applied.
    AcceptEdit,
}

/// Records `resolution`, or with `dry_run` only checks it; returns what was, or would be, recorded, as a sentence.
///
/// # Errors
/// Refuses what makes no sense for how the migration stands, and says what would.
#[expect(clippy::too_many_arguments, reason = "everything that one command needs, once")]
pub fn resolve(
    database: &Database,
    files: Vec<ParsedMigration>,
    version: Version,
    resolution: Resolution,
    dry_run: bool,
    limit: Duration,
    shutdown: &Shutdown,
    events: &mut Events<'_>,
) -> Result<String> {
    let mut conn = database.connect()?;
    let lock = open_locked(&mut conn, database, limit, shutdown, events)?;
    let journal = Journal::new(&database.name, Some(&lock));
    let history = journal.history(&mut conn)?;
    let sequence = next_sequence(&history);
    let item = status::compare(files, history).into_iter().find(|item| item.version == version);
    let item = item
        .ok_or_else(|| Error::usage(format!("there is no migration {version}; `airun migrate status` lists them")))?;
    let change = plan(&mut conn, &journal, &item, resolution)?;
    if !dry_run {
        if matches!(change, Change::Insert) {
            journal.create(&mut conn)?;
        }
        write(&mut conn, &journal, &item, &change, sequence)?;
    }
    lock.release(&mut conn);
    let verb = if dry_run { "would be recorded" } else { "recorded" };
    let name = format!("{version}_{}", item.name);
    Ok(match &change {
        Change::Insert => format!("{verb}: {name} is applied"),
        Change::Forget => format!("{verb}: {name} is pending"),
        Change::Replace { state: State::Applied | State::Baseline, accepts: true, .. } => {
            format!("{verb}: {name} is applied as its file is now")
        }
        Change::Replace { state: State::Applied | State::Baseline, .. } => format!("{verb}: {name} is applied"),
        Change::Replace { state, done, total, .. } => {
            let next = if *state == State::RollingBack { "rollback" } else { "up" };
            format!("{verb}: {done} of {total} statements of {name} have happened; `airun migrate {next}` goes on")
        }
    })
}

/// What is to become of the row.
enum Change {
    Insert,
    Forget,
    Replace { state: State, total: u64, done: u64, checksum: String, done_checksum: String, accepts: bool },
}

fn plan(conn: &mut Conn, journal: &Journal, item: &MigrationStatus, resolution: Resolution) -> Result<Change> {
    let name = item.label();
    let nothing = |what: &str| Err(Error::usage(format!("{name} {what}; there is nothing to resolve")));
    match (resolution, &item.row) {
        (Resolution::Applied, None) => Ok(Change::Insert),
        (Resolution::Applied, Some(row)) if row.state == State::Applying => {
            let (total, checksum) = current(item, row);
            let done_checksum = checksum.clone();
            Ok(Change::Replace { state: State::Applied, total, done: total, checksum, done_checksum, accepts: false })
        }
        // The rollback is said not to have undone anything that stays undone.
        (Resolution::Applied, Some(row)) if row.state == State::RollingBack => {
            let (total, checksum) = (current(item, row).0, row.checksum.clone());
            let done_checksum = checksum.clone();
            Ok(Change::Replace { state: State::Applied, total, done: total, checksum, done_checksum, accepts: false })
        }
        (Resolution::Applied, Some(_)) => nothing("is recorded as applied already"),
        (Resolution::Pending, None) => nothing("is pending already"),
        (Resolution::Pending, Some(_)) => Ok(Change::Forget),
        (Resolution::FromStatement { k }, Some(row)) if row.state.is_partial() => {
            from_statement(conn, journal, item, row, k)
        }
        (Resolution::FromStatement { .. }, _) => nothing("has not stopped half-way"),
        (Resolution::AcceptEdit, Some(row)) => accept_edit(item, row),
        (Resolution::AcceptEdit, None) => nothing("is not applied"),
    }
}

fn current(item: &MigrationStatus, row: &JournalRow) -> (u64, String) {
    match &item.summary {
        Some(summary) => (summary.total, summary.checksum.clone()),
        None => (row.total, row.checksum.clone()),
    }
}

fn from_statement(
    conn: &mut Conn,
    journal: &Journal,
    item: &MigrationStatus,
    row: &JournalRow,
    k: u64,
) -> Result<Change> {
    let stored;
    let script = match (&item.file, row.state) {
        (_, State::RollingBack) => {
            stored = journal.texts(conn, row.version)?.down.unwrap_or_default();
            Script::text(&stored, format!("{}_{}_DOWN.sql", item.version, item.name))
        }
        (Some(file), _) => Script::file(&file.up),
        (None, _) => {
            return Err(Error::failure(format!(
                "the file of {}_{} is missing; bring it back first",
                item.version, item.name
            )));
        }
    };
    let total = script.summary()?.total;
    if k == 0 || k > total + 1 {
        return Err(Error::usage(format!(
            "`--from-statement {k}`: `{}` has {total} statements; give 1 to {}",
            script.label,
            total + 1
        )));
    }
    let done_checksum = script.prefix(k - 1)?.checksum.unwrap_or_default();
    let checksum = if row.state == State::RollingBack { row.checksum.clone() } else { current(item, row).1 };
    Ok(Change::Replace { state: row.state, total, done: k - 1, checksum, done_checksum, accepts: false })
}

fn accept_edit(item: &MigrationStatus, row: &JournalRow) -> Result<Change> {
    let name = item.label();
    let (Some(file), Some(summary)) = (&item.file, &item.summary) else {
        return Err(Error::usage(format!("the file of {name} is missing, so there is no edit to accept")));
    };
    match item.status {
        Status::Edited => Ok(Change::Replace {
            state: row.state,
            total: summary.total,
            done: summary.total,
            checksum: summary.checksum.clone(),
            done_checksum: summary.checksum.clone(),
            accepts: true,
        }),
        Status::Partial => {
            let done_checksum = Script::file(&file.up).prefix(row.done)?.checksum;
            let done_checksum = done_checksum.ok_or_else(|| {
                Error::usage(format!(
                    "{} statements of {name} have run, and its file has only {} now; say where to go on with \
                     `--from-statement K`",
                    row.done, summary.total
                ))
            })?;
            Ok(Change::Replace {
                state: row.state,
                total: summary.total,
                done: row.done,
                checksum: summary.checksum.clone(),
                done_checksum,
                accepts: true,
            })
        }
        _ => Err(Error::usage(format!("{name} is what its file says; there is no edit to accept"))),
    }
}

fn write(conn: &mut Conn, journal: &Journal, item: &MigrationStatus, change: &Change, sequence: u64) -> Result<()> {
    let up_text = match (&item.file, &item.summary) {
        (Some(file), Some(summary)) if summary.bytes <= UP_TEXT_MAX => Some(Script::file(&file.up).read()?),
        _ => None,
    };
    let down_text = item.file.as_ref().map(|file| file.down_text()).transpose()?.flatten();
    match (change, &item.row, &item.summary) {
        (Change::Insert, _, Some(summary)) => journal.begin(
            conn,
            &Begin {
                version: item.version,
                name: &item.name,
                state: State::Applied,
                sequence,
                checksum: &summary.checksum,
                total: summary.total,
                done: summary.total,
                intent: None,
                up_text: up_text.as_deref(),
                down_text: down_text.as_deref(),
                duration: Duration::ZERO,
            },
        ),
        (Change::Forget, Some(row), _) => journal.forget(conn, row.version, row.state),
        (Change::Replace { state, total, done, checksum, done_checksum, accepts }, Some(row), _) => {
            let keep_down = row.state == State::RollingBack || (!accepts && *state != State::Applied);
            let resolved = Resolved {
                state: *state,
                checksum,
                total: *total,
                done: *done,
                done_checksum,
                up_text: up_text.as_deref().filter(|_| row.state != State::RollingBack),
                down_text: down_text.as_deref().filter(|_| !keep_down),
            };
            journal.resolve(conn, row, &resolved)
        }
        _ => Err(Error::failure(format!("the file of {}_{} is missing", item.version, item.name))),
    }
}
