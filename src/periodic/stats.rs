//! What became of a task's ticks. The counts close at every moment: due = ok + failed + panicked + skipped + running.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lateness::Lateness;

/// The stats of one task, shared by its thread and those that report.
#[derive(Debug)]
pub struct TaskStats {
    /// Of the task.
    pub name: String,
    /// Of the task.
    pub time_limit: Option<Duration>,
    inner: Mutex<Inner>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned without an error.
    Ok,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// It was not run: another process is running the task.
    Skipped,
}

/// The counts since the worker's start. A tick counts as due from when its thread comes to it, as run or as skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub due: u64,
    pub ok: u64,
    pub failed: u64,
    pub panicked: u64,
    pub skipped: u64,
    pub running: u64,
}

/// A stats at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Since the start.
    pub counts: Counts,
    /// Of the runs since the last heartbeat.
    pub lateness: Lateness,
    /// When the run that is going on began.
    pub running_since: Option<Instant>,
    /// When the next tick is due; `None` while one runs.
    pub next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    lateness: Lateness,
    running_since: Option<Instant>,
    next: Option<Instant>,
    told_stuck: bool,
}

impl TaskStats {
    /// An empty stats.
    pub fn new(name: &str, time_limit: Option<Duration>) -> Self {
        Self { name: name.to_owned(), time_limit, inner: Mutex::default() }
    }

    /// A tick begins at `now`, so late, and so many before it are skipped.
    pub fn begin(&self, now: Instant, lateness: Duration, skipped: u64) {
        let mut inner = self.inner();
        inner.counts.due += skipped + 1;
        inner.counts.skipped += skipped;
        inner.counts.running += 1;
        inner.lateness.add(lateness);
        inner.running_since = Some(now);
        inner.next = None;
        inner.told_stuck = false;
    }

    /// The tick has ended.
    pub fn end(&self, outcome: Outcome) {
        let mut inner = self.inner();
        inner.counts.running -= 1;
        inner.running_since = None;
        match outcome {
            Outcome::Ok => inner.counts.ok += 1,
            Outcome::Failed => inner.counts.failed += 1,
            Outcome::Panicked => inner.counts.panicked += 1,
            Outcome::Skipped => inner.counts.skipped += 1,
        }
    }

    /// The next tick is due then.
    pub fn wait(&self, until: Instant) {
        self.inner().next = Some(until);
    }

    /// The stats as it is.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        inner.snapshot(inner.lateness.clone())
    }

    /// The stats as it is; the lateness begins anew.
    pub fn reset_window(&self) -> Snapshot {
        let mut inner = self.inner();
        let lateness = std::mem::take(&mut inner.lateness);
        inner.snapshot(lateness)
    }

    /// How long the run that is going on takes already, where that is longer than it may.
    pub fn stuck(&self, now: Instant) -> Option<Duration> {
        let running = now.checked_duration_since(self.inner().running_since?)?;
        (running >= self.time_limit?).then_some(running)
    }

    /// As [`TaskStats::stuck`], but once for each run.
    pub fn newly_stuck(&self, now: Instant) -> Option<Duration> {
        let running = self.stuck(now)?;
        let told = std::mem::replace(&mut self.inner().told_stuck, true);
        (!told).then_some(running)
    }

    /// Nothing panics while the inner is open, so a poisoned one is whole all the same.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn snapshot(&self, lateness: Lateness) -> Snapshot {
        Snapshot { counts: self.counts, lateness, running_since: self.running_since, next: self.next }
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
        fn the_sums_close_at_every_moment(runs in prop::collection::vec((0u64..5, 0usize..4), 0..50)) {
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
    fn a_run_over_its_limit_is_stuck_and_said_to_be_so_once() {
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
