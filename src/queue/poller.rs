//! The thread that finds due tasks, claims them, and hands them to the executors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::in_flight::InFlight;
use super::job::Job;
use super::job_channel::JobSender;
use super::kind::Kind;
use super::payload::Priority;
use super::poll_planner::{PollPlanner, Want};
use super::prefetch::{CLAIM_MAX, Load, claim_limit};
use super::slots::Slots;
use super::stats::Stats;
use super::store::claim::{self, Pick};
use super::store::poll::{self, Cursor, DueTasks, PollResult, TaskClass};
use crate::db::{ReconnectingConn, Unfinished, jitter};
use crate::error::Error;
use crate::fault;
use crate::shutdown::Shutdown;

/// Tasks that a worker holds, at most: while their completions can't be written, no more are claimed.
pub const IN_FLIGHT_MAX: usize = 5000;

/// All idle workers together ask the server this often for due tasks; each waits so long times their number.
const POLL: Duration = Duration::from_millis(30);
/// One worker's wait, at most.
const POLL_MAX: Duration = Duration::from_secs(5);
/// While whole batches are claimed from one class, the others are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Who rings inside a transaction rings before its commit, so after a ring in vain it is looked again, this much later
/// and then twice as late each time.
const ECHO_FIRST: Duration = Duration::from_millis(2);
const ECHO_LAST: Duration = Duration::from_millis(64);

/// What the poller and the heart tell each other.
pub struct Signals {
    /// How many workers live, this one among them.
    pub workers: AtomicU32,
    /// How many of them ask for work.
    pub idle_workers: AtomicU32,
    /// Whether this one does.
    pub idle: AtomicBool,
    /// Tasks were given back that are due before those that were seen.
    pub look_back: AtomicBool,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            workers: AtomicU32::new(1),
            idle_workers: AtomicU32::new(1),
            idle: AtomicBool::new(true),
            look_back: AtomicBool::new(false),
        }
    }
}

/// What came of a try to claim.
#[derive(Debug)]
enum Taken {
    /// A whole batch of this class; the next one is likely there.
    Batch(usize, Cursor),
    /// Less.
    Some,
    /// Something is due that there is no thread for.
    NoRoom,
    Nothing,
}

pub struct Poller {
    pub link: ReconnectingConn,
    pub worker_id: u64,
    pub classes: Vec<TaskClass>,
    /// Of each class.
    pub kinds: Vec<Arc<Kind>>,
    pub backlog: JobSender,
    pub in_flight: Arc<InFlight>,
    pub slots: Arc<Slots>,
    pub stats: Arc<Stats>,
    pub signals: Arc<Signals>,
    /// Somebody has enqueued something.
    pub rung: Receiver<()>,
    /// A thread has become free.
    pub freed: Receiver<()>,
    pub stop: Shutdown,
}

/// The classes of `kinds` in `queues`, each version that a kind can decode by itself.
pub fn classes(kinds: &[Arc<Kind>], queues: &[String]) -> (Vec<TaskClass>, Vec<Arc<Kind>>) {
    let mut classes = Vec::new();
    for priority in Priority::ALL {
        for kind in kinds {
            for queue in queues {
                for version in 1..=kind.version {
                    let class = TaskClass { kind: kind.name.clone(), version, queue: queue.clone(), priority };
                    classes.push((class, Arc::clone(kind)));
                }
            }
        }
    }
    classes.into_iter().unzip()
}

impl Poller {
    /// The thread's body: until the stop.
    ///
    /// # Errors
    /// What the server has against a claim; the worker can't go on then.
    pub fn run(mut self) -> Result<(), Error> {
        self.dispatch().or_else(|unfinished| unfinished.unless_stopped("failed to claim tasks"))
    }

    fn dispatch(&mut self) -> Result<(), Unfinished> {
        let mut planner = PollPlanner::new(self.classes.len());
        let (mut echo, mut again, mut looked) = (None, None::<(usize, Cursor)>, Instant::now());
        while !self.stop.is_stopping() {
            let load = self.load();
            if self.in_flight.len() >= IN_FLIGHT_MAX || claim_limit(&load, None) == 0 && self.most_wanted(&load) == 0 {
                self.signals.idle.store(false, Ordering::Relaxed);
                self.wait_for_room();
                continue;
            }
            if let Some((class, place)) = again.take()
                && looked.elapsed() < LOOK_EVERY
                && self.rung.is_empty()
                && claim_limit(&self.load(), self.kinds[class].average_duration()) == CLAIM_MAX
            {
                let (count, end) = self.claim_from(class, place, CLAIM_MAX, &mut planner)?;
                again = end.filter(|_| count == CLAIM_MAX).map(|end| (class, end));
                continue;
            }
            looked = Instant::now();
            let (result, may_be_more) = self.look(&mut planner)?;
            if may_be_more {
                // It may be of a priority that goes before those that were seen.
                continue;
            }
            let taken = self.claim_first(&result, &mut planner)?;
            self.signals.idle.store(matches!(taken, Taken::Nothing), Ordering::Relaxed);
            echo = match taken {
                Taken::Batch(class, end) => {
                    again = Some((class, end));
                    None
                }
                Taken::Some => None,
                Taken::NoRoom => {
                    self.wait_for_room();
                    None
                }
                Taken::Nothing => self.wait_for_work(&result, planner.full_scan_at(), echo),
            };
        }
        Ok(())
    }

    fn load(&self) -> Load {
        let now = Instant::now();
        let running: Vec<Duration> = self
            .slots
            .running()
            .iter()
            .map(|(_, job)| job.began().map_or(Duration::ZERO, |began| now - began).max(job.estimate))
            .collect();
        self.stats.running.store(running.len() as u64, Ordering::Relaxed);
        let waiting = self.backlog.waiting();
        let queued = waiting.count();
        self.stats.queued.store(queued as u64, Ordering::Relaxed);
        Load { slots: self.slots.count(), running, queued, queued_work: waiting.work() }
    }

    /// Of whichever kind this worker would claim most of.
    fn most_wanted(&self, load: &Load) -> usize {
        self.kinds.iter().map(|kind| claim_limit(load, kind.average_duration())).max().unwrap_or(0)
    }

    fn look(&mut self, planner: &mut PollPlanner) -> Result<(PollResult, bool), Unfinished> {
        let back = self.signals.look_back.swap(false, Ordering::Relaxed);
        let load = self.load();
        let workers = self.signals.workers.load(Ordering::Relaxed).max(1);
        // Each begins at another batch, so that they aren't in each other's way: to pass what others have locked or
        // claimed costs as much as to claim it.
        let batch = (jitter() * f64::from(workers)) as usize;
        let request = planner.plan_poll(Instant::now(), back, |class| {
            let count = claim_limit(&load, self.kinds[class].average_duration());
            Want { count, skip: if count == CLAIM_MAX { batch * CLAIM_MAX } else { 0 } }
        });
        let Self { link, classes, .. } = self;
        let began = Instant::now();
        let result = link.run(|conn| poll::fetch_due(conn, classes, &request))?;
        if result.read_only && link.leave_read_only() {
            return Ok((result, true));
        }
        let mut took = began.elapsed();
        for (name, seconds) in [("dear-looks", 0.1), ("very-dear-looks", 10.0)] {
            if fault::is_forced(name) {
                took = Duration::from_secs_f64(seconds);
            }
        }
        let again = planner.record_poll(&request, &result, took, Instant::now(), workers);
        Ok((result, again))
    }

    /// Claims from the first class that has something to claim: by priority, then by what has waited longest.
    fn claim_first(&mut self, result: &PollResult, planner: &mut PollPlanner) -> Result<Taken, Unfinished> {
        let paused: HashSet<(&str, &str)> = result.paused.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (shut, mut heads): (Vec<&DueTasks>, Vec<&DueTasks>) = result.heads.iter().partition(|head| {
            let class = &self.classes[head.class];
            paused.contains(&("kind", class.kind.as_str())) || paused.contains(&("queue", class.queue.as_str()))
        });
        for head in shut {
            planner.paused(head.class);
        }
        heads.retain(|head| !head.due.is_empty());
        heads.sort_by_key(|head| (self.classes[head.class].priority, -head.waited_micros));
        let mut taken = Taken::Nothing;
        for DueTasks { class, due, .. } in heads {
            let limit = claim_limit(&self.load(), self.kinds[*class].average_duration());
            let Some(first) = due.first().filter(|_| limit > 0) else {
                taken = Taken::NoRoom;
                continue;
            };
            // Where there are more than are wanted, others may have the first of them meanwhile.
            let many = due.len() > limit || planner.is_backlogged(*class);
            let (count, end) = if many {
                self.claim_from(*class, first.clone(), limit, planner)?
            } else {
                let ids = due.iter().map(|place| place.id).take(limit).collect();
                let (count, end) = self.claim(*class, &Pick::These(ids), limit)?;
                planner.claimed(*class, due, if self.is_limited(*class) { count } else { limit });
                (count, end)
            };
            match end {
                Some(end) if many && count == CLAIM_MAX => return Ok(Taken::Batch(*class, end)),
                Some(_) => return Ok(Taken::Some),
                None => {}
            }
        }
        Ok(taken)
    }

    /// Of a kind with a limit less may be claimed than is there.
    fn is_limited(&self, class: usize) -> bool {
        self.kinds[class].concurrency.is_some()
    }

    /// As [`Poller::claim`], from a place on.
    fn claim_from(
        &mut self,
        class: usize,
        place: Cursor,
        limit: usize,
        planner: &mut PollPlanner,
    ) -> Result<(usize, Option<Cursor>), Unfinished> {
        let (count, end) = self.claim(class, &Pick::From(place.clone()), limit)?;
        match end.clone() {
            Some(end) if count == limit => planner.claimed_whole(class, end),
            end => planner.claimed_less(class, end.or(Some(place)).filter(|_| self.is_limited(class))),
        }
        Ok((count, end))
    }

    /// How many were claimed, and where the next one may be.
    fn claim(&mut self, class: usize, pick: &Pick, limit: usize) -> Result<(usize, Option<Cursor>), Unfinished> {
        let Self { link, classes, kinds, worker_id, .. } = self;
        let (class, kind) = (&classes[class], &kinds[class]);
        let began = Instant::now();
        let rows = link.run(|conn| claim::claim(conn, class, pick, limit, kind.concurrency, *worker_id))?;
        let count = rows.len();
        let end = rows.last().map(|row| Cursor { next_action_at: row.next_action_at.clone(), id: row.id }.next());
        let jobs: Vec<Arc<Job>> =
            rows.into_iter().map(|row| Arc::new(Job::new(kind, class.version, self.worker_id, row))).collect();
        if end.is_some() {
            self.stats.add_claim(began.elapsed());
        }
        // InFlight before anybody can finish them.
        self.in_flight.add(&jobs);
        for job in jobs {
            self.backlog.put(job);
        }
        Ok((count, end))
    }

    /// Until a thread is free. What runs long is looked at again, since it may by then be known to run long.
    fn wait_for_room(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        select! {
            recv(self.freed) -> _ => {}
            recv(self.stop.receiver()) -> _ => {}
            default(LOOK_AGAIN) => {}
        }
    }

    /// Until somebody rings, the next task is due, or it is this worker's turn to ask. Returns how long to wait after a
    /// ring in vain.
    fn wait_for_work(
        &self,
        result: &PollResult,
        full_scan_at: Option<Instant>,
        echo: Option<Duration>,
    ) -> Option<Duration> {
        let workers = self.signals.idle_workers.load(Ordering::Relaxed).max(1);
        let mut wait = POLL.saturating_mul(workers).min(POLL_MAX).mul_f64(0.5 + jitter());
        let ahead = result.heads.iter().filter_map(|head| head.ahead.as_ref()).map(|(_, micros)| *micros).min();
        if let Some(micros) = ahead.and_then(|micros| u64::try_from(micros).ok()) {
            wait = wait.min(Duration::from_micros(micros));
        }
        if let Some(full_scan_at) = full_scan_at {
            wait = wait.min(full_scan_at.saturating_duration_since(Instant::now()));
        }
        if let Some(echo) = echo {
            wait = wait.min(echo);
        }
        select! {
            recv(self.rung) -> _ => Some(ECHO_FIRST),
            recv(self.stop.receiver()) -> _ => None,
            default(wait) => echo.map(|echo| echo * 2).filter(|echo| *echo <= ECHO_LAST),
        }
    }
}
