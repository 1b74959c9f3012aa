//! The state of a script that runs.

use std::time::Instant;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::ddl_batch::QueuedDdl;
use super::tx_mode::{Effect, TxMode};
use crate::error::Result;
use crate::migrate::context::Context;
use crate::migrate::event::Event;
use crate::migrate::journal::{JournalRow, Migration, State};
use crate::migrate::script::{Script, ScriptSummary};
use crate::migrate::sql::{Checksum, Position};
use crate::migrate::version::Version;

/// The direction of a script, and its row in the journal.
#[derive(Debug)]
pub enum Direction<'a> {
    /// The UP. `resumed` is its row if it stopped half-way before.
    Up { migration: Migration<'a>, resumed: Option<&'a JournalRow> },
    /// The DOWN.
    Down { row: &'a JournalRow },
}

impl Direction<'_> {
    pub fn version(&self) -> Version {
        match self {
            Direction::Up { migration, .. } => migration.version,
            Direction::Down { row } => row.version,
        }
    }

    /// Returns the row, if this script stopped half-way before.
    pub fn resumed(&self) -> Option<&JournalRow> {
        match self {
            Direction::Up { resumed, .. } => *resumed,
            Direction::Down { row } => (row.state == State::RollingBack).then_some(*row),
        }
    }

    /// Returns the state of the row while the script runs.
    pub fn state(&self) -> State {
        match self {
            Direction::Up { .. } => State::Applying,
            Direction::Down { .. } => State::RollingBack,
        }
    }

    pub fn command(&self) -> &'static str {
        match self {
            Direction::Up { .. } => "airun migrate up",
            Direction::Down { .. } => "airun migrate rollback",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Statement {
    /// Its number, from 1.
    pub k: u64,
    pub at: Position,
    pub text: String,
}

/// The statements that ran, from the first one on.
#[derive(Clone, Default)]
pub struct Done {
    pub statements: u64,
    pub checksum: Checksum,
}

impl Done {
    pub fn add(&mut self, statement: &Statement) {
        self.statements = statement.k;
        self.checksum.add(&statement.text);
    }
}

/// How up to date the script's journal row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Nothing yet.
    NotBegun,
    /// Statements ran that are not recorded.
    Behind,
    Current,
}

pub struct Run<'r, 'm> {
    pub ctx: &'r mut Context<'m>,
    pub script: &'r Script<'r>,
    pub summary: &'r ScriptSummary,
    pub direction: &'r Direction<'r>,
    pub mode: TxMode,
    pub row: RowState,
    /// The session's default database.
    pub schema: String,
    pub done: Done,
    /// The part of `done` that survives a rollback of the script's own transaction.
    pub committed: Done,
    /// DDL that waits to run on one intent.
    pub ddl: Vec<QueuedDdl>,
    /// DML that waits to be sent in one packet, and its length.
    pub dml: Vec<Statement>,
    pub dml_bytes: usize,
    /// DML statements of the script's own transaction.
    pub uncommitted: u64,
    /// True if a deadlock or a lock timeout undid the transaction that holds the whole script.
    pub rolled_back: bool,
    pub started: Instant,
    pub recorded_at: Instant,
}

impl<'r, 'm> Run<'r, 'm> {
    pub fn new(
        ctx: &'r mut Context<'m>,
        script: &'r Script<'r>,
        summary: &'r ScriptSummary,
        direction: &'r Direction<'r>,
    ) -> Self {
        let resumed = direction.resumed().is_some();
        let whole = summary.one_transaction && !resumed;
        let now = Instant::now();
        Self {
            schema: ctx.database.name.clone(),
            ctx,
            script,
            summary,
            direction,
            mode: if whole { TxMode::WholeScript } else { TxMode::PerBatch },
            row: if resumed { RowState::Current } else { RowState::NotBegun },
            done: Done::default(),
            committed: Done::default(),
            ddl: Vec::new(),
            dml: Vec::new(),
            dml_bytes: 0,
            uncommitted: 0,
            rolled_back: false,
            started: now,
            recorded_at: now,
        }
    }

    /// Reports that a statement is about to run.
    pub fn announce(&mut self, statement: &Statement) {
        let Statement { k, at, .. } = *statement;
        (self.ctx.events)(Event::Statement { k, total: self.summary.total, bytes: at.offset });
    }

    /// Counts a statement as done. Calling it again for the same one changes nothing.
    pub fn advance(&mut self, statement: &Statement) {
        if self.done.statements >= statement.k {
            return;
        }
        self.done.statements = statement.k;
        // A script in one transaction never resumes, so its checksum is not needed.
        if self.mode != TxMode::WholeScript {
            self.done.checksum.add(&statement.text);
        }
        if self.row == RowState::Current {
            self.row = RowState::Behind;
        }
    }

    /// Counts a statement as done and notes what it did to the transaction.
    pub fn complete(&mut self, statement: &Statement, effect: Effect) {
        self.advance(statement);
        self.mode = self.mode.after(effect);
        if !matches!(effect, Effect::None | Effect::Began) {
            self.mark_committed();
        }
    }

    pub fn mark_committed(&mut self) {
        self.committed = self.done.clone();
        self.uncommitted = 0;
    }

    /// Runs a statement of the script.
    pub fn send(&mut self, statement: &Statement) -> Result<()> {
        send(&mut self.ctx.conn, &statement.text, |_| {}).map_err(|(_, error)| self.failure(statement, error, false))
    }
}

/// Sends `packet` and reads every result set, because the driver's own shortcuts ignore errors after the first one.
/// Calls `begins` with the number, from 0, of each statement before the server runs it.
///
/// # Errors
/// Also returns the number of the statement that the server refused.
pub fn send(conn: &mut Conn, packet: &str, mut begins: impl FnMut(usize)) -> Result<(), (usize, mysql::Error)> {
    let mut index = 0;
    begins(index);
    let mut result = conn.query_iter(packet).map_err(|error| (0, error))?;
    while let Some(set) = result.iter() {
        for row in set {
            row.map_err(|error| (index, error))?;
        }
        index += 1;
        begins(index);
    }
    Ok(())
}
