//! Counts the ticks of a periodic task by outcome. At any time, due = ok + failed + panicked + skipped + running.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// The statistics of one task, shared by its thread and the threads that report.
#[derive(Debug)]
pub struct TaskStats {
    pub name: String,
    pub time_limit: Option<Duration>,
    inner: Mutex<Inner>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Failed,
    Panicked,
    /// It was not run, because another process was running the task.
    Skipped,
}

/// Counts since the start of the worker. A tick is counted as due when its thread runs or skips it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub due: u64,
    pub ok: u64,
    pub failed: u64,
    pub panicked: u64,
    pub skipped: u64,
    pub running: u64,
}

/// The statistics at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub counts: Counts,
    /// How late the runs since the last heartbeat started.
    pub lateness: Histogram,
    /// When the current run started.
    pub running_since: Option<Instant>,
    /// When the next tick is due; `None` during a run.
    pub next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Inner {
    current: Snapshot,
    reported_stuck: bool,
}

impl TaskStats {
    pub fn new(name: &str, time_limit: Option<Duration>) -> Self {
        Self { name: name.to_owned(), time_limit, inner: Mutex::default() }
    }

    /// Records that a tick starts at `now`, late by `lateness`, after `skipped` ticks that were not run.
    pub fn begin(&self, now: Instant, lateness: Duration, skipped: u64) {
        let mut inner = self.inner();
        inner.reported_stuck = false;
        let current = &mut inner.current;
        current.counts.due += skipped + 1;
        current.counts.skipped += skipped;
        current.counts.running += 1;
        current.lateness.add(lateness);
        current.running_since = Some(now);
        current.next = None;
    }

    /// Records the outcome of the tick.
    pub fn end(&self, outcome: Outcome) {
        let current = &mut self.inner().current;
        current.running_since = None;
        let counts = &mut current.counts;
        counts.running -= 1;
        *match outcome {
            Outcome::Ok => &mut counts.ok,
            Outcome::Failed => &mut counts.failed,
            Outcome::Panicked => &mut counts.panicked,
            Outcome::Skipped => &mut counts.skipped,
        } += 1;
    }

    /// Records when the next tick is due.
    pub fn wait(&self, until: Instant) {
        self.inner().current.next = Some(until);
    }

    pub fn snapshot(&self) -> Snapshot {
        self.inner().current.clone()
    }

    /// Returns the statistics and restarts the window of the lateness.
    pub fn reset_window(&self) -> Snapshot {
        let current = &mut self.inner().current;
        let snapshot = current.clone();
        current.lateness = Histogram::default();
        snapshot
    }

    /// Returns how long the current run has taken, if that exceeds its time limit.
    pub fn stuck(&self, now: Instant) -> Option<Duration> {
        let running = now.checked_duration_since(self.inner().current.running_since?)?;
        (running >= self.time_limit?).then_some(running)
    }

    /// Does the same as [`TaskStats::stuck`], but only once for each run.
    pub fn newly_stuck(&self, now: Instant) -> Option<Duration> {
        let running = self.stuck(now)?;
        let reported = std::mem::replace(&mut self.inner().reported_stuck, true);
        (!reported).then_some(running)
    }

    // Nothing panics while the lock is held, so a poisoned lock still guards complete statistics.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Counts {
        /// True if every tick that was due is accounted for.
        fn add_up(&self) -> bool {
            self.due == self.ok + self.failed + self.panicked + self.skipped + self.running
        }
    }

    proptest! {
        #[test]
        fn the_counts_balance_at_any_time(runs in prop::collection::vec((0u64..5, 0usize..4), 0..50)) {
            let stats = TaskStats::new("t", None);
            for (skipped, outcome) in runs {
                stats.begin(Instant::now(), Duration::ZERO, skipped);
                prop_assert!(stats.snapshot().counts.add_up());
                stats.end([Outcome::Ok, Outcome::Failed, Outcome::Panicked, Outcome::Skipped][outcome]);
                prop_assert!(stats.snapshot().counts.add_up());
                prop_assert_eq!(stats.snapshot().counts.running, 0);
            }
        }
    }

    #[test]
    fn a_run_over_its_limit_is_stuck_and_reported_once() {
        let stats = TaskStats::new("t", Some(Duration::from_secs(5)));
        let now = Instant::now();
        assert_eq!(stats.stuck(now), None);
        stats.begin(now, Duration::ZERO, 0);
        assert_eq!(stats.stuck(now + Duration::from_secs(4)), None);
        assert!(stats.newly_stuck(now + Duration::from_secs(5)).is_some());
        assert_eq!(stats.newly_stuck(now + Duration::from_secs(6)), None);
        assert!(stats.stuck(now + Duration::from_secs(6)).is_some());
        stats.end(Outcome::Ok);
        assert_eq!(stats.stuck(now + Duration::from_secs(60)), None);
    }
}
