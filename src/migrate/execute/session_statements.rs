//! Statements that change the session: settings, the script's own transactions and table locks.

use mysql::prelude::Queryable;

use super::run::{Run, Stop};
use super::statement::Statement;
use super::tx_mode::{Effect, TxMode};
use crate::fault;
use crate::migrate::classify::{SessionStatement, TransactionStatement, lock_tables_with};
use crate::migrate::recover::replay::Replay;
use crate::migrate::sql::Position;

impl Run<'_, '_> {
    pub(super) fn session_statement(
        &mut self,
        statement: Statement<'_>,
        change: SessionStatement,
    ) -> Result<Effect, Stop> {
        match change {
            SessionStatement::Other => {
                self.send(statement)?;
                Ok(Effect::None)
            }
            SessionStatement::Use(schema) => {
                self.send(statement)?;
                self.schema = schema;
                Ok(Effect::None)
            }
            SessionStatement::Autocommit(on) => {
                if on && matches!(self.mode, TxMode::AutocommitOff | TxMode::TablesLockedAutocommitOff) {
                    // Turning it on commits, and the record with it.
                    self.advance(statement);
                }
                self.record_if_behind()?;
                self.send(statement)?;
                if on && self.mode.tables_locked() {
                    self.ctx.conn.query_drop("SET autocommit = 0")?;
                }
                if on && self.mode == TxMode::ScriptTransaction {
                    // It was on already, so the transaction stays open.
                    return Ok(Effect::None);
                }
                Ok(Effect::Autocommit(on))
            }
        }
    }

    pub(super) fn transaction_statement(
        &mut self,
        statement: Statement<'_>,
        change: TransactionStatement,
    ) -> Result<Effect, Stop> {
        match change {
            TransactionStatement::Begin => {
                // Commits an open transaction, and the record with it.
                self.record_if_behind()?;
                if self.mode.tables_locked() {
                    let effect = self.unlock_tables(Statement { text: "UNLOCK TABLES", ..statement })?;
                    self.mode = self.mode.after(effect);
                }
                self.mark_committed();
                self.send(statement)?;
                Ok(Effect::Began)
            }
            TransactionStatement::Commit => {
                if self.mode.script_commits() {
                    self.advance(statement);
                    self.record_if_behind()?;
                    fault::point("script-recorded");
                }
                self.send(statement)?;
                fault::point("script-committed");
                Ok(Effect::Committed)
            }
            TransactionStatement::Rollback => {
                self.send(statement)?;
                Ok(Effect::Committed)
            }
            TransactionStatement::Savepoint => {
                self.send(statement)?;
                Ok(Effect::None)
            }
        }
    }

    /// Locks the script's tables and the journal's. Commits an open transaction, and its record with it.
    pub(super) fn lock_tables(&mut self, statement: Statement<'_>) -> Result<Effect, Stop> {
        self.record_if_behind()?;
        let text = lock_tables_with(statement.text, &self.ctx.journal.tables_to_lock());
        self.send(Statement { text: &text, ..statement })?;
        if self.mode.after(Effect::LockedTables) == TxMode::TablesLocked {
            self.ctx.conn.query_drop("SET autocommit = 0")?;
        }
        Ok(Effect::LockedTables)
    }

    pub(super) fn unlock_tables(&mut self, statement: Statement<'_>) -> Result<Effect, Stop> {
        if self.mode.tables_locked() {
            // Unlocking commits an open transaction.
            self.record_if_behind()?;
        }
        if self.mode == TxMode::TablesLocked {
            self.ctx.conn.query_drop("COMMIT")?;
            self.ctx.conn.query_drop("SET autocommit = 1")?;
        }
        self.send(statement)?;
        Ok(Effect::UnlockedTables)
    }

    /// Counts a statement that ran before.
    pub(super) fn skip(&mut self, statement: Statement<'_>) {
        self.done.add(statement);
        self.mark_committed();
    }

    /// Restores the session for the first statement that didn't run before.
    pub(super) fn restore_session(&mut self, replay: Replay) -> Result<(), Stop> {
        let session_state = self.direction.resumed().and_then(|row| row.session_state.as_deref());
        let restored = replay.run(&mut self.ctx.conn, session_state)?;
        if let Some(schema) = restored.schema {
            self.schema = schema;
        }
        if restored.autocommit_off {
            self.mode = self.mode.after(Effect::Autocommit(false));
        }
        if let Some(text) = restored.lock_tables {
            let statement = Statement { k: self.done.statements, at: Position::default(), text: &text };
            let effect = self.lock_tables(statement)?;
            self.mode = self.mode.after(effect);
        }
        Ok(())
    }
}
