//! Named threads with an owner that waits for their end up to a deadline, and what they use to signal each other.

use std::convert::Infallible;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::{Error, Result};
use crate::panics;

/// A running thread.
#[derive(Debug)]
pub struct Thread {
    handle: JoinHandle<()>,
    /// Closed when the thread ends, even by a panic.
    ended: Receiver<Infallible>,
}

/// Starts a thread.
///
/// # Errors
/// The system refuses to create another thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Thread> {
    let (running, ended) = bounded(0);
    let handle = Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _running = running;
            body();
        })
        .map_err(|error| Error::failure(format!("failed to start the thread `{name}`: {error}")))?;
    Ok(Thread { handle, ended })
}

/// Starts a thread that the process can't do without: its error or panic is reported as a failure.
///
/// # Errors
/// Fails as [`spawn`] does.
pub fn spawn_essential(
    name: &'static str,
    failures: &FailureSender,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<Thread> {
    let failures = failures.clone();
    spawn(name, move || {
        let bug = |panic| Err(Error::failure(format!("the thread `{name}` {panic}; this is a bug in airun")));
        if let Err(error) = panics::catch(body).unwrap_or_else(bug) {
            failures.report(error);
        }
    })
}

impl Thread {
    /// Waits for the thread's end until `deadline`.
    ///
    /// # Errors
    /// Returns the thread if it is still running then.
    pub fn join(self, deadline: Instant) -> Result<(), Self> {
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_deadline(deadline) {
            return Err(self);
        }
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        if self.handle.join().is_err() {
            log::error!("the thread `{name}` panicked; this is a bug in airun");
        }
        Ok(())
    }

    /// Waits for the thread's end until `deadline`, and leaves it running if it takes longer.
    pub fn join_or_leave(self, deadline: Instant) {
        if let Err(thread) = self.join(deadline) {
            log::debug!("left the thread `{}` running", thread.handle.thread().name().unwrap_or_default());
        }
    }
}

/// Wakes one thread. Any number of calls before it wakes count as one.
#[derive(Debug, Clone)]
pub struct Waker(Sender<()>);

/// A waker, and the channel on which its thread waits.
pub fn wake_channel() -> (Waker, Receiver<()>) {
    let (sender, receiver) = bounded(1);
    (Waker(sender), receiver)
}

impl Waker {
    pub fn wake(&self) {
        // The channel is full if the thread is about to wake anyway, and closed if it has ended.
        self.0.try_send(()).ok();
    }
}

/// Reports failures after which the process can't go on. The first one stops it.
#[derive(Debug, Clone)]
pub struct FailureSender(Sender<Error>);

/// A channel for the first failure.
pub fn failure_channel() -> (FailureSender, Receiver<Error>) {
    let (sender, receiver) = bounded(1);
    (FailureSender(sender), receiver)
}

impl FailureSender {
    pub fn report(&self, error: Error) {
        if let Err(unsent) = self.0.try_send(error) {
            log::error!("{}", unsent.into_inner());
        }
    }
}
