//! `migrate status`: compares the files with the journal.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::files::MigrationFile;
use super::journal::{Journal, JournalRow, State};
use super::migrator::Migrator;
use super::parsed::ParsedMigration;
use super::version::Version;
use crate::error::Result;

/// Version of [`Report`]'s JSON. Raised when a field changes its meaning or is removed.
pub const JSON_FORMAT: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not applied.
    Pending,
    /// Not applied, although a newer one is.
    OutOfOrder,
    /// Applied, and the file has not changed.
    Applied,
    /// Recorded by `migrate baseline` without running it.
    Baseline,
    /// Applied, and the file has changed since.
    Edited,
    /// Applied, and the file was deleted.
    Missing,
    /// The UP stopped half-way.
    Partial,
    /// The DOWN stopped half-way.
    PartialRollback,
}

/// One migration: its file, its journal row, and the status that follows from both.
#[derive(Debug, Serialize)]
pub struct MigrationStatus<'f> {
    pub version: Version,
    pub name: String,
    pub status: Status,
    /// UTC, as the server writes it. RFC 3339 in JSON.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u128>,
    /// Set only for a partial migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements_done: Option<u64>,
    /// Set only for a partial migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements_total: Option<u64>,
    /// Why a partial migration stopped, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub parsed: Option<&'f ParsedMigration>,
    #[serde(skip)]
    pub row: Option<JournalRow>,
}

fn rfc3339<S: Serializer>(at: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_ref().map(|at| at.replacen(' ', "T", 1) + "Z").serialize(serializer)
}

impl<'f> MigrationStatus<'f> {
    fn new(
        version: Version,
        name: String,
        parsed: Option<&'f ParsedMigration>,
        row: Option<JournalRow>,
        is_older: bool,
    ) -> Self {
        let status = match (row.as_ref().map(|row| row.state), parsed) {
            (None, _) if is_older => Status::OutOfOrder,
            (None, _) => Status::Pending,
            (Some(State::Applying), _) => Status::Partial,
            (Some(State::RollingBack), _) => Status::PartialRollback,
            (_, None) => Status::Missing,
            (_, Some(parsed)) if row.as_ref().is_some_and(|row| row.checksum != parsed.summary.checksum) => {
                Status::Edited
            }
            (Some(State::Baseline), _) => Status::Baseline,
            (Some(State::Applied), _) => Status::Applied,
        };
        let partial = row.as_ref().filter(|row| row.state.is_partial());
        Self {
            version,
            name,
            status,
            applied_at: row.as_ref().map(|row| row.applied_at.clone()),
            applied_by: row.as_ref().map(|row| row.applied_by.clone()),
            duration_ms: row.as_ref().map(|row| row.duration.as_millis()),
            statements_done: partial.map(|row| row.statements_done),
            statements_total: partial.map(|row| row.statements_total),
            error: partial.and_then(|row| row.error.clone()),
            parsed,
            row,
        }
    }

    /// `VERSION_name`
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }
}

/// The status of every migration, in version order.
#[derive(Debug, Serialize)]
pub struct Report<'f> {
    pub format: u32,
    pub database: String,
    pub migrations: Vec<MigrationStatus<'f>>,
}

/// The result of `migrate status --check`, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckResult {
    UpToDate,
    Pending,
    /// An applied migration was edited, or its file is missing.
    Drift,
    /// A migration stopped half-way.
    Partial,
}

impl Report<'_> {
    /// Returns the worst status of all migrations.
    pub fn check(&self) -> CheckResult {
        let check = |migration: &MigrationStatus<'_>| match migration.status {
            Status::Applied | Status::Baseline => CheckResult::UpToDate,
            Status::Pending | Status::OutOfOrder => CheckResult::Pending,
            Status::Edited | Status::Missing => CheckResult::Drift,
            Status::Partial | Status::PartialRollback => CheckResult::Partial,
        };
        self.migrations.iter().map(check).max().unwrap_or(CheckResult::UpToDate)
    }
}

impl Migrator<'_> {
    /// Compares the files with the journal. This needs no privilege except `SELECT`.
    pub fn status(&self) -> Result<Report<'_>> {
        let name = &self.database.name;
        let history = Journal::read_only(name).history(&mut self.database.connect_server()?)?;
        Ok(Report { format: JSON_FORMAT, database: name.clone(), migrations: compare(&self.files, history) })
    }
}

/// Compares files and journal. The result is in version order.
pub fn compare(files: &[ParsedMigration], history: Vec<JournalRow>) -> Vec<MigrationStatus<'_>> {
    let mut rows: BTreeMap<Version, JournalRow> = history.into_iter().map(|row| (row.version, row)).collect();
    let newest = rows.keys().next_back().copied();
    let mut statuses = Vec::with_capacity(files.len());
    for parsed in files {
        let MigrationFile { version, name, .. } = &parsed.file;
        let is_older = newest.is_some_and(|newest| newest > *version);
        statuses.push(MigrationStatus::new(*version, name.clone(), Some(parsed), rows.remove(version), is_older));
    }
    let missing = |row: JournalRow| MigrationStatus::new(row.version, row.name.clone(), None, Some(row), false);
    statuses.extend(rows.into_values().map(missing));
    statuses.sort_by_key(|status| status.version);
    statuses
}
