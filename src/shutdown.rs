//! A shutdown in phases, broadcast to every thread that waits for it.
//!
//! SIGTERM's path, in order:
//!
//! 1. [`on_signals`] installs the handler. The first signal enters [`Phase::Draining`], the second [`Phase::Killing`],
//!    at which the command line exits without waiting for anything.
//! 2. `Watch::until_stop` in `worker/watch.rs` returns, and `worker::run` enters [`Phase::Draining`] of the worker's
//!    own shutdown. It is separate because a worker also stops when it fails, without any signal.
//! 3. The poller, the cleaner and the notifier of the queue and all periodic tasks wait on that phase, and end.
//! 4. `Engine::drain` in `queue/engine.rs` waits for running tasks and enters the remaining phases one by one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::error::{Error, Result};

/// How far a shutdown has come. Phases are entered in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing new starts; running tasks may finish.
    Draining,
    /// Tasks that still run are killed where that is possible.
    Killing,
    /// No task runs any more; outcomes that are not written yet are written.
    Flushing,
    /// Nothing is retried any more; every thread ends.
    Stopped,
}

const PHASES: [Phase; 4] = [Phase::Draining, Phase::Killing, Phase::Flushing, Phase::Stopped];

/// The receiving side: cheap to clone, one for each thread. It waits for [`Phase::Draining`] unless
/// [`Shutdown::until`] was given another phase.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// One for each phase, closed when the phase is entered. Closing a channel wakes all its receivers, whereas a message
    /// wakes only one; a closed channel can't wake anybody again, so each phase needs its own.
    entered: Arc<[Receiver<Infallible>; PHASES.len()]>,
    phase: Phase,
}

/// The sending side. Dropping it enters all remaining phases.
#[derive(Debug)]
pub struct Trigger {
    remaining: Vec<(Phase, Sender<Infallible>)>,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Woken {
    /// The duration has passed.
    Elapsed,
    /// The worker is shutting down.
    Stopping,
}

/// Returns a new shutdown, in none of its phases yet.
pub fn channel() -> (Trigger, Shutdown) {
    let channels = PHASES.map(|_| bounded(0));
    let remaining = PHASES.into_iter().zip(channels.iter().map(|(sender, _)| sender.clone())).collect();
    let entered = Arc::new(channels.map(|(_, receiver)| receiver));
    (Trigger { remaining }, Shutdown { entered, phase: Phase::Draining })
}

/// A shutdown whose phases are entered by SIGINT, SIGTERM and SIGHUP: [`Phase::Draining`] by the first signal,
/// [`Phase::Killing`] by the second.
///
/// # Errors
/// The process already has a signal handler; this function can be called once in each process.
pub fn on_signals() -> Result<Shutdown> {
    let (mut trigger, shutdown) = channel();
    let mut phases = [Phase::Draining, Phase::Killing].into_iter();
    ctrlc::set_handler(move || trigger.enter(phases.next().unwrap_or(Phase::Killing)))
        .map_err(|error| Error::failure(format!("failed to install the signal handler: {error}")))?;
    Ok(shutdown)
}

impl Trigger {
    /// Enters `phase` and all phases before it.
    pub fn enter(&mut self, phase: Phase) {
        self.remaining.retain(|(remaining, _)| *remaining > phase);
    }
}

impl Shutdown {
    /// Returns the same shutdown, for a thread that waits until `phase`.
    pub fn until(&self, phase: Phase) -> Self {
        Self { entered: Arc::clone(&self.entered), phase }
    }

    /// True once the phase was entered.
    pub fn is_stopping(&self) -> bool {
        matches!(self.receiver().try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for `limit` or until the phase is entered, whichever comes first.
    pub fn wait(&self, limit: Duration) -> Woken {
        woken(self.receiver().recv_timeout(limit))
    }

    /// Waits until `deadline` on the monotonic clock or until the phase is entered. An absolute deadline doesn't drift
    /// (crossbeam's `tick` inside `select!` does, by hundreds of microseconds a tick).
    pub fn wait_until(&self, deadline: Instant) -> Woken {
        woken(self.receiver().recv_deadline(deadline))
    }

    /// For `select!`: becomes ready (disconnected) when the phase is entered.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.entered[self.phase as usize]
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
    fn entering_a_phase_wakes_every_receiver() {
        let (mut trigger, shutdown) = channel();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let shutdown = shutdown.clone();
                std::thread::spawn(move || shutdown.wait(Duration::from_secs(60)))
            })
            .collect();
        assert!(!shutdown.is_stopping());
        trigger.enter(Phase::Draining);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Woken::Stopping);
        }
        assert!(shutdown.is_stopping());
    }

    #[test]
    fn phases_are_entered_in_order() {
        let (mut trigger, shutdown) = channel();
        let entered = || PHASES.map(|phase| shutdown.until(phase).is_stopping());
        assert_eq!(entered(), [false; 4]);
        trigger.enter(Phase::Killing);
        assert_eq!(entered(), [true, true, false, false]);
        trigger.enter(Phase::Draining);
        assert_eq!(entered(), [true, true, false, false]);
        drop(trigger);
        assert_eq!(entered(), [true; 4]);
    }

    #[test]
    fn a_wait_ends_at_its_limit() {
        let (_trigger, shutdown) = channel();
        assert_eq!(shutdown.wait(Duration::from_millis(1)), Woken::Elapsed);
    }
}
