//! The tasks that this worker has claimed and whose fate isn't written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::store::Fence;

#[derive(Default)]
pub struct Held(Mutex<HashMap<u64, Arc<Job>>>);

impl Held {
    pub fn add(&self, jobs: &[Arc<Job>]) {
        self.jobs().extend(jobs.iter().map(|job| (job.fence.id, Arc::clone(job))));
    }

    /// Their fate is written. A later claim of the same task stays.
    pub fn remove<'a>(&self, fences: impl Iterator<Item = &'a Fence>) {
        let mut jobs = self.jobs();
        for fence in fences {
            if jobs.get(&fence.id).is_some_and(|job| job.fence == *fence) {
                jobs.remove(&fence.id);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.jobs().len()
    }

    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().values().cloned().collect()
    }

    pub fn get(&self, id: u64) -> Option<Arc<Job>> {
        self.jobs().get(&id).cloned()
    }

    pub fn has(&self, fence: &Fence) -> bool {
        self.jobs().get(&fence.id).is_some_and(|job| job.fence == *fence)
    }

    /// Nothing panics while it is locked.
    fn jobs(&self) -> MutexGuard<'_, HashMap<u64, Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
