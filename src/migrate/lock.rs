//! The lock that keeps two migrators of one database apart.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::catalog::hex;
use super::event::{Event, Events};
use crate::error::{Error, Exit, Result};
use crate::shutdown::Shutdown;

/// The lease row's table, made only where `GET_LOCK` is local to one node of several.
pub const TABLE: &str = "ai_migrations_lock";

/// One wait on the server, so that a signal is heard in between; seconds.
const WAIT_SECONDS: u64 = 1;

/// A lock that is held by the connection it was taken on, and freed by the server when that ends.
#[derive(Debug)]
pub struct Lock {
    name: String,
}

impl Lock {
    /// Takes the lock of `database`, waiting for at most `limit`.
    ///
    /// # Errors
    /// [`Exit::LockHeld`] when somebody else holds it all the time, naming who; [`Exit::Interrupted`] at a signal.
    pub fn acquire(
        conn: &mut Conn,
        database: &str,
        limit: Duration,
        shutdown: &Shutdown,
        events: &mut Events<'_>,
    ) -> Result<Self> {
        let lock = Self { name: lock_name(database) };
        let until = Instant::now() + limit;
        let mut told = false;
        loop {
            let wait = if told { WAIT_SECONDS } else { 0 };
            let taken: Option<Option<i64>> = conn.query_first(format!("SELECT GET_LOCK('{}', {wait})", lock.name))?;
            match taken.flatten() {
                Some(1) => return Ok(lock),
                Some(_) => {}
                None => {
                    return Err(Error::failure("the server can't give the migration lock: `GET_LOCK` returned NULL"));
                }
            }
            if shutdown.is_stopping() {
                return Err(Error::new(
                    Exit::Interrupted,
                    "stopped by a signal while waiting for the migration lock; nothing was run",
                ));
            }
            let holder = lock.holder(conn);
            if Instant::now() >= until {
                return Err(Error::new(
                    Exit::LockHeld,
                    format!(
                        "the migration lock of `{database}` is held by {holder}; wait for it to end, or raise `--lock-timeout`"
                    ),
                ));
            }
            if !told {
                told = true;
                events(Event::Note(format!("waiting for the migration lock of `{database}`, held by {holder}")));
            }
        }
    }

    /// The condition that this connection still holds the lock, in SQL.
    pub fn proof(&self) -> String {
        format!("IS_USED_LOCK('{}') = CONNECTION_ID()", self.name)
    }

    /// Frees the lock. The server does so by itself when the connection ends, so there is nothing to do about an error.
    pub fn release(self, conn: &mut Conn) {
        if let Err(error) = conn.query_drop(format!("DO RELEASE_LOCK('{}')", self.name)) {
            log::debug!("failed to release the migration lock: {}", crate::db::describe(&error));
        }
    }

    fn holder(&self, conn: &mut Conn) -> String {
        const HOLDER: &str = "SELECT ID, CONCAT(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = ";
        let id: Option<Option<u64>> =
            conn.query_first(format!("SELECT IS_USED_LOCK('{}')", self.name)).unwrap_or_default();
        let Some(id) = id.flatten() else { return "somebody who has just let it go".to_owned() };
        let shown: Option<(u64, String)> = conn.query_first(format!("{HOLDER}{id}")).unwrap_or_default();
        match shown {
            Some((id, who)) => format!("{who} (connection {id})"),
            None => format!("connection {id}"),
        }
    }
}

/// Locks are the server's, not the database's, their names at most 64 characters, and on MySQL in any case.
fn lock_name(database: &str) -> String {
    format!("airun:{}", hex(&Sha256::digest(format!("{database}.{}", super::journal::TABLE))[..16]))
}
