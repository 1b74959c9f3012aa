//! The connection of a run in a process of its own, found by a lock that it holds: an id alone may be another's, on
//! another server or after a restart.

use mysql::{Conn, Error};

use super::{ClaimToken, execute, rows};
use crate::db::kill_by;

/// Locks are the server's, not the database's; 64 characters at most.
fn name(token: &ClaimToken) -> String {
    format!("CONCAT('airun:run:', LEFT(SHA2(DATABASE(), 256), 16), ':{}:{}')", token.id, token.claim_count)
}

/// Makes the connection one that [`end`] finds.
pub fn mark(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    execute(conn, &format!("DO GET_LOCK({}, 0)", name(token))).map(drop)
}

/// Ends the connection of a run, and undoes its transaction: the server goes on with the statement of a client that has
/// gone, and keeps its locks until then.
pub fn end(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    let found = rows::<(Option<u32>,)>(conn, &format!("SELECT IS_USED_LOCK({})", name(token)))?;
    match found.first() {
        Some(&(Some(connection),)) => kill_by(conn, connection),
        _ => Ok(()),
    }
}
