//! Threads that have a name and an owner, who can wait for their end for so long and no longer.

use std::convert::Infallible;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::error::{Error, Result};

/// A thread that runs.
#[derive(Debug)]
pub struct Thread {
    handle: JoinHandle<()>,
    /// Closes at its end, however it ends.
    ended: Receiver<Infallible>,
}

/// Starts a thread.
///
/// # Errors
/// The system gives no more of them.
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

impl Thread {
    /// Waits for its end until `deadline`; gives it back if it still runs then.
    ///
    /// # Errors
    /// The thread.
    pub fn join(self, deadline: Instant) -> Result<(), Self> {
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_deadline(deadline) {
            return Err(self);
        }
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        if self.handle.join().is_err() {
            log::error!("the thread `{name}` panicked: airun has a bug");
        }
        Ok(())
    }
}
