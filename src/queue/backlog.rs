//! Claimed tasks on their way to the executors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::job::Job;

/// More than are ever held, so that putting one in never waits.
const ROOM: usize = 2 * super::dispatcher::HELD_MAX;

/// The dispatcher's end.
pub struct Backlog {
    jobs: Sender<Arc<Job>>,
    waiting: Arc<Waiting>,
}

/// An executor's end.
#[derive(Clone)]
pub struct Intake {
    jobs: Receiver<Arc<Job>>,
    waiting: Arc<Waiting>,
}

/// What is between them.
#[derive(Default)]
pub struct Waiting {
    count: AtomicU64,
    nanos: AtomicU64,
}

pub fn channel() -> (Backlog, Intake) {
    let (sender, receiver) = bounded(ROOM);
    let waiting = Arc::<Waiting>::default();
    (Backlog { jobs: sender, waiting: Arc::clone(&waiting) }, Intake { jobs: receiver, waiting })
}

impl Backlog {
    pub fn put(&self, job: Arc<Job>) {
        self.waiting.count.fetch_add(1, Ordering::Relaxed);
        self.waiting.nanos.fetch_add(nanos(&job), Ordering::Relaxed);
        // The executors end after the dispatcher, and there is room.
        self.jobs.send(job).unwrap_or_default();
    }

    pub fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }
}

impl Intake {
    /// The next; `None` when the dispatcher has ended and nothing is left.
    pub fn take(&self) -> Option<Arc<Job>> {
        let job = self.jobs.recv().ok()?;
        self.waiting.count.fetch_sub(1, Ordering::Relaxed);
        self.waiting.nanos.fetch_sub(nanos(&job), Ordering::Relaxed);
        Some(job)
    }
}

impl Waiting {
    pub fn count(&self) -> usize {
        usize::try_from(self.count.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// How long they take, together.
    pub fn work(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

fn nanos(job: &Job) -> u64 {
    u64::try_from(job.estimate.as_nanos()).unwrap_or(u64::MAX / (2 * ROOM as u64))
}
