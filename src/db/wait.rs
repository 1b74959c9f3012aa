//! Waiting for a server that is still starting.

use std::time::{Duration, Instant};

use super::Database;
use super::retry::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::shutdown::{Shutdown, Woken};

/// Says again this often why it still waits.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tries until the server lets this user in, for at most `limit`; without one, for ever.
///
/// # Errors
/// The last refusal when the time is up; [`ErrorKind::Interrupted`] at a signal.
pub fn wait_until_ready(database: &Database, limit: Option<Duration>, shutdown: &Shutdown) -> Result<()> {
    let started = Instant::now();
    let mut backoff = Backoff::default();
    let mut told = None;
    loop {
        let Err(error) = database.connect_server() else { return Ok(()) };
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(error.context(format!("waited {} s for the server", started.elapsed().as_secs())));
        }
        if told.is_none_or(|at: Instant| at.elapsed() >= TELL_EVERY) {
            log::info!("waiting for the server: {error}");
            told = Some(Instant::now());
        }
        if shutdown.wait(backoff.next_delay()) == Woken::Stopping {
            return Err(Error::new(ErrorKind::Interrupted, "stopped by a signal while waiting for the server"));
        }
    }
}
