//! Writing down how far the script has come.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::{At, Direction, Run, Stop, Tx};
use crate::error::Result;
use crate::fault;
use crate::migrate::catalog::hex;
use crate::migrate::event::Event;
use crate::migrate::journal::{Begin, Journal, Progress, State};
use crate::migrate::recover::evidence::Intent;
use crate::migrate::recover::session;
use crate::migrate::sql::Position;
use crate::migrate::version::Version;

/// A migration that has run to its end. Its last record rides on the first one of the next migration, so that the two
/// cost one commit; a crash before that finds all of its statements done.
#[derive(Debug)]
pub struct DeferredCommit {
    pub(super) version: Version,
    pub(super) name: String,
    pub(super) total: u64,
    pub(super) checksum: String,
    pub(super) spent: Duration,
    pub(super) started: Instant,
}

impl DeferredCommit {
    /// Records it.
    ///
    /// # Errors
    /// As [`Journal::finish`].
    pub fn settle(&self, conn: &mut Conn, journal: &Journal) -> Result<()> {
        journal.finish(conn, self.version, self.total, &self.checksum, self.spent)
    }

    /// What is told once it's recorded.
    pub fn applied(self) -> Event {
        let took = self.started.elapsed();
        Event::Applied { version: self.version, name: self.name, statements: self.total, took }
    }
}

impl Run<'_, '_> {
    pub(super) fn finish(&mut self) -> Result<Option<DeferredCommit>, Stop> {
        self.flush_ddl()?;
        self.flush()?;
        if self.tx == Tx::Script {
            if self.uncommitted > 0 {
                (self.ctx.events)(Event::Warning(format!(
                    "`{}` ends inside a transaction: its last {} statements are rolled back, as by the `mysql` client; add COMMIT",
                    self.script.label, self.uncommitted
                )));
            }
            self.ctx.conn.query_drop("ROLLBACK")?;
            self.ctx.conn.query_drop("SET autocommit = 1")?;
            self.tx = Tx::Batch;
            self.script_autocommit_off = false;
        }
        if self.tables_locked {
            self.unlock_tables(At { k: self.done, at: Position::default(), text: "UNLOCK TABLES" })?;
        }
        fault::point("script-ended");
        let spent = self.recorded_until.elapsed();
        let conn = &mut *self.ctx.conn;
        match self.way {
            Direction::Up { name, .. } if self.begun => {
                return Ok(Some(DeferredCommit {
                    version: self.version,
                    name: (*name).to_owned(),
                    total: self.summary.total,
                    checksum: self.summary.checksum.clone(),
                    spent,
                    started: self.started,
                }));
            }
            Direction::Up { name, sequence, up_text, down_text, .. } => self.ctx.journal.begin(
                conn,
                &Begin {
                    version: self.version,
                    name,
                    state: State::Applied,
                    sequence: *sequence,
                    checksum: &self.summary.checksum,
                    total: self.summary.total,
                    done: self.summary.total,
                    intent: None,
                    up_text: *up_text,
                    down_text: *down_text,
                    duration: spent,
                },
            )?,
            Direction::Down { row } => {
                let state = if self.begun { State::RollingBack } else { row.state };
                self.ctx.journal.forget(conn, self.version, state)?;
            }
        }
        if self.tx == Tx::Whole {
            fault::point("whole-recorded");
            conn.query_drop("COMMIT")?;
        }
        fault::point("finished");
        Ok(None)
    }

    /// Records `done` and what is about to run, within the transaction that is open, if one is.
    pub(super) fn record(&mut self, intent: Option<&Intent>) -> Result<(), Stop> {
        let memory = session::remember(self.ctx.conn, self.summary)?;
        let checksum = if self.done == 0 { String::new() } else { hex(&self.checksum.so_far()) };
        // Nothing else is open at the first record, so the two make a transaction of their own.
        let owed = if self.begun { None } else { self.ctx.owed.take() };
        if let Some(owed) = &owed {
            self.ctx.conn.query_drop("START TRANSACTION")?;
            owed.settle(self.ctx.conn, self.ctx.journal)?;
        }
        if !self.begun {
            match self.way {
                Direction::Up { name, sequence, up_text, down_text, .. } => self.ctx.journal.begin(
                    self.ctx.conn,
                    &Begin {
                        version: self.version,
                        name,
                        state: State::Applying,
                        sequence: *sequence,
                        checksum: &self.summary.checksum,
                        total: self.summary.total,
                        done: 0,
                        intent,
                        up_text: *up_text,
                        down_text: *down_text,
                        duration: Duration::ZERO,
                    },
                )?,
                Direction::Down { row } => {
                    self.ctx.journal.begin_rollback(self.ctx.conn, row, self.summary.total, intent)?;
                }
            }
            self.begun = true;
        }
        if self.done > 0 || memory.is_some() || intent.is_none() {
            let now = Instant::now();
            let progress = Progress {
                total: self.summary.total,
                done: self.done,
                done_checksum: &checksum,
                intent,
                session: memory.as_deref(),
                error: None,
                spent: now - self.recorded_until,
            };
            self.ctx.journal.progress(self.ctx.conn, self.version, self.state(), &progress)?;
            self.recorded_until = now;
        }
        if let Some(owed) = owed {
            fault::point("owed-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            (self.ctx.events)(owed.applied());
        }
        self.unrecorded = false;
        Ok(())
    }

    pub(super) fn state(&self) -> State {
        match self.way {
            Direction::Up { .. } => State::Applying,
            Direction::Down { .. } => State::RollingBack,
        }
    }
}
