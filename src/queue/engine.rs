//! Starts the threads of the database tasks, and brings them to an end in the args in which they need each other.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::cleaner::Cleaner;
use super::completer::Completer;
use super::executor::Executor;
use super::heartbeat::Heartbeat;
use super::in_flight::InFlight;
use super::job::Done;
use super::job_channel;
use super::kind::Kind;
use super::notifier::Notifier;
use super::poller::{self, IN_FLIGHT_MAX, Poller, Signals};
use super::prefetch::CLAIM_MAX;
use super::slots::Slots;
use super::stats::Stats;
use super::store::complete::Retention;
use super::store::{ClaimToken, claim, enqueue, fleet, lease};
use super::timeout_watcher::{Alarm, Executors, TimeoutWatcher};
use super::transition::Outcome;
use crate::db::retry::is_permanent;
use crate::db::{Database, ReconnectingConn, Unfinished, locks_are_local};
use crate::error::{Error, ErrorKind, Result};
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
    pub retention: Retention,
}

/// The running threads.
pub struct Engine {
    pub stats: Arc<Stats>,
    in_flight: Arc<InFlight>,
    /// To the completer.
    done: Sender<Done>,
    slots: Arc<Slots>,
    failed: Receiver<Error>,
    poller: Thread,
    executors: Executors,
    completer: Thread,
    timeout_watcher: Thread,
    heartbeat: Thread,
    cleaner: Thread,
    notifier: Option<Notifier>,
    /// Closing it ends the runs in processes.
    abandon: Trigger,
    /// Closed when no run is going on any more.
    runs_end: Trigger,
    /// Closed when everything is written, or can't be.
    all_ends: Trigger,
    database: Database,
    retention: Retention,
    worker_id: u64,
}

/// After the stop timeout, for what is left to do.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts everything, once the database answers.
    ///
    /// `waiting` ends the wait for the database, `stop` everything else.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] at a signal meanwhile; the tables are missing, or the system gives no threads.
    pub fn start(
        kinds: Vec<Arc<Kind>>,
        settings: &Settings,
        database: &Database,
        waiting: &Shutdown,
        stop: &Shutdown,
    ) -> Result<Self> {
        let stats = Arc::<Stats>::default();
        let (all_ends, until) = shutdown::channel();
        let (runs_end, runs_until) = shutdown::channel();
        let (abandon, abandoned) = shutdown::channel();
        let link = |until: &Shutdown| ReconnectingConn::new(database, until, &stats.conn_stats);
        let hostname = host_name();
        let Joined { worker_id, identity, locks_tell } = join(&mut link(waiting), database, &kinds, &hostname)?;
        let (backlog, intake) = job_channel::channel();
        let (done, outcomes) = bounded(IN_FLIGHT_MAX + CLAIM_MAX);
        let (freed, when_freed) = bounded(1);
        let (ring, when_due) = bounded(1);
        let (rung, when_rung) = bounded(1);
        let (fail, failed) = bounded(8);
        let in_flight = Arc::<InFlight>::default();
        let signals = Arc::<Signals>::default();
        let slots = Arc::new(Slots::new(settings.threads));
        let notifier = Notifier::bind(&identity, rung, stop)
            .map_err(|error| Error::failure(format!("failed to make the worker's notifier: {error}")))?;
        let executor = Executor {
            intake,
            slots: Arc::clone(&slots),
            done: done.clone(),
            freed,
            alarm: Arc::new(Alarm::new(ring)),
            database: database.clone(),
            retention: settings.retention.finished,
            stop: stop.clone(),
            abandoned,
        };
        let executors = Executors::start(&executor)?;
        let heartbeat = Heartbeat {
            link: link(&until),
            worker_id,
            hostname,
            in_flight: Arc::clone(&in_flight),
            stats: Arc::clone(&stats),
            signals: Arc::clone(&signals),
            done: done.clone(),
            database: database.clone(),
            retention: settings.retention,
            locks_tell,
            until: until.clone(),
        };
        let completer = Completer {
            link: link(&until),
            done: outcomes,
            in_flight: Arc::clone(&in_flight),
            stats: Arc::clone(&stats),
            retention: settings.retention,
            runs_until: runs_until.clone(),
        };
        let timeout_watcher = TimeoutWatcher {
            executor,
            executors: executors.clone(),
            stats: Arc::clone(&stats),
            rung: when_due,
            failed: fail.clone(),
            until: runs_until,
        };
        let (classes, kinds_of_classes) = poller::classes(&kinds, &queues(&kinds, settings));
        let poller = Poller {
            link: link(stop),
            worker_id,
            classes,
            kinds: kinds_of_classes,
            backlog,
            in_flight: Arc::clone(&in_flight),
            slots: Arc::clone(&slots),
            stats: Arc::clone(&stats),
            signals: Arc::clone(&signals),
            rung: when_rung,
            freed: when_freed,
            stop: stop.clone(),
        };
        let cleaner = Cleaner { link: link(stop), kinds, signals, until: stop.clone() };
        log::info!("worker {worker_id} of `{}` takes database tasks, {} at once", database.name, settings.threads);
        Ok(Self {
            heartbeat: spawn_watched("heartbeat", fail.clone(), move || {
                heartbeat.run();
                Ok(())
            })?,
            completer: spawn_watched("completer", fail.clone(), move || completer.run())?,
            timeout_watcher: spawn_watched("timeout_watcher", fail.clone(), move || {
                timeout_watcher.run();
                Ok(())
            })?,
            poller: spawn_watched("poller", fail, move || poller.run())?,
            cleaner: spawn("cleaner", move || cleaner.run())?,
            stats,
            in_flight,
            done,
            slots,
            failed,
            executors,
            notifier,
            abandon,
            runs_end,
            all_ends,
            database: database.clone(),
            retention: settings.retention,
            worker_id,
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
        let poller = self.poller.join(deadline);
        if let Some(notifier) = self.notifier {
            notifier.join();
        }
        // The executors would do so too, but only when what they run has ended.
        for job in self.in_flight.all().into_iter().filter(|job| job.take_back()) {
            self.done.send_deadline(Done { job, outcome: Outcome::NotBegun }, deadline).unwrap_or_default();
        }
        let mut left = Vec::new();
        if poller.is_err() || !self.executors.join(deadline) {
            let stuck: Vec<_> = self.slots.running().into_iter().map(|(_, job)| job).collect();
            left = stuck.iter().map(|job| format!("`{}` (id {})", job.kind.name, job.token.id)).collect();
            drop(self.abandon);
            self.executors.join(Instant::now() + FLUSH_TIMEOUT);
            // What returns later doesn't count any more.
            let hung: Vec<ClaimToken> = stuck.iter().filter(|job| job.tell()).map(|job| job.token).collect();
            release(&self.database, &hung, &self.retention);
        }
        // The poller counts no more.
        self.stats.queued.store(0, Ordering::Relaxed);
        self.stats.running.store(left.len() as u64, Ordering::Relaxed);
        drop(self.runs_end);
        let last = deadline.max(Instant::now() + FLUSH_TIMEOUT);
        drop(self.timeout_watcher.join(last));
        let completer = self.completer.join(last);
        drop(self.all_ends);
        if let Err(completer) = completer {
            log::error!(
                "the database can't be reached to write what became of tasks of worker {}; they run again when their \
                 lease has run out",
                self.worker_id
            );
            drop(completer.join(last));
        }
        drop(self.cleaner.join(last));
        drop(self.heartbeat.join(last));
        left
    }
}

/// What a worker learns when it joins the fleet.
struct Joined {
    worker_id: u64,
    identity: String,
    locks_tell: bool,
}

fn join(link: &mut ReconnectingConn, database: &Database, kinds: &[Arc<Kind>], host: &str) -> Result<Joined> {
    let joined = link.run(|conn| {
        for kind in kinds.iter().filter(|kind| kind.concurrency.is_some()) {
            claim::ensure_control_row(conn, &kind.name)?;
        }
        fleet::has_columns(conn)?;
        let worker_id = fleet::register(conn, host, std::process::id())?;
        fault::point("joined");
        Ok(Joined { worker_id, identity: enqueue::identity(conn)?, locks_tell: !locks_are_local(conn)? })
    });
    joined.map_err(|unfinished| match unfinished {
        Unfinished::Refused(error) => unfit(database, &error),
        Unfinished::GivenUp => Error::new(ErrorKind::Interrupted, "stopped by a signal while waiting for the database"),
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

fn release(database: &Database, tokens: &[ClaimToken], retention: &Retention) {
    if tokens.is_empty() {
        return;
    }
    match database.connect_for(FLUSH_TIMEOUT).and_then(|mut conn| Ok(lease::release(&mut conn, tokens, retention)?)) {
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
