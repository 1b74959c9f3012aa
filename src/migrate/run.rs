//! Runs one script, statement by statement, so that a crash at any moment leaves enough behind to go on.
//!
//! MySQL commits at every definition, so a script can't be one transaction. What is recorded when:
//!
//! - A script that only reads and changes rows is one transaction with its row in `ai_migrations`.
//! - Otherwise a run of such statements shares a transaction with its "done".
//! - Before a definition its intent is recorded, with the look of what it touches; its "done" rides on the next record.
//! - A statement that may do anything runs in a transaction that holds its intent: the tripwire. If it commits
//!   something, the intent is committed with it; if it doesn't, its "done" commits with what it did.
//! - In a transaction of the script's own, records are part of it, so "done" moves only at its commit.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::blockers;
use super::catalog::hex;
use super::chain::{Chain, Mark, Step};
use super::event::{Event, Events};
use super::evidence::{Follower, Intent};
use super::journal::{Begin, Entry, Journal, Progress, State};
use super::script::{Outline, Script};
use super::session::{self, Replay};
use super::sql::{Checksum, Position, statement_digest};
use super::statement::{Definition, Kind, Session, Shape, Transaction, classify, is_compound, lock_tables_with};
use super::version::Version;
use crate::db;
use crate::db::retry::Backoff;
use crate::error::{Error, Exit, Result};
use crate::fault;
use crate::shutdown::{Shutdown, Woken};

/// Statements of a batch, at most: they go to the server in one packet.
const BATCH_STATEMENTS_MAX: usize = 1000;
/// Bytes of a batch, at most.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// A deadlock undoes a transaction, which is then tried again this often.
const DEADLOCK_RETRIES_MAX: u32 = 10;

/// Which way a script goes, and what its row in `ai_migrations` needs.
#[derive(Debug)]
pub enum Way<'a> {
    /// The UP of a migration that has no row, or an unfinished one.
    Up {
        name: &'a str,
        sequence: u64,
        up_text: Option<&'a str>,
        down_text: Option<&'a str>,
        resumed: Option<&'a Entry>,
    },
    /// The DOWN of a migration; `entry` is its row.
    Down { entry: &'a Entry },
}

impl Way<'_> {
    fn resumed(&self) -> Option<&Entry> {
        match self {
            Way::Up { resumed, .. } => *resumed,
            Way::Down { entry } => (entry.state == State::RollingBack).then_some(*entry),
        }
    }
}

/// What a run needs of its surroundings.
pub struct Surroundings<'a> {
    pub conn: &'a mut Conn,
    pub journal: &'a Journal,
    pub shutdown: &'a Shutdown,
    pub events: &'a mut Events<'a>,
    /// The database that the session starts in.
    pub schema: &'a str,
    /// How long a definition is tried against a metadata lock.
    pub patience: Duration,
    /// The end of the migration before, which nothing has recorded yet.
    pub owed: Option<Owed>,
}

/// A migration that has run to its end. Its last record rides on the first one of the next migration, so that the two
/// cost one commit; a crash before that finds all of its statements done.
#[derive(Debug)]
pub struct Owed {
    version: Version,
    name: String,
    total: u64,
    checksum: String,
    spent: Duration,
    started: Instant,
}

impl Owed {
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
    around: &'r mut Surroundings<'a>,
    script: &'r Script<'r>,
    outline: &'r Outline,
    way: &'r Way<'r>,
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
    chain: Chain,
    /// Definitions of a chain run, and those that have are not recorded yet.
    in_chain: bool,
    started: Instant,
    /// Row statements of the script's own transaction that nothing has committed yet.
    uncommitted: u64,
    recorded_until: Instant,
}

#[derive(Default)]
struct Batch {
    packet: String,
    at: Vec<(u64, Position)>,
}

/// Runs `script` from where its row says it stopped.
///
/// # Errors
/// Names file, line, column and statement where the server refuses one; says what has run and what to do. Ends with
/// [`Exit::Interrupted`] between two statements when the process is to stop.
pub fn run(
    around: &mut Surroundings<'_>,
    script: &Script<'_>,
    outline: &Outline,
    version: Version,
    way: &Way<'_>,
) -> Result<Option<Owed>> {
    let resumed = way.resumed();
    let whole = outline.one_transaction && resumed.is_none();
    let mut attempt = 0;
    loop {
        let mut run = Run {
            schema: around.schema.to_owned(),
            around,
            script,
            outline,
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
            chain: Chain::default(),
            in_chain: false,
            started: Instant::now(),
            uncommitted: 0,
            recorded_until: Instant::now(),
        };
        match run.all(resumed) {
            Err(Stop::Deadlock(error)) if attempt < DEADLOCK_RETRIES_MAX => {
                // The whole script was one transaction, which the server has undone.
                attempt += 1;
                (around.events)(Event::Warning(format!("{error}; trying the migration again")));
                around.conn.query_drop("ROLLBACK")?;
            }
            Err(Stop::Deadlock(error) | Stop::Error(error)) => return Err(error),
            Ok(owed) => return Ok(owed),
        }
    }
}

/// Why a script stopped.
enum Stop {
    /// The transaction that holds the whole script was chosen as the victim.
    Deadlock(Error),
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
    fn all(&mut self, resumed: Option<&Entry>) -> Result<Option<Owed>, Stop> {
        let skip = resumed.map_or(0, |entry| entry.done);
        let mut replay = Replay::default();
        let mut statements = self.script.statements()?;
        if self.tx == Tx::Whole {
            self.around.conn.query_drop("START TRANSACTION")?;
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
                Kind::Definition(definition) if self.tx == Tx::Batch && !self.tables_locked => {
                    self.chain.mark(statement.text, definition, &self.schema)
                }
                _ => None,
            };
            if mark.is_none() {
                self.flush_chain()?;
            }
            if !matches!(kind, Kind::Rows { .. }) {
                self.flush()?;
            }
            if self.around.shutdown.is_stopping() {
                self.flush()?;
                self.flush_chain()?;
                return Err(self.interrupted().into());
            }
            if !self.begun && self.tx != Tx::Whole && !matches!(kind, Kind::Definition(_) | Kind::Repeatable) {
                // Outside any transaction, so that no rollback takes the row away again. A definition brings its own.
                self.record(None)?;
            }
            (self.around.events)(Event::Statement { k, total: self.outline.total, bytes: statement.at.offset });
            let statement = At { k, at: statement.at, text: statement.text };
            match (kind, mark) {
                (Kind::Definition(definition), Some(mark)) => {
                    self.chain.push(Step { k, at: statement.at, text: statement.text.to_owned(), definition, mark });
                }
                (kind, _) => self.step(statement, kind)?,
            }
        }
        self.finish()
    }

    fn step(&mut self, statement: At<'_>, kind: Kind) -> Result<(), Stop> {
        match kind {
            Kind::Rows { .. } => return self.rows(statement),
            Kind::Definition(definition) => self.definition(statement, &definition)?,
            Kind::Repeatable => {
                let empty = Definition { shape: Shape::Alter, objects: Vec::new(), index: None };
                self.definition(statement, &empty)?;
            }
            Kind::Opaque => self.opaque(statement)?,
            Kind::Session(change) => self.session(statement, change)?,
            Kind::TemporaryTable(_) => self.execute(statement, statement.text)?,
            Kind::Transaction(transaction) => self.transaction(statement, transaction)?,
            Kind::LockTables => self.lock_tables(statement)?,
            Kind::UnlockTables => self.unlock_tables(statement)?,
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

    fn rows(&mut self, statement: At<'_>) -> Result<(), Stop> {
        // A version comment may be no statement at all on this server, so it can't be counted within a packet.
        let alone = statement.text.len() >= BATCH_BYTES_MAX
            || statement.text.contains("/*!")
            || statement.text.contains("/*M!");
        if alone
            || self.batch.packet.len() + statement.text.len() > BATCH_BYTES_MAX
            || self.batch.at.len() >= BATCH_STATEMENTS_MAX
        {
            self.flush()?;
        }
        if alone {
            return self.rows_alone(statement);
        }
        if !self.batch.at.is_empty() {
            // On a line of its own: the statement before may end in a comment.
            self.batch.packet.push_str("\n;\n");
        }
        self.batch.packet.push_str(statement.text);
        self.batch.at.push((statement.k, statement.at));
        self.passed(statement);
        Ok(())
    }

    fn rows_alone(&mut self, statement: At<'_>) -> Result<(), Stop> {
        let own = self.tx == Tx::Batch;
        let mut retries = Backoff::default();
        loop {
            self.begin_batch()?;
            match send(self.around.conn, statement.text) {
                Ok(()) => break,
                Err((_, error))
                    if own && db::retry::is_deadlock(&error) && retries.attempts() < DEADLOCK_RETRIES_MAX =>
                {
                    self.retry(&mut retries, &error)?;
                }
                Err((_, error)) => return Err(self.refused(statement.k, statement.at, statement.text, error)),
            }
        }
        self.passed(statement);
        self.uncommitted += 1;
        if own {
            self.record(None)?;
            self.around.conn.query_drop("COMMIT")?;
        }
        Ok(())
    }

    /// Sends what was gathered, and records it where the transaction is airun's.
    fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.at.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let own = self.tx == Tx::Batch;
        let mut retries = Backoff::default();
        loop {
            self.begin_batch()?;
            let Err((index, error)) = send(self.around.conn, &batch.packet) else { break };
            if own && db::retry::is_deadlock(&error) && retries.attempts() < DEADLOCK_RETRIES_MAX {
                self.retry(&mut retries, &error)?;
                continue;
            }
            let (k, at) = batch.at[index.min(batch.at.len() - 1)];
            let text = batch.packet.split("\n;\n").nth(index).unwrap_or_default();
            if own && !db::retry::is_connection_lost(&error) && !db::retry::is_deadlock(&error) {
                self.keep_before(&batch, index)?;
            }
            return Err(self.refused(k, at, text, error));
        }
        fault::point("rows-sent");
        self.uncommitted += batch.at.len() as u64;
        if own {
            self.record(None)?;
            fault::point("rows-recorded");
            self.around.conn.query_drop("COMMIT")?;
            fault::point("rows-committed");
        }
        Ok(())
    }

    /// Statement `index` of a batch was refused: those before it stay, as they do with the `mysql` client.
    fn keep_before(&mut self, batch: &Batch, index: usize) -> Result<(), Stop> {
        let (k, _) = batch.at[index];
        let prefix = self.script.prefix(k - 1)?;
        self.done = k - 1;
        self.checksum = prefix.sum;
        self.record(None)?;
        self.around.conn.query_drop("COMMIT")?;
        Ok(())
    }

    fn begin_batch(&mut self) -> Result<(), Stop> {
        if self.tx == Tx::Batch && !self.tables_locked {
            self.around.conn.query_drop("START TRANSACTION")?;
        }
        Ok(())
    }

    /// Runs the definitions that wait, on one record where each leaves a mark that isn't there yet.
    fn flush_chain(&mut self) -> Result<(), Stop> {
        if self.chain.is_empty() {
            return Ok(());
        }
        let steps = self.chain.take();
        let mut new = steps.len() > 1;
        for step in steps.iter().skip(1).filter(|step| matches!(step.mark, Mark::Object(_))) {
            new = new && !step.mark.is_there(self.around.conn)?;
        }
        let digest = |step: &Step| hex(&statement_digest(&step.text));
        let first = &steps[0];
        let mut intent =
            Intent::of_definition(self.around.conn, first.k, digest(first), &first.definition, &self.schema)?;
        if !new || intent.objects.iter().any(|object| object.was.is_some()) {
            for step in &steps {
                let statement = At { k: step.k, at: step.at, text: &step.text };
                self.stop_between()?;
                self.definition(statement, &step.definition)?;
                self.passed(statement);
            }
            return Ok(());
        }
        let then = steps[1..].iter().map(|step| Follower { statement: digest(step), mark: step.mark.clone() });
        intent.then = then.collect();
        self.record(Some(&intent))?;
        fault::point("definition-intended");
        self.in_chain = true;
        for step in &steps {
            let statement = At { k: step.k, at: step.at, text: &step.text };
            self.stop_between()?;
            self.execute_definition(statement, &step.definition)?;
            fault::point("definition-done");
            self.passed(statement);
        }
        self.in_chain = false;
        self.after_commit();
        Ok(())
    }

    /// Between two statements, a stop is heard.
    fn stop_between(&mut self) -> Result<(), Stop> {
        if !self.around.shutdown.is_stopping() {
            return Ok(());
        }
        if self.unrecorded {
            self.record(None)?;
        }
        Err(self.interrupted().into())
    }

    fn definition(&mut self, statement: At<'_>, definition: &Definition) -> Result<(), Stop> {
        let digest = hex(&statement_digest(statement.text));
        let intent = Intent::of_definition(self.around.conn, statement.k, digest, definition, &self.schema)?;
        self.record(Some(&intent))?;
        if self.tables_locked && self.tx == Tx::Batch {
            self.around.conn.query_drop("COMMIT")?;
        }
        fault::point("definition-intended");
        self.execute_definition(statement, definition)?;
        fault::point("definition-done");
        self.after_commit();
        Ok(())
    }

    /// A definition waits for the server's metadata locks, and everybody who comes later waits behind it: so it waits
    /// for `lock_wait_timeout` only, lets the others pass, and tries again.
    fn execute_definition(&mut self, statement: At<'_>, definition: &Definition) -> Result<(), Stop> {
        let until = Instant::now() + self.around.patience;
        let mut retries = Backoff::default();
        loop {
            let Err((_, error)) = send(self.around.conn, statement.text) else { return Ok(()) };
            let waited = db::retry::is_lock_timeout(&error);
            if !(waited || db::retry::is_deadlock(&error)) || Instant::now() >= until {
                return Err(self.refused(statement.k, statement.at, statement.text, error));
            }
            let blockers = blockers::of(self.around.conn, &definition.objects, &self.schema);
            let place = self.place(statement.at);
            let of = self.outline.total;
            let waits = format!("{place}: statement {} of {of} waits for a lock: {blockers}", statement.k);
            (self.around.events)(Event::Warning(waits));
            if self.around.shutdown.wait(retries.next_delay()) == Woken::Stopping {
                return Err(self.interrupted().into());
            }
        }
    }

    fn opaque(&mut self, statement: At<'_>) -> Result<(), Stop> {
        let digest = hex(&statement_digest(statement.text));
        let compound = is_compound(statement.text);
        let intent = Intent::of_opaque(self.around.conn, statement.k, digest, compound, &self.schema)?;
        if self.tx == Tx::Batch && self.unrecorded {
            self.record(None)?;
            if self.tables_locked {
                self.around.conn.query_drop("COMMIT")?;
            }
        }
        self.begin_batch()?;
        self.record(Some(&intent))?;
        self.around.conn.query_drop(format!("SAVEPOINT {TRIPWIRE}"))?;
        fault::point("opaque-intended");
        self.execute(statement, statement.text)?;
        fault::point("opaque-run");
        match self.around.conn.query_drop(format!("RELEASE SAVEPOINT {TRIPWIRE}")) {
            Ok(()) => {
                // Nothing was committed: what it did and its "done" are one.
                if self.tx == Tx::Batch {
                    self.passed(statement);
                    self.record(None)?;
                    self.around.conn.query_drop("COMMIT")?;
                }
            }
            Err(mysql::Error::MySqlError(error)) if error.code == ER_SP_DOES_NOT_EXIST => self.after_commit(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn session(&mut self, statement: At<'_>, change: Session) -> Result<(), Stop> {
        match change {
            Session::Other => self.execute(statement, statement.text),
            Session::Use(schema) => {
                self.execute(statement, statement.text)?;
                self.schema = schema;
                Ok(())
            }
            Session::Autocommit(on) => {
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

    fn transaction(&mut self, statement: At<'_>, transaction: Transaction) -> Result<(), Stop> {
        match transaction {
            Transaction::Begin => {
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
            Transaction::Commit => {
                if self.tx == Tx::Script {
                    self.passed(statement);
                    self.record(None)?;
                    fault::point("script-recorded");
                }
                self.execute(statement, statement.text)?;
                fault::point("script-committed");
                self.after_commit();
            }
            Transaction::Rollback => {
                self.execute(statement, statement.text)?;
                self.after_commit();
            }
            Transaction::Within => self.execute(statement, statement.text)?,
        }
        Ok(())
    }

    fn lock_tables(&mut self, statement: At<'_>) -> Result<(), Stop> {
        if self.unrecorded {
            self.record(None)?;
        }
        self.enter_locked(statement)
    }

    fn enter_locked(&mut self, statement: At<'_>) -> Result<(), Stop> {
        self.execute(statement, &lock_tables_with(statement.text, self.around.journal.table()))?;
        self.after_commit();
        self.tables_locked = true;
        if !self.script_autocommit_off {
            self.around.conn.query_drop("SET autocommit = 0")?;
        }
        Ok(())
    }

    fn unlock_tables(&mut self, statement: At<'_>) -> Result<(), Stop> {
        if self.tables_locked && !self.script_autocommit_off {
            if self.unrecorded {
                self.record(None)?;
            }
            self.around.conn.query_drop("COMMIT")?;
            self.around.conn.query_drop("SET autocommit = 1")?;
        }
        self.tables_locked = false;
        self.execute(statement, statement.text)
    }

    /// No transaction is open.
    fn after_commit(&mut self) {
        self.uncommitted = 0;
        self.tx = if self.script_autocommit_off { Tx::Script } else { Tx::Batch };
    }

    fn restore(&mut self, replay: Replay, resumed: Option<&Entry>) -> Result<(), Stop> {
        let memory = resumed.and_then(|entry| entry.session.as_deref());
        let restored = replay.run(self.around.conn, memory)?;
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

    fn finish(&mut self) -> Result<Option<Owed>, Stop> {
        self.flush_chain()?;
        self.flush()?;
        if self.tx == Tx::Script {
            if self.uncommitted > 0 {
                (self.around.events)(Event::Warning(format!(
                    "`{}` ends inside a transaction: its last {} statements are rolled back, as by the `mysql` client; add COMMIT",
                    self.script.label, self.uncommitted
                )));
            }
            self.around.conn.query_drop("ROLLBACK")?;
            self.around.conn.query_drop("SET autocommit = 1")?;
            self.tx = Tx::Batch;
            self.script_autocommit_off = false;
        }
        if self.tables_locked {
            self.unlock_tables(At { k: self.done, at: Position::default(), text: "UNLOCK TABLES" })?;
        }
        fault::point("script-ended");
        let spent = self.recorded_until.elapsed();
        let conn = &mut *self.around.conn;
        match self.way {
            Way::Up { name, .. } if self.begun => {
                return Ok(Some(Owed {
                    version: self.version,
                    name: (*name).to_owned(),
                    total: self.outline.total,
                    checksum: self.outline.checksum.clone(),
                    spent,
                    started: self.started,
                }));
            }
            Way::Up { name, sequence, up_text, down_text, .. } => self.around.journal.begin(
                conn,
                &Begin {
                    version: self.version,
                    name,
                    state: State::Applied,
                    sequence: *sequence,
                    checksum: &self.outline.checksum,
                    total: self.outline.total,
                    done: self.outline.total,
                    intent: None,
                    up_text: *up_text,
                    down_text: *down_text,
                    duration: spent,
                },
            )?,
            Way::Down { entry } => {
                let state = if self.begun { State::RollingBack } else { entry.state };
                self.around.journal.forget(conn, self.version, state)?;
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
    fn record(&mut self, intent: Option<&Intent>) -> Result<(), Stop> {
        let memory = session::remember(self.around.conn, self.outline)?;
        let checksum = if self.done == 0 { String::new() } else { hex(&self.checksum.so_far()) };
        // Nothing else is open at the first record, so the two make a transaction of their own.
        let owed = if self.begun { None } else { self.around.owed.take() };
        if let Some(owed) = &owed {
            self.around.conn.query_drop("START TRANSACTION")?;
            owed.settle(self.around.conn, self.around.journal)?;
        }
        if !self.begun {
            match self.way {
                Way::Up { name, sequence, up_text, down_text, .. } => self.around.journal.begin(
                    self.around.conn,
                    &Begin {
                        version: self.version,
                        name,
                        state: State::Applying,
                        sequence: *sequence,
                        checksum: &self.outline.checksum,
                        total: self.outline.total,
                        done: 0,
                        intent,
                        up_text: *up_text,
                        down_text: *down_text,
                        duration: Duration::ZERO,
                    },
                )?,
                Way::Down { entry } => {
                    self.around.journal.begin_rollback(self.around.conn, entry, self.outline.total, intent)?;
                }
            }
            self.begun = true;
        }
        if self.done > 0 || memory.is_some() || intent.is_none() {
            let now = Instant::now();
            let progress = Progress {
                total: self.outline.total,
                done: self.done,
                done_checksum: &checksum,
                intent,
                session: memory.as_deref(),
                error: None,
                spent: now - self.recorded_until,
            };
            self.around.journal.progress(self.around.conn, self.version, self.state(), &progress)?;
            self.recorded_until = now;
        }
        if let Some(owed) = owed {
            fault::point("owed-recorded");
            self.around.conn.query_drop("COMMIT")?;
            (self.around.events)(owed.applied());
        }
        self.unrecorded = false;
        Ok(())
    }

    fn state(&self) -> State {
        match self.way {
            Way::Up { .. } => State::Applying,
            Way::Down { .. } => State::RollingBack,
        }
    }

    fn execute(&mut self, statement: At<'_>, text: &str) -> Result<(), Stop> {
        send(self.around.conn, text)
            .map_err(|(_, error)| self.refused(statement.k, statement.at, statement.text, error))
    }

    fn retry(&mut self, retries: &mut Backoff, error: &mysql::Error) -> Result<(), Stop> {
        (self.around.events)(Event::Warning(format!("{}; trying again", db::describe(error))));
        self.around.conn.query_drop("ROLLBACK")?;
        if self.around.shutdown.wait(retries.next_delay()) == Woken::Stopping {
            return Err(self.interrupted().into());
        }
        Ok(())
    }

    fn place(&self, at: Position) -> String {
        format!("{}:{}:{}", self.script.label, at.line, at.column)
    }

    fn interrupted(&self) -> Error {
        Error::new(
            Exit::Interrupted,
            format!(
                "`{}` was stopped by a signal after statement {} of {}; run it again to go on",
                self.script.label, self.done, self.outline.total
            ),
        )
    }

    /// The server refused statement `k`: writes down why, and says what has run and what to do.
    fn refused(&mut self, k: u64, at: Position, text: &str, error: mysql::Error) -> Stop {
        let what = format!(
            "{}: statement {k} of {} failed: {}\n  {}",
            self.place(at),
            self.outline.total,
            db::describe(&error),
            quotation(text)
        );
        if self.tx == Tx::Whole {
            if db::retry::is_deadlock(&error) {
                return Stop::Deadlock(Error::failure(what));
            }
            return Error::failure(format!("{what}\n  all of it was rolled back; mend it and run it again")).into();
        }
        let lost = db::retry::is_connection_lost(&error);
        if !lost {
            self.note_error(&what);
        }
        let hint = if lost {
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
    fn note_error(&mut self, what: &str) {
        let rolled_back = self.around.conn.query_drop("ROLLBACK");
        if rolled_back.is_err() || !self.begun {
            return;
        }
        if self.in_chain
            && self.unrecorded
            && let Err(Stop::Error(error) | Stop::Deadlock(error)) = self.record(None)
        {
            (self.around.events)(Event::Warning(format!("what ran before it wasn't recorded: {error}")));
            return;
        }
        let state = self.state();
        let noted = self.around.journal.fail(self.around.conn, self.version, state, what);
        if let Err(error) = noted.and_then(|()| Ok(self.around.conn.query_drop("COMMIT")?)) {
            (self.around.events)(Event::Warning(format!("the reason wasn't recorded: {error}")));
        }
    }
}

const TRIPWIRE: &str = "airun_tripwire";
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

/// Sends `packet` and looks at every result set of it: the driver's own shortcuts look at the first one only.
///
/// # Errors
/// The number, from 0, of the statement that the server refused.
fn send(conn: &mut Conn, packet: &str) -> Result<(), (usize, mysql::Error)> {
    let mut index = 0;
    let mut result = conn.query_iter(packet).map_err(|error| (0, error))?;
    while let Some(set) = result.iter() {
        for row in set {
            row.map_err(|error| (index, error))?;
        }
        index += 1;
    }
    Ok(())
}

/// The beginning of a statement on one line.
pub fn quotation(text: &str) -> String {
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
