//! `migrate baseline`: adopts a database that existed before airun.

use std::time::Duration;

use super::journal::{NewRow, State};
use super::migrator::Migrator;
use super::status::{Status, compare};
use super::up::next_order;
use super::version::Version;
use crate::error::{Error, Result};

impl Migrator<'_> {
    /// Records every migration up to and including `to` as applied, without running it. Returns how many.
    ///
    /// # Errors
    /// Fails if the folder has no migration `to`.
    pub fn baseline(&mut self, to: Version) -> Result<u64> {
        let files = self.files.clone();
        if !files.iter().any(|parsed| parsed.file.version == to) {
            return Err(Error::usage(format!("the folder has no migration {to}")));
        }
        let conn = self.database.connect_or_create()?;
        let mut ctx = self.open_locked(conn)?;
        ctx.journal.create(&mut ctx.conn)?;
        let history = ctx.journal.history(&mut ctx.conn)?;
        let mut applied_order = next_order(history.iter());
        let mut recorded = 0;
        for status in compare(&files, history) {
            let Some(parsed) = status.parsed else { continue };
            if status.version > to || !matches!(status.status, Status::Pending | Status::OutOfOrder) {
                continue;
            }
            let down_text = parsed.file.down_text()?;
            let migration = parsed.migration(applied_order, down_text.as_deref());
            let row = NewRow { migration, state: State::Baseline, intent: None, duration: Duration::ZERO };
            ctx.journal.insert(&mut ctx.conn, &row)?;
            applied_order += 1;
            recorded += 1;
        }
        ctx.close();
        Ok(recorded)
    }
}
