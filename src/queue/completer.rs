//! The thread that writes down what became of tasks, many at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::held::Held;
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::ledger::Ledger;
use super::settle::{Outcome, Verdict, settle};
use super::store::Fence;
use super::store::complete::{self, Keep};
use super::task::Retry;
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
    pub held: Arc<Held>,
    pub ledger: Arc<Ledger>,
    pub keep: Keep,
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
        let mut verdicts: Vec<(Fence, Verdict)> =
            batch.into_iter().map(|done| (done.job.fence, verdict(&done.job, done.outcome))).collect();
        self.find_unsettled(&jobs, &mut verdicts)?;
        for (job, (_, verdict)) in jobs.iter().zip(&verdicts) {
            tell(job, verdict);
        }
        fault::point("complete-begins");
        let changed = self.put(&jobs, &mut verdicts)?;
        fault::point("complete-committed");
        let expected = verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Settled).count() as u64;
        if changed != expected {
            self.find_refused(&verdicts)?;
        }
        for (job, (_, verdict)) in jobs.iter().zip(&verdicts) {
            let lateness = job.began().map(|began| job.waited + (began - job.claimed));
            self.ledger.add(&job.kind.name, verdict, lateness);
        }
        self.held.remove(verdicts.iter().map(|(fence, _)| fence));
        Ok(())
    }

    /// A run that has said so is checked on: one that forgot its commit would run again and again otherwise.
    fn find_unsettled(&mut self, jobs: &[Arc<Job>], verdicts: &mut [(Fence, Verdict)]) -> Result<(), Unfinished> {
        const FORGOTTEN: &str = "its completion was not committed: commit the transaction of `complete_in`";
        let settled = |verdict: &Verdict| *verdict == Verdict::Settled;
        let fences: Vec<Fence> =
            verdicts.iter().filter(|(_, verdict)| settled(verdict)).map(|(fence, _)| *fence).collect();
        if fences.is_empty() {
            return Ok(());
        }
        let unsettled = self.link.run(|conn| complete::unsettled(conn, &fences))?;
        for (job, (fence, verdict)) in jobs.iter().zip(verdicts) {
            if settled(verdict) && unsettled.contains(fence) {
                *verdict = failed(job, FORGOTTEN.to_owned());
            }
        }
        Ok(())
    }

    /// Writes them; how many rows were changed. A result that the server doesn't take is its own task's failure.
    fn put(&mut self, jobs: &[Arc<Job>], verdicts: &mut [(Fence, Verdict)]) -> Result<u64, Unfinished> {
        let keep = self.keep;
        let error = match self.link.run(|conn| complete::write(conn, verdicts, &keep)) {
            Err(Unfinished::Refused(error)) => error,
            done => return done,
        };
        match (jobs, verdicts) {
            ([job], [(fence, verdict @ Verdict::Succeeded { .. })]) => {
                *verdict = failed(job, format!("its result can't be stored: {}", describe(&error)));
                tell(job, verdict);
                self.link.run(|conn| complete::write(conn, &[(*fence, verdict.clone())], &keep))
            }
            ([_], _) => Err(Unfinished::Refused(error)),
            (jobs, verdicts) => jobs.chunks(1).zip(verdicts.chunks_mut(1)).map(|(job, one)| self.put(job, one)).sum(),
        }
    }

    /// Fewer rows than outcomes: the first attempt was committed though its answer was lost, or others have the tasks.
    fn find_refused(&mut self, verdicts: &[(Fence, Verdict)]) -> Result<(), Unfinished> {
        let refused = self.link.run(|conn| complete::refused(conn, verdicts))?;
        self.ledger.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        for id in refused {
            log::warn!("the outcome of task {id} came too late: it was taken back, for another run id={id}");
        }
        Ok(())
    }
}

fn verdict(job: &Job, outcome: Outcome) -> Verdict {
    let cancelled = job.interrupt.why() == Some(Interrupted::Cancelled);
    settle(outcome, &job.record, cancelled, jitter())
}

fn failed(job: &Job, error: String) -> Verdict {
    verdict(job, Outcome::Failed { error, retry: Retry::AsUsual })
}

/// In the log. Success is what is expected, so it says little of it.
fn tell(job: &Job, verdict: &Verdict) {
    let quiet =
        matches!(verdict, Verdict::Succeeded { .. } | Verdict::Settled) && !log::log_enabled!(log::Level::Debug);
    if quiet {
        return;
    }
    let _scope = scope::enter([("task", job.kind.name.clone()), ("id", job.fence.id.to_string())]);
    let attempt = job.attempt();
    match verdict {
        Verdict::Succeeded { .. } | Verdict::Settled => log::debug!("succeeded"),
        Verdict::Retry { after, error, .. } => {
            log::warn!("attempt {attempt} failed, again in {}: {error}", interval::short(*after));
        }
        Verdict::Dead { error, .. } => log::error!("dead after attempt {attempt}: {error}"),
        Verdict::Cancelled => log::info!("cancelled"),
        Verdict::GivenBack => log::info!("given back: pending again"),
    }
}
