//! What each executor is running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// One for each executor.
pub struct Slots(Vec<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    job: Option<Arc<Job>>,
    /// Which thread has the slot: one that hangs has lost it to the next.
    thread: u64,
}

impl Slots {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A thread begins `job`.
    pub fn begin(&self, number: usize, job: &Arc<Job>) {
        self.slot(number).job = Some(Arc::clone(job));
    }

    /// A thread is done with its job; whether the slot is still its own.
    pub fn end(&self, number: usize, thread: u64) -> bool {
        let mut slot = self.slot(number);
        let own = slot.thread == thread;
        if own {
            slot.job = None;
        }
        own
    }

    /// Takes the slot from the thread that has it; the next one's number.
    pub fn replace(&self, number: usize) -> u64 {
        let mut slot = self.slot(number);
        slot.job = None;
        slot.thread += 1;
        slot.thread
    }

    /// What runs, with the slot's number.
    pub fn running(&self) -> Vec<(usize, Arc<Job>)> {
        (0..self.count()).filter_map(|number| self.slot(number).job.clone().map(|job| (number, job))).collect()
    }

    /// Nothing panics while it is locked.
    fn slot(&self, number: usize) -> MutexGuard<'_, Slot> {
        self.0[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
