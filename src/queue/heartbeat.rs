//! Shows other workers that this one is alive: keeps its connection, liveness lock, row and leases up to date.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::interrupt::Interrupted;
use super::shared::Shared;
use super::store::{LEASE, fleet, lease};
use crate::db::ReconnectingConn;
use crate::fault;

/// How often the connection is checked, and the lock with it: well within the time after which other workers consider
/// this one dead.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Age at which a lease is extended.
const EXTEND_AFTER: Duration = Duration::from_secs(LEASE.as_secs() / 3);

pub struct Heartbeat {
    shared: Arc<Shared>,
    /// Generation of the connection that holds the liveness lock; 0 before the first.
    locked: u64,
    next_ping: Instant,
    next_heartbeat: Instant,
}

impl Heartbeat {
    pub fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self { shared, locked: 0, next_ping: now + PING_INTERVAL, next_heartbeat: now }
    }

    pub fn run_due(&mut self, conn: &mut ReconnectingConn, now: Instant) -> mysql::Result<()> {
        if now >= self.next_ping {
            self.next_ping = now + PING_INTERVAL;
            conn.try_run(|conn| conn.ping())?;
        }
        self.hold_lock(conn, now)?;
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + HEARTBEAT_INTERVAL;
            self.beat(conn)?;
        }
        self.extend_leases(conn, now)
    }

    /// Acquires the liveness lock if the connection is a new one.
    fn hold_lock(&mut self, conn: &mut ReconnectingConn, now: Instant) -> mysql::Result<()> {
        if self.locked == conn.generation() && conn.is_connected() {
            return Ok(());
        }
        let worker_id = self.shared.worker_id;
        if conn.try_run(|conn| fleet::acquire_liveness_lock(conn, worker_id))? == Some(true) {
            self.locked = conn.generation();
            // Others may have declared this worker dead meanwhile, and it must not claim tasks without being registered.
            self.next_heartbeat = now;
        }
        Ok(())
    }

    fn beat(&self, conn: &mut ReconnectingConn) -> mysql::Result<()> {
        let is_idle = !self.shared.fleet.is_busy.load(Ordering::Relaxed);
        let size = conn.try_run(|conn| {
            if !fleet::heartbeat(conn, self.shared.worker_id, is_idle)? {
                fleet::register(conn, self.shared.worker_id, &self.shared.hostname)?;
            }
            fault::point("beat");
            fleet::size(conn)
        })?;
        if let Some((alive, idle)) = size {
            self.shared.fleet.workers.store(alive, Ordering::Relaxed);
            self.shared.fleet.idle_workers.store(idle, Ordering::Relaxed);
        }
        Ok(())
    }

    fn extend_leases(&self, conn: &mut ReconnectingConn, now: Instant) -> mysql::Result<()> {
        let ids = self.shared.in_flight.leases_older_than(EXTEND_AFTER, now);
        if ids.is_empty() {
            return Ok(());
        }
        if let Some(extended) = conn.try_run(|conn| lease::extend(conn, self.shared.worker_id, &ids))? {
            self.shared.in_flight.leases_extended(extended.iter().map(|(token, _)| token), now);
            for (token, _) in extended.iter().filter(|(_, is_cancelled)| *is_cancelled) {
                self.shared.in_flight.interrupt(token, Interrupted::Cancelled, &self.shared.database);
            }
        }
        fault::point("lease-extended");
        Ok(())
    }
}
