//! The context of a migration command: an open connection that holds the migration lock, the journal, and the settings.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::event::{Event, Events};
use super::journal::{Finished, Journal, NewRow};
use super::lock::{Lock, Waiting};
use super::migrator::Migrator;
use super::names::fill;
use super::script::{Script, ScriptSummary};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::fault;
use crate::shutdown::Shutdown;

/// Holds the lock until [`Context::close`], or until it is dropped.
pub struct Context<'m> {
    pub conn: Conn,
    pub journal: Journal,
    pub database: &'m Database,
    pub shutdown: &'m Shutdown,
    pub events: &'m mut Events<'m>,
    /// The longest wait for another migrator, and for the locks that a statement needs.
    pub lock_timeout: Duration,
    lock: Lock,
    /// The end of a migration whose row still says `applying`. The row becomes `applied` in the same transaction that
    /// inserts the row of the next migration, which saves one commit for each migration. After a crash before that,
    /// recovery finds that every statement was applied.
    deferred: Option<Finished>,
}

impl Migrator<'_> {
    /// Prepares the session and takes the migration lock.
    pub(super) fn open_locked(&mut self, mut conn: Conn) -> Result<Context<'_>> {
        prepare_session(&mut conn)?;
        let Self { database, shutdown, lock_timeout, .. } = *self;
        let events = &mut *self.events;
        let lock = Lock::acquire(&mut conn, &mut Waiting { database, limit: lock_timeout, shutdown, events })?;
        let journal = Journal::locked(&database.name, &lock);
        Ok(Context { conn, journal, database, shutdown, events, lock_timeout, lock, deferred: None })
    }
}

impl Context<'_> {
    /// Resets the session, so that nothing a script left in it reaches the next one. This releases the lock for a
    /// moment, so the journal may have changed afterwards.
    pub fn reset_session(&mut self) -> Result<()> {
        self.conn.reset()?;
        self.conn.select_db(&self.database.name)?;
        prepare_session(&mut self.conn)?;
        let Self { conn, database, shutdown, events, lock_timeout, lock, .. } = self;
        lock.acquire_again(conn, &mut Waiting { database, limit: *lock_timeout, shutdown, events })
    }

    /// Releases the lock.
    pub fn close(mut self) {
        self.lock.release(&mut self.conn);
    }

    /// Inserts the row of a migration, together with the deferred commit of the previous one.
    pub fn insert_row(&mut self, row: &NewRow<'_>) -> Result<()> {
        let Some(finished) = self.deferred.take() else { return self.journal.insert(&mut self.conn, row) };
        self.conn.query_drop("START TRANSACTION")?;
        self.journal.finish(&mut self.conn, &finished)?;
        self.journal.insert(&mut self.conn, row)?;
        fault::point("deferred-recorded");
        self.conn.query_drop("COMMIT")?;
        self.report_applied(finished);
        Ok(())
    }

    /// Leaves the last record of a migration to the next [`Context::insert_row`] or [`Context::flush_deferred`].
    pub fn defer_commit(&mut self, finished: Finished) {
        self.deferred = Some(finished);
    }

    /// Writes the deferred record now, if there is one.
    pub fn flush_deferred(&mut self) -> Result<()> {
        let Some(finished) = self.deferred.take() else { return Ok(()) };
        self.journal.finish(&mut self.conn, &finished)?;
        fault::point("deferred-flushed");
        self.report_applied(finished);
        Ok(())
    }

    /// Reports a migration whose row says `applied`.
    pub fn report_applied(&mut self, Finished { version, name, statements_total, started, .. }: Finished) {
        let (migration, took) = (format!("{version}_{name}"), started.elapsed());
        (self.events)(Event::Applied { migration, statements: statements_total, took });
    }

    /// Fails, before a script runs, if one of its statements is longer than the server accepts.
    pub fn check_packets<'s>(&mut self, scripts: impl Iterator<Item = (Script<'s>, &'s ScriptSummary)>) -> Result<()> {
        let limit: Option<u64> = self.conn.query_first("SELECT @@max_allowed_packet")?;
        let limit = limit.ok_or_else(|| Error::failure("the server did not return its max_allowed_packet"))?;
        for (script, summary) in scripts {
            let (longest, at) = summary.longest;
            // The packet also holds a byte for the command.
            if longest >= limit {
                return Err(Error::failure(format!(
                    "{}:{}:{}: the statement has {longest} bytes, more than the server's max_allowed_packet of {limit}; \
                     raise that setting or split the statement",
                    script.label, at.line, at.column
                )));
            }
        }
        Ok(())
    }
}

/// Seconds that a DDL statement waits for a metadata lock before it lets other sessions go first. With MySQL's default
/// of a year, every other session would have to queue after it.
const LOCK_WAIT_SECONDS: u32 = 5;

fn prepare_session(conn: &mut Conn) -> Result<()> {
    // Sets `NAMES`, because routines remember the collation of the session that created them, and the driver's differs
    // from the server's default for utf8mb4.
    const PREPARE: &str = "SET lock_wait_timeout = {seconds}, NAMES utf8mb4";
    Ok(conn.query_drop(fill(PREPARE, &[("seconds", &LOCK_WAIT_SECONDS.to_string())]))?)
}
