//! `migrate redo`: rolls the last applied migrations back and applies them again from their files.

use super::journal::Journal;
use super::migrator::Migrator;
use super::rollback::{RollbackOptions, select};
use super::up::UpOptions;
use crate::error::{Error, Result};

impl Migrator<'_> {
    /// Rolls migrations back and applies them again. Returns how many.
    ///
    /// # Errors Refuses a migration without a DOWN or without a file before anything runs. Otherwise fails as
    /// [`Migrator::rollback`] and [`Migrator::up`] do.
    pub fn redo(&mut self, options: &RollbackOptions) -> Result<u64> {
        let files = self.files.clone();
        let history = Journal::read_only(&self.database.name).history(&mut self.database.connect()?)?;
        let mut selected = Vec::new();
        for row in select(history, options)? {
            let parsed = files.iter().find(|parsed| parsed.file.version == row.version).ok_or_else(|| {
                let label = row.label();
                Error::failure(format!(
                    "the UP file of {label} was deleted, so it can't be applied again; nothing was changed"
                ))
            })?;
            selected.push(parsed);
        }
        let undone = self.rollback(options)?;
        if options.dry_run {
            for parsed in selected.iter().rev() {
                parsed.script().preview(0, &mut self.events)?;
            }
            return Ok(undone.len() as u64);
        }
        self.up(&UpOptions { only: Some(undone), ..UpOptions::default() })
    }
}
