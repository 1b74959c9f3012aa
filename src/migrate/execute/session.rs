//! What a script does to its session: settings, transactions and table locks of its own.

use mysql::prelude::Queryable;

use super::{At, Run, Stop, Tx};
use crate::fault;
use crate::migrate::classify::{SessionStatement, TransactionStatement, lock_tables_with};
use crate::migrate::journal::JournalRow;
use crate::migrate::recover::session::Replay;
use crate::migrate::sql::Position;

impl Run<'_, '_> {
    pub(super) fn session(&mut self, statement: At<'_>, change: SessionStatement) -> Result<(), Stop> {
        match change {
            SessionStatement::Other => self.execute(statement, statement.text),
            SessionStatement::Use(schema) => {
                self.execute(statement, statement.text)?;
                self.schema = schema;
                Ok(())
            }
            SessionStatement::Autocommit(on) => {
                if self.tx == Tx::Script && on {
                    // Turning it on commits.
                    self.passed(statement);
                    self.record(None)?;
                }
                self.execute(statement, statement.text)?;
                self.script_autocommit_off = !on;
                self.tx = if on { Tx::Batch } else { Tx::Script };
                Ok(())
            }
        }
    }

    pub(super) fn transaction(&mut self, statement: At<'_>, transaction: TransactionStatement) -> Result<(), Stop> {
        match transaction {
            TransactionStatement::Begin => {
                if self.unrecorded {
                    // An open transaction is committed by it, and the record with it.
                    self.record(None)?;
                }
                if self.tables_locked {
                    self.unlock_tables(At { text: "UNLOCK TABLES", ..statement })?;
                }
                self.execute(statement, statement.text)?;
                self.uncommitted = 0;
                self.tx = Tx::Script;
            }
            TransactionStatement::Commit => {
                if self.tx == Tx::Script {
                    self.passed(statement);
                    self.record(None)?;
                    fault::point("script-recorded");
                }
                self.execute(statement, statement.text)?;
                fault::point("script-committed");
                self.after_commit();
            }
            TransactionStatement::Rollback => {
                self.execute(statement, statement.text)?;
                self.after_commit();
            }
            TransactionStatement::Savepoint => self.execute(statement, statement.text)?,
        }
        Ok(())
    }

    pub(super) fn lock_tables(&mut self, statement: At<'_>) -> Result<(), Stop> {
        if self.unrecorded {
            self.record(None)?;
        }
        self.enter_locked(statement)
    }

    pub(super) fn enter_locked(&mut self, statement: At<'_>) -> Result<(), Stop> {
        self.execute(statement, &lock_tables_with(statement.text, &self.ctx.journal.locked_along()))?;
        self.after_commit();
        self.tables_locked = true;
        if !self.script_autocommit_off {
            self.ctx.conn.query_drop("SET autocommit = 0")?;
        }
        Ok(())
    }

    pub(super) fn unlock_tables(&mut self, statement: At<'_>) -> Result<(), Stop> {
        if self.tables_locked && !self.script_autocommit_off {
            if self.unrecorded {
                self.record(None)?;
            }
            self.ctx.conn.query_drop("COMMIT")?;
            self.ctx.conn.query_drop("SET autocommit = 1")?;
        }
        self.tables_locked = false;
        self.execute(statement, statement.text)
    }

    /// No transaction is open.
    pub(super) fn after_commit(&mut self) {
        self.uncommitted = 0;
        self.tx = if self.script_autocommit_off { Tx::Script } else { Tx::Batch };
    }

    pub(super) fn restore(&mut self, replay: Replay, resumed: Option<&JournalRow>) -> Result<(), Stop> {
        let memory = resumed.and_then(|row| row.session.as_deref());
        let restored = replay.run(self.ctx.conn, memory)?;
        if let Some(schema) = restored.schema {
            self.schema = schema;
        }
        if restored.autocommit == Some(false) {
            self.script_autocommit_off = true;
            self.tx = Tx::Script;
        }
        if let Some(text) = restored.locked {
            self.enter_locked(At { k: self.done, at: Position::default(), text: &text })?;
        }
        Ok(())
    }
}
