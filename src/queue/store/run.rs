//! The connection of a run in a process of its own, found by a lock that it holds: an id alone may be another's, on
//! another server or after a restart.

use mysql::{Conn, Error};

use super::{Fence, execute, rows};
use crate::db::kill_by;

/// Locks are the server's, not the database's; 64 characters at most.
fn name(fence: &Fence) -> String {
    format!("CONCAT('airun:run:', LEFT(SHA2(DATABASE(), 256), 16), ':{}:{}')", fence.id, fence.claims)
}

/// Makes the connection one that [`end`] finds.
pub fn mark(conn: &mut Conn, fence: &Fence) -> Result<(), Error> {
    execute(conn, &format!("DO GET_LOCK({}, 0)", name(fence))).map(drop)
}

/// Ends the connection of a run, and undoes its transaction: the server goes on with the statement of a client that has
/// gone, and keeps its locks until then.
pub fn end(conn: &mut Conn, fence: &Fence) -> Result<(), Error> {
    let found = rows::<(Option<u32>,)>(conn, &format!("SELECT IS_USED_LOCK({})", name(fence)))?;
    match found.first() {
        Some(&(Some(connection),)) => kill_by(conn, connection),
        _ => Ok(()),
    }
}
