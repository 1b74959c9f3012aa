//! Unclassified statements, which may do anything: they run with an implicit-commit probe.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::run::{RowState, Run, Statement, send};
use super::tx_mode::{Effect, TxMode};
use crate::db;
use crate::db::retry::Backoff;
use crate::error::Result;
use crate::fault;
use crate::migrate::classify::is_compound;
use crate::migrate::journal::Intent;

/// The implicit-commit probe. A commit deletes savepoints, so if it no longer exists, the statement committed
/// something.
const SET_PROBE: &str = "SAVEPOINT airun_commit_probe";
const TEST_PROBE: &str = "RELEASE SAVEPOINT airun_commit_probe";
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

impl Run<'_, '_> {
    pub(super) fn unclassified(&mut self, statement: &Statement) -> Result<Effect> {
        let compound = is_compound(&statement.text);
        let intent = Intent::of_unclassified(&mut self.ctx.conn, statement.k, &statement.text, compound, &self.schema)?;
        if self.mode.airun_commits() && self.row == RowState::Behind {
            self.record(None)?;
            if self.mode == TxMode::TablesLocked {
                self.ctx.conn.query_drop("COMMIT")?;
            }
        }
        // Records that the statement is done. It is part of the packet, so that the server runs it even if airun has died.
        let mut done = self.done.clone();
        done.add(statement);
        let record = self.ctx.journal.progress_sql(&self.progress(&done, None))?;
        // A comment for another server is not a statement here, so nothing can follow it in its packet.
        let alone = statement.text.starts_with("/*!") || statement.text.starts_with("/*M!");
        let packet = if alone { statement.text.clone() } else { format!("{}\n;\n{record}", statement.text) };
        let (started, mut retries) = (Instant::now(), Backoff::default());
        loop {
            self.begin_transaction()?;
            self.record(Some(&intent))?;
            self.ctx.conn.query_drop(SET_PROBE)?;
            fault::point("unclassified-intended");
            let Err((_, error)) = send(&mut self.ctx.conn, &packet, |_| {}) else { break };
            // `EXECUTE` runs one statement, and the server refused that one.
            if !compound && self.mode == TxMode::PerBatch && self.can_retry(&retries, started, &error) {
                self.retry(&mut retries, &error)?;
                continue;
            }
            // A deadlock also deletes the probe, together with everything that wasn't committed.
            let conclusive = compound && !db::retry::is_deadlock(&error) && !db::retry::is_connection_lost(&error);
            let committed_before = conclusive && self.has_committed()?;
            return Err(self.failure(statement, error, committed_before));
        }
        fault::point("unclassified-run");
        if alone {
            send(&mut self.ctx.conn, &record, |_| {}).map_err(|(_, error)| error)?;
        }
        self.ctx.journal.check_written(&self.ctx.conn)?;
        self.advance(statement);
        self.row = RowState::Current;
        if self.has_committed()? {
            return Ok(Effect::Committed);
        }
        if self.mode.airun_commits() {
            // It committed nothing, so its changes and its record become one transaction.
            fault::point("unclassified-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("unclassified-committed");
        }
        Ok(Effect::None)
    }

    fn has_committed(&mut self) -> Result<bool, mysql::Error> {
        match self.ctx.conn.query_drop(TEST_PROBE) {
            Ok(()) => Ok(false),
            Err(mysql::Error::MySqlError(error)) if error.code == ER_SP_DOES_NOT_EXIST => Ok(true),
            Err(error) => Err(error),
        }
    }
}
