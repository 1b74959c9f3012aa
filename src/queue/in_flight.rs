//! The tasks that this worker has claimed and whose fate isn't written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::store::ClaimToken;

#[derive(Default)]
pub struct InFlight(Mutex<HashMap<ClaimToken, Arc<Job>>>);

impl InFlight {
    pub fn add(&self, jobs: &[Arc<Job>]) {
        self.jobs().extend(jobs.iter().map(|job| (job.token, Arc::clone(job))));
    }

    /// Their fate is written.
    pub fn remove<'a>(&self, tokens: impl Iterator<Item = &'a ClaimToken>) {
        let mut jobs = self.jobs();
        for token in tokens {
            jobs.remove(token);
        }
    }

    pub fn len(&self) -> usize {
        self.jobs().len()
    }

    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().values().cloned().collect()
    }

    pub fn get(&self, token: &ClaimToken) -> Option<Arc<Job>> {
        self.jobs().get(token).cloned()
    }

    pub fn has(&self, token: &ClaimToken) -> bool {
        self.jobs().contains_key(token)
    }

    /// Nothing panics while it is locked.
    fn jobs(&self) -> MutexGuard<'_, HashMap<ClaimToken, Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
