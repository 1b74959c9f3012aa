//! The thread that sees to deadlines of runs in executors' threads. Runs in processes see to their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::executor::{Executor, timed_out};
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::stats::Stats;
use super::task::Retry;
use super::transition::Outcome;
use crate::db::{self, Database};
use crate::error::{Error, Result};
use crate::observe::scope;
use crate::shutdown::Shutdown;
use crate::threads::Thread;

/// From the deadline on, the statement that a run waits for is killed again so often: a kill that comes between two
/// statements is lost.
const KILL_EVERY: Duration = Duration::from_millis(500);
/// From the deadline until a thread that doesn't return is given up for lost.
const GRACE: Duration = Duration::from_secs(5);
/// So many threads may be lost until the worker ends itself: what hangs keeps its memory and whatever it has locked.
const LOST_MAX: u64 = 3;

/// The executors' threads, by slot. Those that were lost are nobody's.
#[derive(Clone)]
pub struct Executors(Arc<Mutex<Vec<Option<Thread>>>>);

impl Executors {
    /// Starts one for each slot.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(executor: &Executor) -> Result<Self> {
        let started: Result<Vec<_>> =
            (0..executor.slots.count()).map(|slot| executor.clone().spawn(slot).map(Some)).collect();
        Ok(Self(Arc::new(Mutex::new(started?))))
    }

    /// Waits for their end until `deadline`; whether that came.
    pub fn join(&self, deadline: Instant) -> bool {
        let slots = self.threads().len();
        let mut all = true;
        for slot in 0..slots {
            let Some(thread) = self.threads()[slot].take() else { continue };
            if let Err(running) = thread.join(deadline) {
                all = false;
                self.threads()[slot] = Some(running);
            }
        }
        all
    }

    fn replace(&self, slot: usize, thread: Thread) {
        self.threads()[slot] = Some(thread);
    }

    /// Nothing panics while it is locked.
    fn threads(&self) -> MutexGuard<'_, Vec<Option<Thread>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the timeout_watcher has to look, at the latest: whoever begins a run sets it. Only a deadline before all that are
/// known rings, so that the many runs that are over long before theirs cost nothing.
pub struct Alarm {
    since: Instant,
    /// Nanoseconds.
    earliest: AtomicU64,
    ring: Sender<()>,
}

impl Alarm {
    pub fn new(ring: Sender<()>) -> Self {
        Self { since: Instant::now(), earliest: AtomicU64::new(u64::MAX), ring }
    }

    /// A run begins that its slot shows already.
    pub fn set(&self, deadline: Instant) {
        if self.lower(deadline) {
            // One ring is enough, since all slots are looked at after it.
            self.ring.try_send(()).unwrap_or_default();
        }
    }

    fn lower(&self, deadline: Instant) -> bool {
        let nanos = u64::try_from((deadline - self.since).as_nanos()).unwrap_or(u64::MAX);
        self.earliest.fetch_min(nanos, Ordering::AcqRel) > nanos
    }

    fn clear(&self) {
        self.earliest.store(u64::MAX, Ordering::Release);
    }
}

pub struct TimeoutWatcher {
    pub executor: Executor,
    pub executors: Executors,
    pub stats: Arc<Stats>,
    /// The alarm's.
    pub rung: Receiver<()>,
    /// Gets the reason when the worker has to end.
    pub failed: Sender<Error>,
    /// Its closing ends the thread.
    pub until: Shutdown,
}

/// By slot: the run that was told that its time is up, and when it was told last.
type Told = HashMap<usize, (Arc<Job>, Instant)>;

/// What a slot's run is due for.
#[derive(Debug, PartialEq)]
enum Due {
    Interrupt,
    GiveUp,
}

impl TimeoutWatcher {
    /// The thread's body.
    pub fn run(self) {
        let mut told = Told::new();
        let mut next: Option<Instant> = None;
        loop {
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            select! {
                recv(self.rung) -> _ => {}
                recv(self.until.receiver()) -> _ => return,
                default(wait) => {}
            }
            // Cleared before the slots are looked at: what begins meanwhile rings again.
            self.executor.alarm.clear();
            next = self.look(&mut told);
            if let Some(next) = next {
                self.executor.alarm.lower(next);
            }
        }
    }

    /// Sees to whatever is due; when to look again.
    fn look(&self, told: &mut Told) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let (mut late, mut lost) = (Vec::new(), Vec::new());
        let running = self.executor.slots.running();
        told.retain(|slot, (job, _)| {
            running.iter().any(|(number, running)| number == slot && Arc::ptr_eq(running, job))
        });
        for (slot, job) in running {
            if job.isolated() {
                continue;
            }
            let Some(began) = job.began() else { continue };
            let deadline = began + job.timeout;
            let (due, mut at) = next_step(deadline, told.get(&slot).map(|(_, at)| *at));
            if at <= now {
                match due {
                    Due::Interrupt => {
                        // All are told before the first is waited for.
                        job.interrupt.raise(Interrupted::DeadlinePassed, |_| {});
                        (_, at) = next_step(deadline, Some(now));
                        told.insert(slot, (Arc::clone(&job), now));
                        late.push(job);
                    }
                    Due::GiveUp => {
                        lost.push((slot, job));
                        continue;
                    }
                }
            }
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        for (slot, job) in lost {
            self.give_up(slot, &job);
        }
        for job in late {
            interrupt(&job, Interrupted::DeadlinePassed, &self.executor.database);
        }
        next
    }

    fn give_up(&self, slot: usize, job: &Arc<Job>) {
        if !job.tell() {
            // It has just returned.
            return;
        }
        let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
        let lost = self.stats.lost_threads.fetch_add(1, Ordering::Relaxed) + 1;
        log::error!("does not return after its deadline: its thread is given up for lost ({lost} so far)");
        self.executor.slots.end(slot);
        let error = format!("{}, and its thread does not return", timed_out(job.timeout));
        let outcome = Outcome::Failed { error, retry: Retry::AsUsual };
        self.executor.done.send(Done { job: Arc::clone(job), outcome }).unwrap_or_default();
        match self.executor.clone().spawn(slot) {
            Ok(thread) => self.executors.replace(slot, thread),
            Err(error) => self.failed.try_send(error).unwrap_or_default(),
        }
        // It may have a transaction open, whose locks the row or others wait for.
        job.interrupt.part(|connection| {
            if let Err(error) = db::kill_connection(&self.executor.database, connection) {
                log::warn!("failed to end its connection: {error}");
            }
        });
        if lost == LOST_MAX {
            let why = format!(
                "{lost} threads were lost to tasks that do not return, `{}` the last; start the worker again, and give \
                 such a kind `Isolation::Process`",
                job.kind.name
            );
            self.failed.try_send(Error::failure(why)).unwrap_or_default();
        }
    }
}

/// What a run is due for next that was last told then that its time is up, and when.
fn next_step(deadline: Instant, told: Option<Instant>) -> (Due, Instant) {
    let again = told.map_or(deadline, |told| told + KILL_EVERY);
    let end = deadline + GRACE;
    if again < end { (Due::Interrupt, again) } else { (Due::GiveUp, end) }
}

/// Tells a run, and ends the statement that it waits for.
pub fn interrupt(job: &Job, why: Interrupted, database: &Database) {
    job.interrupt.raise(why, |connection| {
        if let Err(error) = db::kill_query(database, connection) {
            log::warn!("failed to end the statement of task {}: {error}", job.token.id);
        }
    });
}
