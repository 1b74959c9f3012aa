//! Runs one script, statement by statement, so that a crash at any moment leaves enough behind to go on.
//!
//! MySQL commits at every definition, so a script can't be one transaction. What is recorded when:
//!
//! - A script that only reads and changes rows is one transaction with its row in `ai_migrations`.
//! - Otherwise a run of such statements shares a transaction with its "done".
//! - Before a definition its intent is recorded, with the look of what it touches; its "done" rides on the next record.
//! - A statement that may do anything runs in a transaction that holds its intent: the tripwire. If it commits
//!   something, the intent is committed with it; if it doesn't, its "done" commits with what it did. The "done" is sent
//!   behind it in its packet: so a server that has come to its end has recorded that, though airun is gone, and where it
//!   hasn't, the statement was cut in its middle.
//! - In a transaction of the script's own, records are part of it, so "done" moves only at its commit.
//!
//! Tables of engines without transactions (MyISAM, Aria, MEMORY) keep what a rollback takes from the journal, so a crash
//! between a change of their rows and its record has that change made twice.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::classify::{Ddl, DdlKind, StatementKind, classify};
use super::event::{Event, Events};
use super::journal::{Journal, JournalRow, State};
use super::recover::session::Replay;
use super::script::{Script, ScriptSummary};
use super::sql::{Checksum, Position};
use super::version::Version;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

pub(crate) mod blockers;
mod ddl;
pub(crate) mod ddl_batch;
mod dml;
mod failure;
mod record;
mod session;
mod unclassified;

use ddl_batch::{DdlBatch, Step};
use dml::Batch;
pub use failure::snippet;
pub use record::DeferredCommit;

/// A whole script that a deadlock or a lock has undone is tried again this often.
const UNDONE_RETRIES_MAX: u32 = 10;

/// Which way a script goes, and what its row in `ai_migrations` needs.
#[derive(Debug)]
pub enum Direction<'a> {
    /// The UP of a migration that has no row, or an unfinished one.
    Up {
        name: &'a str,
        sequence: u64,
        up_text: Option<&'a str>,
        down_text: Option<&'a str>,
        resumed: Option<&'a JournalRow>,
    },
    /// The DOWN of a migration; `row` is its row.
    Down { row: &'a JournalRow },
}

impl Direction<'_> {
    fn resumed(&self) -> Option<&JournalRow> {
        match self {
            Direction::Up { resumed, .. } => *resumed,
            Direction::Down { row } => (row.state == State::RollingBack).then_some(*row),
        }
    }
}

/// What a run needs of its surroundings.
pub struct Context<'a> {
    pub conn: &'a mut Conn,
    pub journal: &'a Journal,
    pub shutdown: &'a Shutdown,
    pub events: &'a mut Events<'a>,
    /// The database that the session starts in.
    pub schema: &'a str,
    /// How long a definition is tried against a metadata lock.
    pub patience: Duration,
    /// The end of the migration before, which nothing has recorded yet.
    pub owed: Option<DeferredCommit>,
}

/// Who opened the transaction that a statement is run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tx {
    /// airun, a batch at a time.
    Batch,
    /// airun, for the whole script.
    Whole,
    /// The script itself, by `BEGIN` or `autocommit = 0`.
    Script,
}

struct Run<'r, 'a> {
    ctx: &'r mut Context<'a>,
    script: &'r Script<'r>,
    summary: &'r ScriptSummary,
    way: &'r Direction<'r>,
    version: Version,
    /// Whether the row says that this script runs.
    begun: bool,
    tx: Tx,
    script_autocommit_off: bool,
    /// Inside `LOCK TABLES`; there `START TRANSACTION` would unlock, so airun turns `autocommit` off instead.
    tables_locked: bool,
    schema: String,
    /// The last statement that has run, and the checksum up to it.
    done: u64,
    checksum: Checksum,
    /// Whether `done` is further than the journal.
    unrecorded: bool,
    batch: Batch,
    chain: DdlBatch,
    /// Definitions of a chain run, and those that have are not recorded yet.
    in_batch: bool,
    /// The statement that runs has committed something by itself.
    committed_within: bool,
    started: Instant,
    /// Row statements of the script's own transaction that nothing has committed yet.
    uncommitted: u64,
    recorded_until: Instant,
}

/// Runs `script` from where its row says it stopped.
///
/// # Errors
/// Names file, line, column and statement where the server refuses one; says what has run and what to do. Ends with
/// [`ErrorKind::Interrupted`] between two statements when the process is to stop.
pub fn run(
    ctx: &mut Context<'_>,
    script: &Script<'_>,
    summary: &ScriptSummary,
    version: Version,
    way: &Direction<'_>,
) -> Result<Option<DeferredCommit>> {
    let resumed = way.resumed();
    let whole = summary.one_transaction && resumed.is_none();
    let until = Instant::now() + ctx.patience;
    let mut attempt = 0;
    loop {
        let mut run = Run {
            schema: ctx.schema.to_owned(),
            ctx,
            script,
            summary,
            way,
            version,
            begun: resumed.is_some(),
            tx: if whole { Tx::Whole } else { Tx::Batch },
            script_autocommit_off: false,
            tables_locked: false,
            done: 0,
            checksum: Checksum::new(),
            unrecorded: false,
            batch: Batch::default(),
            chain: DdlBatch::default(),
            in_batch: false,
            committed_within: false,
            started: Instant::now(),
            uncommitted: 0,
            recorded_until: Instant::now(),
        };
        match run.all(resumed) {
            // What it has left in its session, no rollback takes away.
            Err(Stop::Undone(error))
                if !summary.leaves_traces && attempt < UNDONE_RETRIES_MAX && Instant::now() < until =>
            {
                attempt += 1;
                (ctx.events)(Event::Warning(format!("{error}; trying the migration again")));
                ctx.conn.query_drop("ROLLBACK")?;
            }
            Err(Stop::Undone(error) | Stop::Error(error)) => return Err(error),
            Ok(owed) => return Ok(owed),
        }
    }
}

/// Why a script stopped.
enum Stop {
    /// The transaction that holds the whole script was a deadlock's victim, or has waited too long for a lock.
    Undone(Error),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl From<mysql::Error> for Stop {
    fn from(error: mysql::Error) -> Self {
        Stop::Error(error.into())
    }
}

/// A statement, where it stands.
#[derive(Clone, Copy)]
struct At<'s> {
    k: u64,
    at: Position,
    text: &'s str,
}

impl Run<'_, '_> {
    fn all(&mut self, resumed: Option<&JournalRow>) -> Result<Option<DeferredCommit>, Stop> {
        let skip = resumed.map_or(0, |row| row.done);
        let mut replay = Replay::default();
        let mut statements = self.script.statements()?;
        if self.tx == Tx::Whole {
            self.ctx.conn.query_drop("START TRANSACTION")?;
        }
        let mut restored = skip == 0;
        let mut k = 0;
        while let Some(statement) = statements.next().map_err(|error| self.script.split_error(error))? {
            k += 1;
            let kind = classify(statement.text);
            if k <= skip {
                self.checksum.add(statement.text);
                replay.pass(k, statement.text, &kind);
                self.done = k;
                continue;
            }
            if !restored {
                restored = true;
                self.restore(std::mem::take(&mut replay), resumed)?;
            }
            let mark = match &kind {
                StatementKind::Ddl(definition) if self.tx == Tx::Batch && !self.tables_locked => {
                    self.chain.mark(statement.text, definition, &self.schema)
                }
                _ => None,
            };
            if mark.is_none() {
                self.flush_ddl()?;
            }
            if !matches!(kind, StatementKind::Dml { .. }) {
                self.flush()?;
            }
            if self.ctx.shutdown.is_stopping() {
                self.flush()?;
                self.flush_ddl()?;
                return Err(self.interrupted().into());
            }
            if !self.begun && self.tx != Tx::Whole && !matches!(kind, StatementKind::Ddl(_) | StatementKind::Idempotent)
            {
                // Outside any transaction, so that no rollback takes the row away again. A definition brings its own.
                self.record(None)?;
            }
            let statement = At { k, at: statement.at, text: statement.text };
            match (kind, mark) {
                (StatementKind::Ddl(definition), Some(mark)) => {
                    self.chain.push(Step { k, at: statement.at, text: statement.text.to_owned(), definition, mark });
                }
                (kind, _) => self.step(statement, kind)?,
            }
        }
        self.finish()
    }

    /// Says that statement `k`, which stands there, is next.
    fn tell(&mut self, k: u64, at: Position) {
        (self.ctx.events)(Event::Statement { k, total: self.summary.total, bytes: at.offset });
    }

    fn step(&mut self, statement: At<'_>, kind: StatementKind) -> Result<(), Stop> {
        // Rows are gathered first, and told when they are sent.
        if !matches!(kind, StatementKind::Dml { .. }) {
            self.tell(statement.k, statement.at);
        }
        match kind {
            StatementKind::Dml { .. } => return self.rows(statement),
            StatementKind::Ddl(definition) => self.definition(statement, &definition)?,
            StatementKind::Idempotent => {
                let empty = Ddl { kind: DdlKind::Alter, objects: Vec::new(), index: None };
                self.definition(statement, &empty)?;
            }
            StatementKind::Unclassified => self.opaque(statement)?,
            StatementKind::Session(change) => self.session(statement, change)?,
            StatementKind::TemporaryTable { .. } => self.execute(statement, statement.text)?,
            StatementKind::Transaction(transaction) => self.transaction(statement, transaction)?,
            StatementKind::LockTables => self.lock_tables(statement)?,
            StatementKind::UnlockTables => self.unlock_tables(statement)?,
        }
        self.passed(statement);
        Ok(())
    }

    /// The statement has run.
    fn passed(&mut self, statement: At<'_>) {
        if self.done == statement.k {
            return;
        }
        self.done = statement.k;
        if self.tx != Tx::Whole {
            self.checksum.add(statement.text);
        }
        self.unrecorded = true;
    }

    fn execute(&mut self, statement: At<'_>, text: &str) -> Result<(), Stop> {
        send(self.ctx.conn, text).map_err(|(_, error)| self.failure(statement.k, statement.at, statement.text, error))
    }
}

/// Sends `packet` and looks at every result set of it: the driver's own shortcuts look at the first one only.
///
/// # Errors
/// The number, from 0, of the statement that the server failure.
fn send(conn: &mut Conn, packet: &str) -> Result<(), (usize, mysql::Error)> {
    send_and_tell(conn, packet, &mut |_| {})
}

/// As [`send`]; `begins` is told of each statement, by its number, when the server turns to it.
fn send_and_tell(conn: &mut Conn, packet: &str, begins: &mut dyn FnMut(usize)) -> Result<(), (usize, mysql::Error)> {
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
