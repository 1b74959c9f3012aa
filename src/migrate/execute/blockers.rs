//! Names the sessions that hold the lock which a statement waits for.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::failure::snippet;
use crate::db::{self, quote_text};
use crate::migrate::classify::Object;
use crate::migrate::names::fill;

/// At most this many sessions are named in one message.
const NAMED_MAX: usize = 3;

/// Describes the sessions that hold metadata locks on `objects`, as far as this user may see them.
pub fn describe(conn: &mut Conn, objects: &[Object], schema: &str) -> String {
    const BY_METADATA_LOCK: &str = "
SELECT DISTINCT t.PROCESSLIST_ID, CONCAT(t.PROCESSLIST_USER, '@', t.PROCESSLIST_HOST), t.PROCESSLIST_TIME,
       COALESCE(t.PROCESSLIST_INFO, '')
FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
WHERE l.LOCK_STATUS = 'GRANTED' AND l.LOCK_DURATION <> 'STATEMENT' AND t.PROCESSLIST_ID <> CONNECTION_ID()
  AND (l.OBJECT_SCHEMA, l.OBJECT_NAME) IN ({objects})
ORDER BY t.PROCESSLIST_TIME DESC";
    // MariaDB without its METADATA_LOCK_INFO plugin shows only transactions. The oldest one is the likely blocker.
    const BY_TRANSACTION: &str = "
SELECT p.ID, CONCAT(p.USER, '@', p.HOST), p.TIME, COALESCE(p.INFO, '')
FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
WHERE p.ID <> CONNECTION_ID() ORDER BY t.trx_started";
    let names: Vec<String> = objects
        .iter()
        .map(|object| {
            let schema = object.name.schema.as_deref().unwrap_or(schema);
            format!("({}, {})", quote_text(schema), quote_text(&object.name.name))
        })
        .collect();
    let by_lock = (!names.is_empty()).then(|| fill(BY_METADATA_LOCK, &[("objects", &names.join(", "))]));
    for query in by_lock.iter().map(String::as_str).chain([BY_TRANSACTION]) {
        match conn.query::<(u64, String, i64, String), _>(query) {
            Ok(sessions) if !sessions.is_empty() => {
                let named: Vec<String> = sessions.iter().take(NAMED_MAX).map(describe_session).collect();
                return format!("blocked by {}", named.join(", "));
            }
            Ok(_) => {}
            // Usually a missing privilege or table. The statement's own error says more than this one.
            Err(error) => log::debug!("failed to find the blocking sessions: {}", db::describe(&error)),
        }
    }
    "this user may not see the blocker (it needs PROCESS and SELECT on performance_schema.*)".to_owned()
}

fn describe_session((id, user, seconds, query): &(u64, String, i64, String)) -> String {
    match snippet(query).as_str() {
        "" => format!("session {id} of {user}, idle in a transaction for {seconds} s"),
        query => format!("session {id} of {user}, running `{query}` for {seconds} s"),
    }
}
