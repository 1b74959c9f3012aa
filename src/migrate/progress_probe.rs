//! How far a long statement is, as the server tells it to another connection.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::db::Database;
use crate::error::Result;

/// Nobody waits longer for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Where a statement is.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// In the server's words: `altering table`, `copy to tmp table`.
    pub what: String,
    pub percent: Option<f64>,
}

/// A connection that looks at another one.
pub struct ProgressProbe {
    conn: Conn,
    queries: &'static [&'static str],
}

/// Estimates come with the consumer `events_stages_current`, which MySQL has off by default; whoever may read neither
/// table may read his own lines of the last.
const MYSQL: [&str; 2] = [
    "SELECT COALESCE(t.PROCESSLIST_STATE, ''), 100.0 * s.WORK_COMPLETED / NULLIF(s.WORK_ESTIMATED, 0)
     FROM performance_schema.threads t LEFT JOIN performance_schema.events_stages_current s USING (THREAD_ID)
     WHERE t.PROCESSLIST_ID = ?",
    "SELECT COALESCE(STATE, ''), NULL FROM information_schema.PROCESSLIST WHERE ID = ?",
];

/// MariaDB reports progress within one of several stages; 0 where it reports none.
const MARIADB: [&str; 1] = [
    "SELECT COALESCE(STATE, ''), NULLIF((GREATEST(STAGE, 1) - 1 + PROGRESS / 100) * 100.0 / GREATEST(MAX_STAGE, 1), 0)
     FROM information_schema.PROCESSLIST WHERE ID = ?",
];

impl ProgressProbe {
    /// Opens a connection for looking only.
    ///
    /// # Errors
    /// As [`Database::connect_for`].
    pub fn new(database: &Database) -> Result<Self> {
        let mut conn = database.connect_for(TIMEOUT)?;
        let version: Option<String> = conn.query_first("SELECT VERSION()")?;
        let mariadb = version.is_some_and(|version| version.contains("MariaDB"));
        Ok(Self { conn, queries: if mariadb { &MARIADB } else { &MYSQL } })
    }

    /// Where the statement of `session` is; `None` where the server doesn't tell this user, or nothing runs.
    ///
    /// # Errors
    /// Fails where the connection can't be used any more.
    pub fn look(&mut self, session: u32) -> Result<Option<Stage>> {
        while let Some((query, others)) = self.queries.split_first() {
            match self.conn.exec_first::<(String, Option<f64>), _, _>(*query, (session,)) {
                Err(mysql::Error::MySqlError(_)) => self.queries = others,
                row => {
                    let stage = row?.map(|(what, percent)| Stage { what, percent });
                    return Ok(stage.filter(|stage| !stage.what.is_empty() || stage.percent.is_some()));
                }
            }
        }
        Ok(None)
    }
}
