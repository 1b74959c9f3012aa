//! Kills connections and their statements.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::Database;
use crate::error::Result;

/// A working server answers much faster.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Kills `connection`, which rolls back its transaction. Succeeds if the connection is already closed.
///
/// # Errors
/// The server is unreachable.
pub fn kill_connection(database: &Database, connection: u32) -> Result<()> {
    Ok(kill_by(&mut database.connect_for(READ_TIMEOUT)?, connection)?)
}

/// Does the same as [`kill_connection`], on the open connection `conn`.
pub fn kill_by(conn: &mut Conn, connection: u32) -> mysql::Result<()> {
    // ER_NO_SUCH_THREAD
    match conn.query_drop(format!("KILL {connection}")) {
        Err(mysql::Error::MySqlError(error)) if error.code == 1094 => Ok(()),
        done => done,
    }
}

/// Kills the statement that `connection` is running, if any. The connection stays open.
///
/// # Errors
/// The server is unreachable, or has no such connection.
pub fn kill_query(database: &Database, connection: u32) -> Result<()> {
    database.connect_for(READ_TIMEOUT)?.query_drop(format!("KILL QUERY {connection}"))?;
    Ok(())
}
