//! The channel to the completer. A thread that makes a job `Finished` in the in-flight table sends its completion here.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::in_flight::IN_FLIGHT_MAX;
use super::job::Job;
use super::prefetch::CLAIM_MAX;
use super::transition::Outcome;

/// A job whose run ended, or that was taken back.
pub struct Completion {
    pub job: Arc<Job>,
    pub outcome: Outcome,
    /// `None` if it was taken back before it started.
    pub started_at: Option<Instant>,
}

#[derive(Clone)]
pub struct CompletionSender(Sender<Completion>);

/// A channel with room for every job that can be in flight, so that sending never blocks.
pub fn channel() -> (CompletionSender, Receiver<Completion>) {
    let (sender, receiver) = bounded(IN_FLIGHT_MAX + CLAIM_MAX);
    (CompletionSender(sender), receiver)
}

impl CompletionSender {
    pub fn send(&self, job: Arc<Job>, outcome: Outcome, started_at: Option<Instant>) {
        let id = job.token.id;
        if self.0.send(Completion { job, outcome, started_at }).is_err() {
            // The completer ends early only if it failed, and has reported why.
            log::debug!("the outcome of task {id} can't be written; it runs again when its lease expires");
        }
    }
}
