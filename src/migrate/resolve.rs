//! `migrate resolve`: corrects the journal by hand. It never changes the schema.

use std::time::Duration;

use super::context::Context;
use super::journal::{JournalRow, Migration, NewRow, Resolved, State};
use super::migrator::Migrator;
use super::script::Script;
use super::status::{MigrationStatus, Status, compare};
use super::up::next_order;
use super::version::Version;
use crate::error::{Error, Result};

/// An operator's statement about a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The whole UP was applied.
    Applied,
    /// Nothing of the UP was applied.
    Pending,
    /// The statements before `k` were applied.
    FromStatement {
        /// Number of the next statement to run, from 1.
        k: u64,
    },
    /// The file as it is now was applied.
    AcceptEdit,
}

impl Migrator<'_> {
    /// Records `resolution`, or only checks it if `dry_run` is true. Returns a sentence that says what was recorded.
    ///
    /// # Errors
    /// Refuses a resolution that doesn't fit the migration's status.
    pub fn resolve(&mut self, version: Version, resolution: Resolution, dry_run: bool) -> Result<String> {
        let files = self.files.clone();
        let conn = self.database.connect()?;
        let mut ctx = self.open_locked(conn)?;
        let history = ctx.journal.history(&mut ctx.conn)?;
        let order = next_order(history.iter());
        let status = compare(&files, history)
            .into_iter()
            .find(|status| status.version == version)
            .ok_or_else(|| Error::usage(format!("unknown migration {version}; `airun migrate status` lists all")))?;
        let change = plan(&mut ctx, &status, resolution)?;
        if !dry_run {
            if matches!(change, Change::Insert) {
                ctx.journal.create(&mut ctx.conn)?;
            }
            write(&mut ctx, &status, &change, order)?;
        }
        ctx.close();
        Ok(describe(&change, &status.label(), if dry_run { "would be recorded" } else { "recorded" }))
    }
}

/// The change of a migration's row.
enum Change {
    Insert,
    Delete,
    Update(Row),
}

/// The new values of a row.
struct Row {
    state: State,
    statements_total: u64,
    statements_done: u64,
    checksum: String,
    done_checksum: String,
    accepts_edit: bool,
}

fn describe(change: &Change, name: &str, verb: &str) -> String {
    match change {
        Change::Insert => format!("{verb}: {name} is applied"),
        Change::Delete => format!("{verb}: {name} is pending"),
        Change::Update(row) if row.state.is_partial() => {
            let command = if row.state == State::RollingBack { "rollback" } else { "up" };
            let (done, total) = (row.statements_done, row.statements_total);
            format!(
                "{verb}: {done} of {total} statements of {name} were applied; `airun migrate {command}` resumes there"
            )
        }
        Change::Update(row) if row.accepts_edit => format!("{verb}: {name} is applied as its file is now"),
        Change::Update(_) => format!("{verb}: {name} is applied"),
    }
}

fn plan(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, resolution: Resolution) -> Result<Change> {
    let refuse = |reason: &str| Err(Error::usage(format!("{} {reason}; there is nothing to resolve", status.label())));
    match (resolution, &status.row) {
        (Resolution::Applied, None) => Ok(Change::Insert),
        (Resolution::Applied, Some(row)) if row.state.is_partial() => Ok(Change::Update(applied(status, row))),
        (Resolution::Applied, Some(_)) => refuse("is already recorded as applied"),
        (Resolution::Pending, None) => refuse("is already pending"),
        (Resolution::Pending, Some(_)) => Ok(Change::Delete),
        (Resolution::FromStatement { k }, Some(row)) if row.state.is_partial() => {
            from_statement(ctx, status, row, k).map(Change::Update)
        }
        (Resolution::FromStatement { .. }, _) => refuse("has not stopped half-way"),
        (Resolution::AcceptEdit, Some(row)) => accept_edit(status, row).map(Change::Update),
        (Resolution::AcceptEdit, None) => refuse("is not applied"),
    }
}

/// Statements and checksum of the UP: the file's, or the row's if the file is missing.
fn up_of(status: &MigrationStatus<'_>, row: &JournalRow) -> (u64, String) {
    match status.parsed {
        Some(parsed) => (parsed.summary.total, parsed.summary.checksum.clone()),
        None => (row.statements_total, row.checksum.clone()),
    }
}

fn applied(status: &MigrationStatus<'_>, row: &JournalRow) -> Row {
    let (total, checksum) = up_of(status, row);
    // A rollback that left nothing undone restores what was recorded before it.
    let checksum = if row.state == State::RollingBack { row.checksum.clone() } else { checksum };
    Row {
        state: State::Applied,
        statements_total: total,
        statements_done: total,
        done_checksum: checksum.clone(),
        checksum,
        accepts_edit: false,
    }
}

fn from_statement(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, row: &JournalRow, k: u64) -> Result<Row> {
    let stored;
    let (script, checksum) = match (status.parsed, row.state) {
        (_, State::RollingBack) => {
            let missing = || Error::failure(format!("{} has no stored DOWN to resume", status.label()));
            stored = ctx.journal.texts(&mut ctx.conn, row.version)?.down.ok_or_else(missing)?;
            (Script::memory(stored.as_bytes(), row.down_label()), row.checksum.clone())
        }
        (Some(parsed), _) => (parsed.script(), parsed.summary.checksum.clone()),
        (None, _) => {
            return Err(Error::failure(format!("the file of {} is missing; restore it first", status.label())));
        }
    };
    let total = script.summarize()?.total;
    let prefix = if (1..=total + 1).contains(&k) { script.prefix(k - 1)?.checksum } else { None };
    let Some(done_checksum) = prefix else {
        return Err(Error::usage(format!(
            "`--from-statement {k}`: `{}` has {total} statements; give 1 to {}",
            script.label,
            total + 1
        )));
    };
    Ok(Row {
        state: row.state,
        statements_total: total,
        statements_done: k - 1,
        checksum,
        done_checksum,
        accepts_edit: false,
    })
}

fn accept_edit(status: &MigrationStatus<'_>, row: &JournalRow) -> Result<Row> {
    let name = status.label();
    let Some(parsed) = status.parsed else {
        return Err(Error::usage(format!("the file of {name} is missing, so no edit can be accepted")));
    };
    let summary = &parsed.summary;
    let (statements_done, done_checksum) = match status.status {
        Status::Edited => (summary.total, summary.checksum.clone()),
        Status::Partial => {
            let checksum = parsed.script().prefix(row.statements_done)?.checksum.ok_or_else(|| {
                Error::usage(format!(
                    "{} statements of {name} have run, and its file now has only {}; choose where to resume with \
                     `--from-statement K`",
                    row.statements_done, summary.total
                ))
            })?;
            (row.statements_done, checksum)
        }
        _ => return Err(Error::usage(format!("{name} was not edited, so no edit can be accepted"))),
    };
    Ok(Row {
        state: row.state,
        statements_total: summary.total,
        statements_done,
        checksum: summary.checksum.clone(),
        done_checksum,
        accepts_edit: true,
    })
}

fn write(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, change: &Change, order: u64) -> Result<()> {
    let up_text = status.parsed.and_then(|parsed| parsed.up_text.as_deref());
    let down_text = status.parsed.map(|parsed| parsed.file.down_text()).transpose()?.flatten();
    match (change, &status.row, status.parsed) {
        (Change::Insert, _, Some(parsed)) => {
            let migration = Migration {
                version: status.version,
                name: &status.name,
                applied_order: order,
                checksum: &parsed.summary.checksum,
                statements_total: parsed.summary.total,
                up_text,
                down_text: down_text.as_deref(),
            };
            let row = NewRow { migration, state: State::Applied, intent: None, duration: Duration::ZERO };
            ctx.journal.insert(&mut ctx.conn, &row)
        }
        (Change::Delete, Some(row), _) => ctx.journal.delete(&mut ctx.conn, row.version, row.state),
        (Change::Update(to), Some(row), _) => {
            let rolling_back = row.state == State::RollingBack;
            let replaces_down = !rolling_back && (to.accepts_edit || to.state == State::Applied);
            let resolved = Resolved {
                state: to.state,
                checksum: &to.checksum,
                statements_total: to.statements_total,
                statements_done: to.statements_done,
                done_checksum: &to.done_checksum,
                up_text: up_text.filter(|_| !rolling_back),
                down_text: down_text.as_deref().filter(|_| replaces_down),
            };
            ctx.journal.resolve(&mut ctx.conn, row, &resolved)
        }
        _ => Err(Error::failure(format!("the file of {} is missing", status.label()))),
    }
}
