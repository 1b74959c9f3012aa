//! The thread that writes the outcomes of tasks, in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::interrupt::Interrupted;
use super::job::Job;
use super::shared::{Completion, Shared};
use super::store::ClaimToken;
use super::store::complete;
use super::transition::{Outcome, Transition, next_state};
use crate::db::{ReconnectingConn, Unfinished, describe, jitter};
use crate::duration;
use crate::error::Error;
use crate::fault;
use crate::observe::scope;
use crate::shutdown::Phase;

/// Maximum number of outcomes written at once.
const BATCH_MAX: usize = 500;
/// How long the first outcome of a batch waits for others: a commit costs as much for one as for many.
const LINGER: Duration = Duration::from_millis(3);

pub struct Completer {
    pub shared: Arc<Shared>,
    pub conn: ReconnectingConn,
    pub completions: Receiver<Completion>,
}

impl Completer {
    /// The thread's body: runs until no more outcomes come and all are written, or the server refuses one.
    pub fn run(mut self) -> Result<(), Error> {
        while let Some(first) = self.next() {
            let batch = self.gather(first);
            if let Err(unfinished) = self.write(batch) {
                return unfinished.unless_stopped("failed to write the outcomes of tasks");
            }
        }
        Ok(())
    }

    /// In the flushing phase no more outcomes come.
    fn next(&self) -> Option<Completion> {
        let flushing = self.shared.shutdown.until(Phase::Flushing);
        select! {
            recv(self.completions) -> completion => completion.ok(),
            recv(flushing.receiver()) -> _ => self.completions.try_recv().ok(),
        }
    }

    fn gather(&self, first: Completion) -> Vec<Completion> {
        let until = Instant::now() + LINGER;
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            match self.completions.recv_deadline(until) {
                Ok(completion) => batch.push(completion),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }

    fn write(&mut self, batch: Vec<Completion>) -> Result<(), Unfinished> {
        let mut jobs = Vec::with_capacity(batch.len());
        let mut transitions = Vec::with_capacity(batch.len());
        for Completion { job, outcome, started_at } in batch {
            transitions.push((job.token, transition(&job, outcome)));
            jobs.push((job, started_at));
        }
        self.fail_uncommitted(&jobs, &mut transitions)?;
        for ((job, _), (_, transition)) in jobs.iter().zip(&transitions) {
            log_transition(job, transition);
        }
        fault::point("complete-begins");
        let changed = self.write_transitions(&jobs, &mut transitions)?;
        fault::point("complete-committed");
        let expected = transitions.iter().filter(|(_, transition)| *transition != Transition::Settled).count() as u64;
        if changed != expected {
            self.report_refused(&transitions)?;
        }
        for ((job, started_at), (_, transition)) in jobs.iter().zip(&transitions) {
            let lateness = started_at.map(|started_at| job.waited + (started_at - job.claimed_at));
            self.shared.stats.add(&job.kind.name, transition, lateness);
        }
        self.shared.in_flight.remove(transitions.iter().map(|(token, _)| token));
        if transitions.iter().any(|(_, transition)| *transition == Transition::Released) {
            self.shared.fleet.rescan.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Checks the tasks that reported to have completed themselves. A handler that forgot to commit would otherwise run
    /// again and again, each time its lease expires.
    fn fail_uncommitted(
        &mut self,
        jobs: &[(Arc<Job>, Option<Instant>)],
        transitions: &mut [(ClaimToken, Transition)],
    ) -> Result<(), Unfinished> {
        const UNCOMMITTED: &str = "its completion was not committed: commit the transaction of `complete_in`";
        let is_settled = |transition: &Transition| *transition == Transition::Settled;
        let tokens: Vec<ClaimToken> =
            transitions.iter().filter(|(_, transition)| is_settled(transition)).map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let unsettled = self.conn.run(|conn| complete::unsettled(conn, &tokens))?;
        for ((job, _), (token, transition)) in jobs.iter().zip(transitions) {
            if is_settled(transition) && unsettled.contains(token) {
                *transition = failed(job, UNCOMMITTED.to_owned());
            }
        }
        Ok(())
    }

    /// Writes the transitions and returns the number of rows changed. If the server refuses a task's result, only that
    /// task fails.
    fn write_transitions(
        &mut self,
        jobs: &[(Arc<Job>, Option<Instant>)],
        transitions: &mut [(ClaimToken, Transition)],
    ) -> Result<u64, Unfinished> {
        let retention = self.shared.retention;
        let error = match self.conn.run(|conn| complete::write(conn, transitions, &retention)) {
            Err(Unfinished::Refused(error)) => error,
            done => return done,
        };
        match (jobs, transitions) {
            ([(job, _)], [(token, transition @ Transition::Succeeded(_))]) => {
                *transition = failed(job, format!("its result can't be stored: {}", describe(&error)));
                log_transition(job, transition);
                self.conn.run(|conn| complete::write(conn, &[(*token, transition.clone())], &retention))
            }
            ([_], _) => Err(Unfinished::Refused(error)),
            (jobs, transitions) => jobs
                .chunks(1)
                .zip(transitions.chunks_mut(1))
                .map(|(job, transition)| self.write_transitions(job, transition))
                .sum(),
        }
    }

    /// Fewer rows than outcomes changed. Either an earlier attempt was committed and its answer was lost, or tasks were
    /// given to other runs meanwhile.
    fn report_refused(&mut self, transitions: &[(ClaimToken, Transition)]) -> Result<(), Unfinished> {
        let refused = self.conn.run(|conn| complete::refused(conn, transitions))?;
        self.shared.stats.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        for id in refused {
            let _scope = scope::enter([("id", id.into())]);
            log::warn!("discarded the outcome of task {id}: the task no longer belonged to this run");
        }
        Ok(())
    }
}

fn transition(job: &Job, outcome: Outcome) -> Transition {
    let cancelled = job.interrupt.reason() == Some(Interrupted::Cancelled);
    next_state(outcome, &job.record, cancelled, jitter())
}

fn failed(job: &Job, error: String) -> Transition {
    transition(job, Outcome::failed(error))
}

/// Success is the expected case, so it is logged at debug level only.
fn log_transition(job: &Job, transition: &Transition) {
    let succeeded = matches!(transition, Transition::Succeeded(_) | Transition::Settled);
    if succeeded && !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
    let attempt = job.attempt();
    match transition {
        Transition::Succeeded(_) | Transition::Settled => log::debug!("succeeded"),
        Transition::Retry { after, error, .. } => {
            log::warn!("attempt {attempt} failed, retrying in {}: {error}", duration::short(*after));
        }
        Transition::Dead { error, .. } => log::error!("dead after attempt {attempt}: {error}"),
        Transition::Cancelled => log::info!("cancelled"),
        Transition::Released => log::info!("released: pending again"),
    }
}
