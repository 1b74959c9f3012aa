//! `migrate resolve`: corrects the journal by hand. It never changes the schema.

use std::time::Duration;

use super::context::Context;
use super::journal::{JournalRow, NewRow, State, Texts};
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
            write(&mut ctx, &status, &change, order)?;
        }
        ctx.close();
        let verb = if dry_run { "would be recorded" } else { "recorded" };
        Ok(format!("{verb}: {}", describe(&change, &status.label(), resolution)))
    }
}

/// The change of a migration's row.
enum Change {
    Insert,
    Delete,
    Update(Box<JournalRow>),
}

fn describe(change: &Change, name: &str, resolution: Resolution) -> String {
    match change {
        Change::Delete => format!("{name} is pending"),
        Change::Update(row) if row.state.is_partial() => {
            let command = if row.state == State::RollingBack { "rollback" } else { "up" };
            let (done, total) = (row.statements_done, row.statements_total);
            format!("{done} of {total} statements of {name} were applied; `airun migrate {command}` resumes there")
        }
        Change::Update(_) if resolution == Resolution::AcceptEdit => format!("{name} is applied as its file is now"),
        Change::Insert | Change::Update(_) => format!("{name} is applied"),
    }
}

fn plan(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, resolution: Resolution) -> Result<Change> {
    let refuse = |reason: &str| Err(Error::usage(format!("{} {reason}; there is nothing to resolve", status.label())));
    let update = |row| Change::Update(Box::new(row));
    match (resolution, &status.row) {
        (Resolution::Applied, None) => Ok(Change::Insert),
        (Resolution::Applied, Some(row)) if row.state.is_partial() => {
            Ok(update(JournalRow { state: State::Applied, ..all_done(status, row) }))
        }
        (Resolution::Applied, Some(_)) => refuse("is already recorded as applied"),
        (Resolution::Pending, None) => refuse("is already pending"),
        (Resolution::Pending, Some(_)) => Ok(Change::Delete),
        (Resolution::FromStatement { k }, Some(row)) if row.state.is_partial() => {
            from_statement(ctx, status, row, k).map(update)
        }
        (Resolution::FromStatement { .. }, _) => refuse("has not stopped half-way"),
        (Resolution::AcceptEdit, Some(row)) => accept_edit(status, row).map(update),
        (Resolution::AcceptEdit, None) => refuse("is not applied"),
    }
}

/// Returns the row after the last statement of the file, or of the row itself if the file is missing.
fn all_done(status: &MigrationStatus<'_>, row: &JournalRow) -> JournalRow {
    let mut row = row.clone();
    if let Some(parsed) = status.parsed {
        row.statements_total = parsed.summary.total;
        // A rollback that left nothing undone restores what was recorded before it.
        if row.state != State::RollingBack {
            row.checksum.clone_from(&parsed.summary.checksum);
        }
    }
    row.statements_done = row.statements_total;
    row.done_checksum.clone_from(&row.checksum);
    row
}

fn from_statement(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, row: &JournalRow, k: u64) -> Result<JournalRow> {
    let stored;
    let script = match (status.parsed, row.state) {
        (_, State::RollingBack) => {
            let missing = || Error::failure(format!("{} has no stored DOWN to resume", status.label()));
            stored = ctx.journal.texts(&mut ctx.conn, row.version)?.down.ok_or_else(missing)?;
            Script::memory(stored.as_bytes(), row.down_label())
        }
        (Some(parsed), _) => parsed.script(),
        (None, _) => {
            return Err(Error::failure(format!("the file of {} is missing; restore it first", status.label())));
        }
    };
    let total = script.summarize()?.total;
    let prefix = if (1..=total + 1).contains(&k) { script.prefix(k - 1)? } else { None };
    let Some(prefix) = prefix else {
        return Err(Error::usage(format!(
            "`--from-statement {k}`: `{}` has {total} statements; give 1 to {}",
            script.label,
            total + 1
        )));
    };
    let row = all_done(status, row);
    Ok(JournalRow { statements_total: total, statements_done: k - 1, done_checksum: prefix.checksum, ..row })
}

fn accept_edit(status: &MigrationStatus<'_>, row: &JournalRow) -> Result<JournalRow> {
    let name = status.label();
    let Some(parsed) = status.parsed else {
        return Err(Error::usage(format!("the file of {name} is missing, so no edit can be accepted")));
    };
    let done = row.statements_done;
    match status.status {
        Status::Edited => Ok(all_done(status, row)),
        Status::Partial => {
            let prefix = parsed.script().prefix(done)?.ok_or_else(|| {
                Error::usage(format!(
                    "{done} statements of {name} have run, and its file now has only {}; choose where to resume with \
                     `--from-statement K`",
                    parsed.summary.total
                ))
            })?;
            let row = all_done(status, row);
            Ok(JournalRow { statements_done: done, done_checksum: prefix.checksum, ..row })
        }
        _ => Err(Error::usage(format!("{name} was not edited, so no edit can be accepted"))),
    }
}

fn write(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, change: &Change, order: u64) -> Result<()> {
    let down_text = status.parsed.map(|parsed| parsed.file.down_text()).transpose()?.flatten();
    match (change, &status.row, status.parsed) {
        (Change::Insert, _, Some(parsed)) => {
            ctx.journal.create(&mut ctx.conn)?;
            let migration = parsed.migration(order, down_text.as_deref());
            let row = NewRow { migration, state: State::Applied, intent: None, duration: Duration::ZERO };
            ctx.journal.insert(&mut ctx.conn, &row)
        }
        (Change::Delete, Some(row), _) => ctx.journal.delete(&mut ctx.conn, row.version, row.state),
        (Change::Update(to), Some(row), parsed) => {
            let texts = parsed
                .filter(|_| row.state != State::RollingBack)
                .map(|parsed| Texts { up: parsed.up_text.clone(), down: down_text });
            ctx.journal.replace(&mut ctx.conn, "resolve", row.state, to, texts.as_ref())
        }
        _ => Err(Error::failure(format!("the file of {} is missing", status.label()))),
    }
}
