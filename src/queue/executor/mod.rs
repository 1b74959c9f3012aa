//! Running claimed tasks. An executor is a thread that runs one task after another, either itself (`thread`) or in a
//! child process (`process`, whose other side is `child`).

pub mod child;
mod output;
pub mod pool;
mod process;
mod thread;
pub mod tree;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mysql::Conn;

use super::context;
use super::interrupt::Interrupted;
use super::job::Job;
use super::shared::Shared;
use super::transition::Outcome;
use crate::duration;
use crate::error::Result;
use crate::fault;
use crate::observe::scope;
use crate::threads::{self, Thread};

#[derive(Clone)]
pub struct Executor {
    pub shared: Arc<Shared>,
    /// Claimed jobs; closed when the poller ends.
    pub jobs: Receiver<Arc<Job>>,
    /// Wakes the poller when an executor becomes free.
    pub executor_free: Sender<()>,
}

impl Executor {
    pub fn spawn(self, number: usize) -> Result<Thread> {
        threads::spawn(&format!("executor-{number}"), move || self.run(number))
    }

    fn run(self, number: usize) {
        let conn = RefCell::new(None);
        while let Ok(job) = self.jobs.recv() {
            if self.shared.shutdown.is_stopping() {
                // `Engine::drain` releases it.
                continue;
            }
            let Some(started_at) = self.shared.in_flight.start(&job, number) else { continue };
            fault::point("run-begins");
            let outcome = self.execute(&job, started_at + job.timeout, &conn);
            job.interrupt.set_connection(None);
            job.kind.record_duration(started_at.elapsed());
            fault::point("run-ended");
            if !self.shared.in_flight.finish(&job.token) {
                // The timeout watcher has started another thread for this executor.
                let _scope = scope(&job);
                log::warn!("returned after its thread was abandoned; discarded what it returned");
                return;
            }
            self.shared.complete(job, outcome, Some(started_at));
            threads::wake(&self.executor_free);
            let used = conn.take();
            conn.replace(used.and_then(context::tidied));
        }
    }

    fn execute(&self, job: &Job, deadline: Instant, conn: &RefCell<Option<Conn>>) -> Outcome {
        let _scope = scope(job);
        let outcome = if job.is_isolated() {
            process::run(self, job, deadline)
        } else {
            let outcome = thread::run(self, job, deadline, conn);
            if !matches!(outcome, Outcome::Succeeded(_) | Outcome::CompletedInside) {
                // The failure may have left the connection in any state, so the next run gets a new one.
                conn.take();
            }
            outcome
        };
        self.check_interrupted(job, outcome)
    }

    /// A task may claim to have been interrupted. This replaces the claim by the true reason.
    fn check_interrupted(&self, job: &Job, outcome: Outcome) -> Outcome {
        match (outcome, job.interrupt.reason()) {
            (Outcome::Interrupted(Interrupted::Stopping), _) if self.shared.shutdown.is_stopping() => {
                Outcome::Interrupted(Interrupted::Stopping)
            }
            // A child process receives every interrupt as a signal, which it reports as a stop.
            (Outcome::Interrupted(Interrupted::Stopping | Interrupted::LeaseLost), Some(reason)) => {
                Outcome::Interrupted(reason)
            }
            // If the task were released, it would run again at once, over and over.
            (Outcome::Interrupted(reason @ (Interrupted::Stopping | Interrupted::LeaseLost)), None) => {
                Outcome::failed(format!("the task returned `Interrupted` ({reason}), but it was not interrupted"))
            }
            (outcome, _) => outcome,
        }
    }
}

/// Adds the task to everything that is logged during its run.
fn scope(job: &Job) -> scope::Scope {
    scope::enter([
        ("task", job.kind.name.as_str().into()),
        ("id", job.token.id.into()),
        ("attempt", job.attempt().into()),
    ])
}

/// Returns the error of a run that exceeded its timeout.
pub fn timed_out(timeout: Duration) -> String {
    format!("timed out after {}", duration::format(timeout))
}
