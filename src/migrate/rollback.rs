//! `migrate rollback`: undoes the last applied migrations with the DOWN that was stored when they were applied.

use std::time::Instant;

use super::context::Context;
use super::event::{Event, ScriptStart};
use super::execute::{Direction, execute};
use super::files::MigrationFile;
use super::journal::{Journal, JournalRow, State};
use super::migrator::Migrator;
use super::recover::recover;
use super::script::{Prefix, Script};
use super::version::Version;
use crate::error::{Error, ErrorKind, Result};

/// Which migrations to roll back.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    /// Roll back at most this many, the last applied one first.
    pub limit: u64,
    /// Roll back everything newer than this version. `limit` is then ignored.
    pub to: Option<Version>,
    /// Only report the statements that would run.
    pub dry_run: bool,
}

impl Migrator<'_> {
    /// Rolls migrations back. Returns their versions.
    ///
    /// # Errors Refuses a migration without a DOWN before anything runs. Otherwise fails as [`Migrator::up`] does.
    pub fn rollback(&mut self, options: &RollbackOptions) -> Result<Vec<Version>> {
        let files = self.files.clone();
        let mut conn = self.database.connect()?;
        // Reads the journal without the lock at first, so that a command with nothing to do never waits.
        let journal = Journal::read_only(&self.database.name);
        let selected = select(journal.history(&mut conn)?, options)?;
        if options.dry_run {
            for row in &selected {
                let down = journal.texts(&mut conn, row.version)?.down.ok_or_else(|| irreversible(row))?;
                let done = if row.state == State::RollingBack { row.statements_done } else { 0 };
                Script::memory(down.as_bytes(), row.down_label()).preview(done, &mut self.events)?;
            }
            return Ok(selected.iter().map(|row| row.version).collect());
        }
        if selected.is_empty() {
            return Ok(Vec::new());
        }
        let mut ctx = self.open_locked(conn)?;
        let selected = select(ctx.journal.history(&mut ctx.conn)?, options)?;
        let of = selected.len() as u64;
        let mut undone = Vec::new();
        for (i, mut row) in (1..).zip(selected) {
            if i > 1 {
                ctx.reset_session()?;
                // The lock was free for a moment, so the journal may have changed.
                let history = ctx.journal.history(&mut ctx.conn)?;
                let Some(now) = history.into_iter().find(|now| now.version == row.version) else { continue };
                row = now;
            }
            let version = row.version;
            let file = files.iter().map(|parsed| &parsed.file).find(|file| file.version == version);
            undo(&mut ctx, row, Some((i, of)), file)?;
            undone.push(version);
        }
        ctx.close();
        Ok(undone)
    }
}

/// Rolls one migration back, or resumes its rollback. `place` is its number and the total, if progress is reported.
pub fn undo(
    ctx: &mut Context<'_>,
    mut row: JournalRow,
    place: Option<(u64, u64)>,
    file: Option<&MigrationFile>,
) -> Result<()> {
    let started = Instant::now();
    let stored = ctx.journal.texts(&mut ctx.conn, row.version)?.down.ok_or_else(|| irreversible(&row))?;
    let text = choose_text(ctx, &row, &stored, file)?;
    let script = Script::memory(text.as_bytes(), row.down_label());
    let summary = script.summarize()?;
    ctx.check_packets(std::iter::once((script.clone(), &summary)))?;
    if row.state == State::RollingBack {
        recover(&mut ctx.conn, &script, &mut row, Some(&stored))?;
        row.statements_total = summary.total;
        ctx.journal.replace(&mut ctx.conn, "replace", row.state, &row, None)?;
    }
    if let Some((i, of)) = place {
        let (migration, bytes, session) = (row.label(), script.length(), ctx.conn.connection_id());
        (ctx.events)(Event::Begins(ScriptStart { i, of, migration, bytes, session }));
    }
    execute(ctx, &script, &summary, &Direction::Down { row: &row })?;
    let (migration, statements, took) = (row.label(), summary.total, started.elapsed());
    (ctx.events)(Event::RolledBack { migration, statements, took });
    Ok(())
}

/// Returns the stored DOWN, or the file's if it resumes a rollback that has begun.
fn choose_text(ctx: &mut Context<'_>, row: &JournalRow, stored: &str, file: Option<&MigrationFile>) -> Result<String> {
    let label = row.down_label();
    let Some(file) = file else {
        (ctx.events)(Event::Note(format!("{label}: the files were deleted; running the stored DOWN")));
        return Ok(stored.to_owned());
    };
    let Some(edited) = file.down_text()?.filter(|edited| edited != stored) else { return Ok(stored.to_owned()) };
    let begins_as_done = |prefix: Prefix| prefix.checksum == row.done_checksum;
    let script = Script::memory(edited.as_bytes(), label.as_str());
    if row.state == State::RollingBack && script.prefix(row.statements_done)?.is_some_and(begins_as_done) {
        (ctx.events)(Event::Note(format!("{label}: resuming with the edited DOWN file")));
        return Ok(edited);
    }
    (ctx.events)(Event::Note(format!("{label}: the DOWN file was edited since; running the stored DOWN")));
    Ok(stored.to_owned())
}

/// Selects the rows to roll back, the last applied one first.
///
/// # Errors
/// Refuses what can't be rolled back.
pub fn select(mut history: Vec<JournalRow>, options: &RollbackOptions) -> Result<Vec<JournalRow>> {
    if let Some(to) = options.to
        && !history.iter().any(|row| row.version == to)
    {
        return Err(Error::usage(format!("{to} is not applied; `airun migrate status` lists what is")));
    }
    history.sort_by_key(|row| std::cmp::Reverse((row.state == State::RollingBack, row.applied_order)));
    let limit = if options.to.is_some() { u64::MAX } else { options.limit };
    let selected: Vec<JournalRow> = history
        .into_iter()
        .filter(|row| options.to.is_none_or(|to| row.version > to))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    for row in &selected {
        match row.state {
            State::Applying => {
                return Err(Error::new(
                    ErrorKind::PartiallyApplied,
                    format!("{} stopped half-way; finish it with `airun migrate up` before rolling back", row.label()),
                ));
            }
            State::Baseline => {
                return Err(Error::failure(format!(
                    "{} was recorded by a baseline and never run, so there is nothing to undo",
                    row.label()
                )));
            }
            State::Applied | State::RollingBack if !row.reversible => return Err(irreversible(row)),
            State::Applied | State::RollingBack => {}
        }
    }
    Ok(selected)
}

fn irreversible(row: &JournalRow) -> Error {
    Error::failure(format!("{} has no DOWN, so it can't be rolled back; nothing was changed", row.label()))
}
