//! The lock by `GET_LOCK`.

use mysql::Conn;
use mysql::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::{HeldBy, LockCondition};
use crate::db;
use crate::error::{Error, Result};
use crate::migrate::names::{JOURNAL_TABLE, hex};

/// The longest wait on the server, so that a signal is noticed soon. Seconds.
const WAIT_SECONDS: u64 = 1;

/// A lock that is held by the connection that took it. The server releases it when that connection ends.
#[derive(Debug)]
pub struct NamedLock {
    name: String,
}

impl NamedLock {
    /// Tries to take the lock. Waits for up to a second if `wait` is true.
    pub fn try_acquire(conn: &mut Conn, database: &str, wait: bool) -> Result<Result<Self, HeldBy>> {
        let lock = Self { name: lock_name(database) };
        let seconds = if wait { WAIT_SECONDS } else { 0 };
        let acquired: Option<Option<i64>> = conn.exec_first("SELECT GET_LOCK(?, ?)", (&lock.name, seconds))?;
        match acquired.flatten() {
            Some(1) => Ok(Ok(lock)),
            Some(_) => Ok(Err(HeldBy(lock.holder(conn)))),
            None => Err(Error::failure("failed to take the migration lock: `GET_LOCK` returned NULL")),
        }
    }

    pub fn condition(&self) -> LockCondition {
        // The name is a hash, so that it needs no quoting.
        LockCondition::of(format!("IS_USED_LOCK('{}') = CONNECTION_ID()", self.name))
    }

    /// Releases the lock. An error is only logged, because the server releases it anyway when the connection ends.
    pub fn release(&self, conn: &mut Conn) {
        if let Err(error) = conn.exec_drop("DO RELEASE_LOCK(?)", (&self.name,)) {
            log::debug!("failed to release the migration lock: {}", db::describe(&error));
        }
    }

    /// Describes the holder, as far as this user may see it.
    fn holder(&self, conn: &mut Conn) -> String {
        const HOLDER: &str = "
SELECT h.id, CONCAT(p.USER, '@', p.HOST)
FROM (SELECT IS_USED_LOCK(?) AS id) h LEFT JOIN information_schema.PROCESSLIST p ON p.ID = h.id";
        match conn.exec_first::<(Option<u64>, Option<String>), _, _>(HOLDER, (&self.name,)) {
            Ok(Some((Some(id), Some(user)))) => format!("{user} (connection {id})"),
            Ok(Some((Some(id), None))) => format!("connection {id}"),
            Ok(_) => "a session that has just released it".to_owned(),
            Err(error) => format!("an unknown session ({})", db::describe(&error)),
        }
    }
}

/// The lock's name. Locks belong to the server and not to a database; on MySQL their names have at most 64 characters
/// and ignore case.
fn lock_name(database: &str) -> String {
    format!("airun:{}", hex(&Sha256::digest(format!("{database}.{JOURNAL_TABLE}"))[..16]))
}
