//! DML: many statements in one packet, in one transaction with the record that they are done.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::blockers;
use super::run::{Run, Statement, send};
use super::tx_mode::TxMode;
use crate::db;
use crate::db::retry::Backoff;
use crate::error::Result;
use crate::fault;
use crate::migrate::event::Event;
use crate::shutdown::Woken;

/// Limits of one packet.
const STATEMENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// Retries of a transaction after a deadlock.
const DEADLOCK_RETRIES_MAX: u32 = 10;

impl Run<'_, '_> {
    pub(super) fn queue_dml(&mut self, statement: Statement) -> Result<()> {
        // A version comment may not count as a statement on this server.
        let alone = statement.text.contains("/*!") || statement.text.contains("/*M!");
        let length = statement.text.len();
        if alone || self.dml.len() >= STATEMENTS_MAX || self.dml_bytes + length > BYTES_MAX {
            self.flush_dml()?;
        }
        self.dml.push(statement);
        self.dml_bytes += length;
        if alone { self.flush_dml() } else { Ok(()) }
    }

    pub(super) fn flush_dml(&mut self) -> Result<()> {
        let statements = std::mem::take(&mut self.dml);
        self.dml_bytes = 0;
        if statements.is_empty() {
            return Ok(());
        }
        // On lines of their own, because a statement may end with a comment.
        let packet = statements.iter().map(|queued| queued.text.as_str()).collect::<Vec<_>>().join("\n;\n");
        self.begin_row()?;
        let (started, mut retries) = (Instant::now(), Backoff::default());
        loop {
            self.begin_transaction()?;
            let (events, total) = (&mut *self.ctx.events, self.summary.total);
            let begins = |index: usize| {
                if let Some(&Statement { k, at, .. }) = statements.get(index) {
                    events(Event::Statement { k, total, bytes: at.offset });
                }
            };
            let Err((index, error)) = send(&mut self.ctx.conn, &packet, begins) else { break };
            if self.mode.airun_commits() && self.can_retry(&retries, started, &error) {
                self.retry(&mut retries, &error)?;
                continue;
            }
            let (before, failed) = statements.split_at(index.min(statements.len() - 1));
            let undone = db::retry::is_connection_lost(&error) || db::retry::is_deadlock(&error);
            if self.mode.airun_commits() && !undone {
                // Commits the statements before the one that failed, as the `mysql` client does.
                before.iter().for_each(|queued| self.advance(queued));
                fault::point("before-failed");
                self.record_if_behind()?;
                self.ctx.conn.query_drop("COMMIT")?;
            }
            return Err(self.failure(&failed[0], error, false));
        }
        fault::point("rows-sent");
        statements.iter().for_each(|queued| self.advance(queued));
        self.uncommitted += statements.len() as u64;
        if self.mode.airun_commits() {
            self.record(None)?;
            fault::point("rows-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("rows-committed");
        }
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) -> Result<()> {
        if self.mode == TxMode::PerBatch {
            self.ctx.conn.query_drop("START TRANSACTION")?;
        }
        Ok(())
    }

    /// True if the transaction should run again after this error. A rollback leaves nothing of it.
    pub(super) fn can_retry(&self, retries: &Backoff, started: Instant, error: &mysql::Error) -> bool {
        if db::retry::is_deadlock(error) {
            return retries.attempts() < DEADLOCK_RETRIES_MAX;
        }
        db::retry::is_lock_timeout(error) && started.elapsed() < self.ctx.lock_timeout
    }

    pub(super) fn retry(&mut self, retries: &mut Backoff, error: &mysql::Error) -> Result<()> {
        let mut warning = format!("{}: {}", self.script.label, db::describe(error));
        self.ctx.conn.query_drop("ROLLBACK")?;
        if db::retry::is_lock_timeout(error) {
            warning += &format!(", {}", blockers::describe(&mut self.ctx.conn, &[], &self.schema));
        }
        self.wait_to_retry(retries, format!("{warning}; retrying"))
    }

    pub(super) fn wait_to_retry(&mut self, retries: &mut Backoff, warning: String) -> Result<()> {
        (self.ctx.events)(Event::Warning(warning));
        match self.ctx.shutdown.wait(retries.next_delay()) {
            Woken::Stopping => Err(self.interrupted()),
            _ => Ok(()),
        }
    }
}
