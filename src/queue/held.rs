//! The tasks that this worker has claimed and whose fate isn't written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::store::Fence;

#[derive(Default)]
pub struct Held(Mutex<HashMap<Fence, Arc<Job>>>);

impl Held {
    pub fn add(&self, jobs: &[Arc<Job>]) {
        self.jobs().extend(jobs.iter().map(|job| (job.fence, Arc::clone(job))));
    }

    /// Their fate is written.
    pub fn remove<'a>(&self, fences: impl Iterator<Item = &'a Fence>) {
        let mut jobs = self.jobs();
        for fence in fences {
            jobs.remove(fence);
        }
    }

    pub fn len(&self) -> usize {
        self.jobs().len()
    }

    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().values().cloned().collect()
    }

    pub fn get(&self, fence: &Fence) -> Option<Arc<Job>> {
        self.jobs().get(fence).cloned()
    }

    pub fn has(&self, fence: &Fence) -> bool {
        self.jobs().contains_key(fence)
    }

    /// Nothing panics while it is locked.
    fn jobs(&self) -> MutexGuard<'_, HashMap<Fence, Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
