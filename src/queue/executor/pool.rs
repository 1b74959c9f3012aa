//! The executors' threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Executor;
use crate::error::Result;
use crate::threads::Thread;

/// The thread of each executor. When a thread is abandoned, another one takes its place.
#[derive(Clone)]
pub struct ExecutorPool {
    executor: Executor,
    threads: Arc<Mutex<Vec<Option<Thread>>>>,
}

impl ExecutorPool {
    /// Starts `count` executors.
    ///
    /// # Errors
    /// The system refuses to create another thread.
    pub fn start(executor: Executor, count: usize) -> Result<Self> {
        let threads: Result<Vec<_>> = (0..count).map(|number| executor.clone().spawn(number).map(Some)).collect();
        Ok(Self { executor, threads: Arc::new(Mutex::new(threads?)) })
    }

    /// Starts a new thread for executor `number`, whose thread doesn't return.
    ///
    /// # Errors
    /// The system refuses to create another thread.
    pub fn replace(&self, number: usize) -> Result<()> {
        let thread = self.executor.clone().spawn(number)?;
        self.threads()[number] = Some(thread);
        Ok(())
    }

    /// Waits for all threads until `deadline`. Returns true if they have ended.
    pub fn join(&self, deadline: Instant) -> bool {
        let mut all = true;
        let count = self.threads().len();
        for number in 0..count {
            // The lock is not held during the wait: the timeout watcher may replace a thread meanwhile.
            let Some(thread) = self.threads()[number].take() else { continue };
            if let Err(running) = thread.join(deadline) {
                all = false;
                self.threads()[number] = Some(running);
            }
        }
        all
    }

    /// Nothing panics while the threads are locked.
    fn threads(&self) -> MutexGuard<'_, Vec<Option<Thread>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
