//! The thread that keeps this worker's tasks its own, and takes back those of workers that have gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::executor::tree;
use super::in_flight::InFlight;
use super::interrupt::Interrupted;
use super::job::{Done, Job};
use super::poller::Signals;
use super::stats::Stats;
use super::store::complete::Retention;
use super::store::lease::{self, Rescued};
use super::store::{ClaimToken, fleet};
use super::timeout_watcher::interrupt;
use super::transition::{ISOLATED_RUNS_MAX, Outcome};
use super::{LEASE, MISSING_FOR};
use crate::db::{Database, ReconnectingConn, describe, jitter};
use crate::fault;
use crate::observe::scope;
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
/// Between two looks for running tasks that nobody runs, times the number of workers; and this many times as long as one
/// takes, since it passes the dead index entries of all that ran.
const SWEEP: Duration = Duration::from_secs(5);
const DEAR: u32 = 20;
/// Between two looks whether somebody wants a running task cancelled.
const ASK: Duration = Duration::from_secs(1);
/// A lease is extended when so much of it is over.
const EXTEND_AFTER: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// What was claimed and hasn't begun after so long goes back: another worker may have a thread for it.
const UNBEGUN_MAX: Duration = Duration::from_secs(2);
/// After a connection was lost, the others may be away too: their locks are free only since they are not back yet.
const SETTLE: Duration = Duration::from_secs(3);

pub struct Heartbeat {
    pub link: ReconnectingConn,
    pub worker_id: u64,
    pub hostname: String,
    pub in_flight: Arc<InFlight>,
    pub stats: Arc<Stats>,
    pub signals: Arc<Signals>,
    pub done: Sender<Done>,
    pub database: Database,
    pub retention: Retention,
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
    extended: HashMap<ClaimToken, Instant>,
    /// Rows that are this worker's and that it doesn't know, as the last sweep saw them.
    unacknowledged: HashSet<ClaimToken>,
}

impl Heartbeat {
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
        let worker_id = self.worker_id;
        if let Err(error) = self.link.try_run(|conn| fleet::deregister(conn, worker_id)) {
            log::debug!("failed to leave the fleet: {}", describe(&error));
        }
    }

    /// Whatever is due now. A lost connection is tried again at the next tick.
    fn tick(&mut self, agenda: &mut Agenda, memory: &mut Memory) -> mysql::Result<()> {
        let now = Instant::now();
        let worker_id = self.worker_id;
        if now >= agenda.ping {
            agenda.ping = now + PING;
            self.link.try_run(|conn| conn.ping())?;
        }
        if memory.locked != self.link.generation() || !self.link.is_connected() {
            let in_flight = self.link.try_run(|conn| fleet::acquire_liveness_lock(conn, worker_id))?;
            if in_flight == Some(true) {
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
            agenda.look = now + LOOK.saturating_mul(workers).mul_f64(0.5 + jitter());
            self.look(&mut agenda.look)?;
        }
        if now >= agenda.own {
            let began = Instant::now();
            let done = self.release_unacknowledged_claims(memory);
            agenda.own = Instant::now() + SWEEP.max(began.elapsed() * DEAR);
            done?;
        }
        if now >= agenda.sweep {
            let began = Instant::now();
            let done = self.sweep();
            let wait = SWEEP.max(began.elapsed() * DEAR).saturating_mul(workers);
            agenda.sweep = Instant::now() + wait.mul_f64(0.5 + jitter());
            done?;
        }
        Ok(())
    }

    fn beat(&mut self) -> mysql::Result<()> {
        let (worker_id, idle) = (self.worker_id, self.signals.idle.load(Ordering::Relaxed));
        let hostname = self.hostname.clone();
        let size = self.link.try_run(|conn| {
            if !fleet::heartbeat(conn, worker_id, idle)? {
                fleet::rejoin(conn, worker_id, &hostname, std::process::id())?;
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
        let in_flight = self.in_flight.all();
        memory.extended.retain(|token, _| self.in_flight.has(token));
        let due: Vec<u64> = in_flight
            .iter()
            .filter(|job| {
                let since = memory.extended.get(&job.token).copied().unwrap_or(job.claimed).max(job.claimed);
                now.saturating_duration_since(since) >= EXTEND_AFTER
            })
            .map(|job| job.token.id)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let worker_id = self.worker_id;
        if let Some(extended) = self.link.try_run(|conn| lease::extend(conn, worker_id, &due))? {
            memory.extended.extend(extended.iter().map(|(token, _)| (*token, now)));
            let cancelled: Vec<ClaimToken> =
                extended.into_iter().filter(|(_, cancelled)| *cancelled).map(|(token, _)| token).collect();
            self.tell(&cancelled, Interrupted::Cancelled);
        }
        fault::point("lease-extended");
        Ok(())
    }

    /// What others have done to those that run for longer.
    fn ask(&mut self, now: Instant) -> mysql::Result<()> {
        let running = |job: &Arc<Job>| job.began().is_some_and(|began| now.saturating_duration_since(began) >= ASK / 2);
        let tokens: Vec<ClaimToken> =
            self.in_flight.all().iter().filter(|job| running(job)).map(|job| job.token).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        if let Some(news) = self.link.try_run(|conn| lease::news(conn, &tokens))? {
            self.tell(&news.cancelled, Interrupted::Cancelled);
            self.tell(&news.lost, Interrupted::LeaseLost);
        }
        Ok(())
    }

    fn tell(&self, tokens: &[ClaimToken], why: Interrupted) {
        // Whatever the row says of one whose outcome is told may be that outcome.
        for job in tokens.iter().filter_map(|token| self.in_flight.get(token)).filter(|job| job.runs()) {
            if job.interrupt.why().is_none() {
                let _scope = scope::enter([("task", job.kind.name.as_str().into()), ("id", job.token.id.into())]);
                log::warn!("its run is told to end: {why}");
            }
            // Each time again: a kill that comes between two statements is lost.
            interrupt(&job, why, &self.database);
        }
    }

    fn return_unbegun(&self, now: Instant) {
        for job in self.in_flight.all() {
            if now.saturating_duration_since(job.claimed) >= UNBEGUN_MAX && job.take_back() {
                self.done.send(Done { job, outcome: Outcome::NotBegun }).unwrap_or_default();
            }
        }
    }

    /// Takes back what workers had that have gone. Where one has just become missing, the `next` look is when that will
    /// have been long enough.
    fn look(&mut self, next: &mut Instant) -> mysql::Result<()> {
        let (locks_tell, retention) = (self.locks_tell, self.retention);
        let Some(absent) = self.link.try_run(|conn| fleet::find_dead(conn, locks_tell))? else { return Ok(()) };
        if absent.newly_missing {
            *next = Instant::now() + MISSING_FOR;
        }
        for gone in absent.gone.into_iter().filter(|worker| worker.id != self.worker_id) {
            let (worker, was_here) = (gone.id, gone.hostname == self.hostname);
            let rescued = self.link.try_run(|conn| {
                let tokens = lease::owned(conn, worker)?;
                fault::point("rescue-found");
                if was_here && !tokens.is_empty() {
                    // Its runs' processes ended with it, but not what those had started.
                    tree::kill_left_behind(gone.pid, &tokens);
                }
                let rescued = lease::rescue(conn, &tokens, &retention)?;
                fault::point("rescue-done");
                fleet::deregister(conn, worker)?;
                Ok(rescued)
            })?;
            if let Some(rescued) = rescued {
                log::warn!("worker {worker} has gone: {} of its tasks are pending again", rescued.alive);
                self.rescued(&rescued);
            }
        }
        Ok(())
    }

    /// Gives back what is this worker's without its knowing: a claim that was committed though its answer was lost.
    fn release_unacknowledged_claims(&mut self, memory: &mut Memory) -> mysql::Result<()> {
        let (worker_id, retention) = (self.worker_id, self.retention);
        let Some(own) = self.link.try_run(|conn| lease::owned(conn, worker_id))? else { return Ok(()) };
        let unacknowledged: HashSet<ClaimToken> = own.into_iter().filter(|token| !self.in_flight.has(token)).collect();
        // One that was claimed or finished just now is seen once.
        let lost: Vec<ClaimToken> = unacknowledged.intersection(&memory.unacknowledged).copied().collect();
        memory.unacknowledged = unacknowledged;
        if !lost.is_empty()
            && let Some(count) = self.link.try_run(|conn| lease::release(conn, &lost, &retention))?
        {
            log::warn!("{count} tasks were claimed without this worker learning of it: they are pending again");
            self.signals.look_back.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes back what runs for nobody: its lease has run out, or its worker is none of the fleet any more.
    fn sweep(&mut self) -> mysql::Result<()> {
        let retention = self.retention;
        let Some(others) = self.link.try_run(lease::find_orphaned)? else { return Ok(()) };
        let others: Vec<ClaimToken> = others.into_iter().filter(|token| !self.in_flight.has(token)).collect();
        if !others.is_empty()
            && let Some(rescued) = self.link.try_run(|conn| lease::rescue(conn, &others, &retention))?
        {
            log::warn!("{} tasks ran for nobody: they are pending again", rescued.alive);
            self.rescued(&rescued);
        }
        Ok(())
    }

    fn rescued(&self, rescued: &Rescued) {
        if rescued.dead > 0 {
            log::error!(
                "{} tasks are dead: {ISOLATED_RUNS_MAX} workers have gone while they ran them; `airun task list --state dead`",
                rescued.dead
            );
        }
        self.stats.rescued.fetch_add(rescued.alive, Ordering::Relaxed);
        self.signals.look_back.store(true, Ordering::Relaxed);
    }
}
