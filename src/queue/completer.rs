//! The thread that writes down what became of tasks, many at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::in_flight::InFlight;
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::stats::Stats;
use super::store::ClaimToken;
use super::store::complete::{self, Retention};
use super::task::Retry;
use super::transition::{Outcome, Transition, next_state};
use crate::db::{ReconnectingConn, Unfinished, describe, jitter};
use crate::error::Error;
use crate::fault;
use crate::interval;
use crate::observe::scope;
use crate::shutdown::Shutdown;

/// Outcomes of one write, at most.
const BATCH_MAX: usize = 500;
/// From the first outcome to the write, while there are fewer: a commit costs as much for one as for many.
const LINGER: Duration = Duration::from_millis(3);

pub struct Completer {
    pub link: ReconnectingConn,
    pub done: Receiver<Done>,
    pub in_flight: Arc<InFlight>,
    pub stats: Arc<Stats>,
    pub retention: Retention,
    /// Closes when there will be no more outcomes.
    pub runs_until: Shutdown,
}

impl Completer {
    /// The thread's body: until the runs have ended, and all that became of them is written.
    ///
    /// # Errors
    /// What the server has against them; the worker can't go on then.
    pub fn run(mut self) -> Result<(), Error> {
        while let Some(first) = self.next() {
            let batch = self.gather(first);
            if let Err(unfinished) = self.write(batch) {
                return unfinished.unless_stopped("failed to write what became of tasks");
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Done> {
        select! {
            recv(self.done) -> done => done.ok(),
            recv(self.runs_until.receiver()) -> _ => self.done.try_recv().ok(),
        }
    }

    fn gather(&self, first: Done) -> Vec<Done> {
        let until = Instant::now() + LINGER;
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            match self.done.recv_deadline(until) {
                Ok(done) => batch.push(done),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }

    fn write(&mut self, batch: Vec<Done>) -> Result<(), Unfinished> {
        let jobs: Vec<Arc<Job>> = batch.iter().map(|done| Arc::clone(&done.job)).collect();
        let mut transitions: Vec<(ClaimToken, Transition)> =
            batch.into_iter().map(|done| (done.job.token, transition(&done.job, done.outcome))).collect();
        self.find_unsettled(&jobs, &mut transitions)?;
        for (job, (_, transition)) in jobs.iter().zip(&transitions) {
            tell(job, transition);
        }
        fault::point("complete-begins");
        let changed = self.put(&jobs, &mut transitions)?;
        fault::point("complete-committed");
        let expected = transitions.iter().filter(|(_, transition)| *transition != Transition::Settled).count() as u64;
        if changed != expected {
            self.find_refused(&transitions)?;
        }
        for (job, (_, transition)) in jobs.iter().zip(&transitions) {
            let lateness = job.began().map(|began| job.waited + (began - job.claimed));
            self.stats.add(&job.kind.name, transition, lateness);
        }
        self.in_flight.remove(transitions.iter().map(|(token, _)| token));
        Ok(())
    }

    /// A run that has said so is checked on: one that forgot its commit would run again and again otherwise.
    fn find_unsettled(
        &mut self,
        jobs: &[Arc<Job>],
        transitions: &mut [(ClaimToken, Transition)],
    ) -> Result<(), Unfinished> {
        const FORGOTTEN: &str = "its completion was not committed: commit the transaction of `complete_in`";
        let settled = |transition: &Transition| *transition == Transition::Settled;
        let tokens: Vec<ClaimToken> =
            transitions.iter().filter(|(_, transition)| settled(transition)).map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let unsettled = self.link.run(|conn| complete::unsettled(conn, &tokens))?;
        for (job, (token, transition)) in jobs.iter().zip(transitions) {
            if settled(transition) && unsettled.contains(token) {
                *transition = failed(job, FORGOTTEN.to_owned());
            }
        }
        Ok(())
    }

    /// Writes them; how many rows were changed. A result that the server doesn't take is its own task's failure.
    fn put(&mut self, jobs: &[Arc<Job>], transitions: &mut [(ClaimToken, Transition)]) -> Result<u64, Unfinished> {
        let retention = self.retention;
        let error = match self.link.run(|conn| complete::write(conn, transitions, &retention)) {
            Err(Unfinished::Refused(error)) => error,
            done => return done,
        };
        match (jobs, transitions) {
            ([job], [(token, transition @ Transition::Succeeded { .. })]) => {
                *transition = failed(job, format!("its result can't be stored: {}", describe(&error)));
                tell(job, transition);
                self.link.run(|conn| complete::write(conn, &[(*token, transition.clone())], &retention))
            }
            ([_], _) => Err(Unfinished::Refused(error)),
            (jobs, transitions) => {
                jobs.chunks(1).zip(transitions.chunks_mut(1)).map(|(job, one)| self.put(job, one)).sum()
            }
        }
    }

    /// Fewer rows than outcomes: the first attempt was committed though its answer was lost, or others have the tasks.
    fn find_refused(&mut self, transitions: &[(ClaimToken, Transition)]) -> Result<(), Unfinished> {
        let refused = self.link.run(|conn| complete::refused(conn, transitions))?;
        self.stats.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        for id in refused {
            let _scope = scope::enter([("id", id.into())]);
            log::warn!("the outcome of task {id} came too late: it was taken back, for another run");
        }
        Ok(())
    }
}

fn transition(job: &Job, outcome: Outcome) -> Transition {
    let cancelled = job.interrupt.why() == Some(Interrupted::Cancelled);
    next_state(outcome, &job.record, cancelled, jitter())
}

fn failed(job: &Job, error: String) -> Transition {
    transition(job, Outcome::Failed { error, retry: Retry::AsUsual })
}

/// In the log. Success is what is expected, so it says little of it.
fn tell(job: &Job, transition: &Transition) {
    let quiet = matches!(transition, Transition::Succeeded { .. } | Transition::Settled)
        && !log::log_enabled!(log::Level::Debug);
    if quiet {
        return;
    }
    let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
    let attempt = job.attempt();
    match transition {
        Transition::Succeeded { .. } | Transition::Settled => log::debug!("succeeded"),
        Transition::Retry { after, error, .. } => {
            log::warn!("attempt {attempt} failed, again in {}: {error}", interval::short(*after));
        }
        Transition::Dead { error, .. } => log::error!("dead after attempt {attempt}: {error}"),
        Transition::Cancelled => log::info!("cancelled"),
        Transition::Released => log::info!("given back: pending again"),
    }
}
