//! Claimed tasks on their way to the executors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::job::Job;

/// More than are ever held, so that putting one in never waits.
const ROOM: usize = 2 * super::poller::IN_FLIGHT_MAX;

/// The poller's end.
pub struct JobSender {
    jobs: Sender<Arc<Job>>,
    waiting: Arc<QueuedWork>,
}

/// An executor's end.
#[derive(Clone)]
pub struct JobReceiver {
    jobs: Receiver<Arc<Job>>,
    waiting: Arc<QueuedWork>,
}

/// What is between them.
#[derive(Default)]
pub struct QueuedWork {
    count: AtomicU64,
    nanos: AtomicU64,
}

pub fn channel() -> (JobSender, JobReceiver) {
    let (sender, receiver) = bounded(ROOM);
    let waiting = Arc::<QueuedWork>::default();
    (JobSender { jobs: sender, waiting: Arc::clone(&waiting) }, JobReceiver { jobs: receiver, waiting })
}

impl JobSender {
    pub fn put(&self, job: Arc<Job>) {
        self.waiting.count.fetch_add(1, Ordering::Relaxed);
        self.waiting.nanos.fetch_add(nanos(&job), Ordering::Relaxed);
        // The executors end after the poller, and there is room.
        self.jobs.send(job).unwrap_or_default();
    }

    pub fn waiting(&self) -> &Arc<QueuedWork> {
        &self.waiting
    }
}

impl JobReceiver {
    /// The next; `None` when the poller has ended and nothing is left.
    pub fn take(&self) -> Option<Arc<Job>> {
        let job = self.jobs.recv().ok()?;
        self.waiting.count.fetch_sub(1, Ordering::Relaxed);
        self.waiting.nanos.fetch_sub(nanos(&job), Ordering::Relaxed);
        Some(job)
    }
}

impl QueuedWork {
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
