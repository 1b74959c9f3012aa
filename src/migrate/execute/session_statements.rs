//! Statements that change the session: settings, the script's own transactions and table locks.

use mysql::prelude::Queryable;

use super::run::{Run, Statement};
use super::tx_mode::{Effect, TxMode};
use crate::error::Result;
use crate::fault;
use crate::migrate::classify::lock_tables_with;
use crate::migrate::recover::replay::Replay;
use crate::migrate::sql::Position;

impl Run<'_, '_> {
    /// `SET autocommit`
    pub(super) fn set_autocommit(&mut self, statement: &Statement, on: bool) -> Result<Effect> {
        if on && matches!(self.mode, TxMode::AutocommitOff | TxMode::TablesLockedAutocommitOff) {
            // Turning it on commits, and the record with it.
            self.advance(statement);
        }
        self.record_if_behind()?;
        self.send(statement)?;
        if on && self.mode.tables_locked() {
            self.ctx.conn.query_drop("SET autocommit = 0")?;
        }
        // If it was on already, the script's transaction stays open.
        Ok(if on && self.mode == TxMode::ScriptTransaction { Effect::None } else { Effect::Autocommit(on) })
    }

    /// `BEGIN`
    pub(super) fn begin(&mut self, statement: &Statement) -> Result<Effect> {
        // It commits an open transaction, and the record with it. It also unlocks the tables.
        self.record_if_behind()?;
        self.commit_before_unlock()?;
        self.mark_committed();
        self.send(statement)?;
        Ok(Effect::Began)
    }

    /// `COMMIT`
    pub(super) fn commit(&mut self, statement: &Statement) -> Result<Effect> {
        if self.mode.script_commits() {
            self.advance(statement);
            self.record_if_behind()?;
            fault::point("script-recorded");
        }
        self.send(statement)?;
        fault::point("script-committed");
        Ok(Effect::Committed)
    }

    /// Locks the script's tables and the journal's. Commits an open transaction, and its record with it.
    pub(super) fn lock_tables(&mut self, statement: &Statement) -> Result<Effect> {
        self.record_if_behind()?;
        let text = lock_tables_with(&statement.text, &self.ctx.journal.tables_to_lock());
        self.send(&Statement { text, ..statement.clone() })?;
        if self.mode.after(Effect::LockedTables) == TxMode::TablesLocked {
            self.ctx.conn.query_drop("SET autocommit = 0")?;
        }
        Ok(Effect::LockedTables)
    }

    pub(super) fn unlock_tables(&mut self, statement: &Statement) -> Result<Effect> {
        self.commit_before_unlock()?;
        self.send(statement)?;
        Ok(Effect::UnlockedTables)
    }

    /// Unlocking commits an open transaction, and its record with it.
    pub(super) fn commit_before_unlock(&mut self) -> Result<()> {
        if self.mode.tables_locked() {
            self.record_if_behind()?;
        }
        if self.mode == TxMode::TablesLocked {
            self.ctx.conn.query_drop("COMMIT")?;
            self.ctx.conn.query_drop("SET autocommit = 1")?;
        }
        Ok(())
    }

    /// Counts a statement that ran before.
    pub(super) fn skip(&mut self, statement: &Statement) {
        self.done.add(statement);
        self.mark_committed();
    }

    /// Restores the session for the first statement that didn't run before.
    pub(super) fn restore_session(&mut self, replay: Replay) -> Result<()> {
        let session_state = self.direction.resumed().and_then(|row| row.session_state.as_deref());
        let restored = replay.run(&mut self.ctx.conn, session_state)?;
        if let Some(schema) = restored.schema {
            self.schema = schema;
        }
        if restored.autocommit_off {
            self.mode = self.mode.after(Effect::Autocommit(false));
        }
        if let Some(text) = restored.lock_tables {
            let statement = Statement { k: self.done.statements, at: Position::default(), text };
            let effect = self.lock_tables(&statement)?;
            self.mode = self.mode.after(effect);
        }
        Ok(())
    }
}
