//! How far a long statement has got, read from the server by another connection.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::db::Database;

const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The server's description: `altering table`, `copy to tmp table`.
    pub what: String,
    pub percent: Option<f64>,
}

/// A connection that watches another one.
pub struct ProgressProbe {
    /// Taken by the only attempt to connect.
    database: Option<Database>,
    conn: Option<Conn>,
    /// Those that this server has not refused.
    queries: &'static [&'static str],
}

/// In order of preference. Each server refuses the queries that it can't answer.
const QUERIES: [&str; 3] = [
    // MariaDB reports the progress within one of several stages, or 0 if it reports none.
    "SELECT COALESCE(STATE, ''), NULLIF((GREATEST(STAGE, 1) - 1 + PROGRESS / 100) * 100.0 / GREATEST(MAX_STAGE, 1), 0)
     FROM information_schema.PROCESSLIST WHERE ID = ?",
    // Estimates need the consumer `events_stages_current`, which MySQL switches off by default.
    "SELECT COALESCE(t.PROCESSLIST_STATE, ''), 100.0 * s.WORK_COMPLETED / NULLIF(s.WORK_ESTIMATED, 0)
     FROM performance_schema.threads t LEFT JOIN performance_schema.events_stages_current s USING (THREAD_ID)
     WHERE t.PROCESSLIST_ID = ?",
    // A user who may not read those tables can still see their own sessions here.
    "SELECT COALESCE(STATE, ''), NULL FROM information_schema.PROCESSLIST WHERE ID = ?",
];

impl ProgressProbe {
    /// Doesn't connect before the first read.
    pub fn new(database: Database) -> Self {
        Self { database: Some(database), conn: None, queries: &QUERIES }
    }

    /// Reads the progress of `session`'s statement; `None` if nothing runs, this user may not see it, or the connection
    /// was lost.
    pub fn read(&mut self, session: u32) -> Option<Stage> {
        // After an error the connection can't be used again: the next answer could belong to the previous query.
        let mut conn = self.conn.take().or_else(|| self.database.take()?.connect_for(TIMEOUT).ok())?;
        while let Some((query, others)) = self.queries.split_first() {
            match conn.exec_first::<(String, Option<f64>), _, _>(*query, (session,)) {
                Err(mysql::Error::MySqlError(_)) => self.queries = others,
                Err(_) => return None,
                Ok(row) => {
                    self.conn = Some(conn);
                    let stage = row.map(|(what, percent)| Stage { what, percent });
                    return stage.filter(|stage| !stage.what.is_empty() || stage.percent.is_some());
                }
            }
        }
        None
    }
}
