//! The workers of a database, and how they detect each other's death.

use mysql::{Conn, Error};

use super::literal::Fragment;
use super::{LEASE, SUSPICION_PERIOD, execute, row, rows};
use crate::fault;

/// Start of the SQL expression for the name of a worker's liveness lock; the worker's id and `)` follow. Named locks
/// belong to the server, so the lock's name contains the database's.
pub(super) const LOCK: &str = "CONCAT('airun:worker:', LEFT(SHA2(DATABASE(), 256), 24), ':', ";

/// Checks that the tables have the column that is used only after a crash.
pub fn has_columns(conn: &mut Conn) -> Result<(), Error> {
    execute(conn, "SELECT isolated_runs FROM ai_server_tasks LIMIT 0").map(drop)
}

const REGISTER: &str = "INSERT INTO ai_server_workers (id, hostname, pid) VALUES (:worker_id, :hostname, :pid)";

/// Registers this process: under a new id, which is returned, if `worker_id` is 0; or under its old id, after others
/// declared it dead.
pub fn register(conn: &mut Conn, worker_id: u64, hostname: &str) -> Result<u64, Error> {
    execute(conn, &sql!(REGISTER, worker_id = worker_id, hostname = hostname, pid = std::process::id()))?;
    Ok(conn.last_insert_id())
}

const GET_LOCK: &str = "SELECT GET_LOCK(:lock, 0)";
const CLEAR_SUSPICION: &str = "UPDATE ai_server_workers SET suspected_at = NULL WHERE id = :worker_id";

/// Acquires the lock that shows that the worker is alive. Returns true if this connection holds it now.
pub fn acquire_liveness_lock(conn: &mut Conn, worker_id: u64) -> Result<bool, Error> {
    let lock = Fragment(format!("{LOCK}{worker_id})"));
    let acquired = row::<(Option<i64>,)>(conn, &sql!(GET_LOCK, lock = lock))? == (Some(1),);
    if acquired {
        execute(conn, &sql!(CLEAR_SUSPICION, worker_id = worker_id))?;
    }
    Ok(acquired)
}

const HEARTBEAT: &str = "UPDATE ai_server_workers \
    SET last_heartbeat_at = UTC_TIMESTAMP(6), idle = :idle, suspected_at = NULL WHERE id = :worker_id";

/// Records a heartbeat. Returns true if the worker is still registered.
pub fn heartbeat(conn: &mut Conn, worker_id: u64, idle: bool) -> Result<bool, Error> {
    Ok(execute(conn, &sql!(HEARTBEAT, idle = idle, worker_id = worker_id))? == 1)
}

const COUNT_WORKERS: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(idle), 0) AS UNSIGNED) FROM ai_server_workers \
    WHERE last_heartbeat_at > UTC_TIMESTAMP(6) - :lease";

/// Returns the number of live workers, and how many of them are idle.
pub fn size(conn: &mut Conn) -> Result<(u32, u32), Error> {
    row(conn, &sql!(COUNT_WORKERS, lease = LEASE))
}

/// A worker that is dead, and where it ran.
pub struct DeadWorker {
    pub id: u64,
    pub hostname: String,
    pub pid: u32,
}

const SELECT_SUSPECTS: &str = "SELECT id, hostname, pid, \
    COALESCE(TIMESTAMPDIFF(MICROSECOND, suspected_at, UTC_TIMESTAMP(6)), -1) FROM ai_server_workers \
    WHERE :lock_is_free OR last_heartbeat_at < UTC_TIMESTAMP(6) - :lease";
const SUSPECT: &str = "UPDATE ai_server_workers SET suspected_at = UTC_TIMESTAMP(6) \
    WHERE id = :worker_id AND suspected_at IS NULL";

/// Finds workers whose liveness lock is free or whose last heartbeat is too old; only the heartbeat counts unless
/// `locks_are_global`. A worker is dead if it stays suspected for [`SUSPICION_PERIOD`]: one that only lost its
/// connection reconnects meanwhile. Also returns true if the search made another worker a suspect.
pub fn find_dead(conn: &mut Conn, locks_are_global: bool) -> Result<(Vec<DeadWorker>, bool), Error> {
    let lock_is_free = lock_is_free("id", locks_are_global);
    let suspects =
        rows::<(u64, String, u32, i64)>(conn, &sql!(SELECT_SUSPECTS, lock_is_free = lock_is_free, lease = LEASE))?;
    let (mut dead, mut newly_suspected) = (Vec::new(), false);
    for (id, hostname, pid, suspected_micros) in suspects {
        if suspected_micros < 0 {
            newly_suspected = true;
            execute(conn, &sql!(SUSPECT, worker_id = id))?;
            fault::point("missing-marked");
        } else if u128::try_from(suspected_micros).is_ok_and(|micros| micros >= SUSPICION_PERIOD.as_micros()) {
            dead.push(DeadWorker { id, hostname, pid });
        }
    }
    Ok((dead, newly_suspected))
}

/// An SQL condition for a worker whose liveness lock is free. It is never true where other nodes can't see the lock.
pub(super) fn lock_is_free(id_column: &str, locks_are_global: bool) -> Fragment {
    if locks_are_global {
        Fragment(format!("IS_FREE_LOCK({LOCK}{id_column})) = 1"))
    } else {
        Fragment("FALSE".to_owned())
    }
}

const DEREGISTER: &str = "DELETE FROM ai_server_workers WHERE id = :worker_id";

/// Removes a worker that stopped, or that died and has no more running tasks.
pub fn deregister(conn: &mut Conn, worker_id: u64) -> Result<(), Error> {
    execute(conn, &sql!(DEREGISTER, worker_id = worker_id)).map(drop)
}
