//! Deleting final rows whose time is up, in small batches.

use mysql::{Conn, Error};

use super::{execute, rows};

/// Rows of one statement: enough to be quick, few enough to be in nobody's way.
const BATCH: u64 = 1000;

/// Deletes one batch of each sort of final row, as far as they are due; whether there may be more.
pub fn purge(conn: &mut Conn) -> Result<bool, Error> {
    // The index jumps from one group to the next, so that this costs little however many rows there are.
    let groups = rows::<(String, String, u16, String, u8)>(
        conn,
        "SELECT DISTINCT CAST(state AS CHAR), kind, payload_version, queue, lane FROM ai_server_tasks FORCE INDEX (due) \
         WHERE state IN ('succeeded', 'dead', 'cancelled')",
    )?;
    let mut more = false;
    for (state, kind, version, queue, lane) in groups {
        let deleted = execute(
            conn,
            &format!(
                "DELETE FROM ai_server_tasks WHERE state = '{state}' AND kind = {} AND payload_version = {version} \
                 AND queue = {} AND lane = {lane} AND due_at <= UTC_TIMESTAMP(6) ORDER BY due_at LIMIT {BATCH}",
                crate::db::quote_text(&kind),
                crate::db::quote_text(&queue)
            ),
        )?;
        more |= deleted == BATCH;
    }
    Ok(more)
}

/// Kinds and versions that have pending tasks.
pub fn pending_kinds(conn: &mut Conn) -> Result<Vec<(String, u16)>, Error> {
    rows(conn, "SELECT DISTINCT kind, payload_version FROM ai_server_tasks FORCE INDEX (due) WHERE state = 'pending'")
}
