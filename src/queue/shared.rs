//! The parts that the threads of a worker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::in_flight::InFlight;
use super::job::Job;
use super::kind::Kind;
use super::stats::Stats;
use super::store::Retention;
use super::transition::Outcome;
use crate::db::{Database, ReconnectingConn, jitter};
use crate::error::Error;
use crate::shutdown::{Phase, Shutdown};

pub struct Shared {
    pub worker_id: u64,
    pub hostname: String,
    /// False if a worker's liveness lock is visible on its own node only.
    pub locks_are_global: bool,
    pub database: Database,
    pub retention: Retention,
    pub kinds: Vec<Arc<Kind>>,
    pub shutdown: Shutdown,
    pub stats: Arc<Stats>,
    pub in_flight: InFlight,
    pub fleet: FleetView,
    /// To the completer. It has room for every job that can be in flight, so that sending never blocks.
    pub completions: Sender<Completion>,
    pub failures: Sender<Error>,
}

/// A job whose run ended, or that was taken back.
pub struct Completion {
    pub job: Arc<Job>,
    pub outcome: Outcome,
    /// `None` if it was taken back before it started.
    pub started_at: Option<Instant>,
}

impl Shared {
    /// Returns a connection for one thread, which reconnects until `phase`.
    pub fn conn(&self, phase: Phase) -> ReconnectingConn {
        ReconnectingConn::new(&self.database, &self.shutdown.until(phase), &self.stats.conn_stats)
    }

    /// Reports the outcome of a job to the completer. Only the thread that made the job `Finished` in the in-flight table
    /// does that.
    pub fn complete(&self, job: Arc<Job>, outcome: Outcome, started_at: Option<Instant>) {
        let id = job.token.id;
        if self.completions.send(Completion { job, outcome, started_at }).is_err() {
            // The completer ends early only if it failed, and has reported why.
            log::debug!("the outcome of task {id} can't be written; it runs again when its lease expires");
        }
    }

    /// Releases the jobs that were claimed at least `age` ago and have not started.
    pub fn release_unstarted(&self, age: Duration) {
        for job in self.in_flight.take_back(age) {
            self.complete(job, Outcome::NotStarted, None);
        }
    }
}

/// This worker's view of the fleet of workers.
#[derive(Default)]
pub struct FleetView {
    /// Number of workers that are alive, including this one; 0 before the first heartbeat.
    pub workers: AtomicU32,
    /// Number of workers that have nothing to do.
    pub idle_workers: AtomicU32,
    /// True if this worker has something to do.
    pub is_busy: AtomicBool,
    /// Set when tasks become pending again that are due before those the poller has seen.
    pub rescan: AtomicBool,
}

impl FleetView {
    /// Returns the number of workers that are alive, at least 1.
    pub fn workers(&self) -> u32 {
        self.workers.load(Ordering::Relaxed).max(1)
    }

    /// Returns the time until this worker's next turn at work that the whole fleet does once every `interval`. It is
    /// random, so that the workers don't act in step.
    pub fn turn(&self, interval: Duration) -> Duration {
        interval.saturating_mul(self.workers()).mul_f64(0.5 + jitter())
    }
}
