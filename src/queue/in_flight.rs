//! The table of claimed tasks: each is in it from its claim until its outcome is written.
//!
//! ```text
//! add ──▶ Claimed ──start──▶ Running ──finish──▶ Finished ──remove──▶
//!            │                                       ▲
//!            └───────────────take_back───────────────┘
//! ```
//!
//! The thread that makes a job `Finished` reports its outcome to the completer. So each job has exactly one outcome.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::interrupt::Interrupted;
use super::job::Job;
use super::prefetch::Load;
use super::store::ClaimToken;
use crate::db::Database;
use crate::observe::scope;
use crate::threads::{self, lock};

/// Maximum number of jobs in the table. While completions can't be written, no more tasks are claimed.
pub const IN_FLIGHT_MAX: usize = 5000;

/// The table, shared by all threads of the worker. A lock is held for microseconds.
pub struct InFlight {
    table: Mutex<Table>,
    /// Wakes the timeout watcher.
    alarm: Sender<()>,
}

struct Table {
    entries: HashMap<ClaimToken, Entry>,
    /// The job that each executor runs.
    running: Vec<Option<ClaimToken>>,
    /// Number of jobs that are `Claimed`, and the sum of their estimates.
    queued: usize,
    queued_work: Duration,
    /// When the timeout watcher will look at the running jobs again.
    next_check: Option<Instant>,
}

struct Entry {
    job: Arc<Job>,
    state: JobState,
    lease_extended_at: Instant,
}

#[derive(Clone, Copy)]
enum JobState {
    Claimed,
    Running(Running),
    Finished,
}

/// A running job's state.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    pub executor: usize,
    pub started_at: Instant,
    /// When the timeout watcher last interrupted the run.
    pub timed_out_at: Option<Instant>,
}

impl InFlight {
    pub fn new(executors: usize, alarm: Sender<()>) -> Self {
        let table = Table {
            entries: HashMap::new(),
            running: vec![None; executors],
            queued: 0,
            queued_work: Duration::ZERO,
            next_check: None,
        };
        Self { table: Mutex::new(table), alarm }
    }

    pub fn add(&self, jobs: &[Arc<Job>]) {
        let mut table = lock(&self.table);
        for job in jobs {
            table.queued += 1;
            table.queued_work += job.estimate;
            let entry = Entry { job: Arc::clone(job), state: JobState::Claimed, lease_extended_at: job.claimed_at };
            table.entries.insert(job.token, entry);
        }
    }

    /// Marks the job as running on an executor and returns the time of its start. `None` if the job was taken back before.
    pub fn start(&self, job: &Job, executor: usize) -> Option<Instant> {
        let mut table = lock(&self.table);
        let entry = table.entries.get_mut(&job.token)?;
        if !matches!(entry.state, JobState::Claimed) {
            return None;
        }
        let started_at = Instant::now();
        entry.state = JobState::Running(Running { executor, started_at, timed_out_at: None });
        table.unqueue(job);
        table.running[executor] = Some(job.token);
        let deadline = started_at + job.timeout;
        // Most deadlines are later than the next check, and cost nothing.
        if !job.is_isolated() && table.next_check.is_none_or(|at| deadline < at) {
            table.next_check = Some(deadline);
            drop(table);
            threads::wake(&self.alarm);
        }
        Some(started_at)
    }

    /// Marks the job as finished. Returns true if the caller must report the outcome, and false if another did.
    pub fn finish(&self, token: &ClaimToken) -> bool {
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.get_mut(token) else { return false };
        let JobState::Running(Running { executor, .. }) = entry.state else { return false };
        entry.state = JobState::Finished;
        table.running[executor] = None;
        true
    }

    /// Takes back all jobs that were claimed at least `age` ago and have not started.
    pub fn take_back(&self, age: Duration) -> Vec<Arc<Job>> {
        let now = Instant::now();
        let is_old = |job: &Job| now.saturating_duration_since(job.claimed_at) >= age;
        let mut table = lock(&self.table);
        let mut taken = Vec::new();
        for entry in table.entries.values_mut() {
            if matches!(entry.state, JobState::Claimed) && is_old(&entry.job) {
                entry.state = JobState::Finished;
                taken.push(Arc::clone(&entry.job));
            }
        }
        taken.iter().for_each(|job| table.unqueue(job));
        taken
    }

    /// Removes jobs whose outcomes are written.
    pub fn remove<'a>(&self, tokens: impl Iterator<Item = &'a ClaimToken>) {
        let mut table = lock(&self.table);
        for token in tokens {
            table.entries.remove(token);
        }
    }

    pub fn len(&self) -> usize {
        lock(&self.table).entries.len()
    }

    pub fn contains(&self, token: &ClaimToken) -> bool {
        lock(&self.table).entries.contains_key(token)
    }

    /// Returns the worker's load, which decides how many more tasks it claims.
    pub fn load(&self) -> Load {
        let now = Instant::now();
        let table = lock(&self.table);
        let running = table.running().map(|(job, run)| (now - run.started_at).max(job.estimate)).collect();
        Load { executors: table.running.len(), running, queued: table.queued, queued_work: table.queued_work }
    }

    /// Returns the jobs that have been running for at least `age`.
    pub fn running_for(&self, age: Duration) -> Vec<Arc<Job>> {
        let now = Instant::now();
        let table = lock(&self.table);
        let old = table.running().filter(|(_, run)| now.saturating_duration_since(run.started_at) >= age);
        old.map(|(job, _)| Arc::clone(job)).collect()
    }

    /// Interrupts a job if it still runs. The row of a job that has just finished may show its own outcome.
    pub fn interrupt(&self, token: &ClaimToken, reason: Interrupted, database: &Database) {
        let Some(job) = lock(&self.table).running_job(token).map(|(job, _)| Arc::clone(job)) else { return };
        if job.interrupt.reason().is_none() {
            let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
            log::warn!("interrupting the run: {reason}");
        }
        // Repeated each time: a kill that arrives between two statements has no effect.
        job.interrupt(reason, database);
    }

    /// Ids of tasks whose leases were last extended at least `age` ago.
    pub fn leases_older_than(&self, age: Duration, now: Instant) -> Vec<u64> {
        let table = lock(&self.table);
        let old = table.entries.values().filter(|entry| now.saturating_duration_since(entry.lease_extended_at) >= age);
        old.map(|entry| entry.job.token.id).collect()
    }

    pub fn leases_extended<'a>(&self, tokens: impl Iterator<Item = &'a ClaimToken>, now: Instant) {
        let mut table = lock(&self.table);
        for token in tokens {
            if let Some(entry) = table.entries.get_mut(token) {
                entry.lease_extended_at = now;
            }
        }
    }

    /// Calls `check` for every running job whose deadline the timeout watcher enforces; it returns when the job must be
    /// checked again. Returns the earliest of these times. A job that starts later with an earlier deadline wakes the
    /// watcher.
    pub fn check_deadlines(
        &self,
        mut check: impl FnMut(&Arc<Job>, &mut Running) -> Option<Instant>,
    ) -> Option<Instant> {
        let mut table = lock(&self.table);
        let Table { entries, running, .. } = &mut *table;
        let mut next_check = None;
        for token in running.iter().flatten() {
            let Some(Entry { job, state: JobState::Running(run), .. }) = entries.get_mut(token) else { continue };
            if !job.is_isolated() {
                next_check = [next_check, check(job, run)].into_iter().flatten().min();
            }
        }
        table.next_check = next_check;
        next_check
    }
}

impl Table {
    fn running(&self) -> impl Iterator<Item = (&Arc<Job>, &Running)> {
        self.running.iter().flatten().filter_map(|token| self.running_job(token))
    }

    fn running_job(&self, token: &ClaimToken) -> Option<(&Arc<Job>, &Running)> {
        match self.entries.get(token)? {
            Entry { job, state: JobState::Running(run), .. } => Some((job, run)),
            _ => None,
        }
    }

    fn unqueue(&mut self, job: &Job) {
        self.queued -= 1;
        self.queued_work -= job.estimate;
    }
}
