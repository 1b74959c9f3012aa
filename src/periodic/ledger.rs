//! What became of a task's ticks. The sums close at every moment: due = ok + failed + panicked + skipped + running.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lateness::Lateness;

/// The ledger of one task, shared by its thread and those that report.
#[derive(Debug)]
pub struct Ledger {
    /// Of the task.
    pub name: String,
    /// Of the task.
    pub time_limit: Option<Duration>,
    book: Mutex<Book>,
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

/// The sums since the worker's start. A tick counts as due from when its thread comes to it, as run or as skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the module's first sentence says what they are")]
pub struct Sums {
    pub due: u64,
    pub ok: u64,
    pub failed: u64,
    pub panicked: u64,
    pub skipped: u64,
    pub running: u64,
}

/// A ledger at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Since the start.
    pub sums: Sums,
    /// Of the runs since the last heartbeat.
    pub lateness: Lateness,
    /// When the run that is going on began.
    pub running_since: Option<Instant>,
    /// When the next tick is due; `None` while one runs.
    pub next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Book {
    sums: Sums,
    lateness: Lateness,
    running_since: Option<Instant>,
    next: Option<Instant>,
    told_stuck: bool,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(name: &str, time_limit: Option<Duration>) -> Self {
        Self { name: name.to_owned(), time_limit, book: Mutex::default() }
    }

    /// A tick begins at `now`, so late, and so many before it are skipped.
    pub fn begin(&self, now: Instant, lateness: Duration, skipped: u64) {
        let mut book = self.book();
        book.sums.due += skipped + 1;
        book.sums.skipped += skipped;
        book.sums.running += 1;
        book.lateness.add(lateness);
        book.running_since = Some(now);
        book.next = None;
        book.told_stuck = false;
    }

    /// The tick has ended.
    pub fn end(&self, outcome: Outcome) {
        let mut book = self.book();
        book.sums.running -= 1;
        book.running_since = None;
        match outcome {
            Outcome::Ok => book.sums.ok += 1,
            Outcome::Failed => book.sums.failed += 1,
            Outcome::Panicked => book.sums.panicked += 1,
            Outcome::Skipped => book.sums.skipped += 1,
        }
    }

    /// The next tick is due then.
    pub fn wait(&self, until: Instant) {
        self.book().next = Some(until);
    }

    /// The ledger as it is.
    pub fn snapshot(&self) -> Snapshot {
        let book = self.book();
        book.snapshot(book.lateness.clone())
    }

    /// The ledger as it is; the lateness begins anew.
    pub fn turn_page(&self) -> Snapshot {
        let mut book = self.book();
        let lateness = std::mem::take(&mut book.lateness);
        book.snapshot(lateness)
    }

    /// How long the run that is going on takes already, where that is longer than it may.
    pub fn stuck(&self, now: Instant) -> Option<Duration> {
        let running = now.checked_duration_since(self.book().running_since?)?;
        (running >= self.time_limit?).then_some(running)
    }

    /// As [`Ledger::stuck`], but once for each run.
    pub fn newly_stuck(&self, now: Instant) -> Option<Duration> {
        let running = self.stuck(now)?;
        let told = std::mem::replace(&mut self.book().told_stuck, true);
        (!told).then_some(running)
    }

    /// Nothing panics while the book is open, so a poisoned one is whole all the same.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn snapshot(&self, lateness: Lateness) -> Snapshot {
        Snapshot { sums: self.sums, lateness, running_since: self.running_since, next: self.next }
    }
}

impl Sums {
    /// Whether every tick that was due is accounted for.
    pub fn close(&self) -> bool {
        self.due == self.ok + self.failed + self.panicked + self.skipped + self.running
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sums_close_at_every_moment(runs in prop::collection::vec((0u64..5, 0usize..4), 0..50)) {
            let ledger = Ledger::new("t", None);
            for (skipped, outcome) in runs {
                ledger.begin(Instant::now(), Duration::ZERO, skipped);
                prop_assert!(ledger.snapshot().sums.close());
                ledger.end([Outcome::Ok, Outcome::Failed, Outcome::Panicked, Outcome::Skipped][outcome]);
                prop_assert!(ledger.snapshot().sums.close());
                prop_assert_eq!(ledger.snapshot().sums.running, 0);
            }
        }
    }

    #[test]
    fn a_run_over_its_limit_is_stuck_and_said_to_be_so_once() {
        let ledger = Ledger::new("t", Some(Duration::from_secs(5)));
        let now = Instant::now();
        assert_eq!(ledger.stuck(now), None);
        ledger.begin(now, Duration::ZERO, 0);
        assert_eq!(ledger.stuck(now + Duration::from_secs(4)), None);
        assert!(ledger.newly_stuck(now + Duration::from_secs(5)).is_some());
        assert_eq!(ledger.newly_stuck(now + Duration::from_secs(6)), None);
        assert!(ledger.stuck(now + Duration::from_secs(6)).is_some());
        ledger.end(Outcome::Ok);
        assert_eq!(ledger.stuck(now + Duration::from_secs(60)), None);
    }
}
