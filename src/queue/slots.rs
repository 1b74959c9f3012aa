//! What each executor is running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// One for each executor.
pub struct Slots(Vec<Mutex<Option<Arc<Job>>>>);

impl Slots {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The slot's thread begins `job`.
    pub fn begin(&self, number: usize, job: &Arc<Job>) {
        *self.slot(number) = Some(Arc::clone(job));
    }

    /// The slot's thread is done with its job, or has lost the slot to the next thread.
    pub fn end(&self, number: usize) {
        *self.slot(number) = None;
    }

    /// What runs, with the slot's number.
    pub fn running(&self) -> Vec<(usize, Arc<Job>)> {
        (0..self.count()).filter_map(|number| self.slot(number).clone().map(|job| (number, job))).collect()
    }

    /// Nothing panics while it is locked.
    fn slot(&self, number: usize) -> MutexGuard<'_, Option<Arc<Job>>> {
        self.0[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
