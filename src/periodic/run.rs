//! Runs a periodic task: once, or at every tick.

use std::time::Instant;

use super::lock;
use super::plan::{Grid, Plan, plan};
use super::stats::{Outcome, TaskStats};
use super::task::{PeriodicContext, PeriodicTask};
use crate::duration;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::observe::scope;
use crate::panics;
use crate::shutdown::{Shutdown, Woken};

/// Runs `task` at every tick of `grid` until the shutdown. This is the body of the task's thread.
pub fn run_loop(task: &mut dyn PeriodicTask, grid: &Grid, lock_name: &str, stats: &TaskStats, shutdown: &Shutdown) {
    let mut next = 0;
    while !shutdown.is_stopping() {
        match plan(grid, next, Instant::now()) {
            Plan::Wait { until } => {
                stats.wait(until);
                if shutdown.wait_until(until) == Woken::Stopping {
                    return;
                }
            }
            Plan::Run { tick, due, skipped } => {
                let start = Instant::now();
                let lateness = start.saturating_duration_since(due);
                stats.begin(start, lateness, skipped);
                let _scope = scope::enter([("task", task.name().into()), ("tick", tick.into())]);
                if skipped > 0 {
                    let _scope = scope::enter([("skipped", skipped.into())]);
                    log::warn!("started {} late; the ticks before this one are skipped", duration::short(lateness));
                }
                stats.end(at_tick(task, tick, lock_name, shutdown));
                next = tick + 1;
            }
        }
    }
}

/// Runs the task once while holding its lock.
fn at_tick(task: &mut dyn PeriodicTask, tick: u64, lock_name: &str, shutdown: &Shutdown) -> Outcome {
    let lock = match lock::try_lock(lock_name) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            log::warn!("skipped 1 tick: another process on this host is running the task");
            return Outcome::Skipped;
        }
        Err(error) => {
            log::error!("failed to take the task's lock: {error}");
            return Outcome::Failed;
        }
    };
    let outcome = run(task, tick, shutdown);
    drop(lock);
    outcome
}

/// Runs `task` once, for `airun periodic run`.
///
/// # Errors
/// [`ErrorKind::LockHeld`] if the task is running in another process of this host; [`ErrorKind::Other`] if it failed or
/// panicked, which is in the log.
pub fn once(task: &mut dyn PeriodicTask, lock_name: &str, shutdown: &Shutdown) -> Result<()> {
    let name = task.name().to_owned();
    let lock = lock::try_lock(lock_name)
        .map_err(|error| Error::failure(format!("failed to take the lock of the task `{name}`: {error}")))?;
    let Some(lock) = lock else {
        return Err(Error::new(
            ErrorKind::LockHeld,
            format!("the task `{name}` is already running in another process on this host"),
        ));
    };
    let _scope = scope::enter([("task", name.as_str().into())]);
    let outcome = run(task, 0, shutdown);
    drop(lock);
    match outcome {
        Outcome::Ok | Outcome::Skipped => Ok(()),
        Outcome::Failed | Outcome::Panicked => {
            Err(Error::failure(format!("the task `{name}` failed; see the log for the cause")))
        }
    }
}

fn run(task: &mut dyn PeriodicTask, tick: u64, shutdown: &Shutdown) -> Outcome {
    let start = Instant::now();
    let deadline = task.time_limit().and_then(|limit| start.checked_add(limit));
    let context = PeriodicContext::new(tick, deadline, shutdown);
    let outcome = panics::catch(|| task.execute(&context));
    let took = duration::short(start.elapsed());
    match outcome {
        Ok(Ok(())) => {
            log::debug!("{} finished in {took}", task.emoji());
            Outcome::Ok
        }
        Ok(Err(error)) => {
            log::error!("{} failed after {took}: {}", task.emoji(), with_causes(&error));
            Outcome::Failed
        }
        Err(panic) => {
            log::error!("{} {panic} (after {took})", task.emoji());
            Outcome::Panicked
        }
    }
}
