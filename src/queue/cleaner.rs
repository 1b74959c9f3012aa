//! The thread that deletes final rows whose time is up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kind::Kind;
use super::poller::Signals;
use super::store::purge;
use crate::db::{ReconnectingConn, describe, jitter};
use crate::shutdown::{Shutdown, Woken};

/// Between two rounds, times the number of workers.
const EVERY: Duration = Duration::from_secs(10);
/// Between two batches, so that others have the server in between.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Cleaner {
    pub link: ReconnectingConn,
    pub kinds: Vec<Arc<Kind>>,
    pub signals: Arc<Signals>,
    pub until: Shutdown,
}

impl Cleaner {
    /// The thread's body.
    pub fn run(mut self) {
        let mut told: Vec<(String, u16)> = Vec::new();
        loop {
            let workers = self.signals.workers.load(Ordering::Relaxed).max(1);
            let mut wait = EVERY.saturating_mul(workers).mul_f64(0.5 + jitter());
            match self.link.try_run(purge::purge) {
                Ok(Some(true)) => wait = PAUSE,
                Ok(_) => self.tell_unknown(&mut told),
                Err(error) => log::warn!("failed to purge: {}", describe(&error)),
            }
            if self.until.wait(wait) == Woken::Stopping {
                return;
            }
        }
    }

    /// Says what is pending and waits for a newer worker than this one; each once.
    fn tell_unknown(&mut self, told: &mut Vec<(String, u16)>) {
        let Ok(Some(pending)) = self.link.try_run(purge::pending_kinds) else { return };
        let known = |name: &str, version: u16| {
            self.kinds.iter().any(|kind| kind.name == name && (1..=kind.version).contains(&version))
        };
        let unknown: Vec<_> = pending.into_iter().filter(|(name, version)| !known(name, *version)).collect();
        for (name, version) in unknown.iter().filter(|pair| !told.contains(pair)) {
            log::warn!("tasks of kind `{name}` version {version} are pending and left for a worker that knows them");
        }
        *told = unknown;
    }
}
