//! Makes tasks pending again that are claimed but will not run: those of dead workers, those that belong to no worker,
//! and those that this worker claimed without receiving the answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::executor::tree;
use super::shared::Shared;
use super::store::lease::{self, Rescued};
use super::store::{ClaimToken, SUSPICION_PERIOD, fleet};
use super::transition::ISOLATED_RUNS_MAX;
use crate::db::ReconnectingConn;
use crate::fault;

/// How often the fleet looks for dead workers.
const DEAD_WORKER_SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum time between two scans for unacknowledged claims. For orphaned tasks it is multiplied by the number of
/// workers.
const ORPHAN_SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// Such a scan also reads the index entries of every task that ran since the last purge, so it can be slow. The next one
/// waits at least this many times as long as the last one took.
const ORPHAN_SCAN_COST_FACTOR: u32 = 20;
/// After this worker lost its connection, others may have lost theirs as well, and with it their liveness locks. They
/// get this long to reconnect.
const RECONNECT_GRACE: Duration = Duration::from_secs(3);

pub struct Rescuer {
    shared: Arc<Shared>,
    /// Generation of the connection at the last run; 0 before the first.
    generation: u64,
    next_dead_worker_scan: Instant,
    next_unacknowledged_scan: Instant,
    next_orphan_scan: Instant,
    /// Result of the last scan for unacknowledged claims.
    suspects: HashSet<ClaimToken>,
}

impl Rescuer {
    pub fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            generation: 0,
            next_dead_worker_scan: now + DEAD_WORKER_SCAN_INTERVAL,
            next_unacknowledged_scan: now + ORPHAN_SCAN_INTERVAL,
            next_orphan_scan: now + ORPHAN_SCAN_INTERVAL,
            suspects: HashSet::new(),
        }
    }

    pub fn run_due(&mut self, conn: &mut ReconnectingConn, now: Instant) -> mysql::Result<()> {
        if self.generation != conn.generation() {
            if self.generation != 0 {
                self.next_dead_worker_scan = now + RECONNECT_GRACE;
            }
            self.generation = conn.generation();
        }
        if now >= self.next_dead_worker_scan {
            self.next_dead_worker_scan = now + self.shared.fleet.turn(DEAD_WORKER_SCAN_INTERVAL);
            self.rescue_from_dead_workers(conn)?;
        }
        if now >= self.next_unacknowledged_scan {
            let started = Instant::now();
            let result = self.release_unacknowledged_claims(conn);
            self.next_unacknowledged_scan = Instant::now() + scan_interval(started);
            result?;
        }
        if now >= self.next_orphan_scan {
            let started = Instant::now();
            let result = self.rescue_orphans(conn);
            self.next_orphan_scan = Instant::now() + self.shared.fleet.turn(scan_interval(started));
            result?;
        }
        Ok(())
    }

    fn rescue_from_dead_workers(&mut self, conn: &mut ReconnectingConn) -> mysql::Result<()> {
        let (locks_are_global, retention) = (self.shared.locks_are_global, self.shared.retention);
        let Some((dead_workers, newly_suspected)) = conn.try_run(|conn| fleet::find_dead(conn, locks_are_global))?
        else {
            return Ok(());
        };
        if newly_suspected {
            // At the next scan the worker has been suspected for long enough to count as dead.
            self.next_dead_worker_scan = Instant::now() + SUSPICION_PERIOD;
        }
        for dead in dead_workers.into_iter().filter(|worker| worker.id != self.shared.worker_id) {
            let rescued = conn.try_run(|conn| {
                let tokens = lease::owned(conn, dead.id)?;
                fault::point("rescue-found");
                if dead.hostname == self.shared.hostname && !tokens.is_empty() {
                    // Its child processes ended with it, but not the processes that those had started.
                    tree::kill_survivors(dead.pid, &tokens);
                }
                let rescued = lease::rescue(conn, &tokens, &retention)?;
                fault::point("rescue-done");
                fleet::deregister(conn, dead.id)?;
                Ok(rescued)
            })?;
            if let Some(rescued) = rescued {
                log::warn!("worker {} died: rescued {}", dead.id, tasks(rescued.pending));
                self.record(&rescued);
            }
        }
        Ok(())
    }

    /// Releases claims that were committed although their answer was lost. A claim that is just being made, or whose
    /// outcome was just written, also looks like one, but only in one of two scans.
    fn release_unacknowledged_claims(&mut self, conn: &mut ReconnectingConn) -> mysql::Result<()> {
        let (worker_id, retention) = (self.shared.worker_id, self.shared.retention);
        let Some(owned) = conn.try_run(|conn| lease::owned(conn, worker_id))? else { return Ok(()) };
        let suspects: HashSet<ClaimToken> =
            owned.into_iter().filter(|token| !self.shared.in_flight.contains(token)).collect();
        let unacknowledged: Vec<ClaimToken> = suspects.intersection(&self.suspects).copied().collect();
        self.suspects = suspects;
        if !unacknowledged.is_empty()
            && let Some(count) = conn.try_run(|conn| lease::release(conn, &unacknowledged, &retention))?
        {
            log::warn!("released {} whose claim this worker never received", tasks(count));
            self.shared.fleet.rescan.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Rescues running tasks whose lease expired, or whose worker is not registered any more.
    fn rescue_orphans(&mut self, conn: &mut ReconnectingConn) -> mysql::Result<()> {
        let retention = self.shared.retention;
        let Some(mut orphans) = conn.try_run(lease::find_orphaned)? else { return Ok(()) };
        orphans.retain(|token| !self.shared.in_flight.contains(token));
        if !orphans.is_empty()
            && let Some(rescued) = conn.try_run(|conn| lease::rescue(conn, &orphans, &retention))?
        {
            log::warn!("rescued {} that belonged to no living worker", tasks(rescued.pending));
            self.record(&rescued);
        }
        Ok(())
    }

    fn record(&self, rescued: &Rescued) {
        if rescued.dead > 0 {
            log::error!(
                "gave up {} after {ISOLATED_RUNS_MAX} workers died running {}; see `airun task list --state dead`",
                tasks(rescued.dead),
                if rescued.dead == 1 { "it" } else { "each" }
            );
        }
        self.shared.stats.rescued.fetch_add(rescued.pending, Ordering::Relaxed);
        self.shared.fleet.rescan.store(true, Ordering::Relaxed);
    }
}

fn scan_interval(started: Instant) -> Duration {
    ORPHAN_SCAN_INTERVAL.max(started.elapsed() * ORPHAN_SCAN_COST_FACTOR)
}

fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}
