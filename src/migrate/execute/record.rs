//! Records how far the script has got.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::run::{Direction, Done, RowState, Run};
use super::tx_mode::TxMode;
use crate::error::Result;
use crate::fault;
use crate::migrate::event::Event;
use crate::migrate::journal::{Finished, Intent, NewRow, Progress, State};
use crate::migrate::names::hex;
use crate::migrate::session_state;

impl Run<'_, '_> {
    /// Inserts the row before the first statement, unless the script is one transaction. This must not be in the
    /// transaction of a statement, whose rollback would delete the row.
    pub(super) fn begin_row(&mut self) -> Result<()> {
        if self.row == RowState::NotBegun && self.mode != TxMode::WholeScript {
            self.record(None)?;
        }
        Ok(())
    }

    /// Records the statements that are done, if the journal doesn't have them yet.
    pub(super) fn record_if_behind(&mut self) -> Result<()> {
        if self.row == RowState::Behind {
            self.record(None)?;
        }
        Ok(())
    }

    /// Records the statements that are done and the one that is about to run, in the open transaction, if there is one.
    pub(super) fn record(&mut self, intent: Option<&Intent>) -> Result<()> {
        if self.row == RowState::NotBegun {
            self.row = RowState::Current;
            return match self.direction {
                Direction::Up { migration, .. } => {
                    let (migration, state) = (*migration, State::Applying);
                    self.ctx.insert_row(&NewRow { migration, state, intent, duration: Duration::ZERO })
                }
                Direction::Down { row } => {
                    self.ctx.journal.begin_rollback(&mut self.ctx.conn, row, self.summary.total, intent)
                }
            };
        }
        let now = Instant::now();
        let progress = Progress { duration: now - self.recorded_at, ..self.progress(&self.done, intent) };
        self.ctx.journal.progress(&mut self.ctx.conn, &progress)?;
        self.recorded_at = now;
        self.row = RowState::Current;
        Ok(())
    }

    /// Returns the values of the journal row after `done`, without the running time.
    pub(super) fn progress<'i>(&self, done: &Done, intent: Option<&'i Intent>) -> Progress<'i> {
        Progress {
            version: self.direction.version(),
            state: self.direction.state(),
            statements_total: self.summary.total,
            statements_done: done.statements,
            done_checksum: if done.statements == 0 { String::new() } else { hex(&done.checksum.so_far()) },
            intent,
            session_state: session_state::capture_sql(self.summary),
            duration: Duration::ZERO,
        }
    }

    /// Records the end of the script. For an UP with a row of its own, that record is deferred.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.end_transaction()?;
        fault::point("script-ended");
        let duration = self.recorded_at.elapsed();
        match self.direction {
            Direction::Up { migration, .. } => {
                let finished = Finished {
                    version: migration.version,
                    name: migration.name.to_owned(),
                    statements_total: migration.statements_total,
                    checksum: migration.checksum.to_owned(),
                    duration,
                    started: self.started,
                };
                if self.row != RowState::NotBegun {
                    self.ctx.defer_commit(finished);
                    return Ok(());
                }
                let row = NewRow { migration: *migration, state: State::Applied, intent: None, duration };
                self.ctx.journal.insert(&mut self.ctx.conn, &row)?;
                self.commit_whole()?;
                self.ctx.report_applied(finished);
            }
            Direction::Down { row } => {
                let state = if self.row == RowState::NotBegun { row.state } else { State::RollingBack };
                self.ctx.journal.delete(&mut self.ctx.conn, row.version, state)?;
                self.commit_whole()?;
            }
        }
        Ok(())
    }

    fn commit_whole(&mut self) -> Result<()> {
        if self.mode == TxMode::WholeScript {
            fault::point("whole-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
        }
        fault::point("finished");
        Ok(())
    }

    /// Ends the script's own transaction and its table locks, as the end of its session would.
    fn end_transaction(&mut self) -> Result<()> {
        if self.mode.script_commits() {
            if self.uncommitted > 0 {
                let (label, n) = (&self.script.label, self.uncommitted);
                let statements = if n == 1 { "statement was".to_owned() } else { format!("{n} statements were") };
                (self.ctx.events)(Event::Warning(format!(
                    "`{label}` ends inside a transaction: its last {statements} rolled back, as by the `mysql` client; \
                     add COMMIT"
                )));
            }
            self.ctx.conn.query_drop("ROLLBACK")?;
            self.ctx.conn.query_drop("SET autocommit = 1")?;
        }
        if self.mode.tables_locked() {
            self.commit_before_unlock()?;
            self.ctx.conn.query_drop("UNLOCK TABLES")?;
        }
        Ok(())
    }
}
