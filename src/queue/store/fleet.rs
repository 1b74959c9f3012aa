//! The workers of a database, as they know of each other.

use mysql::{Conn, Error};

use super::{LEASE, MISSING_FOR, execute, interval, rows};
use crate::fault;

/// What the workers' locks are called; locks are the server's, not the database's.
pub(super) const LOCK: &str = "CONCAT('airun:worker:', LEFT(SHA2(DATABASE(), 256), 24), ':', ";

/// Whether the tables have the newest column, which is needed when a worker has gone only.
pub fn has_columns(conn: &mut Conn) -> Result<(), Error> {
    execute(conn, "SELECT isolated_runs FROM ai_server_tasks LIMIT 0").map(drop)
}

/// Adds a worker; its id is the owner of what it claims.
pub fn register(conn: &mut Conn, hostname: &str, pid: u32) -> Result<u64, Error> {
    let hostname = crate::db::quote_text(hostname);
    execute(conn, &format!("INSERT INTO ai_server_workers (hostname, pid) VALUES ({hostname}, {pid})"))?;
    Ok(conn.last_insert_id())
}

/// Adds a worker again that others took for gone, under its old id.
pub fn rejoin(conn: &mut Conn, worker: u64, hostname: &str, pid: u32) -> Result<(), Error> {
    let hostname = crate::db::quote_text(hostname);
    execute(conn, &format!("INSERT INTO ai_server_workers (id, hostname, pid) VALUES ({worker}, {hostname}, {pid})"))
        .map(drop)
}

/// Takes the lock that says that the worker lives; whether this connection has it now.
pub fn acquire_liveness_lock(conn: &mut Conn, worker: u64) -> Result<bool, Error> {
    let taken = rows::<(Option<i64>,)>(conn, &format!("SELECT GET_LOCK({LOCK}{worker}), 0)"))?;
    if taken != [(Some(1),)] {
        return Ok(false);
    }
    execute(conn, &format!("UPDATE ai_server_workers SET suspected_at = NULL WHERE id = {worker}"))?;
    Ok(true)
}

/// Gives a sign of life; whether the worker is still one of the fleet.
pub fn heartbeat(conn: &mut Conn, worker: u64, idle: bool) -> Result<bool, Error> {
    let changed = execute(
        conn,
        &format!(
            "UPDATE ai_server_workers SET last_heartbeat_at = UTC_TIMESTAMP(6), idle = {idle}, suspected_at = NULL \
             WHERE id = {worker}"
        ),
    )?;
    Ok(changed == 1)
}

/// Workers that live, and how many of them are idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub alive: u32,
    pub idle: u32,
}

/// How many workers there are.
pub fn size(conn: &mut Conn) -> Result<Size, Error> {
    let counted = rows::<(u32, u32)>(
        conn,
        &format!(
            "SELECT COUNT(*), CAST(COALESCE(SUM(idle), 0) AS UNSIGNED) FROM ai_server_workers \
             WHERE last_heartbeat_at > UTC_TIMESTAMP(6) - {}",
            interval(LEASE)
        ),
    )?;
    Ok(counted.first().map_or(Size { alive: 1, idle: 1 }, |&(alive, idle)| Size { alive, idle }))
}

/// A worker, and where it ran.
#[derive(Debug)]
pub struct Worker {
    pub id: u64,
    pub hostname: String,
    pub pid: u32,
}

/// Workers that give no sign of life.
#[derive(Debug, Default)]
pub struct Absent {
    /// For long enough.
    pub gone: Vec<Worker>,
    /// Since this look.
    pub newly_missing: bool,
}

/// Looks for workers whose lock is free, or whose last sign of life is too old where locks tell nothing; those that
/// were missing at an earlier look already have gone. A worker that has only lost its connection comes back meanwhile.
pub fn find_dead(conn: &mut Conn, locks_tell: bool) -> Result<Absent, Error> {
    let free = if locks_tell { format!("IS_FREE_LOCK({LOCK}id)) = 1 OR ") } else { String::new() };
    let missing = rows::<(u64, String, u32, i64)>(
        conn,
        &format!(
            "SELECT id, hostname, pid, COALESCE(TIMESTAMPDIFF(MICROSECOND, suspected_at, UTC_TIMESTAMP(6)), -1) FROM ai_server_workers \
             WHERE {free}last_heartbeat_at < UTC_TIMESTAMP(6) - {}",
            interval(LEASE)
        ),
    )?;
    let mut absent = Absent::default();
    for (id, hostname, pid, micros) in missing {
        if micros < 0 {
            absent.newly_missing = true;
            execute(
                conn,
                &format!(
                    "UPDATE ai_server_workers SET suspected_at = UTC_TIMESTAMP(6) WHERE id = {id} AND suspected_at IS NULL"
                ),
            )?;
            fault::point("missing-marked");
        } else if u128::try_from(micros).is_ok_and(|micros| micros >= MISSING_FOR.as_micros()) {
            absent.gone.push(Worker { id, hostname, pid });
        }
    }
    Ok(absent)
}

/// Removes a worker that has left, or that has gone and has no task any more.
pub fn deregister(conn: &mut Conn, worker: u64) -> Result<(), Error> {
    execute(conn, &format!("DELETE FROM ai_server_workers WHERE id = {worker}")).map(drop)
}
