//! The thread that enforces the deadlines of runs in executors' threads. Runs in child processes enforce their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::executor::pool::ExecutorPool;
use super::executor::timed_out;
use super::in_flight::Running;
use super::interrupt::Interrupted;
use super::job::Job;
use super::shared::Shared;
use super::transition::Outcome;
use crate::db;
use crate::error::Error;
use crate::observe::scope;
use crate::shutdown::Phase;
use crate::threads::report_failure;

/// From its deadline on, a run's statement is killed this often. One kill is not enough: it has no effect if it arrives
/// between two statements.
const KILL_INTERVAL: Duration = Duration::from_millis(500);
/// How long after its deadline a run may take to return before its thread is abandoned.
const GRACE: Duration = Duration::from_secs(5);
/// The worker stops when it has abandoned this many threads: each one still holds its memory and its locks.
const ABANDONED_THREADS_MAX: u64 = 3;

pub struct TimeoutWatcher {
    pub shared: Arc<Shared>,
    pub pool: ExecutorPool,
    /// Receives a message when a run starts whose deadline is before the next check.
    pub alarm: Receiver<()>,
}

impl TimeoutWatcher {
    /// The thread's body: returns when no task is running any more.
    pub fn run(self) {
        let flushing = self.shared.shutdown.until(Phase::Flushing);
        let mut next: Option<Instant> = None;
        loop {
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            select! {
                recv(self.alarm) -> _ => {}
                recv(flushing.receiver()) -> _ => return,
                default(wait) => {}
            }
            next = self.check(Instant::now());
        }
    }

    /// Interrupts and abandons runs that are due for it. Returns the time of the next check.
    fn check(&self, now: Instant) -> Option<Instant> {
        let (mut late, mut hung) = (Vec::new(), Vec::new());
        let next = self.shared.in_flight.check_deadlines(|job, run| {
            let abandon_at = run.started_at + job.timeout + GRACE;
            let kill_at = run.timed_out_at.map_or(abandon_at - GRACE, |at| at + KILL_INTERVAL);
            if now < kill_at.min(abandon_at) {
                return Some(kill_at.min(abandon_at));
            }
            // A run is abandoned only after it was interrupted at least once.
            if kill_at >= abandon_at {
                hung.push((Arc::clone(job), *run));
                return None;
            }
            run.timed_out_at = Some(now);
            late.push(Arc::clone(job));
            Some(abandon_at.min(now + KILL_INTERVAL))
        });
        for (job, run) in hung {
            self.abandon(job, &run);
        }
        // All runs are interrupted before the first kill, which may take a while.
        for job in &late {
            job.interrupt.raise(Interrupted::DeadlinePassed, |_| {});
        }
        for job in late {
            job.interrupt(Interrupted::DeadlinePassed, &self.shared.database);
        }
        next
    }

    fn abandon(&self, job: Arc<Job>, run: &Running) {
        if !self.shared.in_flight.finish(&job.token) {
            // The run has just returned.
            return;
        }
        let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
        let abandoned = self.shared.stats.lost_threads.fetch_add(1, Ordering::Relaxed) + 1;
        log::error!("ignored its deadline; abandoned its thread ({abandoned} so far)");
        let outcome = Outcome::failed(format!("{}, and ignored its deadline", timed_out(job.timeout)));
        self.shared.complete(Arc::clone(&job), outcome, Some(run.started_at));
        if let Err(error) = self.pool.replace(run.executor) {
            report_failure(&self.shared.failures, error);
        }
        // The abandoned run may have an open transaction, with locks on the task's row or on others.
        job.interrupt.abandon(|connection| {
            if let Err(error) = db::kill_connection(&self.shared.database, connection) {
                log::warn!("failed to kill its connection: {error}");
            }
        });
        if abandoned == ABANDONED_THREADS_MAX {
            let error = Error::failure(format!(
                "abandoned {abandoned} threads of tasks that ignored their deadlines, the last one of kind `{}`; restart \
                 the worker, and give such kinds `Isolation::Process`",
                job.kind.name
            ));
            report_failure(&self.shared.failures, error);
        }
    }
}
