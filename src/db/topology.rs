//! Detects clusters.

use mysql::Conn;
use mysql::prelude::Queryable;

/// Returns true if a lock of `GET_LOCK` holds on this node only, as in Galera and in a group with several primaries.
pub fn locks_are_local(conn: &mut Conn) -> mysql::Result<bool> {
    const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE \
        (Variable_name = 'wsrep_on' AND Value = 'ON') \
        OR (Variable_name = 'group_replication_single_primary_mode' AND Value = 'OFF')";
    let found: Option<(String, String)> = conn.query_first(VARIABLES)?;
    Ok(found.is_some())
}
