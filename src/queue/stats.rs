//! What a worker has done with database tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::transition::{Counter, Transition};
use crate::db::ConnStats;
use crate::lateness::Lateness;

/// The counts of a worker, shared by its threads and those that report.
#[derive(Debug, Default)]
pub struct Stats {
    book: Mutex<Book>,
    /// Of the connections.
    pub conn_stats: Arc<ConnStats>,
    /// Tasks of other workers that were taken back.
    pub rescued: AtomicU64,
    /// Outcomes that came too late.
    pub refused: AtomicU64,
    /// Threads that didn't return from a task.
    pub lost_threads: AtomicU64,
    /// Tasks whose run is going on.
    pub running: AtomicU64,
    /// Claimed and not begun.
    pub queued: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    kinds: BTreeMap<String, Sums>,
    lateness: Lateness,
    claims: Lateness,
}

/// What became of the tasks of a kind that were claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub succeeded: u64,
    pub retried: u64,
    pub crashed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub released: u64,
}

/// A ledger at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub kinds: Vec<(String, Sums)>,
    /// From due to begun.
    pub lateness: Lateness,
    /// How long claims that took something took.
    pub claims: Lateness,
    pub running: u64,
    pub queued: u64,
    pub rescued: u64,
    pub refused: u64,
    pub lost_threads: u64,
    /// Transactions that were tried again after a deadlock or a lock wait.
    pub retried: u64,
    /// Connections that were lost.
    pub lost_connections: u64,
}

impl Stats {
    /// A task's fate is written.
    pub fn add(&self, kind: &str, transition: &Transition, lateness: Option<Duration>) {
        let mut book = self.book();
        if let Some(lateness) = lateness {
            book.lateness.add(lateness);
        }
        let sums = match book.kinds.get_mut(kind) {
            Some(sums) => sums,
            None => book.kinds.entry(kind.to_owned()).or_default(),
        };
        match transition {
            Transition::Succeeded { .. } | Transition::Settled => sums.succeeded += 1,
            Transition::Retry { counter: Counter::Failure, .. } => sums.retried += 1,
            Transition::Retry { counter: Counter::Crash, .. } => sums.crashed += 1,
            Transition::Dead { .. } => sums.dead += 1,
            Transition::Cancelled => sums.cancelled += 1,
            Transition::Released => sums.released += 1,
        }
    }

    /// A claim took something, in so much time.
    pub fn add_claim(&self, took: Duration) {
        self.book().claims.add(took);
    }

    /// The ledger as it is; with `reset_window` the lateness begins anew.
    pub fn snapshot(&self, reset_window: bool) -> Snapshot {
        let mut book = self.book();
        let lateness = if reset_window { std::mem::take(&mut book.lateness) } else { book.lateness.clone() };
        let claims = if reset_window { std::mem::take(&mut book.claims) } else { book.claims.clone() };
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Snapshot {
            kinds: book.kinds.iter().map(|(kind, sums)| (kind.clone(), *sums)).collect(),
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

    /// Nothing panics while the book is open.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
