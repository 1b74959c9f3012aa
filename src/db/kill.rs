//! Ending what another connection runs.

use std::time::Duration;

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
    // ER_NO_SUCH_THREAD
    match database.connect_for(ANSWER_TIMEOUT)?.query_drop(format!("KILL {connection}")) {
        Err(mysql::Error::MySqlError(error)) if error.code == 1094 => Ok(()),
        done => Ok(done?),
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
