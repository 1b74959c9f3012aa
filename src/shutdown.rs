//! Signals become a closed channel.
//!
//! Dropping the only sender wakes every receiver at once, however many there are; a sent message would wake one.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::error::{Error, Result};

/// The receiving side: cheap to clone, one for each thread that waits for anything.
#[derive(Debug, Clone)]
pub struct Shutdown(Receiver<Infallible>);

/// The sending side: dropping it asks everybody to stop.
#[derive(Debug)]
pub struct Trigger(#[expect(dead_code, reason = "held only to be dropped")] Sender<Infallible>);

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Woken {
    /// The duration has passed.
    Elapsed,
    /// The worker is shutting down.
    Stopping,
}

/// What [`on_signals`] hands out.
#[derive(Debug)]
pub struct Signals {
    /// Closed by the first signal: finish what runs, start nothing.
    pub stop: Shutdown,
    /// Closed by the second signal: leave at once.
    pub abort: Shutdown,
}

/// A channel that closes when the trigger is dropped.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = bounded(0);
    (Trigger(sender), Shutdown(receiver))
}

/// Turns SIGINT, SIGTERM and SIGHUP into [`Signals`].
///
/// # Errors
/// Fails when the process already has a handler of ctrlc's: it can be called once a process.
pub fn on_signals() -> Result<Signals> {
    let (stop_trigger, stop) = channel();
    let (abort_trigger, abort) = channel();
    let mut triggers = vec![abort_trigger, stop_trigger];
    ctrlc::set_handler(move || drop(triggers.pop()))
        .map_err(|error| Error::failure(format!("failed to install the signal handler: {error}")))?;
    Ok(Signals { stop, abort })
}

impl Shutdown {
    /// Whether the process is to stop.
    pub fn is_stopping(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for `limit` or for the stop, whichever comes first.
    pub fn wait(&self, limit: Duration) -> Woken {
        woken(self.0.recv_timeout(limit))
    }

    /// Waits until `deadline` on the monotonic clock or for the stop. An absolute deadline doesn't drift
    /// (crossbeam's `tick` inside `select!` does, by hundreds of microseconds a tick).
    pub fn wait_until(&self, deadline: Instant) -> Woken {
        woken(self.0.recv_deadline(deadline))
    }

    /// For `select!`: becomes ready (disconnected) at the stop.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

fn woken(received: Result<Infallible, RecvTimeoutError>) -> Woken {
    match received {
        Ok(never) => match never {},
        Err(RecvTimeoutError::Timeout) => Woken::Elapsed,
        Err(RecvTimeoutError::Disconnected) => Woken::Stopping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_trigger_wakes_every_receiver() {
        let (trigger, shutdown) = channel();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let shutdown = shutdown.clone();
                std::thread::spawn(move || shutdown.wait(Duration::from_secs(60)))
            })
            .collect();
        assert!(!shutdown.is_stopping());
        drop(trigger);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Woken::Stopping);
        }
        assert!(shutdown.is_stopping());
    }

    #[test]
    fn a_wait_ends_at_its_limit() {
        let (_trigger, shutdown) = channel();
        assert_eq!(shutdown.wait(Duration::from_millis(1)), Woken::Elapsed);
    }
}
