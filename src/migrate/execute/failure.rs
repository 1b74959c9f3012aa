//! What is said, and written down, when a script stops before its end.

use mysql::prelude::Queryable;

use super::{Run, Stop, Tx};
use crate::db;
use crate::error::{Error, ErrorKind};
use crate::fault;
use crate::migrate::event::Event;
use crate::migrate::sql::Position;

impl Run<'_, '_> {
    pub(super) fn place(&self, at: Position) -> String {
        format!("{}:{}:{}", self.script.label, at.line, at.column)
    }

    pub(super) fn interrupted(&self) -> Error {
        Error::new(
            ErrorKind::Interrupted,
            format!(
                "`{}` was stopped by a signal after statement {} of {}; run it again to go on",
                self.script.label, self.done, self.summary.total
            ),
        )
    }

    /// The server failure statement `k`: writes down why, and says what has run and what to do.
    pub(super) fn failure(&mut self, k: u64, at: Position, text: &str, error: mysql::Error) -> Stop {
        let what = format!(
            "{}: statement {k} of {} failed: {}\n  {}",
            self.place(at),
            self.summary.total,
            db::describe(&error),
            snippet(text)
        );
        if self.tx == Tx::Whole {
            if db::retry::is_deadlock(&error) || db::retry::is_lock_timeout(&error) {
                return Stop::Undone(Error::failure(format!("{what}\n  all of it was rolled back; run it again")));
            }
            return Error::failure(format!("{what}\n  all of it was rolled back; mend it and run it again")).into();
        }
        let lost = db::retry::is_connection_lost(&error);
        if !lost {
            self.note_error(&what);
        }
        let hint = if self.committed_within {
            format!(
                "statement {k} had committed something before it failed: see to that before you mend it and run it again"
            )
        } else if lost {
            "the connection is lost; run it again: airun looks at what happened and goes on".to_owned()
        } else {
            format!(
                "what ran before it is recorded; mend statement {k} or those after it and run it again to go on there"
            )
        };
        Error::failure(format!("{what}\n  {hint}")).into()
    }

    /// The intent goes, since the server has said that it didn't happen, and the reason stays. That the reason can't be
    /// written isn't worth hiding it for.
    pub(super) fn note_error(&mut self, what: &str) {
        let rolled_back = self.ctx.conn.query_drop("ROLLBACK");
        if rolled_back.is_err() || !self.begun {
            return;
        }
        if self.in_batch
            && self.unrecorded
            && let Err(Stop::Error(error) | Stop::Undone(error)) = self.record(None)
        {
            (self.ctx.events)(Event::Warning(format!("what ran before it wasn't recorded: {error}")));
            return;
        }
        let state = self.state();
        fault::point("failure");
        let noted = self.ctx.journal.fail(self.ctx.conn, self.version, state, what);
        if let Err(error) = noted.and_then(|()| Ok(self.ctx.conn.query_drop("COMMIT")?)) {
            (self.ctx.events)(Event::Warning(format!("the reason wasn't recorded: {error}")));
        }
    }
}

/// The beginning of a statement on one line.
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
