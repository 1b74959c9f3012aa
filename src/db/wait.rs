//! Waits for a server that is still starting.

use std::time::{Duration, Instant};

use super::Database;
use super::retry::Backoff;
use crate::duration;
use crate::error::{Error, ErrorKind, Result};
use crate::shutdown::{Shutdown, Woken};

/// Interval of the log lines that say why it is still waiting.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Tries to connect until it succeeds or `limit` is over. Without a limit it tries forever.
///
/// # Errors
/// The last refusal when the time is up; [`ErrorKind::Interrupted`] at a signal.
pub fn wait_until_ready(database: &Database, limit: Option<Duration>, shutdown: &Shutdown) -> Result<()> {
    let started = Instant::now();
    let mut backoff = Backoff::default();
    let mut logged = None;
    loop {
        let Err(error) = database.connect_server() else { return Ok(()) };
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(error.context(format!("waited {} for the server", duration::short(started.elapsed()))));
        }
        if logged.is_none_or(|at: Instant| at.elapsed() >= LOG_INTERVAL) {
            log::info!("waiting for the server: {error}");
            logged = Some(Instant::now());
        }
        if shutdown.wait(backoff.next_delay()) == Woken::Stopping {
            return Err(Error::new(ErrorKind::Interrupted, "stopped by a signal while waiting for the server"));
        }
    }
}
