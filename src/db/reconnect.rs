//! A connection that reconnects automatically.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::retry::{is_connection_lost, is_deadlock, is_lock_timeout, is_permanent, is_read_only, is_transient};
use super::{Database, describe};
use crate::duration;
use crate::error::Error;
use crate::shutdown::{Shutdown, Woken};

/// The statements on these connections are short, so a server that is silent for longer is considered lost.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of the log lines about a server that stays unavailable.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Longest delay before another attempt. It must be short, because a worker that stays away is considered dead.
const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// Settings of the session: each statement is a transaction of its own unless it begins one, and lock waits are short.
const SESSION: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 2, SESSION autocommit = 1, SESSION time_zone = '+00:00', \
                       SESSION sql_mode = 'STRICT_ALL_TABLES'",
];

/// Counts over all connections since the start.
#[derive(Debug, Default)]
pub struct ConnStats {
    /// Transactions that were retried after a deadlock or a lock wait timeout.
    pub retried: AtomicU64,
    /// Lost connections.
    pub lost: AtomicU64,
}

/// Why work on a connection was not done.
#[derive(Debug)]
pub enum Unfinished {
    /// The worker is stopping, so there is no further attempt.
    GivenUp,
    /// The server refused it, and another attempt would fail too.
    Refused(mysql::Error),
}

impl Unfinished {
    /// Turns it into an error, unless the worker is just stopping.
    ///
    /// # Errors The server's error, preceded by `what` was being done.
    pub fn unless_stopped(self, what: &str) -> Result<(), Error> {
        match self {
            Self::GivenUp => Ok(()),
            Self::Refused(error) => Err(Error::from(error).context(what)),
        }
    }
}

/// The connection of one thread.
pub struct ReconnectingConn {
    database: Database,
    conn: Option<Conn>,
    /// Ends all attempts when it closes.
    until: Shutdown,
    stats: Arc<ConnStats>,
    /// Number of connections so far.
    generation: u64,
    /// When a read-only server was logged last.
    logged_read_only: Option<Instant>,
}

impl ReconnectingConn {
    pub fn new(database: &Database, until: &Shutdown, stats: &Arc<ConnStats>) -> Self {
        Self {
            database: database.clone(),
            conn: None,
            until: until.clone(),
            stats: Arc::clone(stats),
            generation: 0,
            logged_read_only: None,
        }
    }

    /// Runs `work` until it succeeds, fails permanently or the worker stops: again after a deadlock or a lock wait, and
    /// on a new connection if the old one is lost. `work` must be idempotent, because a commit can succeed although its
    /// answer is lost.
    ///
    /// # Errors
    /// See [`Unfinished`].
    pub fn run<T>(&mut self, mut work: impl FnMut(&mut Conn) -> mysql::Result<T>) -> Result<T, Unfinished> {
        loop {
            match work(self.connected()?) {
                Ok(done) => return Ok(done),
                Err(error) if is_deadlock(&error) || is_lock_timeout(&error) => {
                    let retried = self.stats.retried.fetch_add(1, Ordering::Relaxed);
                    log::debug!("retrying a transaction: {}", describe(&error));
                    // Transactions that collided should not collide again.
                    let wait = Duration::from_micros(500 + retried.wrapping_mul(7919) % 4500);
                    self.pause(wait)?;
                }
                Err(error) if is_transient(&error) => {
                    log::warn!("retrying a statement: {}", describe(&error));
                    self.pause(RECONNECT_MAX)?;
                }
                Err(error) if is_connection_lost(&error) => self.lost(&error),
                // This host is not the primary, or not writable for the moment.
                Err(error) if is_read_only(&error) => {
                    self.lost(&error);
                    self.pause(RECONNECT_MAX)?;
                }
                Err(error) => return Err(Unfinished::Refused(error)),
            }
        }
    }

    /// Runs `work` once. An error that another attempt could avoid is `Ok(None)`.
    pub fn try_run<T>(&mut self, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> mysql::Result<Option<T>> {
        let Some(conn) = self.conn.take().or_else(|| self.connect().ok()) else { return Ok(None) };
        match work(self.conn.insert(conn)) {
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

    /// True if the last use of the connection did not fail.
    pub fn is_connected(&self) -> bool {
        self.conn.is_some()
    }

    /// The number of the current connection, from 1; 0 if there was none yet. Locks and other state of the session
    /// belong to one number.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Drops the connection to a read-only server, if there are other hosts; the next connection goes to a writable
    /// one. Returns true if there are other hosts.
    pub fn leave_read_only(&mut self) -> bool {
        let leaves = self.database.has_several_hosts();
        if leaves && self.conn.take().is_some() {
            log::warn!("the database server is read-only; looking for a writable host");
        }
        leaves
    }

    fn pause(&self, duration: Duration) -> Result<(), Unfinished> {
        match self.until.wait(duration) {
            Woken::Stopping => Err(Unfinished::GivenUp),
            Woken::Elapsed => Ok(()),
        }
    }

    fn lost(&mut self, error: &mysql::Error) {
        self.stats.lost.fetch_add(1, Ordering::Relaxed);
        self.conn = None;
        if is_read_only(error) {
            // A fail-over takes a while, with an attempt every half second.
            if self.logged_read_only.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
                return;
            }
            self.logged_read_only = Some(Instant::now());
        }
        log::warn!("lost the connection to the database: {}", describe(error));
    }

    fn connected(&mut self) -> Result<&mut Conn, Unfinished> {
        let started = Instant::now();
        let mut wait = Duration::from_millis(20);
        let mut logged = None;
        while self.conn.is_none() {
            match self.connect() {
                Ok(conn) => {
                    if logged.is_some() {
                        log::info!("reconnected to the database after {}", duration::short(started.elapsed()));
                    }
                    self.conn = Some(conn);
                }
                // The settings have never worked, so they are wrong.
                Err(error) if self.generation == 0 && is_permanent(&error) => return Err(Unfinished::Refused(error)),
                Err(error) => {
                    let error = self.database.explain(&error);
                    if logged.is_none_or(|at: Instant| at.elapsed() >= LOG_INTERVAL) {
                        log::warn!("waiting for the database: {error}");
                        logged = Some(Instant::now());
                    }
                    self.pause(wait.mul_f64(0.5 + jitter() / 2.0))?;
                    wait = (wait * 2).min(RECONNECT_MAX);
                }
            }
        }
        self.conn.as_mut().ok_or(Unfinished::GivenUp)
    }

    fn connect(&mut self) -> mysql::Result<Conn> {
        let conn = open_session(&self.database.with_read_timeout(READ_TIMEOUT))?;
        self.generation += 1;
        Ok(conn)
    }
}

/// Opens a connection with the session settings of a [`ReconnectingConn`].
///
/// # Errors
/// The server is unreachable or refuses the connection.
pub fn open_session(database: &Database) -> mysql::Result<Conn> {
    let mut conn = database.open()?;
    for statement in SESSION {
        conn.query_drop(statement)?;
    }
    Ok(conn)
}

/// Returns a random number from 0 to 1. The randomness of the standard hasher's keys is good enough to spread load.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
