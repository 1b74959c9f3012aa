//! The state that a task enters when its run ends. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::interrupt::Interrupted;

/// A task that crashed this often is dead.
pub const CRASHES_MAX: u32 = 3;
/// A task is also dead after this many workers died while running it in a process of its own. That is far more than bad
/// luck explains, even if something else killed the workers.
pub const ISOLATED_RUNS_MAX: u32 = 25;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this result, as JSON.
    Succeeded(String),
    /// The run completed the task itself, in a transaction of its own.
    CompletedInside,
    /// The payload can't be decoded.
    Undecodable(String),
    /// The run returned an error, panicked, or exceeded its timeout.
    Failed { error: String, retry: Retry },
    /// The task's process died, and would have killed the worker if the task had run there.
    Crashed(String),
    /// The run returned because it was interrupted.
    Interrupted(Interrupted),
    /// The run has not started.
    NotStarted,
}

impl Outcome {
    /// Creates a failure that is retried after the backoff.
    pub fn failed(error: String) -> Self {
        Self::Failed { error, retry: Retry::AsUsual }
    }
}

/// When a failed task is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// After the backoff of its kind.
    AsUsual,
    /// After this time.
    After(Duration),
    /// Not at all.
    Never,
}

/// The part of a task's row that decides about its next state, as it was before the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    pub failures: u32,
    pub crashes: u32,
    pub max_attempts: u32,
    pub backoff: Backoff,
}

/// The change to the task's row.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// With this result, as JSON.
    Succeeded(String),
    /// No change: the run has changed the row itself.
    Settled,
    /// Pending again, after a wait.
    Retry { after: Duration, error: String, counter: Counter },
    /// No further attempt.
    Dead { error: String, counter: Counter },
    /// An operator cancelled the task.
    Cancelled,
    /// Pending again at once, as if the task had not been claimed.
    Released,
}

/// The counter that an unsuccessful run increments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    Failure,
    Crash,
}

/// Returns the task's next state. `cancelled` is true if the task was cancelled; `random` is from 0 to 1.
pub fn next_state(outcome: Outcome, record: &Record, cancelled: bool, random: f64) -> Transition {
    let cancelled = cancelled || outcome == Outcome::Interrupted(Interrupted::Cancelled);
    match outcome {
        Outcome::Succeeded(result) => Transition::Succeeded(result),
        Outcome::CompletedInside => Transition::Settled,
        _ if cancelled => Transition::Cancelled,
        // If the lease was lost, the claim token keeps the other run's row from being changed.
        Outcome::NotStarted | Outcome::Interrupted(Interrupted::Stopping | Interrupted::LeaseLost) => {
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
        Outcome::Interrupted(reason) => failed(reason.to_string(), Retry::AsUsual, record, random),
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
    fn failures_back_off_until_the_attempts_are_used_up() {
        let state = |failures| next_state(failed(Retry::AsUsual), &Record { failures, ..RECORD }, false, 0.0);
        assert_eq!(state(0), retry(1, Counter::Failure));
        assert_eq!(state(1), retry(2, Counter::Failure));
        assert_eq!(state(2), Transition::Dead { error: "no".to_owned(), counter: Counter::Failure });
    }

    #[test]
    fn a_failure_can_override_the_backoff() {
        assert!(matches!(next_state(failed(Retry::Never), &RECORD, false, 0.0), Transition::Dead { .. }));
        let after = Retry::After(Duration::from_secs(77));
        assert_eq!(next_state(failed(after), &RECORD, false, 0.0), retry(77, Counter::Failure));
        assert!(matches!(
            next_state(failed(after), &Record { failures: 2, ..RECORD }, false, 0.0),
            Transition::Dead { .. }
        ));
    }

    #[test]
    fn crashes_have_their_own_counter() {
        let state = |crashes| next_state(Outcome::Crashed("no".to_owned()), &Record { crashes, ..RECORD }, false, 0.0);
        assert_eq!(state(1), retry(2, Counter::Crash));
        assert_eq!(state(2), Transition::Dead { error: "worker_lost: no".to_owned(), counter: Counter::Crash });
    }

    #[test]
    fn a_cancelled_task_is_cancelled_unless_it_succeeded() {
        let succeeded = Outcome::Succeeded("1".to_owned());
        assert_eq!(next_state(succeeded, &RECORD, true, 0.0), Transition::Succeeded("1".to_owned()));
        for outcome in [failed(Retry::AsUsual), Outcome::NotStarted, Outcome::Interrupted(Interrupted::Cancelled)] {
            assert_eq!(next_state(outcome, &RECORD, true, 0.0), Transition::Cancelled);
        }
    }

    #[test]
    fn a_stop_costs_no_attempt() {
        for outcome in [Outcome::NotStarted, Outcome::Interrupted(Interrupted::Stopping)] {
            assert_eq!(next_state(outcome, &Record { failures: 2, ..RECORD }, false, 0.0), Transition::Released);
        }
    }
}
