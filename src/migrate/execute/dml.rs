//! Statements that read or change rows: many to a packet, in one transaction with the record of them.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::{At, Run, Stop, Tx, send, send_and_tell};
use crate::db;
use crate::db::retry::Backoff;
use crate::fault;
use crate::migrate::event::Event;
use crate::migrate::execute::blockers;
use crate::migrate::sql::Position;
use crate::shutdown::Woken;

/// Statements of a batch, at most: they go to the server in one packet.
const BATCH_STATEMENTS_MAX: usize = 1000;
/// Bytes of a batch, at most.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// A deadlock undoes a batch, which is then tried again this often.
const DEADLOCK_RETRIES_MAX: u32 = 10;

/// Statements that wait to be sent together.
#[derive(Default)]
pub struct Batch {
    packet: String,
    at: Vec<(u64, Position)>,
}

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
    pub(super) fn rows(&mut self, statement: At<'_>) -> Result<(), Stop> {
        // A version comment may be no statement at all on this server, so it can't be counted within a packet.
        let alone = statement.text.len() >= BATCH_BYTES_MAX
            || statement.text.contains("/*!")
            || statement.text.contains("/*M!");
        if alone
            || self.batch.packet.len() + statement.text.len() > BATCH_BYTES_MAX
            || self.batch.at.len() >= BATCH_STATEMENTS_MAX
        {
            self.flush()?;
        }
        if alone {
            return self.rows_alone(statement);
        }
        if !self.batch.at.is_empty() {
            // On a line of its own: the statement before may end in a comment.
            self.batch.packet.push_str("\n;\n");
        }
        self.batch.packet.push_str(statement.text);
        self.batch.at.push((statement.k, statement.at));
        self.passed(statement);
        Ok(())
    }

    pub(super) fn rows_alone(&mut self, statement: At<'_>) -> Result<(), Stop> {
        let own = self.tx == Tx::Batch;
        let mut retries = Retries::start();
        self.tell(statement.k, statement.at);
        loop {
            self.begin_batch()?;
            match send(self.ctx.conn, statement.text) {
                Ok(()) => break,
                Err((_, error)) if own && self.can_retry(&retries, &error) => self.retry(&mut retries, &error)?,
                Err((_, error)) => return Err(self.failure(statement.k, statement.at, statement.text, error)),
            }
        }
        fault::point("row-sent");
        self.passed(statement);
        self.uncommitted += 1;
        if own {
            self.record(None)?;
            fault::point("row-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("row-committed");
        }
        Ok(())
    }

    /// Sends what was gathered, and records it where the transaction is airun's.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.at.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let own = self.tx == Tx::Batch;
        let mut retries = Retries::start();
        loop {
            self.begin_batch()?;
            let (events, total) = (&mut *self.ctx.events, self.summary.total);
            let mut begins = |index: usize| {
                if let Some((k, at)) = batch.at.get(index) {
                    events(Event::Statement { k: *k, total, bytes: at.offset });
                }
            };
            let sent = send_and_tell(self.ctx.conn, &batch.packet, &mut begins);
            let Err((index, error)) = sent else { break };
            if own && self.can_retry(&retries, &error) {
                self.retry(&mut retries, &error)?;
                continue;
            }
            let (k, at) = batch.at[index.min(batch.at.len() - 1)];
            let text = batch.packet.split("\n;\n").nth(index).unwrap_or_default();
            if own && !db::retry::is_connection_lost(&error) && !db::retry::is_deadlock(&error) {
                self.keep_before(&batch, index)?;
            }
            return Err(self.failure(k, at, text, error));
        }
        fault::point("rows-sent");
        self.uncommitted += batch.at.len() as u64;
        if own {
            self.record(None)?;
            fault::point("rows-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("rows-committed");
        }
        Ok(())
    }

    /// Statement `index` of a batch was failure: those before it stay, as they do with the `mysql` client.
    pub(super) fn keep_before(&mut self, batch: &Batch, index: usize) -> Result<(), Stop> {
        let (k, _) = batch.at[index];
        let prefix = self.script.prefix(k - 1)?;
        self.done = k - 1;
        self.checksum = prefix.sum;
        fault::point("before-failure");
        self.record(None)?;
        self.ctx.conn.query_drop("COMMIT")?;
        Ok(())
    }

    pub(super) fn begin_batch(&mut self) -> Result<(), Stop> {
        if self.tx == Tx::Batch && !self.tables_locked {
            self.ctx.conn.query_drop("START TRANSACTION")?;
        }
        Ok(())
    }

    /// Whether the transaction, which the error leaves nothing of once it is rolled back, is to be tried again.
    pub(super) fn can_retry(&self, retries: &Retries, error: &mysql::Error) -> bool {
        if db::retry::is_deadlock(error) {
            return retries.backoff.attempts() < DEADLOCK_RETRIES_MAX;
        }
        db::retry::is_lock_timeout(error) && retries.since.elapsed() < self.ctx.patience
    }

    pub(super) fn retry(&mut self, retries: &mut Retries, error: &mysql::Error) -> Result<(), Stop> {
        let what = db::describe(error);
        self.ctx.conn.query_drop("ROLLBACK")?;
        let blockers = match db::retry::is_lock_timeout(error) {
            true => format!(", {}", blockers::of(self.ctx.conn, &[], &self.schema)),
            false => String::new(),
        };
        (self.ctx.events)(Event::Warning(format!("{}: {what}{blockers}; trying again", self.script.label)));
        if self.ctx.shutdown.wait(retries.backoff.next_delay()) == Woken::Stopping {
            return Err(self.interrupted().into());
        }
        Ok(())
    }
}
