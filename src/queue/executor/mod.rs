//! Running claimed tasks: an executor is a thread that runs one after the other.

pub mod child;
mod process;
mod thread;
pub mod tree;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mysql::Conn;

use super::context;
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::job_channel::JobReceiver;
use super::slots::Slots;
use super::task::Retry;
use super::timeout_watcher::Alarm;
use super::transition::Outcome;
use crate::db::Database;
use crate::error::Result;
use crate::fault;
use crate::interval;
use crate::observe::scope;
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

/// What every executor has.
#[derive(Clone)]
pub struct Executor {
    pub intake: JobReceiver,
    pub slots: Arc<Slots>,
    pub done: Sender<Done>,
    /// To tell the poller that a thread is free.
    pub freed: Sender<()>,
    /// To tell the timeout_watcher that a run begins.
    pub alarm: Arc<Alarm>,
    pub database: Database,
    /// How long a task that succeeded is kept.
    pub retention: Duration,
    pub stop: Shutdown,
    /// Closes when runs in processes are to be ended.
    pub abandoned: Shutdown,
}

impl Executor {
    /// Starts a thread for a slot.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn spawn(self, slot: usize) -> Result<Thread> {
        threads::spawn(&format!("executor-{slot}"), move || self.run(slot))
    }

    fn run(self, slot: usize) {
        let conn = RefCell::new(None);
        while let Some(job) = self.intake.take() {
            if self.stop.is_stopping() {
                if job.take_back() {
                    self.tell(job, Outcome::NotBegun);
                }
                continue;
            }
            if !job.begin() {
                continue;
            }
            self.slots.begin(slot, &job);
            let deadline = Instant::now() + job.timeout;
            self.alarm.set(deadline);
            fault::point("run-begins");
            let outcome = self.work(&job, deadline, &conn);
            job.interrupt.on_connection(None);
            if let Some(began) = job.began() {
                job.kind.record_duration(began.elapsed());
            }
            fault::point("run-ended");
            if !job.tell() {
                // Another thread has the slot by now.
                let _scope = scope(&job);
                log::warn!("returned after it was given up for lost: what it returned doesn't count");
                return;
            }
            self.slots.end(slot);
            self.tell(job, outcome);
            self.freed.try_send(()).unwrap_or_default();
            let used = conn.take();
            if used.is_some() {
                conn.replace(context::tidied(used));
            }
        }
    }

    fn work(&self, job: &Arc<Job>, deadline: Instant, conn: &RefCell<Option<Conn>>) -> Outcome {
        let _scope = scope(job);
        let outcome = if job.isolated() {
            process::run(self, job, deadline)
        } else {
            let outcome = thread::run(self, job, deadline, conn);
            if !matches!(outcome, Outcome::Succeeded(_) | Outcome::CompletedInside) {
                // Whatever state its connection is in, the next run is to have a better one.
                conn.take();
            }
            outcome
        };
        match (outcome, job.interrupt.why()) {
            (Outcome::Interrupted(Interrupted::Stopping), _) if self.stop.is_stopping() => {
                Outcome::Interrupted(Interrupted::Stopping)
            }
            // One in a process of its own hears whatever it is told as a stop.
            (Outcome::Interrupted(Interrupted::Stopping | Interrupted::LeaseLost), Some(why)) => {
                Outcome::Interrupted(why)
            }
            // It would be given back, and run again at once, without end.
            (Outcome::Interrupted(why @ (Interrupted::Stopping | Interrupted::LeaseLost)), None) => {
                Outcome::Failed { error: format!("it says that {why}, which isn't so"), retry: Retry::AsUsual }
            }
            (outcome, _) => outcome,
        }
    }

    fn tell(&self, job: Arc<Job>, outcome: Outcome) {
        // The completer ends after the executors.
        self.done.send(Done { job, outcome }).unwrap_or_default();
    }
}

/// What is logged of a run carries its task.
fn scope(job: &Job) -> scope::Scope {
    scope::enter([
        ("task", job.kind.name.as_str().into()),
        ("id", job.token.id.into()),
        ("attempt", job.attempt().into()),
    ])
}

/// What is said of a run that didn't end in time.
pub fn timed_out(timeout: Duration) -> String {
    format!("timed out after {}", interval::format(timeout))
}
