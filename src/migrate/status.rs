//! What the files and the history say together.

use std::path::Path;
use std::thread;

use mysql::Conn;
use serde::{Serialize, Serializer};

use super::files::{self, MigrationFile};
use super::journal::{Journal, JournalRow, State};
use super::script::{Script, ScriptSummary};
use super::version::Version;
use crate::error::{Error, Result};

/// The version of [`Report`]'s JSON shape; raised when a field changes its meaning or goes.
pub const JSON_FORMAT: u32 = 1;

/// How one migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not applied.
    Pending,
    /// Not applied, though a newer one is.
    OutOfOrder,
    /// Applied, and the file is what it was.
    Applied,
    /// Recorded without running it.
    Baseline,
    /// Applied, and the file says something else now.
    Edited,
    /// Applied, and the file is gone.
    Missing,
    /// Its UP stopped half-way.
    Partial,
    /// Its DOWN stopped half-way.
    PartialRollback,
}

/// One migration.
#[derive(Debug, Serialize)]
pub struct MigrationStatus {
    pub version: Version,
    pub name: String,
    pub status: Status,
    /// UTC, as the server writes it; in JSON as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u128>,
    /// Statements that are done, if the migration is partial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements_done: Option<u64>,
    /// All statements of the script, if the migration is partial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements_total: Option<u64>,
    /// Why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub file: Option<MigrationFile>,
    #[serde(skip)]
    pub summary: Option<ScriptSummary>,
    #[serde(skip)]
    pub row: Option<JournalRow>,
}

fn rfc3339<S: Serializer>(at: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_ref().map(|at| at.replacen(' ', "T", 1) + "Z").serialize(serializer)
}

impl MigrationStatus {
    /// `VERSION_name`
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }
}

/// All of them, in version order.
#[derive(Debug, Serialize)]
pub struct Report {
    pub format: u32,
    pub database: String,
    pub migrations: Vec<MigrationStatus>,
}

/// A migration file and what is in it.
pub type ParsedMigration = (MigrationFile, ScriptSummary);

/// Reads the folder and every UP in it, with several threads where there are many.
///
/// # Errors
/// Fails where the folder or a file can't be read, naming it.
pub fn read_folder(folder: &Path) -> Result<Vec<ParsedMigration>> {
    /// Fewer files are read sooner than a thread is started.
    const SHARE_MIN: usize = 100;
    let files = files::scan(folder)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(SHARE_MIN);
    if files.len() <= share {
        return read(files);
    }
    let mut shares = Vec::new();
    let mut left = files;
    while !left.is_empty() {
        let behind = left.split_off(share.min(left.len()));
        shares.push(std::mem::replace(&mut left, behind));
    }
    thread::scope(|scope| {
        let readers = shares.into_iter().map(|share| {
            let reader = thread::Builder::new().name("files".to_owned()).spawn_scoped(scope, || read(share));
            reader.map_err(|error| Error::failure(format!("failed to start a thread: {error}")))
        });
        let readers: Vec<_> = readers.collect::<Result<_>>()?;
        let mut all = Vec::new();
        for reader in readers {
            all.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn read(files: Vec<MigrationFile>) -> Result<Vec<ParsedMigration>> {
    let read = |file: MigrationFile| Script::file(&file.up).summary().map(|summary| (file, summary));
    files.into_iter().map(read).collect()
}

/// Reads the history and holds it against the files; only `SELECT` is needed.
///
/// # Errors
/// Fails where the history can't be read.
pub fn status(conn: &mut Conn, database: &str, files: Vec<ParsedMigration>) -> Result<Report> {
    let history = Journal::new(database, None).history(conn)?;
    Ok(Report { format: JSON_FORMAT, database: database.to_owned(), migrations: compare(files, history) })
}

/// What `migrate status --check` reports, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    UpToDate,
    Pending,
    /// An applied migration was edited, or its file is missing.
    Drift,
    /// A migration stopped half-way.
    Partial,
}

impl Report {
    /// What `status --check` answers: partial before drift before pending.
    pub fn check(&self) -> CheckResult {
        let any = |wanted: &[Status]| self.migrations.iter().any(|item| wanted.contains(&item.status));
        if any(&[Status::Partial, Status::PartialRollback]) {
            CheckResult::Partial
        } else if any(&[Status::Edited, Status::Missing]) {
            CheckResult::Drift
        } else if any(&[Status::Pending, Status::OutOfOrder]) {
            CheckResult::Pending
        } else {
            CheckResult::UpToDate
        }
    }
}

/// Holds the history against the files.
pub fn compare(files: Vec<ParsedMigration>, history: Vec<JournalRow>) -> Vec<MigrationStatus> {
    let newest = history.iter().map(|row| row.version).max();
    let mut items: Vec<MigrationStatus> = Vec::with_capacity(files.len());
    let mut history = history.into_iter().peekable();
    for (file, summary) in files {
        while let Some(gone) = history.next_if(|row| row.version < file.version) {
            items.push(item(None, Some(gone), newest));
        }
        let row = history.next_if(|row| row.version == file.version);
        items.push(item(Some((file, summary)), row, newest));
    }
    items.extend(history.map(|gone| item(None, Some(gone), newest)));
    items
}

fn item(read: Option<ParsedMigration>, row: Option<JournalRow>, newest: Option<Version>) -> MigrationStatus {
    let (file, summary) = read.unzip();
    let (version, name) = match (&file, &row) {
        (Some(file), _) => (file.version, file.name.clone()),
        (None, Some(row)) => (row.version, row.name.clone()),
        (None, None) => unreachable!("an item comes from a file or from a row"),
    };
    let status = match (&row, &summary) {
        (None, _) if newest.is_some_and(|newest| newest > version) => Status::OutOfOrder,
        (None, _) => Status::Pending,
        (Some(row), summary) => match (row.state, summary) {
            (State::Applying, _) => Status::Partial,
            (State::RollingBack, _) => Status::PartialRollback,
            (_, None) => Status::Missing,
            (_, Some(summary)) if summary.checksum != row.checksum => Status::Edited,
            (State::Baseline, _) => Status::Baseline,
            (State::Applied, _) => Status::Applied,
        },
    };
    let partial = row.as_ref().filter(|row| row.state.is_partial());
    MigrationStatus {
        version,
        name,
        status,
        applied_at: row.as_ref().map(|row| row.at.clone()),
        applied_by: row.as_ref().map(|row| row.by.clone()),
        duration_ms: row.as_ref().map(|row| row.duration.as_millis()),
        statements_done: partial.map(|row| row.done),
        statements_total: partial.map(|row| row.total),
        error: partial.and_then(|row| row.error.clone()),
        file,
        summary,
        row,
    }
}
