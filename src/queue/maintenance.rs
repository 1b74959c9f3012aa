//! The thread that runs the heartbeat, the cancel watcher and the rescuer.
//!
//! They share one thread and one connection on purpose. A worker needs one connection less, and it must not rescue other
//! workers' tasks while it can't hold its own liveness lock. An error in one of them doesn't skip the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cancel_watcher::CancelWatcher;
use super::heartbeat::Heartbeat;
use super::rescuer::Rescuer;
use super::shared::Shared;
use super::store::fleet;
use crate::db::describe;
use crate::shutdown::{Phase, Woken};

/// At most as long as the shortest interval of the three.
const TICK: Duration = Duration::from_millis(250);
/// A claimed task that has not started after this time is released: another worker may have a free executor.
const UNSTARTED_MAX: Duration = Duration::from_secs(2);

/// The thread's body: runs until all outcomes are written, because leases must be extended until then.
pub fn run(shared: &Arc<Shared>) {
    let stopped = shared.shutdown.until(Phase::Stopped);
    let mut conn = shared.conn(Phase::Stopped);
    let mut heartbeat = Heartbeat::new(Arc::clone(shared));
    let mut cancel_watcher = CancelWatcher::new(Arc::clone(shared));
    let mut rescuer = Rescuer::new(Arc::clone(shared));
    loop {
        let now = Instant::now();
        shared.release_unstarted(UNSTARTED_MAX);
        warn_of("keep the worker alive", heartbeat.run_due(&mut conn, now));
        // If the connection is lost, the rest waits for the next tick.
        if conn.is_connected() {
            warn_of("look for cancelled tasks", cancel_watcher.run_due(&mut conn, now));
        }
        if conn.is_connected() {
            warn_of("rescue tasks", rescuer.run_due(&mut conn, now));
        }
        if stopped.wait(TICK) == Woken::Stopping {
            break;
        }
    }
    if let Err(error) = conn.try_run(|conn| fleet::deregister(conn, shared.worker_id)) {
        log::debug!("failed to deregister the worker: {}", describe(&error));
    }
}

fn warn_of(work: &str, result: mysql::Result<()>) {
    if let Err(error) = result {
        log::warn!("failed to {work}: {}", describe(&error));
    }
}
