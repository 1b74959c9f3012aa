//! The lock by `GET_LOCK`.

use mysql::Conn;
use mysql::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::{Lock, LockCondition, Taken};
use crate::error::{Error, Result};
use crate::migrate::catalog::hex;
use crate::migrate::journal;

/// One wait on the server, so that a signal is heard in between; seconds.
const WAIT_SECONDS: u64 = 1;

/// A lock that is held by the connection it was taken on, and freed by the server when that ends.
#[derive(Debug)]
pub struct Named {
    name: String,
}

impl Named {
    /// Tries to take it; with `patience`, for a second.
    pub(super) fn take(conn: &mut Conn, database: &str, patience: bool) -> Result<Taken> {
        let lock = Self { name: lock_name(database) };
        let wait = if patience { WAIT_SECONDS } else { 0 };
        let taken: Option<Option<i64>> = conn.query_first(format!("SELECT GET_LOCK('{}', {wait})", lock.name))?;
        match taken.flatten() {
            Some(1) => Ok(Taken::Yes(Lock::Named(lock))),
            Some(_) => Ok(Taken::No { holder: lock.holder(conn) }),
            None => Err(Error::failure("the server can't give the migration lock: `GET_LOCK` returned NULL")),
        }
    }

    pub(super) fn condition(&self) -> LockCondition {
        let condition = format!("IS_USED_LOCK('{}') = CONNECTION_ID()", self.name);
        LockCondition {
            update_condition: condition.clone(),
            condition,
            update_join: String::new(),
            update_set: String::new(),
            table: None,
        }
    }

    /// The server frees it by itself when the connection ends, so there is nothing to do about an error.
    pub(super) fn release(&self, conn: &mut Conn) {
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
    format!("airun:{}", hex(&Sha256::digest(format!("{database}.{}", journal::TABLE))[..16]))
}
