//! A connection that comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::retry::{is_connection_lost, is_deadlock, is_lock_timeout, is_permanent, is_read_only, is_transient};
use super::{Database, describe};
use crate::error::Error;
use crate::shutdown::{Shutdown, Woken};

/// Statements here are short, so a server that says nothing for so long has gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Says again this often that the server can't be had.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The wait before a connection is tried again, at most. Workers that stay away for longer are taken for gone.
const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// Every statement is a transaction of its own or says so, and waits for no lock for long.
const SESSION: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 2, SESSION autocommit = 1, SESSION time_zone = '+00:00', \
                       SESSION sql_mode = 'STRICT_ALL_TABLES'",
];

/// What happened to links since the start.
#[derive(Debug, Default)]
pub struct ConnStats {
    /// Transactions that were undone to end a deadlock, or waited too long for a lock, and were tried again.
    pub retried: AtomicU64,
    /// Connections that were lost.
    pub lost: AtomicU64,
}

/// Why work on a link wasn't done.
#[derive(Debug)]
pub enum Unfinished {
    /// The worker stops, so no more is tried.
    GivenUp,
    /// The server has this against it, and no repetition mends that.
    Refused(mysql::Error),
}

impl Unfinished {
    /// An error, but where the stop is all there is to say.
    ///
    /// # Errors
    /// What the server said, behind `what` was being done.
    pub fn unless_stopped(self, what: &str) -> Result<(), Error> {
        match self {
            Self::GivenUp => Ok(()),
            Self::Refused(error) => Err(Error::from(error).context(what)),
        }
    }
}

/// One thread's connection.
pub struct ReconnectingConn {
    database: Database,
    conn: Option<Conn>,
    /// Its closing ends all trying.
    until: Shutdown,
    stats: Arc<ConnStats>,
    /// How many connections there were.
    generation: u64,
    /// When it was told last that the server is read-only.
    told_read_only: Option<Instant>,
}

impl ReconnectingConn {
    pub fn new(database: &Database, until: &Shutdown, stats: &Arc<ConnStats>) -> Self {
        Self {
            database: database.clone(),
            conn: None,
            until: until.clone(),
            stats: Arc::clone(stats),
            generation: 0,
            told_read_only: None,
        }
    }

    /// Does `work`, as often as it takes: again after a deadlock or a lock wait, and on a new connection where the old
    /// one was lost; without end, until the worker stops. What `work` does must bear being done twice.
    ///
    /// # Errors
    /// See [`Unfinished`].
    pub fn run<T>(&mut self, mut work: impl FnMut(&mut Conn) -> mysql::Result<T>) -> Result<T, Unfinished> {
        loop {
            match work(self.connected()?) {
                Ok(done) => return Ok(done),
                Err(error) if is_deadlock(&error) || is_lock_timeout(&error) => {
                    let retried = self.stats.retried.fetch_add(1, Ordering::Relaxed);
                    log::debug!("tried again: {}", describe(&error));
                    // Several that are in each other's way mustn't go on in step.
                    let wait = Duration::from_micros(500 + retried.wrapping_mul(7919) % 4500);
                    if self.until.wait(wait) == Woken::Stopping {
                        return Err(Unfinished::GivenUp);
                    }
                }
                Err(error) if is_transient(&error) => {
                    log::warn!("trying again: {}", describe(&error));
                    if self.until.wait(RECONNECT_MAX) == Woken::Stopping {
                        return Err(Unfinished::GivenUp);
                    }
                }
                Err(error) if is_connection_lost(&error) => self.lost(&error),
                // It is the wrong one of several, or will be writable again.
                Err(error) if is_read_only(&error) => {
                    self.lost(&error);
                    if self.until.wait(RECONNECT_MAX) == Woken::Stopping {
                        return Err(Unfinished::GivenUp);
                    }
                }
                Err(error) => return Err(Unfinished::Refused(error)),
            }
        }
    }

    /// As [`ReconnectingConn::run`], once: an error that another attempt could mend is `Ok(None)`.
    pub fn try_run<T>(&mut self, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> mysql::Result<Option<T>> {
        if self.conn.is_none() {
            match self.connect() {
                Ok(conn) => self.conn = Some(conn),
                Err(_) => return Ok(None),
            }
        }
        let Some(conn) = &mut self.conn else { return Ok(None) };
        match work(conn) {
            Ok(done) => Ok(Some(done)),
            Err(error) if is_connection_lost(&error) || is_read_only(&error) => {
                self.lost(&error);
                Ok(None)
            }
            Err(error) if is_deadlock(&error) || is_lock_timeout(&error) => {
                self.stats.retried.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there is a connection, as far as that is known.
    pub fn is_connected(&self) -> bool {
        self.conn.is_some()
    }

    /// Which connection this is, from 1; 0 is none yet. What a session has ends with it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Leaves a server that was found to be read-only, where there are others: the next connection is to one that can
    /// be written to. Whether there are.
    pub fn leave_read_only(&mut self) -> bool {
        let leaves = self.database.has_several_hosts();
        if leaves && self.conn.take().is_some() {
            log::warn!("the database has become read-only: looking for the host that can be written to");
        }
        leaves
    }

    fn lost(&mut self, error: &mysql::Error) {
        self.stats.lost.fetch_add(1, Ordering::Relaxed);
        self.conn = None;
        if is_read_only(error) {
            // It stays so for a while.
            if self.told_read_only.is_some_and(|at| at.elapsed() < TELL_EVERY) {
                return;
            }
            self.told_read_only = Some(Instant::now());
        }
        log::warn!("lost the connection to the database: {}", describe(error));
    }

    fn connected(&mut self) -> Result<&mut Conn, Unfinished> {
        let started = Instant::now();
        let mut wait = Duration::from_millis(20);
        let mut told = None;
        while self.conn.is_none() {
            match self.connect() {
                Ok(conn) => {
                    if told.is_some() {
                        log::info!("connected to the database again after {} s", started.elapsed().as_secs());
                    }
                    self.conn = Some(conn);
                }
                // Who was never let in won't be.
                Err(error) if self.generation == 0 && is_permanent(&error) => return Err(Unfinished::Refused(error)),
                Err(error) => {
                    let error = self.database.explain(&error);
                    if told.is_none_or(|at: Instant| at.elapsed() >= TELL_EVERY) {
                        log::warn!("waiting for the database: {error}");
                        told = Some(Instant::now());
                    }
                    if self.until.wait(wait.mul_f64(0.5 + jitter() / 2.0)) == Woken::Stopping {
                        return Err(Unfinished::GivenUp);
                    }
                    wait = (wait * 2).min(RECONNECT_MAX);
                }
            }
        }
        self.conn.as_mut().ok_or(Unfinished::GivenUp)
    }

    fn connect(&mut self) -> mysql::Result<Conn> {
        let conn = open_session(&self.database.with_read_timeout(ANSWER_TIMEOUT))?;
        self.generation += 1;
        Ok(conn)
    }
}

/// A connection with the session that a link's have.
///
/// # Errors
/// What the server, or the way to it, has against that.
pub fn open_session(database: &Database) -> mysql::Result<Conn> {
    let mut conn = database.open()?;
    for statement in SESSION {
        conn.query_drop(statement)?;
    }
    Ok(conn)
}

/// From 0 to 1, by the hasher's random keys; good enough to keep things from going in step.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
