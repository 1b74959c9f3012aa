//! `migrate up`: applies pending migrations in version order.

use mysql::Conn;

use super::context::Context;
use super::diff;
use super::event::{Event, Events, ScriptStart};
use super::execute::{Direction, execute};
use super::journal::{Journal, JournalRow, State, Texts};
use super::migrator::Migrator;
use super::parsed::ParsedMigration;
use super::recover::recover;
use super::rollback::undo;
use super::status::{MigrationStatus, Status, compare};
use super::version::Version;
use crate::error::{Error, ErrorKind, Result};

/// Which migrations to apply.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// The last version to apply.
    pub to: Option<Version>,
    /// Apply at most this many.
    pub limit: Option<u64>,
    /// Apply only these versions.
    pub only: Option<Vec<Version>>,
    /// Refuse migrations that are out of order, and missing files, instead of warning.
    pub strict: bool,
    /// Only report the statements that would run.
    pub dry_run: bool,
}

impl Migrator<'_> {
    /// Applies pending migrations. Returns how many were applied.
    ///
    /// # Errors
    /// [`ErrorKind::Drift`] if an applied file was edited, [`ErrorKind::LockHeld`], [`ErrorKind::Interrupted`], or the
    /// server's error.
    pub fn up(&mut self, options: &UpOptions) -> Result<u64> {
        let files = self.files.clone();
        let mut conn = match options.dry_run {
            true => self.database.connect_server()?,
            false => self.database.connect_or_create()?,
        };
        // Reads the journal without the lock at first, so that a command with nothing to do never waits.
        let journal = Journal::read_only(&self.database.name);
        let statuses = read_statuses(&mut conn, &journal, &files)?;
        let pending = select(&statuses, options, &mut self.events)?;
        if options.dry_run {
            for (status, parsed) in pending.iter().filter_map(|status| Some((status, status.parsed?))) {
                parsed.script().preview(status.statements_done.unwrap_or(0), &mut self.events)?;
            }
            return Ok(pending.len() as u64);
        }
        if pending.is_empty() {
            return Ok(0);
        }
        let mut ctx = self.open_locked(conn)?;
        ctx.journal.create(&mut ctx.conn)?;
        let applied = apply_pending(&mut ctx, &files, options);
        // Flushes even after an error, because the previous migration is complete if the next one has no row yet. If
        // the flush fails as well, the next run finds out that the migration is complete.
        let flushed = ctx.flush_deferred();
        if let (Err(_), Err(unrecorded)) = (&applied, &flushed) {
            log::debug!("failed to record the end of the previous migration: {unrecorded}");
        }
        let applied = applied?;
        flushed?;
        ctx.close();
        Ok(applied)
    }
}

/// Applies what is pending. The journal may have changed before the lock was taken, and again whenever a reset of the
/// session released it, so it is read anew each time.
fn apply_pending(ctx: &mut Context<'_>, files: &[ParsedMigration], options: &UpOptions) -> Result<u64> {
    let mut applied = 0;
    'read_journal: loop {
        let statuses = read_statuses(&mut ctx.conn, &ctx.journal, files)?;
        let limit = options.limit.map(|limit| limit.saturating_sub(applied));
        let options = UpOptions { limit, ..options.clone() };
        let pending = select(&statuses, &options, &mut |_| {})?;
        ctx.check_packets(pending.iter().filter_map(|status| status.parsed).map(|up| (up.script(), &up.summary)))?;
        let of = applied + pending.len() as u64;
        let mut order = next_order(statuses.iter().filter_map(|status| status.row.as_ref()));
        for status in pending {
            let parsed = status.parsed.ok_or_else(|| file_missing(status))?;
            let (i, bytes, session) = (applied + 1, parsed.script().length(), ctx.conn.connection_id());
            (ctx.events)(Event::Begins(ScriptStart { i, of, migration: status.label(), bytes, session }));
            apply(ctx, status, parsed, order)?;
            applied += 1;
            if parsed.summary.leaves_traces {
                ctx.flush_deferred()?;
                ctx.reset_session()?;
                if ctx.journal.newest_order(&mut ctx.conn)? > order {
                    continue 'read_journal;
                }
            }
            order += 1;
        }
        return Ok(applied);
    }
}

/// Applies one migration, or resumes it.
fn apply(ctx: &mut Context<'_>, status: &MigrationStatus<'_>, parsed: &ParsedMigration, order: u64) -> Result<()> {
    let (script, summary) = (parsed.script(), &parsed.summary);
    let down_text = parsed.file.down_text()?;
    let migration = parsed.migration(order, down_text.as_deref());
    let mut resumed = status.row.clone();
    if resumed.is_some() || summary.one_transaction {
        ctx.flush_deferred()?;
    }
    if let Some(row) = resumed.take_if(|row| row.state == State::RollingBack) {
        (ctx.events)(Event::Note(format!("finishing the rollback of {} first", status.label())));
        undo(ctx, row, None, Some(&parsed.file))?;
    }
    if let Some(row) = &mut resumed {
        let stored = ctx.journal.texts(&mut ctx.conn, row.version)?.up;
        recover(&mut ctx.conn, &script, row, stored.as_deref())?;
        (row.statements_total, row.checksum) = (summary.total, summary.checksum.clone());
        let texts = Texts { up: parsed.up_text.clone(), down: down_text.clone() };
        ctx.journal.replace(&mut ctx.conn, "replace", row.state, row, Some(&texts))?;
        (ctx.events)(Event::Note(format!(
            "{} resumes after statement {} of {}",
            status.label(),
            row.statements_done,
            summary.total
        )));
    }
    execute(ctx, &script, summary, &Direction::Up { migration, resumed: resumed.as_ref() })
}

fn file_missing(status: &MigrationStatus<'_>) -> Error {
    let advice = match status.status {
        Status::PartialRollback => "finish it with `airun migrate rollback`",
        _ => "restore the file",
    };
    Error::new(
        ErrorKind::PartiallyApplied,
        format!("{} stopped half-way and its file is missing; {advice}", status.label()),
    )
}

/// Returns the order of the next migration to be applied.
pub fn next_order<'r>(history: impl Iterator<Item = &'r JournalRow>) -> u64 {
    history.map(|row| row.applied_order).max().unwrap_or(0) + 1
}

/// Compares files and journal. Refuses edits of applied migrations, because this database and the next one would
/// differ.
fn read_statuses<'f>(
    conn: &mut Conn,
    journal: &Journal,
    files: &'f [ParsedMigration],
) -> Result<Vec<MigrationStatus<'f>>> {
    let statuses = compare(files, journal.history(conn)?);
    let mut edits = Vec::new();
    for status in statuses.iter().filter(|status| status.status == Status::Edited) {
        let Some(parsed) = status.parsed else { continue };
        let stored = journal.texts(conn, status.version)?.up;
        let diff = diff::describe(stored.as_deref(), &parsed.script().read()?);
        edits.push(format!("`{}` was edited after it was applied:\n{diff}", parsed.file.up.display()));
    }
    if edits.is_empty() {
        return Ok(statuses);
    }
    edits.push(
        "undo the edit and write a new migration for the change, or accept it with `airun migrate resolve VERSION \
         --accept-edit`"
            .to_owned(),
    );
    Err(Error::new(ErrorKind::Drift, edits.join("\n")))
}

/// Selects the migrations to apply. With `strict`, problems are refused here, before anything runs.
fn select<'s, 'f>(
    statuses: &'s [MigrationStatus<'f>],
    options: &UpOptions,
    events: &mut Events<'_>,
) -> Result<Vec<&'s MigrationStatus<'f>>> {
    if let Some(to) = options.to
        && !statuses.iter().any(|status| status.version == to)
    {
        return Err(Error::usage(format!("unknown migration {to}; `airun migrate status` lists all")));
    }
    for missing in statuses.iter().filter(|status| status.status == Status::Missing) {
        let problem = format!("{} is applied, but its file is missing", missing.label());
        if options.strict {
            return Err(Error::new(ErrorKind::Drift, problem));
        }
        events(Event::Warning(problem));
    }
    let wanted = |status: &&MigrationStatus<'_>| {
        matches!(status.status, Status::Pending | Status::OutOfOrder | Status::Partial | Status::PartialRollback)
            && options.to.is_none_or(|to| status.version <= to)
            && options.only.as_ref().is_none_or(|only| only.contains(&status.version))
    };
    let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let selected: Vec<_> = statuses.iter().filter(wanted).take(limit).collect();
    for status in selected.iter().filter(|status| status.status == Status::OutOfOrder) {
        let problem = format!("{} is older than an applied migration", status.label());
        if options.strict {
            return Err(Error::failure(format!("{problem}; give it a newer version or omit `--strict`")));
        }
        events(Event::Warning(problem));
    }
    Ok(selected)
}
