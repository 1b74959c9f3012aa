//! Ending what another connection runs.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::Database;
use crate::error::Result;

/// Longer than a server that works takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends `connection`, and undoes its transaction; one that has ended is no error.
///
/// # Errors
/// The server can't be reached.
pub fn kill_connection(database: &Database, connection: u32) -> Result<()> {
    Ok(kill_by(&mut database.connect_for(ANSWER_TIMEOUT)?, connection)?)
}

/// As [`kill_connection`], by a connection that is there.
///
/// # Errors
/// The connection was lost.
pub fn kill_by(conn: &mut Conn, connection: u32) -> mysql::Result<()> {
    // ER_NO_SUCH_THREAD
    match conn.query_drop(format!("KILL {connection}")) {
        Err(mysql::Error::MySqlError(error)) if error.code == 1094 => Ok(()),
        done => done,
    }
}

/// Ends the statement that `connection` runs, if it runs one; the connection stays.
///
/// # Errors
/// The server can't be reached, or has no such connection.
pub fn kill_query(database: &Database, connection: u32) -> Result<()> {
    database.connect_for(ANSWER_TIMEOUT)?.query_drop(format!("KILL QUERY {connection}"))?;
    Ok(())
}
