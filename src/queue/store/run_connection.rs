//! The database connection of an isolated run. The connection holds a named lock, which the worker uses to find it: a
//! connection id alone could belong to another connection, on another server or after a restart.

use mysql::{Conn, Error};

use super::literal::Fragment;
use super::{ClaimToken, execute, row};
use crate::db::kill_by;

/// The expression for the lock's name, of at most 64 characters. Named locks belong to the server, so the name contains
/// the database's.
fn lock(token: &ClaimToken) -> Fragment {
    let ClaimToken { id, claim_count, .. } = token;
    Fragment(format!("CONCAT('airun:run:', LEFT(SHA2(DATABASE(), 256), 16), ':{id}:{claim_count}')"))
}

const GET_LOCK: &str = "DO GET_LOCK(:lock, 0)";

/// Acquires the named lock on the connection, so that [`kill`] finds it.
pub fn mark(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    execute(conn, &sql!(GET_LOCK, lock = lock(token))).map(drop)
}

const FIND_HOLDER: &str = "SELECT IS_USED_LOCK(:lock)";

/// Kills the connection of a run, which rolls its transaction back. Without this the server would execute the statement
/// of a killed process to its end, and keep the transaction's locks until then.
pub fn kill(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    match row::<(Option<u32>,)>(conn, &sql!(FIND_HOLDER, lock = lock(token)))? {
        (Some(connection),) => kill_by(conn, connection),
        (None,) => Ok(()),
    }
}
