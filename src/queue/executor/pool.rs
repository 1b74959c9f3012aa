//! The executors' threads.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::Executor;
use crate::error::Result;
use crate::threads::{Thread, lock};

/// The thread of each executor. When a thread is abandoned, another one takes its place.
#[derive(Clone)]
pub struct ExecutorPool {
    executor: Executor,
    threads: Arc<Mutex<Vec<Option<Thread>>>>,
}

impl ExecutorPool {
    pub fn start(executor: Executor, count: usize) -> Result<Self> {
        let threads: Result<Vec<_>> = (0..count).map(|number| executor.clone().spawn(number).map(Some)).collect();
        Ok(Self { executor, threads: Arc::new(Mutex::new(threads?)) })
    }

    /// Starts a new thread for executor `number`, whose thread doesn't return.
    pub fn replace(&self, number: usize) -> Result<()> {
        let thread = self.executor.clone().spawn(number)?;
        lock(&self.threads)[number] = Some(thread);
        Ok(())
    }

    /// Waits for all threads until `deadline`. Returns true if they have ended.
    pub fn join(&self, deadline: Instant) -> bool {
        let mut all = true;
        let count = lock(&self.threads).len();
        for number in 0..count {
            // The lock is not held during the wait: the timeout watcher may replace a thread meanwhile.
            let Some(thread) = lock(&self.threads)[number].take() else { continue };
            if let Err(running) = thread.join(deadline) {
                all = false;
                lock(&self.threads)[number] = Some(running);
            }
        }
        all
    }
}
