//! The thread that keeps this worker's tasks its own, and takes back those of workers that have gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::dispatcher::Signals;
use super::held::Held;
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::ledger::Ledger;
use super::settle::Outcome;
use super::store::complete::Keep;
use super::store::{Fence, fleet, lease};
use super::timekeeper::interrupt;
use super::{LEASE, MISSING_FOR};
use crate::db::{Database, Link, describe, random};
use crate::fault;
use crate::shutdown::{Shutdown, Woken};

/// The shortest of the times below.
const TICK: Duration = Duration::from_millis(250);
/// Between two looks whether the connection is still there, and the lock with it: well below the time after which the
/// others take this worker for gone.
const PING: Duration = Duration::from_secs(1);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// Between two looks for workers that have gone, times the number of workers.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks for running tasks that nobody runs, times the number of workers.
const SWEEP: Duration = Duration::from_secs(5);
/// Between two looks whether somebody wants a running task cancelled.
const ASK: Duration = Duration::from_secs(1);
/// A lease is extended when so much of it is over.
const EXTEND_AFTER: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// What was claimed and hasn't begun after so long goes back: another worker may have a thread for it.
const UNBEGUN_MAX: Duration = Duration::from_secs(2);
/// After a connection was lost, the others may be away too: their locks are free only since they are not back yet.
const SETTLE: Duration = Duration::from_secs(3);

pub struct Heart {
    pub link: Link,
    pub owner: u64,
    pub host: String,
    pub held: Arc<Held>,
    pub ledger: Arc<Ledger>,
    pub signals: Arc<Signals>,
    pub done: Sender<Done>,
    pub database: Database,
    pub keep: Keep,
    /// Whether a free lock tells that its worker has gone.
    pub locks_tell: bool,
    pub until: Shutdown,
}

/// When each thing is to be done next.
struct Agenda {
    ping: Instant,
    beat: Instant,
    look: Instant,
    own: Instant,
    sweep: Instant,
    ask: Instant,
}

/// What is remembered from one tick to the next.
#[derive(Default)]
struct Memory {
    /// The connection that has the lock.
    locked: u64,
    /// When each lease was extended last.
    extended: HashMap<u64, Instant>,
    /// Rows that are this worker's and that it doesn't know, as the last sweep saw them.
    strays: HashSet<Fence>,
}

impl Heart {
    /// The thread's body: until everything else has ended.
    pub fn run(mut self) {
        let now = Instant::now();
        let mut agenda = Agenda {
            ping: now + PING,
            beat: now,
            look: now + LOOK,
            own: now + SWEEP,
            sweep: now + SWEEP,
            ask: now + ASK,
        };
        let mut memory = Memory::default();
        loop {
            if let Err(error) = self.tick(&mut agenda, &mut memory) {
                log::warn!("failed to keep the leases: {}", describe(&error));
            }
            if self.until.wait(TICK) == Woken::Stopping {
                break;
            }
        }
        let owner = self.owner;
        if let Err(error) = self.link.try_run(|conn| fleet::leave(conn, owner)) {
            log::debug!("failed to leave the fleet: {}", describe(&error));
        }
    }

    /// Whatever is due now. A lost connection is tried again at the next tick.
    fn tick(&mut self, agenda: &mut Agenda, memory: &mut Memory) -> mysql::Result<()> {
        let now = Instant::now();
        let owner = self.owner;
        if now >= agenda.ping {
            agenda.ping = now + PING;
            self.link.try_run(|conn| conn.ping())?;
        }
        if memory.locked != self.link.generation() || !self.link.is_connected() {
            let held = self.link.try_run(|conn| fleet::hold(conn, owner))?;
            if held == Some(true) {
                if memory.locked != 0 {
                    agenda.look = now + SETTLE;
                }
                memory.locked = self.link.generation();
                // Others may have taken this worker for gone: it mustn't claim without being one of them.
                agenda.beat = now;
            }
        }
        if now >= agenda.beat {
            agenda.beat = now + BEAT;
            self.beat()?;
        }
        self.extend(now, memory)?;
        if now >= agenda.ask {
            agenda.ask = now + ASK;
            self.ask(now)?;
        }
        self.return_unbegun(now);
        let workers = self.signals.workers.load(Ordering::Relaxed).max(1);
        if now >= agenda.look {
            agenda.look = now + LOOK.saturating_mul(workers).mul_f64(0.5 + random());
            self.look(&mut agenda.look)?;
        }
        if now >= agenda.own {
            agenda.own = now + SWEEP;
            self.find_strays(memory)?;
        }
        if now >= agenda.sweep {
            agenda.sweep = now + SWEEP.saturating_mul(workers).mul_f64(0.5 + random());
            self.sweep()?;
        }
        Ok(())
    }

    fn beat(&mut self) -> mysql::Result<()> {
        let (owner, idle) = (self.owner, self.signals.idle.load(Ordering::Relaxed));
        let host = self.host.clone();
        let size = self.link.try_run(|conn| {
            if !fleet::beat(conn, owner, idle)? {
                fleet::rejoin(conn, owner, &host, std::process::id())?;
            }
            fault::point("beat");
            fleet::size(conn)
        })?;
        if let Some(size) = size {
            self.signals.workers.store(size.alive.max(1), Ordering::Relaxed);
            // This one counts as idle when it asks.
            self.signals.idle_workers.store(size.idle.max(1), Ordering::Relaxed);
        }
        Ok(())
    }

    fn extend(&mut self, now: Instant, memory: &mut Memory) -> mysql::Result<()> {
        let held = self.held.all();
        memory.extended.retain(|id, _| held.iter().any(|job| job.fence.id == *id));
        let due: Vec<u64> = held
            .iter()
            .filter(|job| {
                let since = memory.extended.get(&job.fence.id).copied().unwrap_or(job.claimed).max(job.claimed);
                now.saturating_duration_since(since) >= EXTEND_AFTER
            })
            .map(|job| job.fence.id)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let owner = self.owner;
        if let Some(extended) = self.link.try_run(|conn| lease::extend(conn, owner, &due))? {
            memory.extended.extend(extended.iter().map(|(id, _)| (*id, now)));
            let cancelled: Vec<u64> =
                extended.into_iter().filter(|(_, cancelled)| *cancelled).map(|(id, _)| id).collect();
            self.cancel(&cancelled);
        }
        fault::point("lease-extended");
        Ok(())
    }

    /// Whether somebody wants one cancelled of those that run for longer.
    fn ask(&mut self, now: Instant) -> mysql::Result<()> {
        let running = |job: &Arc<Job>| job.began().is_some_and(|began| now.saturating_duration_since(began) >= ASK / 2);
        let ids: Vec<u64> = self.held.all().iter().filter(|job| running(job)).map(|job| job.fence.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let owner = self.owner;
        if let Some(cancelled) = self.link.try_run(|conn| lease::cancel_requested(conn, owner, &ids))? {
            self.cancel(&cancelled);
        }
        Ok(())
    }

    fn cancel(&self, ids: &[u64]) {
        for job in ids.iter().filter_map(|id| self.held.get(*id)) {
            if job.interrupt.why().is_none() {
                log::info!("cancelling task {} on request task={} id={}", job.fence.id, job.kind.name, job.fence.id);
            }
            // Each time again: a kill that comes between two statements is lost.
            interrupt(&job, Interrupted::Cancelled, &self.database);
        }
    }

    fn return_unbegun(&self, now: Instant) {
        for job in self.held.all() {
            if now.saturating_duration_since(job.claimed) >= UNBEGUN_MAX && job.take_back() {
                self.done.send(Done { job, outcome: Outcome::NotBegun }).unwrap_or_default();
            }
        }
    }

    /// Takes back what workers had that have gone. Where one has just become missing, the `next` look is when that will
    /// have been long enough.
    fn look(&mut self, next: &mut Instant) -> mysql::Result<()> {
        let (locks_tell, keep) = (self.locks_tell, self.keep);
        let Some(absent) = self.link.try_run(|conn| fleet::absent(conn, locks_tell))? else { return Ok(()) };
        if absent.newly_missing {
            *next = Instant::now() + MISSING_FOR;
        }
        for worker in absent.gone.into_iter().filter(|worker| *worker != self.owner) {
            let rescued = self.link.try_run(|conn| {
                let fences = lease::owned(conn, worker)?;
                fault::point("rescue-found");
                let rescued = lease::rescue(conn, &fences, &keep)?;
                fault::point("rescue-done");
                fleet::leave(conn, worker)?;
                Ok(rescued)
            })?;
            if let Some(rescued) = rescued {
                log::warn!("worker {worker} has gone: {rescued} of its tasks are pending again");
                self.rescued(rescued);
            }
        }
        Ok(())
    }

    /// Gives back what is this worker's without its knowing: a claim that was committed though its answer was lost.
    fn find_strays(&mut self, memory: &mut Memory) -> mysql::Result<()> {
        let (owner, keep) = (self.owner, self.keep);
        let Some(own) = self.link.try_run(|conn| lease::owned(conn, owner))? else { return Ok(()) };
        let strays: HashSet<Fence> = own.into_iter().filter(|fence| !self.held.has(fence)).collect();
        // One that was claimed or finished just now is seen once.
        let lost: Vec<Fence> = strays.intersection(&memory.strays).copied().collect();
        memory.strays = strays;
        if !lost.is_empty()
            && let Some(count) = self.link.try_run(|conn| lease::give_back(conn, &lost, &keep))?
        {
            log::warn!("{count} tasks were claimed without this worker learning of it: they are pending again");
            self.signals.look_back.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes back what runs for nobody: its lease has run out, or its worker is none of the fleet any more.
    fn sweep(&mut self) -> mysql::Result<()> {
        let keep = self.keep;
        let Some(others) = self.link.try_run(lease::ownerless)? else { return Ok(()) };
        let others: Vec<Fence> = others.into_iter().filter(|fence| !self.held.has(fence)).collect();
        if !others.is_empty()
            && let Some(count) = self.link.try_run(|conn| lease::rescue(conn, &others, &keep))?
        {
            log::warn!("{count} tasks ran for nobody: they are pending again");
            self.rescued(count);
        }
        Ok(())
    }

    fn rescued(&self, count: u64) {
        self.ledger.rescued.fetch_add(count, Ordering::Relaxed);
        self.signals.look_back.store(true, Ordering::Relaxed);
    }
}
