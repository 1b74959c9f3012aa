//! Starts the threads that run database tasks, and stops them in the order in which they depend on each other.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::cancel_watcher::CancelWatcher;
use super::cleaner::Cleaner;
use super::completer::{self, Completer, Completion, CompletionSender};
use super::executor::Executor;
use super::executor::pool::ExecutorPool;
use super::fleet_view::FleetView;
use super::heartbeat::Heartbeat;
use super::in_flight::{IN_FLIGHT_MAX, InFlight};
use super::job::Job;
use super::kind::Kind;
use super::maintenance::Maintenance;
use super::notifier::Notifier;
use super::poller::{self, Poller};
use super::rescuer::{Rescuer, Schedule};
use super::stats::Stats;
use super::store::complete::Retention;
use super::store::{ClaimToken, claim, enqueue, fleet, lease};
use super::timeout_watcher::TimeoutWatcher;
use super::transition::Outcome;
use crate::db::retry::is_permanent;
use crate::db::{Database, ReconnectingConn, Unfinished, locks_are_local};
use crate::error::{Error, ErrorKind, Result};
use crate::fault;
use crate::shutdown::{Phase, Shutdown, Trigger};
use crate::threads::{self, FailureSender, Thread, Waker, spawn_essential};

/// How database tasks are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of executors: tasks that run at once.
    pub threads: usize,
    /// Queues from which tasks are claimed. Empty means the default queue of each kind.
    pub queues: Vec<String>,
    /// How long finished tasks are kept.
    pub retention: Retention,
}

/// The running threads.
pub struct Engine {
    shared: Shared,
    failed: Receiver<Error>,
    executors: ExecutorPool,
    poller: Thread,
    completer: Thread,
    timeout_watcher: Thread,
    maintenance: Thread,
    cleaner: Thread,
    notifier: Option<Notifier>,
}

/// The parts that the threads share.
struct Shared {
    database: Database,
    retention: Retention,
    kinds: Vec<Arc<Kind>>,
    registration: Registration,
    shutdown: Shutdown,
    stats: Arc<Stats>,
    in_flight: Arc<InFlight>,
    fleet: Arc<FleetView>,
    completions: CompletionSender,
    failures: FailureSender,
}

/// The worker's identity, and what it found out about the server when it registered.
struct Registration {
    worker_id: u64,
    hostname: String,
    /// Identity of the database, the same for all programs on this host that use it.
    identity: String,
    locks_are_global: bool,
}

/// Time for what remains to be done after the stop timeout.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Engine {
    /// Registers the worker, once the database answers, and starts its threads. `signals` ends the wait for the
    /// database, and `shutdown` ends everything else.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] if a signal arrives during the wait. Otherwise the tables are missing or too old, or the
    /// system refuses to create a thread or a socket.
    pub fn start(
        kinds: Vec<Arc<Kind>>,
        settings: &Settings,
        database: &Database,
        signals: &Shutdown,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let stats = Arc::<Stats>::default();
        let mut conn = ReconnectingConn::new(database, signals, &stats.conn_stats);
        let registration = register(&mut conn, database, &kinds)?;
        let (jobs, claimed) = bounded(2 * IN_FLIGHT_MAX);
        let (completions, completed) = completer::channel();
        let (executor_free, when_free) = threads::wake_channel();
        let (alarm, when_alarmed) = threads::wake_channel();
        let (notify, notified) = threads::wake_channel();
        let (failures, failed) = threads::failure_channel();
        let shared = Shared {
            database: database.clone(),
            retention: settings.retention,
            kinds,
            registration,
            shutdown: shutdown.clone(),
            stats,
            in_flight: Arc::new(InFlight::new(settings.threads, alarm)),
            fleet: Arc::default(),
            completions,
            failures,
        };
        let notifier = shared.start_notifier(notify)?;
        let executors = shared.start_executors(settings.threads, claimed, executor_free)?;
        let engine = Self {
            maintenance: shared.start_maintenance()?,
            completer: shared.start_completer(completed)?,
            timeout_watcher: shared.start_timeout_watcher(&executors, when_alarmed)?,
            poller: shared.start_poller(settings, jobs, notified, when_free)?,
            cleaner: shared.start_cleaner()?,
            shared,
            failed,
            executors,
            notifier,
        };
        let Shared { registration: Registration { worker_id, .. }, database, .. } = &engine.shared;
        log::info!("worker {worker_id} claims tasks of `{}` with {} executors", database.name, settings.threads);
        Ok(engine)
    }

    /// Receives the reason if the worker can't continue.
    pub fn failed(&self) -> &Receiver<Error> {
        &self.failed
    }

    /// The counters of the tasks.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// Stops the worker: waits for running tasks until `deadline`, releases those that have not started, and writes all
    /// outcomes. Tasks that still run at the deadline are released for other workers, because the process is about to
    /// end; their names are returned.
    pub fn drain(self, shutdown: &mut Trigger, deadline: Instant) -> Vec<String> {
        shutdown.enter(Phase::Draining);
        // The poller holds the sending side of the executors' channel, so they end only after it.
        let poller_ended = self.poller.join(deadline).is_ok();
        if let Some(notifier) = self.notifier {
            notifier.join();
        }
        self.shared.release_unstarted();
        let mut left = Vec::new();
        if !poller_ended || !self.executors.join(deadline) {
            let running = self.shared.in_flight.running();
            left = running.iter().map(|job| format!("`{}` (id {})", job.kind.name, job.token.id)).collect();
            shutdown.enter(Phase::Killing);
            self.executors.join(Instant::now() + FLUSH_TIMEOUT);
            self.shared.release_running(&running);
        }
        // The poller doesn't update the gauges any more.
        self.shared.stats.queued.store(0, Ordering::Relaxed);
        self.shared.stats.running.store(left.len() as u64, Ordering::Relaxed);
        shutdown.enter(Phase::Flushing);
        let flush_deadline = deadline.max(Instant::now() + FLUSH_TIMEOUT);
        self.timeout_watcher.join_or_leave(flush_deadline);
        let completer = self.completer.join(flush_deadline);
        shutdown.enter(Phase::Stopped);
        if let Err(completer) = completer {
            log::error!(
                "failed to write all outcomes of worker {}, because the database doesn't answer; those tasks run again \
                 when their leases expire",
                self.shared.registration.worker_id
            );
            completer.join_or_leave(flush_deadline);
        }
        self.cleaner.join_or_leave(flush_deadline);
        self.maintenance.join_or_leave(flush_deadline);
        left
    }
}

impl Shared {
    /// A connection of one thread, which reconnects until `phase`.
    fn conn(&self, phase: Phase) -> ReconnectingConn {
        ReconnectingConn::new(&self.database, &self.shutdown.until(phase), &self.stats.conn_stats)
    }

    fn start_notifier(&self, notify: Waker) -> Result<Option<Notifier>> {
        Notifier::bind(&self.registration.identity, notify, &self.shutdown)
            .map_err(|error| Error::failure(format!("failed to create the worker's notification socket: {error}")))
    }

    fn start_executors(&self, count: usize, jobs: Receiver<Arc<Job>>, executor_free: Waker) -> Result<ExecutorPool> {
        let executor = Executor {
            jobs,
            in_flight: Arc::clone(&self.in_flight),
            completions: self.completions.clone(),
            executor_free,
            database: self.database.clone(),
            retention: self.retention.finished,
            shutdown: self.shutdown.clone(),
        };
        ExecutorPool::start(executor, count)
    }

    fn start_poller(
        &self,
        settings: &Settings,
        jobs: Sender<Arc<Job>>,
        notified: Receiver<()>,
        executor_free: Receiver<()>,
    ) -> Result<Thread> {
        let (classes, kinds) = poller::classes(&self.kinds, &queues(&self.kinds, settings));
        let poller = Poller {
            conn: self.conn(Phase::Draining),
            worker_id: self.registration.worker_id,
            classes,
            kinds,
            jobs,
            in_flight: Arc::clone(&self.in_flight),
            stats: Arc::clone(&self.stats),
            fleet: Arc::clone(&self.fleet),
            notified,
            executor_free,
            stop: self.shutdown.clone(),
        };
        spawn_essential("poller", self.failures.clone(), move || poller.run())
    }

    fn start_completer(&self, completions: Receiver<Completion>) -> Result<Thread> {
        let completer = Completer {
            conn: self.conn(Phase::Stopped),
            completions,
            in_flight: Arc::clone(&self.in_flight),
            fleet: Arc::clone(&self.fleet),
            stats: Arc::clone(&self.stats),
            retention: self.retention,
            flushing: self.shutdown.until(Phase::Flushing),
        };
        spawn_essential("completer", self.failures.clone(), move || completer.run())
    }

    fn start_timeout_watcher(&self, pool: &ExecutorPool, alarm: Receiver<()>) -> Result<Thread> {
        let timeout_watcher = TimeoutWatcher {
            in_flight: Arc::clone(&self.in_flight),
            pool: pool.clone(),
            completions: self.completions.clone(),
            database: self.database.clone(),
            stats: Arc::clone(&self.stats),
            alarm,
            failures: self.failures.clone(),
            flushing: self.shutdown.until(Phase::Flushing),
        };
        spawn_essential("timeout-watcher", self.failures.clone(), move || {
            timeout_watcher.run();
            Ok(())
        })
    }

    fn start_maintenance(&self) -> Result<Thread> {
        let Registration { worker_id, hostname, locks_are_global, .. } = &self.registration;
        let (in_flight, fleet) = (&self.in_flight, &self.fleet);
        let maintenance = Maintenance {
            conn: self.conn(Phase::Stopped),
            worker_id: *worker_id,
            heartbeat: Heartbeat::new(
                *worker_id,
                hostname.clone(),
                Arc::clone(in_flight),
                Arc::clone(fleet),
                self.database.clone(),
            ),
            cancel_watcher: CancelWatcher::new(Arc::clone(in_flight), self.database.clone()),
            rescuer: Rescuer {
                worker_id: *worker_id,
                hostname: hostname.clone(),
                in_flight: Arc::clone(in_flight),
                fleet: Arc::clone(fleet),
                stats: Arc::clone(&self.stats),
                completions: self.completions.clone(),
                retention: self.retention,
                locks_are_global: *locks_are_global,
                schedule: Schedule::new(),
            },
            stopped: self.shutdown.until(Phase::Stopped),
        };
        spawn_essential("maintenance", self.failures.clone(), move || {
            maintenance.run();
            Ok(())
        })
    }

    fn start_cleaner(&self) -> Result<Thread> {
        let cleaner = Cleaner {
            conn: self.conn(Phase::Draining),
            kinds: self.kinds.clone(),
            fleet: Arc::clone(&self.fleet),
            stop: self.shutdown.clone(),
        };
        threads::spawn("cleaner", move || cleaner.run())
    }

    /// Releases the jobs that have not started. The executors would do so too, but only when their runs have ended.
    fn release_unstarted(&self) {
        for job in self.in_flight.take_back_unstarted(Duration::ZERO) {
            self.completions.send(job, Outcome::NotStarted, None);
        }
    }

    /// Releases the tasks of runs that don't end. If one returns later, its outcome is discarded.
    fn release_running(&self, jobs: &[Arc<Job>]) {
        let tokens: Vec<ClaimToken> =
            jobs.iter().map(|job| job.token).filter(|token| self.in_flight.finish(token)).collect();
        if tokens.is_empty() {
            return;
        }
        let released = self.database.connect_for(FLUSH_TIMEOUT).and_then(|mut conn| {
            let count = lease::release(&mut conn, &tokens, &self.retention)?;
            Ok(count)
        });
        match released {
            Ok(1) => log::warn!("released 1 task that is still running"),
            Ok(count) => log::warn!("released {count} tasks that are still running"),
            Err(error) => log::warn!("failed to release the tasks that are still running: {error}"),
        }
    }
}

fn register(conn: &mut ReconnectingConn, database: &Database, kinds: &[Arc<Kind>]) -> Result<Registration> {
    let hostname = hostname();
    let registered = conn.run(|conn| {
        for kind in kinds.iter().filter(|kind| kind.concurrency.is_some()) {
            claim::ensure_control_row(conn, &kind.name)?;
        }
        fleet::has_columns(conn)?;
        let worker_id = fleet::register(conn, &hostname, std::process::id())?;
        fault::point("joined");
        let (identity, locks_are_global) = (enqueue::identity(conn)?, !locks_are_local(conn)?);
        Ok((worker_id, identity, locks_are_global))
    });
    match registered {
        Ok((worker_id, identity, locks_are_global)) => {
            Ok(Registration { worker_id, hostname, identity, locks_are_global })
        }
        Err(Unfinished::Refused(error)) => Err(unfit(database, &error)),
        Err(Unfinished::GivenUp) => {
            Err(Error::new(ErrorKind::Interrupted, "stopped by a signal while waiting for the database"))
        }
    }
}

/// Explains an error of the first statement. Most likely the tables are missing, or older than this binary.
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
    Error::failure(format!("failed to use the database for tasks: {}{advice}", crate::db::describe(error)))
}

fn queues(kinds: &[Arc<Kind>], settings: &Settings) -> Vec<String> {
    if !settings.queues.is_empty() {
        return settings.queues.clone();
    }
    let mut queues: Vec<String> = kinds.iter().map(|kind| kind.queue.clone()).collect();
    queues.sort();
    queues.dedup();
    queues
}

/// The host's name, as `uname -n` prints it.
fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}
