//! What becomes of a task when its run has ended. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::interrupt::Interrupted;
use super::task::Retry;

/// A task that took its worker with it so often is dead.
pub const CRASHES_MAX: u32 = 3;
/// So is one that so many workers ran when they ended, for whatever reason: far more than bad luck brings.
pub const ISOLATED_RUNS_MAX: u32 = 25;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this JSON.
    Succeeded(String),
    /// The run has completed the task itself, in a transaction of its own.
    CompletedInside,
    /// The payload can't be decoded.
    Undecodable(String),
    /// It returned an error, panicked, or took too long.
    Failed { error: String, retry: Retry },
    /// Its process died, and would have taken the worker with it if it had run there.
    Crashed(String),
    /// It returned because of this.
    Interrupted(Interrupted),
    /// It has not begun.
    NotBegun,
}

/// What is known of a task before its run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    pub failures: u32,
    pub crashes: u32,
    pub max_attempts: u32,
    pub backoff: Backoff,
}

/// What becomes of the row.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    Succeeded {
        result: String,
    },
    /// It says so already.
    Settled,
    /// Pending again after a wait.
    Retry {
        after: Duration,
        error: String,
        counter: Counter,
    },
    Dead {
        error: String,
        counter: Counter,
    },
    Cancelled,
    /// Pending again at once, as if it hadn't been claimed.
    Released,
}

/// What the run counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    Failure,
    Crash,
}

/// The row's fate. `random` is from 0 to 1.
pub fn next_state(outcome: Outcome, record: &Record, cancelled: bool, random: f64) -> Transition {
    let cancelled = cancelled || outcome == Outcome::Interrupted(Interrupted::Cancelled);
    match outcome {
        Outcome::Succeeded(result) => Transition::Succeeded { result },
        Outcome::CompletedInside => Transition::Settled,
        _ if cancelled => Transition::Cancelled,
        // Of one that is another run's, the fence keeps whatever is said.
        Outcome::NotBegun | Outcome::Interrupted(Interrupted::Stopping | Interrupted::LeaseLost) => {
            Transition::Released
        }
        Outcome::Undecodable(error) => {
            Transition::Dead { error: format!("undecodable payload: {error}"), counter: Counter::Failure }
        }
        Outcome::Crashed(error) => {
            let crashes = record.crashes + 1;
            let counter = Counter::Crash;
            if crashes >= CRASHES_MAX {
                Transition::Dead { error: format!("worker_lost: {error}"), counter }
            } else {
                Transition::Retry { after: record.backoff.delay(crashes, random), error, counter }
            }
        }
        Outcome::Interrupted(why) => failed(why.to_string(), Retry::AsUsual, record, random),
        Outcome::Failed { error, retry } => failed(error, retry, record, random),
    }
}

fn failed(error: String, retry: Retry, record: &Record, random: f64) -> Transition {
    let counter = Counter::Failure;
    let failures = record.failures + 1;
    let after = match retry {
        Retry::AsUsual => record.backoff.delay(failures, random),
        Retry::After(wait) => wait,
        Retry::Never => return Transition::Dead { error, counter },
    };
    if failures >= record.max_attempts {
        Transition::Dead { error, counter }
    } else {
        Transition::Retry { after, error, counter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        failures: 0,
        crashes: 0,
        max_attempts: 3,
        backoff: Backoff::exponential(Duration::from_secs(1), Duration::from_secs(9)).jitter(0.0),
    };

    fn failed(retry: Retry) -> Outcome {
        Outcome::Failed { error: "no".to_owned(), retry }
    }

    fn retry(seconds: u64, counter: Counter) -> Transition {
        Transition::Retry { after: Duration::from_secs(seconds), error: "no".to_owned(), counter }
    }

    #[test]
    fn failures_back_off_until_the_attempts_are_spent() {
        let fate = |failures| next_state(failed(Retry::AsUsual), &Record { failures, ..RECORD }, false, 0.0);
        assert_eq!(fate(0), retry(1, Counter::Failure));
        assert_eq!(fate(1), retry(2, Counter::Failure));
        assert_eq!(fate(2), Transition::Dead { error: "no".to_owned(), counter: Counter::Failure });
    }

    #[test]
    fn a_failure_may_know_better() {
        assert!(matches!(next_state(failed(Retry::Never), &RECORD, false, 0.0), Transition::Dead { .. }));
        let after = Retry::After(Duration::from_secs(77));
        assert_eq!(next_state(failed(after), &RECORD, false, 0.0), retry(77, Counter::Failure));
        assert!(matches!(
            next_state(failed(after), &Record { failures: 2, ..RECORD }, false, 0.0),
            Transition::Dead { .. }
        ));
    }

    #[test]
    fn crashes_are_counted_apart() {
        let fate = |crashes| next_state(Outcome::Crashed("no".to_owned()), &Record { crashes, ..RECORD }, false, 0.0);
        assert_eq!(fate(1), retry(2, Counter::Crash));
        assert_eq!(fate(2), Transition::Dead { error: "worker_lost: no".to_owned(), counter: Counter::Crash });
    }

    #[test]
    fn what_is_cancelled_counts_only_where_it_succeeded() {
        let succeeded = Outcome::Succeeded("1".to_owned());
        assert_eq!(next_state(succeeded, &RECORD, true, 0.0), Transition::Succeeded { result: "1".to_owned() });
        for outcome in [failed(Retry::AsUsual), Outcome::NotBegun, Outcome::Interrupted(Interrupted::Cancelled)] {
            assert_eq!(next_state(outcome, &RECORD, true, 0.0), Transition::Cancelled);
        }
    }

    #[test]
    fn a_stop_costs_no_attempt() {
        for outcome in [Outcome::NotBegun, Outcome::Interrupted(Interrupted::Stopping)] {
            assert_eq!(next_state(outcome, &Record { failures: 2, ..RECORD }, false, 0.0), Transition::Released);
        }
    }
}
