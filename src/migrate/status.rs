//! What the files and the history say together.

use std::path::Path;
use std::thread;

use mysql::Conn;
use serde::{Serialize, Serializer};

use super::files::{self, MigrationFile};
use super::journal::{Entry, Journal, State};
use super::script::{Outline, Script};
use super::version::Version;
use crate::error::{Error, Exit, Result};

/// The version of [`Report`]'s JSON shape; raised when a field changes its meaning or goes.
pub const JSON_FORMAT: u32 = 1;

/// How one migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
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
pub struct Item {
    pub version: Version,
    pub name: String,
    pub standing: Standing,
    /// UTC, as the server writes it; in JSON as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u128>,
    /// Statements done and in all, where it is partial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<(u64, u64)>,
    /// Why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub file: Option<MigrationFile>,
    #[serde(skip)]
    pub outline: Option<Outline>,
    #[serde(skip)]
    pub entry: Option<Entry>,
}

fn rfc3339<S: Serializer>(at: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_ref().map(|at| at.replacen(' ', "T", 1) + "Z").serialize(serializer)
}

impl Item {
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
    pub migrations: Vec<Item>,
}

/// A migration file and what is in it.
pub type Read = (MigrationFile, Outline);

/// Reads the folder and every UP in it, with several threads where there are many.
///
/// # Errors
/// Fails where the folder or a file can't be read, naming it.
pub fn read_folder(folder: &Path) -> Result<Vec<Read>> {
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

fn read(files: Vec<MigrationFile>) -> Result<Vec<Read>> {
    let read = |file: MigrationFile| Script::file(&file.up).outline().map(|outline| (file, outline));
    files.into_iter().map(read).collect()
}

/// Reads the history and holds it against the files; only `SELECT` is needed.
///
/// # Errors
/// Fails where the history can't be read.
pub fn status(conn: &mut Conn, database: &str, files: Vec<Read>) -> Result<Report> {
    let history = Journal::new(database, None).history(conn)?;
    Ok(Report { format: JSON_FORMAT, database: database.to_owned(), migrations: compare(files, history) })
}

impl Report {
    /// What `status --check` answers: partial before drift before pending.
    pub fn check(&self) -> Exit {
        let any = |wanted: &[Standing]| self.migrations.iter().any(|item| wanted.contains(&item.standing));
        if any(&[Standing::Partial, Standing::PartialRollback]) {
            Exit::Partial
        } else if any(&[Standing::Edited, Standing::Missing]) {
            Exit::Drift
        } else if any(&[Standing::Pending, Standing::OutOfOrder]) {
            Exit::Pending
        } else {
            Exit::Success
        }
    }
}

/// Holds the history against the files.
pub fn compare(files: Vec<Read>, history: Vec<Entry>) -> Vec<Item> {
    let newest = history.iter().map(|entry| entry.version).max();
    let mut items: Vec<Item> = Vec::with_capacity(files.len());
    let mut history = history.into_iter().peekable();
    for (file, outline) in files {
        while let Some(gone) = history.next_if(|entry| entry.version < file.version) {
            items.push(item(None, Some(gone), newest));
        }
        let entry = history.next_if(|entry| entry.version == file.version);
        items.push(item(Some((file, outline)), entry, newest));
    }
    items.extend(history.map(|gone| item(None, Some(gone), newest)));
    items
}

fn item(read: Option<Read>, entry: Option<Entry>, newest: Option<Version>) -> Item {
    let (file, outline) = read.unzip();
    let (version, name) = match (&file, &entry) {
        (Some(file), _) => (file.version, file.name.clone()),
        (None, Some(entry)) => (entry.version, entry.name.clone()),
        (None, None) => unreachable!("an item comes from a file or from a row"),
    };
    let standing = match (&entry, &outline) {
        (None, _) if newest.is_some_and(|newest| newest > version) => Standing::OutOfOrder,
        (None, _) => Standing::Pending,
        (Some(entry), outline) => match (entry.state, outline) {
            (State::Applying, _) => Standing::Partial,
            (State::RollingBack, _) => Standing::PartialRollback,
            (_, None) => Standing::Missing,
            (_, Some(outline)) if outline.checksum != entry.checksum => Standing::Edited,
            (State::Baseline, _) => Standing::Baseline,
            (State::Applied, _) => Standing::Applied,
        },
    };
    let partial = entry.as_ref().filter(|entry| entry.state.is_partial());
    Item {
        version,
        name,
        standing,
        applied_at: entry.as_ref().map(|entry| entry.at.clone()),
        applied_by: entry.as_ref().map(|entry| entry.by.clone()),
        duration_ms: entry.as_ref().map(|entry| entry.duration.as_millis()),
        progress: partial.map(|entry| (entry.done, entry.total)),
        error: partial.and_then(|entry| entry.error.clone()),
        file,
        outline,
        entry,
    }
}
