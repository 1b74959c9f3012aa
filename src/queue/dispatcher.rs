//! The thread that finds due tasks, claims them, and hands them to the executors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::backlog::Backlog;
use super::held::Held;
use super::intake::{CLAIM_MAX, Load, wanted};
use super::job::Job;
use super::kind::Kind;
use super::ledger::Ledger;
use super::outlook::{Outlook, Want};
use super::slots::Slots;
use super::store::claim::{self, Pick};
use super::store::look::{self, Found, Head, Place, Source};
use super::task::Lane;
use crate::db::{ReconnectingConn, Unfinished, jitter};
use crate::error::Error;
use crate::fault;
use crate::shutdown::Shutdown;

/// Tasks that a worker holds, at most: while their completions can't be written, no more are claimed.
pub const HELD_MAX: usize = 5000;

/// All idle workers together ask the server this often for due tasks; each waits so long times their number.
const POLL: Duration = Duration::from_millis(30);
/// One worker's wait, at most.
const POLL_MAX: Duration = Duration::from_secs(5);
/// While whole batches are claimed from one source, the others are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Who rings inside a transaction rings before its commit, so after a ring in vain it is looked again, this much later
/// and then twice as late each time.
const ECHO_FIRST: Duration = Duration::from_millis(2);
const ECHO_LAST: Duration = Duration::from_millis(64);

/// What the dispatcher and the heart tell each other.
pub struct Signals {
    /// How many workers live, this one among them.
    pub workers: AtomicU32,
    /// How many of them ask for work.
    pub idle_workers: AtomicU32,
    /// Whether this one does.
    pub idle: AtomicBool,
    /// Tasks were given back that are due before those that were seen.
    pub look_back: AtomicBool,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            workers: AtomicU32::new(1),
            idle_workers: AtomicU32::new(1),
            idle: AtomicBool::new(true),
            look_back: AtomicBool::new(false),
        }
    }
}

/// What came of a try to claim.
#[derive(Debug)]
enum Taken {
    /// A whole batch of this source; the next one is likely there.
    Batch(usize, Place),
    /// Less.
    Some,
    /// Something is due that there is no thread for.
    NoRoom,
    Nothing,
}

pub struct Dispatcher {
    pub link: ReconnectingConn,
    pub owner: u64,
    pub sources: Vec<Source>,
    /// Of each source.
    pub kinds: Vec<Arc<Kind>>,
    pub backlog: Backlog,
    pub held: Arc<Held>,
    pub slots: Arc<Slots>,
    pub ledger: Arc<Ledger>,
    pub signals: Arc<Signals>,
    /// Somebody has enqueued something.
    pub rung: Receiver<()>,
    /// A thread has become free.
    pub freed: Receiver<()>,
    pub stop: Shutdown,
}

/// The sources of `kinds` in `queues`, each version that a kind can decode by itself.
pub fn sources(kinds: &[Arc<Kind>], queues: &[String]) -> (Vec<Source>, Vec<Arc<Kind>>) {
    let mut sources = Vec::new();
    for lane in Lane::ALL {
        for kind in kinds {
            for queue in queues {
                for version in 1..=kind.version {
                    let source = Source { kind: kind.name.clone(), version, queue: queue.clone(), lane };
                    sources.push((source, Arc::clone(kind)));
                }
            }
        }
    }
    sources.into_iter().unzip()
}

impl Dispatcher {
    /// The thread's body: until the stop.
    ///
    /// # Errors
    /// What the server has against a claim; the worker can't go on then.
    pub fn run(mut self) -> Result<(), Error> {
        self.dispatch().or_else(|unfinished| unfinished.unless_stopped("failed to claim tasks"))
    }

    fn dispatch(&mut self) -> Result<(), Unfinished> {
        let mut outlook = Outlook::new(self.sources.len());
        let (mut echo, mut again, mut looked) = (None, None::<(usize, Place)>, Instant::now());
        while !self.stop.is_stopping() {
            let load = self.load();
            if self.held.len() >= HELD_MAX || wanted(&load, None) == 0 && self.most_wanted(&load) == 0 {
                self.signals.idle.store(false, Ordering::Relaxed);
                self.wait_for_room();
                continue;
            }
            if let Some((source, place)) = again.take()
                && looked.elapsed() < LOOK_EVERY
                && self.rung.is_empty()
                && wanted(&self.load(), self.kinds[source].pace()) == CLAIM_MAX
            {
                let (count, end) = self.claim_from(source, place, CLAIM_MAX, &mut outlook)?;
                again = end.filter(|_| count == CLAIM_MAX).map(|end| (source, end));
                continue;
            }
            looked = Instant::now();
            let (found, may_be_more) = self.look(&mut outlook)?;
            if may_be_more {
                // It may be of a lane that goes before those that were seen.
                continue;
            }
            let taken = self.claim_first(&found, &mut outlook)?;
            self.signals.idle.store(matches!(taken, Taken::Nothing), Ordering::Relaxed);
            echo = match taken {
                Taken::Batch(source, end) => {
                    again = Some((source, end));
                    None
                }
                Taken::Some => None,
                Taken::NoRoom => {
                    self.wait_for_room();
                    None
                }
                Taken::Nothing => self.wait_for_work(&found, outlook.whole_at(), echo),
            };
        }
        Ok(())
    }

    fn load(&self) -> Load {
        let now = Instant::now();
        let running: Vec<Duration> = self
            .slots
            .running()
            .iter()
            .map(|(_, job)| job.began().map_or(Duration::ZERO, |began| now - began).max(job.estimate))
            .collect();
        self.ledger.running.store(running.len() as u64, Ordering::Relaxed);
        let waiting = self.backlog.waiting();
        let queued = waiting.count();
        self.ledger.queued.store(queued as u64, Ordering::Relaxed);
        Load { slots: self.slots.count(), running, queued, queued_work: waiting.work() }
    }

    /// Of whichever kind this worker would claim most of.
    fn most_wanted(&self, load: &Load) -> usize {
        self.kinds.iter().map(|kind| wanted(load, kind.pace())).max().unwrap_or(0)
    }

    fn look(&mut self, outlook: &mut Outlook) -> Result<(Found, bool), Unfinished> {
        let back = self.signals.look_back.swap(false, Ordering::Relaxed);
        let load = self.load();
        let workers = self.signals.workers.load(Ordering::Relaxed).max(1);
        // Each begins at another batch, so that they aren't in each other's way: to pass what others have locked or
        // claimed costs as much as to claim it.
        let batch = (jitter() * f64::from(workers)) as usize;
        let view = outlook.view(Instant::now(), back, |source| {
            let count = wanted(&load, self.kinds[source].pace());
            Want { count, skip: if count == CLAIM_MAX { batch * CLAIM_MAX } else { 0 } }
        });
        let Self { link, sources, .. } = self;
        let began = Instant::now();
        let found = link.run(|conn| look::look(conn, sources, &view))?;
        if found.read_only && link.leave_read_only() {
            return Ok((found, true));
        }
        let mut took = began.elapsed();
        for (name, seconds) in [("dear-looks", 0.1), ("very-dear-looks", 10.0)] {
            if fault::is_forced(name) {
                took = Duration::from_secs_f64(seconds);
            }
        }
        let again = outlook.end(&view, &found, took, Instant::now(), workers);
        Ok((found, again))
    }

    /// Claims from the first source that has something to claim: by lane, then by what has waited longest.
    fn claim_first(&mut self, found: &Found, outlook: &mut Outlook) -> Result<Taken, Unfinished> {
        let paused: HashSet<(&str, &str)> = found.paused.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (shut, mut heads): (Vec<&Head>, Vec<&Head>) = found.heads.iter().partition(|head| {
            let source = &self.sources[head.source];
            paused.contains(&("kind", source.kind.as_str())) || paused.contains(&("queue", source.queue.as_str()))
        });
        for head in shut {
            outlook.paused(head.source);
        }
        heads.retain(|head| !head.due.is_empty());
        heads.sort_by_key(|head| (self.sources[head.source].lane, -head.waited_micros));
        let mut taken = Taken::Nothing;
        for Head { source, due, .. } in heads {
            let limit = wanted(&self.load(), self.kinds[*source].pace());
            let Some(first) = due.first().filter(|_| limit > 0) else {
                taken = Taken::NoRoom;
                continue;
            };
            // Where there are more than are wanted, others may have the first of them meanwhile.
            let many = due.len() > limit || outlook.is_deep(*source);
            let (count, end) = if many {
                self.claim_from(*source, first.clone(), limit, outlook)?
            } else {
                let ids = due.iter().map(|place| place.id).take(limit).collect();
                let (count, end) = self.claim(*source, &Pick::These(ids), limit)?;
                outlook.claimed(*source, due, if self.is_limited(*source) { count } else { limit });
                (count, end)
            };
            match end {
                Some(end) if many && count == CLAIM_MAX => return Ok(Taken::Batch(*source, end)),
                Some(_) => return Ok(Taken::Some),
                None => {}
            }
        }
        Ok(taken)
    }

    /// Of a kind with a limit less may be claimed than is there.
    fn is_limited(&self, source: usize) -> bool {
        self.kinds[source].concurrency.is_some()
    }

    /// As [`Dispatcher::claim`], from a place on.
    fn claim_from(
        &mut self,
        source: usize,
        place: Place,
        limit: usize,
        outlook: &mut Outlook,
    ) -> Result<(usize, Option<Place>), Unfinished> {
        let (count, end) = self.claim(source, &Pick::From(place.clone()), limit)?;
        match end.clone() {
            Some(end) if count == limit => outlook.claimed_whole(source, end),
            end => outlook.claimed_less(source, end.or(Some(place)).filter(|_| self.is_limited(source))),
        }
        Ok((count, end))
    }

    /// How many were claimed, and where the next one may be.
    fn claim(&mut self, source: usize, pick: &Pick, limit: usize) -> Result<(usize, Option<Place>), Unfinished> {
        let Self { link, sources, kinds, owner, .. } = self;
        let (source, kind) = (&sources[source], &kinds[source]);
        let began = Instant::now();
        let rows = link.run(|conn| claim::claim(conn, source, pick, limit, kind.concurrency, *owner))?;
        let count = rows.len();
        let end = rows.last().map(|row| Place { due_at: row.due_at.clone(), id: row.id }.next());
        let jobs: Vec<Arc<Job>> =
            rows.into_iter().map(|row| Arc::new(Job::new(kind, source.version, self.owner, row))).collect();
        if end.is_some() {
            self.ledger.add_claim(began.elapsed());
        }
        // Held before anybody can finish them.
        self.held.add(&jobs);
        for job in jobs {
            self.backlog.put(job);
        }
        Ok((count, end))
    }

    /// Until a thread is free. What runs long is looked at again, since it may by then be known to run long.
    fn wait_for_room(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        select! {
            recv(self.freed) -> _ => {}
            recv(self.stop.receiver()) -> _ => {}
            default(LOOK_AGAIN) => {}
        }
    }

    /// Until somebody rings, the next task is due, or it is this worker's turn to ask. Returns how long to wait after a
    /// ring in vain.
    fn wait_for_work(&self, found: &Found, whole_at: Option<Instant>, echo: Option<Duration>) -> Option<Duration> {
        let workers = self.signals.idle_workers.load(Ordering::Relaxed).max(1);
        let mut wait = POLL.saturating_mul(workers).min(POLL_MAX).mul_f64(0.5 + jitter());
        let ahead = found.heads.iter().filter_map(|head| head.ahead.as_ref()).map(|(_, micros)| *micros).min();
        if let Some(micros) = ahead.and_then(|micros| u64::try_from(micros).ok()) {
            wait = wait.min(Duration::from_micros(micros));
        }
        if let Some(whole_at) = whole_at {
            wait = wait.min(whole_at.saturating_duration_since(Instant::now()));
        }
        if let Some(echo) = echo {
            wait = wait.min(echo);
        }
        select! {
            recv(self.rung) -> _ => Some(ECHO_FIRST),
            recv(self.stop.receiver()) -> _ => None,
            default(wait) => echo.map(|echo| echo * 2).filter(|echo| *echo <= ECHO_LAST),
        }
    }
}
