//! Reports and records why a script stopped before its end.

use mysql::prelude::Queryable;

use super::run::{RowState, Run, Statement};
use super::tx_mode::TxMode;
use crate::db;
use crate::error::{Error, ErrorKind, Result};
use crate::fault;
use crate::migrate::event::Event;

impl Run<'_, '_> {
    /// `file:line:column`
    pub(super) fn place(&self, Statement { at, .. }: &Statement) -> String {
        format!("{}:{}:{}", self.script.label, at.line, at.column)
    }

    pub(super) fn interrupted(&self) -> Error {
        let (label, total, command) = (&self.script.label, self.summary.total, self.direction.command());
        let message = if self.mode == TxMode::WholeScript {
            format!("`{label}` was stopped by a signal; everything was rolled back; run `{command}` again")
        } else {
            let done = if self.mode.script_commits() { &self.committed } else { &self.done };
            format!(
                "`{label}` was stopped by a signal after statement {} of {total}; run `{command}` again to resume",
                done.statements
            )
        };
        Error::new(ErrorKind::Interrupted, message)
    }

    /// Handles a statement that the server refused: records the reason, and says what to do. `committed_before` is true
    /// if the statement committed something before it failed.
    pub(super) fn failure(&mut self, statement: &Statement, error: mysql::Error, committed_before: bool) -> Error {
        let (k, command) = (statement.k, self.direction.command());
        let what = format!(
            "{}: statement {k} of {} failed: {}\n  {}",
            self.place(statement),
            self.summary.total,
            db::describe(&error),
            snippet(&statement.text)
        );
        if self.mode == TxMode::WholeScript {
            self.rolled_back = db::retry::is_deadlock(&error) || db::retry::is_lock_timeout(&error);
            let advice = if self.rolled_back { "run it again" } else { "fix it and run it again" };
            return Error::failure(format!("{what}\n  everything was rolled back; {advice}"));
        }
        if db::retry::is_connection_lost(&error) {
            let advice = format!("run `{command}` again: it finds out what was applied and resumes there");
            return Error::failure(format!("{what}\n  the connection was lost; {advice}"));
        }
        self.record_failure(&what);
        let advice = if committed_before {
            format!(
                "statement {k} committed something before it failed; check what it changed before you fix it and run it again"
            )
        } else {
            format!("fix statement {k} and run `{command}` again; it resumes there")
        };
        Error::failure(format!("{what}\n  {advice}"))
    }

    /// Records the reason and deletes the intent, because the server reported that the statement was not applied. If
    /// that fails, the reason is still reported, so this only warns.
    fn record_failure(&mut self, what: &str) {
        if self.row == RowState::NotBegun {
            return;
        }
        if let Err(error) = self.try_record_failure(what) {
            (self.ctx.events)(Event::Warning(format!("failed to record the failure in the journal: {error}")));
        }
    }

    fn try_record_failure(&mut self, what: &str) -> Result<()> {
        self.ctx.conn.query_drop("ROLLBACK")?;
        if self.mode.script_commits() {
            self.done = self.committed.clone();
            self.row = RowState::Behind;
        }
        self.record_if_behind()?;
        fault::point("failed");
        self.ctx.journal.fail(&mut self.ctx.conn, self.direction.version(), self.direction.state(), what)?;
        self.ctx.conn.query_drop("COMMIT")?;
        Ok(())
    }
}

/// Returns the beginning of a statement, on one line.
pub fn snippet(text: &str) -> String {
    const LENGTH_MAX: usize = 100;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(LENGTH_MAX));
        if line.chars().count() > LENGTH_MAX {
            return line.chars().take(LENGTH_MAX - 1).chain(['…']).collect();
        }
    }
    line
}
