//! Who holds the metadata lock that a definition waits for.

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::db::quote_text;
use crate::migrate::classify::Object;

/// Blockers named in one message, at most.
const NAMED_MAX: usize = 3;

const BY_METADATA_LOCK: &str = "
SELECT DISTINCT t.PROCESSLIST_ID, CONCAT(t.PROCESSLIST_USER, '@', t.PROCESSLIST_HOST), t.PROCESSLIST_TIME,
       COALESCE(t.PROCESSLIST_INFO, '')
FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
WHERE l.LOCK_STATUS = 'GRANTED' AND l.LOCK_DURATION <> 'STATEMENT' AND t.PROCESSLIST_ID <> CONNECTION_ID()
  AND (l.OBJECT_SCHEMA, l.OBJECT_NAME) IN ({objects})
ORDER BY t.PROCESSLIST_TIME DESC";

/// MariaDB without its METADATA_LOCK_INFO plugin tells transactions, not their metadata locks: the oldest is likely.
const BY_TRANSACTION: &str = "
SELECT p.ID, CONCAT(p.USER, '@', p.HOST), p.TIME, COALESCE(p.INFO, '')
FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
WHERE p.ID <> CONNECTION_ID() ORDER BY t.trx_started";

/// A sentence that names the sessions which hold `objects`, as far as the server tells this user.
pub fn of(conn: &mut Conn, objects: &[Object], schema: &str) -> String {
    let names: Vec<String> = objects
        .iter()
        .map(|object| {
            let schema = object.name.schema.as_deref().unwrap_or(schema);
            format!("({}, {})", quote_text(schema), quote_text(&object.name.name))
        })
        .collect();
    let by_lock = BY_METADATA_LOCK.replace("{objects}", &names.join(", "));
    for query in [by_lock.as_str(), BY_TRANSACTION] {
        let rows: Result<Vec<(u64, String, i64, String)>, _> = conn.query(query);
        if let Ok(rows) = rows
            && !rows.is_empty()
        {
            let named: Vec<String> = rows.iter().take(NAMED_MAX).map(named).collect();
            return format!("blocked by {}", named.join(", "));
        }
    }
    "the blocker isn't shown to this user (it takes PROCESS and SELECT on performance_schema.*)".to_owned()
}

fn named((id, user, seconds, query): &(u64, String, i64, String)) -> String {
    match super::snippet(query).as_str() {
        "" => format!("session {id} of {user}, idle in a transaction for {seconds} s"),
        query => format!("session {id} of {user}, for {seconds} s in `{query}`"),
    }
}
