//! The thread that deletes finished tasks after their retention, and warns about tasks that this worker can't run.

use std::time::Duration;

use super::shared::Shared;
use super::store::purge;
use crate::db::{ReconnectingConn, describe};
use crate::shutdown::{Phase, Woken};

/// How often the fleet looks for tasks to delete.
const INTERVAL: Duration = Duration::from_secs(10);
/// Pause between two batches, which leaves the server to others.
const PAUSE: Duration = Duration::from_millis(20);

/// The thread's body.
pub fn run(shared: &Shared) {
    let mut conn = shared.conn(Phase::Draining);
    let mut warned = Vec::new();
    loop {
        let mut wait = shared.fleet.turn(INTERVAL);
        match conn.try_run(purge::purge_batches) {
            Ok(Some(true)) => wait = PAUSE,
            Ok(_) => warn_unsupported(shared, &mut conn, &mut warned),
            Err(error) => log::warn!("failed to delete finished tasks: {}", describe(&error)),
        }
        if shared.shutdown.wait(wait) == Woken::Stopping {
            return;
        }
    }
}

/// Warns about pending tasks of a kind or version that this worker doesn't support, once for each.
fn warn_unsupported(shared: &Shared, conn: &mut ReconnectingConn, warned: &mut Vec<(String, u16)>) {
    let pending = match conn.try_run(purge::pending_kinds) {
        Ok(Some(pending)) => pending,
        Ok(None) => return,
        Err(error) => return log::warn!("failed to list the kinds of pending tasks: {}", describe(&error)),
    };
    let is_supported = |name: &str, version: u16| {
        shared.kinds.iter().any(|kind| kind.name == name && (1..=kind.version).contains(&version))
    };
    let unsupported: Vec<_> = pending.into_iter().filter(|(name, version)| !is_supported(name, *version)).collect();
    for (name, version) in unsupported.iter().filter(|pair| !warned.contains(pair)) {
        log::warn!("tasks of kind `{name}` version {version} stay pending: this worker doesn't support them");
    }
    *warned = unsupported;
}
