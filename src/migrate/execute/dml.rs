//! DML: many statements in one packet, in one transaction with the record that they are done.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::blockers;
use super::dml_batch::{DmlBatch, QueuedDml};
use super::run::{RowState, Run, Stop, send_announced};
use super::statement::Statement;
use super::tx_mode::TxMode;
use crate::db;
use crate::db::retry::Backoff;
use crate::fault;
use crate::migrate::event::Event;
use crate::shutdown::Woken;

/// Retries of a transaction after a deadlock.
const DEADLOCK_RETRIES_MAX: u32 = 10;

/// How often and how long a transaction was tried.
pub struct Retries {
    backoff: Backoff,
    since: Instant,
}

impl Retries {
    pub fn start() -> Self {
        Self { backoff: Backoff::default(), since: Instant::now() }
    }
}

impl Run<'_, '_> {
    pub(super) fn queue_dml(&mut self, statement: Statement<'_>) -> Result<(), Stop> {
        let alone = DmlBatch::must_be_alone(statement.text);
        if alone || !self.dml.has_room(statement.text) {
            self.flush_dml()?;
        }
        if alone {
            return self.send_dml(statement.text, &[QueuedDml::alone(statement)]);
        }
        self.dml.push(statement);
        Ok(())
    }

    pub(super) fn flush_dml(&mut self) -> Result<(), Stop> {
        let batch = std::mem::take(&mut self.dml);
        if batch.statements.is_empty() {
            return Ok(());
        }
        self.send_dml(&batch.packet, &batch.statements)
    }

    fn send_dml(&mut self, packet: &str, statements: &[QueuedDml]) -> Result<(), Stop> {
        self.begin_row()?;
        let mut retries = Retries::start();
        loop {
            self.begin_transaction()?;
            let (events, total) = (&mut *self.ctx.events, self.summary.total);
            let mut begins = |index: usize| {
                if let Some(Statement { k, at, .. }) = statements.get(index).map(|queued| queued.statement(packet)) {
                    events(Event::Statement { k, total, bytes: at.offset });
                }
            };
            let Err((index, error)) = send_announced(&mut self.ctx.conn, packet, &mut begins) else { break };
            if self.mode.airun_commits() && self.can_retry(&retries, &error) {
                self.retry(&mut retries, &error)?;
                continue;
            }
            let (before, failed) = statements.split_at(index.min(statements.len() - 1));
            let undone = db::retry::is_connection_lost(&error) || db::retry::is_deadlock(&error);
            if self.mode.airun_commits() && !undone {
                self.keep(packet, before)?;
            }
            return Err(self.failure(failed[0].statement(packet), error, false));
        }
        fault::point("rows-sent");
        for queued in statements {
            self.advance(queued.statement(packet));
        }
        self.uncommitted += statements.len() as u64;
        if self.mode.airun_commits() {
            self.record(None)?;
            fault::point("rows-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("rows-committed");
        }
        Ok(())
    }

    /// Commits the statements of a packet before the one that failed, as the `mysql` client does.
    fn keep(&mut self, packet: &str, before: &[QueuedDml]) -> Result<(), Stop> {
        for queued in before {
            self.advance(queued.statement(packet));
        }
        fault::point("before-failed");
        if self.row == RowState::Behind {
            self.record(None)?;
        }
        self.ctx.conn.query_drop("COMMIT")?;
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) -> Result<(), Stop> {
        if self.mode == TxMode::PerBatch {
            self.ctx.conn.query_drop("START TRANSACTION")?;
        }
        Ok(())
    }

    /// True if the transaction, of which a rollback leaves nothing, should run again after this error.
    pub(super) fn can_retry(&self, retries: &Retries, error: &mysql::Error) -> bool {
        if db::retry::is_deadlock(error) {
            return retries.backoff.attempts() < DEADLOCK_RETRIES_MAX;
        }
        db::retry::is_lock_timeout(error) && retries.since.elapsed() < self.ctx.lock_timeout
    }

    pub(super) fn retry(&mut self, retries: &mut Retries, error: &mysql::Error) -> Result<(), Stop> {
        let mut warning = format!("{}: {}", self.script.label, db::describe(error));
        self.ctx.conn.query_drop("ROLLBACK")?;
        if db::retry::is_lock_timeout(error) {
            warning += &format!(", {}", blockers::describe(&mut self.ctx.conn, &[], &self.schema));
        }
        (self.ctx.events)(Event::Warning(format!("{warning}; retrying")));
        if self.ctx.shutdown.wait(retries.backoff.next_delay()) == Woken::Stopping {
            return Err(self.interrupted().into());
        }
        Ok(())
    }
}
