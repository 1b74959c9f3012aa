//! Runs one script, statement by statement, so that it can resume after a crash at any moment.
//!
//! MySQL commits at every DDL statement, so a script can't be one transaction. What is recorded, and when:
//!
//! - A script that contains only DML is one transaction, together with its row in `ai_migrations`.
//! - Otherwise each batch of DML shares a transaction with the record that it is done.
//! - Before a DDL statement runs, the journal records its intent: the statement's number and a fingerprint of each
//!   object that it changes. The record that it is done is written together with the next intent, which saves one
//!   commit for each statement. Statements that create something new share one intent; see [`ddl_batch`].
//! - An unclassified statement runs in a transaction that holds its intent. If it commits something, it commits the
//!   intent as well. If it doesn't, the record that it is done commits together with its changes. That record is sent
//!   in the same packet, so that a server which reaches the statement's end records it even if airun has died.
//! - If the script has opened a transaction of its own, records are part of it, so a crash undoes both.
//!
//! Storage engines without transactions (MyISAM, Aria, MEMORY) keep changes that a rollback removes from the journal.
//! So if a crash comes between a change of such a table and its record, the statement runs twice.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::classify::{Ddl, DdlKind, StatementKind, classify};
use super::context::Context;
use super::event::Event;
use super::recover::replay::Replay;
use super::script::{Script, ScriptSummary};
use crate::error::Result;

mod blockers;
mod ddl;
mod ddl_batch;
mod dml;
mod failure;
mod record;
mod run;
mod session_statements;
mod tx_mode;
mod unclassified;

pub use run::Direction;
use run::{Run, Statement};
use tx_mode::{Effect, TxMode};

/// Retries of a whole script after a deadlock or a lock timeout.
const RETRIES_MAX: u32 = 10;

/// Runs `script` from the first statement that is not done. The record that an UP ran to its end may be deferred; see
/// [`Context::flush_deferred`].
///
/// # Errors Names file, line, column and statement if the server refuses one, and says what to do. Returns
/// [`crate::error::ErrorKind::Interrupted`] between two statements if a signal asked the process to stop.
pub fn execute(
    ctx: &mut Context<'_>,
    script: &Script<'_>,
    summary: &ScriptSummary,
    direction: &Direction<'_>,
) -> Result<()> {
    let until = Instant::now() + ctx.lock_timeout;
    let mut retries = 0;
    loop {
        let mut run = Run::new(ctx, script, summary, direction);
        let Err(error) = run.run() else { return Ok(()) };
        // A rollback doesn't undo what the script left in its session.
        let again = run.rolled_back && !summary.leaves_traces && retries < RETRIES_MAX && Instant::now() < until;
        if !again {
            return Err(error);
        }
        retries += 1;
        (ctx.events)(Event::Warning(format!("{error}; retrying the migration")));
        ctx.conn.query_drop("ROLLBACK")?;
    }
}

impl Run<'_, '_> {
    fn run(&mut self) -> Result<()> {
        let script = self.script;
        let mut statements = script.statements()?;
        let mut replay = self.direction.resumed().map(|row| (row.statements_done, Replay::default()));
        if self.mode == TxMode::WholeScript {
            self.ctx.conn.query_drop("START TRANSACTION")?;
        }
        let mut k = 0;
        while let Some(next) = statements.next().map_err(|error| script.split_error(error))? {
            k += 1;
            let statement = Statement { k, at: next.at, text: next.text.to_owned() };
            let kind = classify(&statement.text);
            match &mut replay {
                Some((done, replay)) if k <= *done => {
                    replay.add(k, &statement.text, &kind);
                    self.skip(&statement);
                    continue;
                }
                _ => {}
            }
            if let Some((_, replay)) = replay.take() {
                self.restore_session(replay)?;
            }
            self.run_statement(statement, kind)?;
        }
        self.flush_ddl()?;
        self.flush_dml()?;
        self.finish()
    }

    fn run_statement(&mut self, statement: Statement, kind: StatementKind) -> Result<()> {
        self.stop_if_asked()?;
        match kind {
            StatementKind::Dml { .. } => {
                self.flush_ddl()?;
                return self.queue_dml(statement);
            }
            StatementKind::Ddl(ddl) => {
                self.flush_dml()?;
                return self.queue_ddl(statement, ddl);
            }
            StatementKind::Idempotent => {
                self.flush_dml()?;
                return self.queue_ddl(statement, Ddl { kind: DdlKind::Alter, objects: Vec::new(), index: None });
            }
            _ => {}
        }
        self.flush_ddl()?;
        self.flush_dml()?;
        self.begin_row()?;
        self.announce(&statement);
        let effect = match kind {
            StatementKind::Session | StatementKind::TemporaryTable { .. } | StatementKind::Savepoint => {
                self.send(&statement)?;
                Effect::None
            }
            StatementKind::Use(schema) => {
                self.send(&statement)?;
                self.schema = schema;
                Effect::None
            }
            StatementKind::Rollback => {
                self.send(&statement)?;
                Effect::Committed
            }
            StatementKind::Autocommit(on) => self.set_autocommit(&statement, on)?,
            StatementKind::Begin => self.begin(&statement)?,
            StatementKind::Commit => self.commit(&statement)?,
            StatementKind::LockTables => self.lock_tables(&statement)?,
            StatementKind::UnlockTables => self.unlock_tables(&statement)?,
            _ => self.unclassified(&statement)?,
        };
        self.complete(&statement, effect);
        Ok(())
    }
}
