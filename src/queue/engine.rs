//! Starts the threads of the database tasks, and brings them to an end in the order in which they need each other.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::backlog;
use super::bell::Bell;
use super::completer::Completer;
use super::dispatcher::{self, Dispatcher, HELD_MAX, Signals};
use super::execute::Executor;
use super::heart::Heart;
use super::held::Held;
use super::intake::CLAIM_MAX;
use super::job::Done;
use super::kind::Kind;
use super::ledger::Ledger;
use super::purger::Purger;
use super::settle::Outcome;
use super::slots::Slots;
use super::store::complete::Keep;
use super::store::{Fence, claim, enqueue, fleet, lease};
use super::timekeeper::{Alarm, Executors, Timekeeper};
use crate::db::retry::is_permanent;
use crate::db::{Database, ReconnectingConn, Unfinished, locks_are_local};
use crate::error::{Error, Exit, Result};
use crate::fault;
use crate::panics;
use crate::shutdown::{self, Shutdown, Trigger};
use crate::threads::{Thread, spawn};

/// How database tasks are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs at once.
    pub threads: usize,
    /// Only these; all that a kind is put into by itself where there are none.
    pub queues: Vec<String>,
    /// How long final rows are kept.
    pub keep: Keep,
}

/// The running threads.
pub struct Engine {
    pub ledger: Arc<Ledger>,
    held: Arc<Held>,
    /// To the completer.
    done: Sender<Done>,
    slots: Arc<Slots>,
    failed: Receiver<Error>,
    dispatcher: Thread,
    executors: Executors,
    completer: Thread,
    timekeeper: Thread,
    heart: Thread,
    purger: Thread,
    bell: Option<Bell>,
    /// Closing it ends the runs in processes.
    abandon: Trigger,
    /// Closed when no run is going on any more.
    runs_end: Trigger,
    /// Closed when everything is written, or can't be.
    all_ends: Trigger,
    database: Database,
    keep: Keep,
    owner: u64,
}

/// After the stop timeout, for what is left to do.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts everything, once the database answers.
    ///
    /// `waiting` ends the wait for the database, `stop` everything else.
    ///
    /// # Errors
    /// [`Exit::Interrupted`] at a signal meanwhile; the tables are missing, or the system gives no threads.
    pub fn start(
        kinds: Vec<Arc<Kind>>,
        settings: &Settings,
        database: &Database,
        waiting: &Shutdown,
        stop: &Shutdown,
    ) -> Result<Self> {
        let ledger = Arc::<Ledger>::default();
        let (all_ends, until) = shutdown::channel();
        let (runs_end, runs_until) = shutdown::channel();
        let (abandon, abandoned) = shutdown::channel();
        let link = |until: &Shutdown| ReconnectingConn::new(database, until, &ledger.conn_stats);
        let host = host_name();
        let Joined { owner, identity, locks_tell } = join(&mut link(waiting), database, &kinds, &host)?;
        let (backlog, intake) = backlog::channel();
        let (done, outcomes) = bounded(HELD_MAX + CLAIM_MAX);
        let (freed, when_freed) = bounded(1);
        let (ring, when_due) = bounded(1);
        let (rung, when_rung) = bounded(1);
        let (fail, failed) = bounded(8);
        let held = Arc::<Held>::default();
        let signals = Arc::<Signals>::default();
        let slots = Arc::new(Slots::new(settings.threads));
        let bell = Bell::hang(&identity, rung, stop)
            .map_err(|error| Error::failure(format!("failed to make the worker's bell: {error}")))?;
        let executor = Executor {
            intake,
            slots: Arc::clone(&slots),
            done: done.clone(),
            freed,
            alarm: Arc::new(Alarm::new(ring)),
            database: database.clone(),
            keep: settings.keep.finished,
            stop: stop.clone(),
            abandoned,
        };
        let executors = Executors::start(&executor)?;
        let heart = Heart {
            link: link(&until),
            owner,
            host,
            held: Arc::clone(&held),
            ledger: Arc::clone(&ledger),
            signals: Arc::clone(&signals),
            done: done.clone(),
            database: database.clone(),
            keep: settings.keep,
            locks_tell,
            until: until.clone(),
        };
        let completer = Completer {
            link: link(&until),
            done: outcomes,
            held: Arc::clone(&held),
            ledger: Arc::clone(&ledger),
            keep: settings.keep,
            runs_until: runs_until.clone(),
        };
        let timekeeper = Timekeeper {
            executor,
            executors: executors.clone(),
            ledger: Arc::clone(&ledger),
            rung: when_due,
            failed: fail.clone(),
            until: runs_until,
        };
        let (sources, kinds_of_sources) = dispatcher::sources(&kinds, &queues(&kinds, settings));
        let dispatcher = Dispatcher {
            link: link(stop),
            owner,
            sources,
            kinds: kinds_of_sources,
            backlog,
            held: Arc::clone(&held),
            slots: Arc::clone(&slots),
            ledger: Arc::clone(&ledger),
            signals: Arc::clone(&signals),
            rung: when_rung,
            freed: when_freed,
            stop: stop.clone(),
        };
        let purger = Purger { link: link(stop), kinds, signals, until: stop.clone() };
        log::info!("worker {owner} of `{}` takes database tasks, {} at once", database.name, settings.threads);
        Ok(Self {
            heart: spawn_watched("heart", fail.clone(), move || {
                heart.run();
                Ok(())
            })?,
            completer: spawn_watched("completer", fail.clone(), move || completer.run())?,
            timekeeper: spawn_watched("timekeeper", fail.clone(), move || {
                timekeeper.run();
                Ok(())
            })?,
            dispatcher: spawn_watched("dispatcher", fail, move || dispatcher.run())?,
            purger: spawn("purger", move || purger.run())?,
            ledger,
            held,
            done,
            slots,
            failed,
            executors,
            bell,
            abandon,
            runs_end,
            all_ends,
            database: database.clone(),
            keep: settings.keep,
            owner,
        })
    }

    /// Gets the reason when the worker can't go on.
    pub fn failed(&self) -> &Receiver<Error> {
        &self.failed
    }

    /// Once the stop was asked for: waits until `deadline` for what runs, gives back what hasn't begun, writes what is
    /// to be written. Returns what still ran then; others can have it at once, since the process is about to end.
    pub fn drain(self, deadline: Instant) -> Vec<String> {
        // It held the other end of the backlog, so the executors end when that is empty.
        let dispatcher = self.dispatcher.join(deadline);
        if let Some(bell) = self.bell {
            bell.join();
        }
        // The executors would do so too, but only when what they run has ended.
        for job in self.held.all().into_iter().filter(|job| job.take_back()) {
            self.done.send_deadline(Done { job, outcome: Outcome::NotBegun }, deadline).unwrap_or_default();
        }
        let mut left = Vec::new();
        if dispatcher.is_err() || !self.executors.join(deadline) {
            let stuck: Vec<_> = self.slots.running().into_iter().map(|(_, job)| job).collect();
            left = stuck.iter().map(|job| format!("`{}` (id {})", job.kind.name, job.fence.id)).collect();
            drop(self.abandon);
            self.executors.join(Instant::now() + LAST_WORDS);
            // What returns later doesn't count any more.
            let hung: Vec<Fence> = stuck.iter().filter(|job| job.tell()).map(|job| job.fence).collect();
            give_back(&self.database, &hung, &self.keep);
        }
        // The dispatcher counts no more.
        self.ledger.queued.store(0, Ordering::Relaxed);
        self.ledger.running.store(left.len() as u64, Ordering::Relaxed);
        drop(self.runs_end);
        let last = deadline.max(Instant::now() + LAST_WORDS);
        drop(self.timekeeper.join(last));
        let completer = self.completer.join(last);
        drop(self.all_ends);
        if let Err(completer) = completer {
            log::error!(
                "the database can't be reached to write what became of tasks of worker {}; they run again when their \
                 lease has run out",
                self.owner
            );
            drop(completer.join(last));
        }
        drop(self.purger.join(last));
        drop(self.heart.join(last));
        left
    }
}

/// What a worker learns when it joins the fleet.
struct Joined {
    owner: u64,
    identity: String,
    locks_tell: bool,
}

fn join(link: &mut ReconnectingConn, database: &Database, kinds: &[Arc<Kind>], host: &str) -> Result<Joined> {
    let joined = link.run(|conn| {
        for kind in kinds.iter().filter(|kind| kind.concurrency.is_some()) {
            claim::ensure_gate(conn, &kind.name)?;
        }
        fleet::has_columns(conn)?;
        let owner = fleet::join(conn, host, std::process::id())?;
        fault::point("joined");
        Ok(Joined { owner, identity: enqueue::identity(conn)?, locks_tell: !locks_are_local(conn)? })
    });
    joined.map_err(|unfinished| match unfinished {
        Unfinished::Refused(error) => unfit(database, &error),
        Unfinished::GivenUp => Error::new(Exit::Interrupted, "stopped by a signal while waiting for the database"),
    })
}

/// Most likely its tables are missing, or older than this binary.
pub fn unfit(database: &Database, error: &mysql::Error) -> Error {
    if is_permanent(error) {
        return database.explain(error);
    }
    let advice = match error {
        // ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_KEY_DOES_NOT_EXITS
        mysql::Error::MySqlError(error) if matches!(error.code, 1146 | 1054 | 1176) => {
            "; run `airun migrate up` with this binary's migrations first"
        }
        _ => "",
    };
    Error::failure(format!("the database can't be used for tasks: {}{advice}", crate::db::describe(error)))
}

/// What the settings name, or all that the kinds are put into by themselves.
fn queues(kinds: &[Arc<Kind>], settings: &Settings) -> Vec<String> {
    if !settings.queues.is_empty() {
        return settings.queues.clone();
    }
    let mut queues: Vec<String> = kinds.iter().map(|kind| kind.queue.clone()).collect();
    queues.sort();
    queues.dedup();
    queues
}

fn give_back(database: &Database, fences: &[Fence], keep: &Keep) {
    if fences.is_empty() {
        return;
    }
    match database.connect_for(LAST_WORDS).and_then(|mut conn| Ok(lease::give_back(&mut conn, fences, keep)?)) {
        Ok(count) => log::warn!("{count} tasks that still run are pending again"),
        Err(error) => log::warn!("failed to give back what still runs: {error}"),
    }
}

/// As `uname -n` has it.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// A thread whose error, or panic, means that the worker can't go on.
fn spawn_watched(
    name: &str,
    fail: Sender<Error>,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<Thread> {
    let thread = name.to_owned();
    spawn(name, move || {
        let ended = panics::catch(body);
        let bug = |panic| Err(Error::failure(format!("the thread `{thread}` {panic}: airun has a bug")));
        if let Err(error) = ended.unwrap_or_else(bug) {
            fail.try_send(error).unwrap_or_default();
        }
    })
}
