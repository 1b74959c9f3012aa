//! The thread that finds due tasks, claims them, and hands them to the executors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::in_flight::IN_FLIGHT_MAX;
use super::job::Job;
use super::kind::Kind;
use super::payload::Priority;
use super::poll_planner::PollPlanner;
use super::prefetch::{CLAIM_MAX, Load, claim_limit};
use super::shared::Shared;
use super::store::Cursor;
use super::store::claim::{self, Pick};
use super::store::poll::{self, DueTasks, PollResult, TaskClass};
use crate::db::{ReconnectingConn, Unfinished, jitter};
use crate::error::Error;
use crate::fault;

/// All idle workers together poll the server this often: each waits this long times their number.
const POLL_INTERVAL: Duration = Duration::from_millis(30);
/// Maximum time between two polls of one worker.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// While whole batches are claimed from one class, the other classes are polled this often.
const BATCH_POLL_INTERVAL: Duration = Duration::from_millis(25);
/// A program that enqueues inside a transaction notifies before its commit. So after a notification without a due task,
/// the poller polls again after this time, and after twice as long each time up to the maximum.
const RECHECK_FIRST: Duration = Duration::from_millis(2);
const RECHECK_MAX: Duration = Duration::from_millis(64);
/// With all executors busy, the load is estimated again after this time, because a run may have turned out to be long.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// The result of an attempt to claim.
enum ClaimResult {
    /// After a whole batch, with its class and the cursor where the next batch probably starts.
    Some(Option<(usize, Cursor)>),
    /// Tasks are due, but no executor is free for them.
    NoCapacity,
    Nothing,
}

pub struct Poller {
    pub shared: Arc<Shared>,
    pub conn: ReconnectingConn,
    pub classes: Vec<TaskClass>,
    /// The kind of each class.
    pub kinds: Vec<Arc<Kind>>,
    /// To the executors. It has room for everything in flight, so that sending never blocks.
    pub jobs: Sender<Arc<Job>>,
    /// Receives a message when tasks were enqueued on this host.
    pub notified: Receiver<()>,
    /// Receives a message when an executor becomes free.
    pub executor_free: Receiver<()>,
}

/// The classes of `kinds` in `queues`, one for each payload version that a kind can decode, and the kind of each class.
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
    /// The thread's body: runs until the worker stops, or the server refuses a claim.
    pub fn run(mut self) -> Result<(), Error> {
        self.poll_and_claim().or_else(|unfinished| unfinished.unless_stopped("failed to claim tasks"))
    }

    fn poll_and_claim(&mut self) -> Result<(), Unfinished> {
        let mut planner = PollPlanner::new(self.classes.len());
        let mut next_batch: Option<(usize, Cursor)> = None;
        let mut polled_at = Instant::now();
        let mut recheck_after: Option<Duration> = None;
        while !self.shared.shutdown.is_stopping() {
            if !self.has_capacity() {
                self.shared.fleet.is_busy.store(true, Ordering::Relaxed);
                self.wait_for_executor();
                continue;
            }
            if let Some((class, cursor)) = next_batch.take()
                && polled_at.elapsed() < BATCH_POLL_INTERVAL
                && self.notified.is_empty()
                && claim_limit(&self.load(), self.kinds[class].average_duration()) == CLAIM_MAX
            {
                let (count, next) = self.claim_from(class, cursor, CLAIM_MAX, &mut planner)?;
                next_batch = next.filter(|_| count == CLAIM_MAX).map(|next| (class, next));
                continue;
            }
            polled_at = Instant::now();
            let (result, may_be_more) = self.poll(&mut planner)?;
            if may_be_more {
                // The next poll may find a class of a higher priority than those of this one.
                continue;
            }
            let claimed = self.claim_first(&result, &mut planner)?;
            self.shared.fleet.is_busy.store(!matches!(claimed, ClaimResult::Nothing), Ordering::Relaxed);
            recheck_after = match claimed {
                ClaimResult::Nothing => self.wait_for_work(&result, planner.full_scan_at, recheck_after),
                ClaimResult::NoCapacity => {
                    self.wait_for_executor();
                    None
                }
                ClaimResult::Some(next) => {
                    next_batch = next;
                    None
                }
            };
        }
        Ok(())
    }

    /// True if the worker would claim a task of any of its kinds.
    fn has_capacity(&self) -> bool {
        if self.shared.in_flight.len() >= IN_FLIGHT_MAX {
            return false;
        }
        let load = self.load();
        self.kinds.iter().any(|kind| claim_limit(&load, kind.average_duration()) > 0)
    }

    fn load(&self) -> Load {
        let load = self.shared.in_flight.load();
        self.shared.stats.running.store(load.running.len() as u64, Ordering::Relaxed);
        self.shared.stats.queued.store(load.queued as u64, Ordering::Relaxed);
        load
    }

    /// Returns what is due, and true if another poll should follow at once.
    fn poll(&mut self, planner: &mut PollPlanner) -> Result<(PollResult, bool), Unfinished> {
        let rescan = self.shared.fleet.rescan.swap(false, Ordering::Relaxed);
        let load = self.load();
        let workers = self.shared.fleet.workers();
        let request =
            planner.plan_poll(Instant::now(), rescan, |class| claim_limit(&load, self.kinds[class].average_duration()));
        let Self { conn, classes, .. } = self;
        let started = Instant::now();
        let result = conn.run(|conn| poll::fetch_due(conn, classes, &request))?;
        if result.read_only && conn.leave_read_only() {
            return Ok((result, true));
        }
        let mut elapsed = started.elapsed();
        for (name, seconds) in [("expensive-polls", 0.1), ("very-expensive-polls", 10.0)] {
            if fault::is_forced(name) {
                elapsed = Duration::from_secs_f64(seconds);
            }
        }
        let may_be_more = planner.record_poll(&request, &result, elapsed, Instant::now(), workers);
        Ok((result, may_be_more))
    }

    /// Claims from the first class that has tasks to claim: by priority, then by the longest wait.
    fn claim_first(&mut self, result: &PollResult, planner: &mut PollPlanner) -> Result<ClaimResult, Unfinished> {
        let paused: HashSet<(&str, &str)> = result.paused.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (paused, mut heads): (Vec<&DueTasks>, Vec<&DueTasks>) = result.heads.iter().partition(|head| {
            let class = &self.classes[head.class];
            paused.contains(&("kind", class.kind.as_str())) || paused.contains(&("queue", class.queue.as_str()))
        });
        for head in paused {
            planner.record_paused(head.class);
        }
        heads.retain(|head| !head.due.is_empty());
        heads.sort_by_key(|head| (self.classes[head.class].priority, -head.waited_micros));
        let mut claimed = ClaimResult::Nothing;
        for DueTasks { class, due, .. } in heads {
            let limit = claim_limit(&self.load(), self.kinds[*class].average_duration());
            let Some(first) = due.first().filter(|_| limit > 0) else {
                claimed = ClaimResult::NoCapacity;
                continue;
            };
            // Other workers may have claimed the first tasks since the poll. If there are more than this worker wants,
            // it takes those that come after.
            let is_backlogged = due.len() > limit || planner.is_backlogged(*class);
            let (count, next) = if is_backlogged {
                self.claim_from(*class, first.clone(), limit, planner)?
            } else {
                let ids = due.iter().map(|cursor| cursor.id).take(limit).collect();
                let (count, next) = self.claim(*class, &Pick::These(ids), limit)?;
                // Fewer tasks than are due may be claimed if the kind's concurrency is limited.
                let has_fleet_limit = self.kinds[*class].concurrency.is_some();
                planner.record_claim(*class, due, if has_fleet_limit { count } else { limit });
                (count, next)
            };
            if let Some(next) = next {
                let is_batch = is_backlogged && count == CLAIM_MAX;
                return Ok(ClaimResult::Some(is_batch.then_some((*class, next))));
            }
        }
        Ok(claimed)
    }

    /// Claims tasks as [`Poller::claim`] does, starting at a cursor.
    fn claim_from(
        &mut self,
        class: usize,
        from: Cursor,
        limit: usize,
        planner: &mut PollPlanner,
    ) -> Result<(usize, Option<Cursor>), Unfinished> {
        let (count, next) = self.claim(class, &Pick::From(from.clone()), limit)?;
        match next.clone() {
            Some(next) if count == limit => planner.record_full_claim(class, next),
            next => planner
                .record_partial_claim(class, next.or(Some(from)).filter(|_| self.kinds[class].concurrency.is_some())),
        }
        Ok((count, next))
    }

    /// Claims tasks and hands them to the executors. Returns how many were claimed, and the cursor after the last one.
    fn claim(&mut self, class: usize, pick: &Pick, limit: usize) -> Result<(usize, Option<Cursor>), Unfinished> {
        let Self { shared, conn, classes, kinds, jobs: executors, .. } = self;
        let (class, kind) = (&classes[class], &kinds[class]);
        let started = Instant::now();
        let rows = conn.run(|conn| claim::claim(conn, class, pick, limit, kind.concurrency, shared.worker_id))?;
        let Some(last) = rows.last() else { return Ok((0, None)) };
        shared.stats.add_claim(started.elapsed());
        let count = rows.len();
        let next = Cursor { next_action_at: last.next_action_at.clone(), id: last.id }.next();
        let jobs: Vec<Arc<Job>> =
            rows.into_iter().map(|row| Arc::new(Job::new(kind, class.version, shared.worker_id, row))).collect();
        // The table must have the jobs before an executor can finish one.
        shared.in_flight.add(&jobs);
        for job in jobs {
            if executors.send(job).is_err() {
                // All executors are abandoned, so the worker is about to end. The rescuer of another one takes over.
                break;
            }
        }
        Ok((count, Some(next)))
    }

    fn wait_for_executor(&self) {
        select! {
            recv(self.executor_free) -> _ => {}
            recv(self.shared.shutdown.receiver()) -> _ => {}
            default(LOAD_INTERVAL) => {}
        }
    }

    /// Waits for a notification, for the next task to become due, or for this worker's turn to poll. Returns how soon to
    /// poll again if that poll finds nothing.
    fn wait_for_work(
        &self,
        result: &PollResult,
        full_scan_at: Option<Instant>,
        recheck_after: Option<Duration>,
    ) -> Option<Duration> {
        // This worker counts itself if it polls, even if no row is marked as idle yet.
        let idle_workers = self.shared.fleet.idle_workers.load(Ordering::Relaxed).max(1);
        let turn = POLL_INTERVAL.saturating_mul(idle_workers).min(POLL_INTERVAL_MAX).mul_f64(0.5 + jitter());
        let next_due = result.heads.iter().filter_map(|head| head.ahead.as_ref()).map(|(_, micros)| *micros).min();
        let next_due = next_due.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
        let full_scan = full_scan_at.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = [next_due, full_scan, recheck_after].into_iter().flatten().fold(turn, Duration::min);
        select! {
            recv(self.notified) -> _ => Some(RECHECK_FIRST),
            recv(self.shared.shutdown.receiver()) -> _ => None,
            default(wait) => recheck_after.map(|after| after * 2).filter(|after| *after <= RECHECK_MAX),
        }
    }
}
