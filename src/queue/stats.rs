//! Statistics of the database tasks that a worker has run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::transition::{Counter, Transition};
use crate::db::ConnStats;
use crate::histogram::Histogram;
use crate::threads::lock;

/// Shared by the worker's threads and those that report.
#[derive(Debug, Default)]
pub struct Stats {
    totals: Mutex<Totals>,
    pub conn_stats: Arc<ConnStats>,
    /// Tasks rescued from other workers.
    pub rescued: AtomicU64,
    /// Outcomes discarded because the task had been given to another run.
    pub refused: AtomicU64,
    /// Threads abandoned because their tasks ignored the deadline.
    pub lost_threads: AtomicU64,
    pub running: AtomicU64,
    /// Tasks that are claimed and have not started.
    pub queued: AtomicU64,
}

#[derive(Debug, Default)]
struct Totals {
    kinds: BTreeMap<String, KindCounts>,
    lateness: Histogram,
    claims: Histogram,
}

/// The outcomes of one kind's tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounts {
    pub succeeded: u64,
    pub retried: u64,
    pub crashed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub released: u64,
}

/// The statistics at one moment. Lateness and claims cover the time since the window was last reset.
#[derive(Debug, Clone)]
pub struct QueueSnapshot {
    pub kinds: Vec<(String, KindCounts)>,
    /// Time from when a task was due until it started.
    pub lateness: Histogram,
    /// Duration of claims that got at least one task.
    pub claims: Histogram,
    pub running: u64,
    pub queued: u64,
    pub rescued: u64,
    pub refused: u64,
    pub lost_threads: u64,
    /// Transactions retried after a deadlock or a lock wait.
    pub retried: u64,
    pub lost_connections: u64,
}

impl Stats {
    /// Records a transition that was written.
    pub fn add(&self, kind: &str, transition: &Transition, lateness: Option<Duration>) {
        let mut totals = lock(&self.totals);
        if let Some(lateness) = lateness {
            totals.lateness.add(lateness);
        }
        let counts = match totals.kinds.get_mut(kind) {
            Some(counts) => counts,
            None => totals.kinds.entry(kind.to_owned()).or_default(),
        };
        match transition {
            Transition::Succeeded(_) | Transition::Settled => counts.succeeded += 1,
            Transition::Retry { counter: Counter::Failure, .. } => counts.retried += 1,
            Transition::Retry { counter: Counter::Crash, .. } => counts.crashed += 1,
            Transition::Dead { .. } => counts.dead += 1,
            Transition::Cancelled => counts.cancelled += 1,
            Transition::Released => counts.released += 1,
        }
    }

    pub fn add_claim(&self, elapsed: Duration) {
        lock(&self.totals).claims.add(elapsed);
    }

    /// Returns the statistics now. `reset_window` starts a new window.
    pub fn snapshot(&self, reset_window: bool) -> QueueSnapshot {
        let mut totals = lock(&self.totals);
        let lateness = if reset_window { std::mem::take(&mut totals.lateness) } else { totals.lateness.clone() };
        let claims = if reset_window { std::mem::take(&mut totals.claims) } else { totals.claims.clone() };
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        QueueSnapshot {
            kinds: totals.kinds.iter().map(|(kind, counts)| (kind.clone(), *counts)).collect(),
            lateness,
            claims,
            running: get(&self.running),
            queued: get(&self.queued),
            rescued: get(&self.rescued),
            refused: get(&self.refused),
            lost_threads: get(&self.lost_threads),
            retried: get(&self.conn_stats.retried),
            lost_connections: get(&self.conn_stats.lost),
        }
    }
}
