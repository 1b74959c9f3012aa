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
use crate::db::{ReconnectingConn, describe};
use crate::shutdown::{Phase, Woken};

/// At most as long as the shortest interval of the three.
const TICK: Duration = Duration::from_millis(250);

pub struct Maintenance {
    shared: Arc<Shared>,
    conn: ReconnectingConn,
    heartbeat: Heartbeat,
    cancel_watcher: CancelWatcher,
    rescuer: Rescuer,
}

impl Maintenance {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            conn: shared.conn(Phase::Stopped),
            heartbeat: Heartbeat::new(Arc::clone(shared)),
            cancel_watcher: CancelWatcher::new(Arc::clone(shared)),
            rescuer: Rescuer::new(Arc::clone(shared)),
        }
    }

    /// The thread's body: runs until all outcomes are written, because leases must be extended until then.
    pub fn run(mut self) {
        let stopped = self.shared.shutdown.until(Phase::Stopped);
        loop {
            self.tick(Instant::now());
            if stopped.wait(TICK) == Woken::Stopping {
                break;
            }
        }
        let worker_id = self.shared.worker_id;
        if let Err(error) = self.conn.try_run(|conn| fleet::deregister(conn, worker_id)) {
            log::debug!("failed to deregister the worker: {}", describe(&error));
        }
    }

    /// Does the steps that are due. If the connection is lost, the rest waits for the next tick.
    fn tick(&mut self, now: Instant) {
        self.rescuer.release_unstarted();
        if let Err(error) = self.heartbeat.run_due(&mut self.conn, now) {
            log::warn!("failed to keep the worker alive: {}", describe(&error));
        }
        if self.heartbeat.take_reconnected() {
            self.rescuer.after_reconnect(now);
        }
        if self.conn.is_connected()
            && let Err(error) = self.cancel_watcher.run_due(&mut self.conn, now)
        {
            log::warn!("failed to look for cancelled tasks: {}", describe(&error));
        }
        if self.conn.is_connected()
            && let Err(error) = self.rescuer.run_due(&mut self.conn, now)
        {
            log::warn!("failed to rescue tasks: {}", describe(&error));
        }
    }
}
