//! Named threads with an owner that waits for their end up to a deadline, and what they use to signal each other.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Starts a thread, unless the system refuses to create another one.
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
pub fn spawn_essential(
    name: &'static str,
    failures: &Sender<Error>,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<Thread> {
    let failures = failures.clone();
    spawn(name, move || {
        let bug = |panic| Err(Error::failure(format!("the thread `{name}` {panic}; this is a bug in airun")));
        if let Err(error) = panics::catch(body).unwrap_or_else(bug) {
            report_failure(&failures, error);
        }
    })
}

impl Thread {
    /// For `select!`: becomes ready (disconnected) when the thread ends.
    pub fn ended(&self) -> &Receiver<Infallible> {
        &self.ended
    }

    /// Waits for the thread's end until `deadline`. The error is the thread, if it is still running then.
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

/// Locks a mutex whose data is valid even if another thread panicked while it held the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the thread that waits on a channel with room for one message. Any number of calls before it wakes count as one.
pub fn wake(waker: &Sender<()>) {
    // The channel is full if the thread is about to wake anyway, and closed if it has ended.
    waker.try_send(()).ok();
}

/// Reports a failure after which the process can't go on. The first one fills the channel and stops the process.
pub fn report_failure(failures: &Sender<Error>, error: Error) {
    if let Err(unsent) = failures.try_send(error) {
        log::error!("{}", unsent.into_inner());
    }
}
