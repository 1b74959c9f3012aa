//! An operator's connection to the queue.

use std::time::Duration;

use mysql::Conn;

use crate::cli::context::Context;
use crate::db::retry::{is_deadlock, is_lock_timeout};
use crate::db::{Database, open_session};
use crate::error::{Error, ErrorKind, Result};
use crate::queue;
use crate::shutdown::{Shutdown, Woken};

/// One connection, for statements that are tried again where the server undid them to end a deadlock.
pub struct Operator<'a> {
    pub database: Database,
    conn: Conn,
    stop: &'a Shutdown,
}

/// A statement that is in the way of others so often has some other trouble.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(20);

impl<'a> Operator<'a> {
    /// Connects to the database that the settings name.
    ///
    /// # Errors
    /// None is named, or it can't be had.
    pub fn connect(context: &'a Context) -> Result<Self> {
        let database = context.require_database()?;
        let conn = open_session(&database).map_err(|error| database.explain(&error))?;
        Ok(Self { database, conn, stop: &context.stop })
    }

    /// Does `work`, which must bear being done twice.
    ///
    /// # Errors
    /// What the server has against it, and what to do where its tables are missing.
    pub fn run<T>(&mut self, mut work: impl FnMut(&mut Conn) -> mysql::Result<T>) -> Result<T> {
        let mut tries = 1;
        loop {
            match work(&mut self.conn) {
                Ok(done) => return Ok(done),
                Err(error) if tries < TRIES && (is_deadlock(&error) || is_lock_timeout(&error)) => {
                    tries += 1;
                    self.wait(AGAIN)?;
                }
                Err(error) => return Err(queue::unfit(&self.database, &error)),
            }
        }
    }

    /// Does `work` once.
    ///
    /// # Errors
    /// Its own.
    pub fn once<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        work(&mut self.conn)
    }

    /// Waits, and goes on.
    ///
    /// # Errors
    /// A signal came.
    pub fn wait(&self, time: Duration) -> Result<()> {
        match self.stop.wait(time) {
            Woken::Stopping => Err(Error::new(ErrorKind::Interrupted, "stopped by a signal before it was done")),
            Woken::Elapsed => Ok(()),
        }
    }

    /// Wakes the workers of this host, since something is due.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn wake(&mut self) -> Result<()> {
        self.run(queue::wake)
    }
}
