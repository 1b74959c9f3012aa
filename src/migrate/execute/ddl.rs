//! DDL: records the intent, then runs the statement, which commits implicitly.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::blockers;
use super::ddl_batch::{self, QueuedDdl};
use super::run::{RowState, Run, Statement, send};
use super::tx_mode::{Effect, TxMode};
use crate::db;
use crate::db::retry::Backoff;
use crate::error::Result;
use crate::fault;
use crate::migrate::classify::Ddl;
use crate::migrate::journal::{BatchedDdl, Intent, Witness};

impl Run<'_, '_> {
    /// Adds a statement to the batch, or runs it now if it can't share an intent.
    pub(super) fn queue_ddl(&mut self, statement: Statement, ddl: Ddl) -> Result<()> {
        let witness = match self.mode {
            TxMode::PerBatch => ddl_batch::witness(&self.ddl, &statement.text, &ddl, &self.schema),
            _ => None,
        };
        let queued = QueuedDdl { statement, ddl, witness };
        if queued.witness.is_some() {
            self.ddl.push(queued);
            return Ok(());
        }
        self.flush_ddl()?;
        let intent = self.intent(&queued)?;
        self.run_ddl(&[queued], &intent)
    }

    /// Runs the batch: with a single intent if none of its witnesses exists yet, otherwise one statement at a time.
    pub(super) fn flush_ddl(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.ddl);
        let Some((first, rest)) = batch.split_first() else { return Ok(()) };
        let mut intent = self.intent(first)?;
        let mut all_new = intent.objects.iter().all(|object| object.was.is_none());
        for queued in rest {
            let Some(witness) = &queued.witness else { continue };
            // The table of a new index doesn't exist either.
            all_new = all_new && (matches!(witness, Witness::Index { .. }) || !witness.exists(&mut self.ctx.conn)?);
            intent.then.push(BatchedDdl::new(&queued.statement.text, witness.clone()));
        }
        if all_new {
            return self.run_ddl(&batch, &intent);
        }
        for queued in batch.chunks(1) {
            let intent = self.intent(&queued[0])?;
            self.run_ddl(queued, &intent)?;
        }
        Ok(())
    }

    fn intent(&mut self, QueuedDdl { statement, ddl, .. }: &QueuedDdl) -> Result<Intent> {
        Intent::of_ddl(&mut self.ctx.conn, statement.k, &statement.text, ddl, &self.schema)
    }

    fn run_ddl(&mut self, batch: &[QueuedDdl], intent: &Intent) -> Result<()> {
        self.record(Some(intent))?;
        if self.mode == TxMode::TablesLocked {
            self.ctx.conn.query_drop("COMMIT")?;
        }
        fault::point("ddl-intended");
        for QueuedDdl { statement, ddl, .. } in batch {
            self.stop_if_asked()?;
            self.announce(statement);
            self.send_ddl(statement, ddl)?;
            fault::point("ddl-done");
            self.complete(statement, Effect::Committed);
        }
        Ok(())
    }

    /// Sends a DDL statement. While it waits for a metadata lock, every later query on the table waits as well. So it
    /// waits only for `lock_wait_timeout`, lets the others go first, and tries again.
    fn send_ddl(&mut self, statement: &Statement, ddl: &Ddl) -> Result<()> {
        let until = Instant::now() + self.ctx.lock_timeout;
        let mut retries = Backoff::default();
        loop {
            let Err((_, error)) = send(&mut self.ctx.conn, &statement.text, |_| {}) else { return Ok(()) };
            let is_transient = db::retry::is_lock_timeout(&error) || db::retry::is_deadlock(&error);
            if !is_transient || Instant::now() >= until {
                return Err(self.failure(statement, error, false));
            }
            let blockers = blockers::describe(&mut self.ctx.conn, &ddl.objects, &self.schema);
            let (place, total) = (self.place(statement), self.summary.total);
            let warning = format!("{place}: statement {} of {total} waits for a lock: {blockers}", statement.k);
            self.wait_to_retry(&mut retries, warning)?;
        }
    }

    /// Called between two statements: fails if a signal asked the process to stop.
    pub(super) fn stop_if_asked(&mut self) -> Result<()> {
        if !self.ctx.shutdown.is_stopping() {
            return Ok(());
        }
        if self.row == RowState::Behind && self.mode.airun_commits() {
            self.record(None)?;
            self.ctx.conn.query_drop("COMMIT")?;
        }
        Err(self.interrupted())
    }
}
