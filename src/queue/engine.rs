//! Starts the threads that run database tasks, and stops them in the order in which they depend on each other.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::cleaner;
use super::completer::Completer;
use super::executor::Executor;
use super::executor::pool::ExecutorPool;
use super::in_flight::{IN_FLIGHT_MAX, InFlight};
use super::job::Job;
use super::kind::Kind;
use super::maintenance;
use super::notifier::Notifier;
use super::poller::{self, Poller};
use super::prefetch::CLAIM_MAX;
use super::shared::{FleetView, Shared};
use super::stats::Stats;
use super::store::Retention;
use super::store::{ClaimToken, claim, enqueue, fleet, lease};
use super::timeout_watcher::TimeoutWatcher;
use crate::db::retry::is_permanent;
use crate::db::{Database, ReconnectingConn, Unfinished, locks_are_local};
use crate::error::{Error, ErrorKind, Result};
use crate::fault;
use crate::shutdown::{Phase, Shutdown, Trigger};
use crate::threads::{self, Thread, spawn_essential};

/// How database tasks are run.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// Number of executors: tasks that run at once.
    pub threads: usize,
    /// Queues from which tasks are claimed. Empty means the default queue of each kind.
    pub queues: Vec<String>,
    /// How long finished tasks are kept.
    pub retention: Retention,
}

/// The running threads.
pub struct Engine {
    shared: Arc<Shared>,
    pub stats: Arc<Stats>,
    /// Receives the reason if the worker can't continue.
    pub failed: Receiver<Error>,
    executors: ExecutorPool,
    poller: Thread,
    completer: Thread,
    timeout_watcher: Thread,
    maintenance: Thread,
    cleaner: Thread,
    notifier: Option<Notifier>,
}

/// Time for releasing tasks and writing outcomes after the stop timeout.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Engine {
    /// Registers the worker, once the database answers, and starts its threads. `signals` ends the wait for the
    /// database, with [`ErrorKind::Interrupted`], and `shutdown` ends everything else.
    pub fn start(
        kinds: Vec<Arc<Kind>>,
        settings: &QueueSettings,
        database: &Database,
        signals: &Shutdown,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let stats = Arc::<Stats>::default();
        let mut conn = ReconnectingConn::new(database, signals, &stats.conn_stats);
        let hostname = hostname();
        let (worker_id, identity, locks_are_global) = register(&mut conn, database, &kinds, &hostname)?;
        drop(conn);
        let (classes, kinds_of_classes) = poller::classes(&kinds, &queues(&kinds, settings));
        let (jobs, claimed) = bounded(2 * IN_FLIGHT_MAX);
        let (completions, completed) = bounded(IN_FLIGHT_MAX + CLAIM_MAX);
        let (free, executor_free) = bounded(1);
        let (ring, alarm) = bounded(1);
        let (notify, notified) = bounded(1);
        let (failures, failed) = bounded(1);
        let shared = Arc::new(Shared {
            worker_id,
            hostname,
            locks_are_global,
            database: database.clone(),
            retention: settings.retention,
            kinds,
            shutdown: shutdown.clone(),
            stats,
            in_flight: InFlight::new(settings.threads, ring),
            fleet: FleetView::default(),
            completions,
            failures,
        });
        let share = || Arc::clone(&shared);
        let notifier = Notifier::bind(&identity, notify, shutdown)?;
        let executor = Executor { shared: share(), jobs: claimed, executor_free: free };
        let executors = ExecutorPool::start(executor, settings.threads)?;
        let completer = Completer { shared: share(), conn: shared.conn(Phase::Stopped), completions: completed };
        let timeout_watcher = TimeoutWatcher { shared: share(), pool: executors.clone(), alarm };
        let poller = Poller {
            shared: share(),
            conn: shared.conn(Phase::Draining),
            classes,
            kinds: kinds_of_classes,
            jobs,
            notified,
            executor_free,
        };
        let (maintained, cleaned) = (share(), share());
        log::info!("worker {worker_id} claims tasks of `{}` with {} executors", database.name, settings.threads);
        Ok(Self {
            maintenance: spawn_essential("maintenance", &shared.failures, move || {
                maintenance::run(&maintained);
                Ok(())
            })?,
            completer: spawn_essential("completer", &shared.failures, move || completer.run())?,
            timeout_watcher: spawn_essential("timeout-watcher", &shared.failures, move || {
                timeout_watcher.run();
                Ok(())
            })?,
            poller: spawn_essential("poller", &shared.failures, move || poller.run())?,
            cleaner: threads::spawn("cleaner", move || cleaner::run(&cleaned))?,
            stats: Arc::clone(&shared.stats),
            shared,
            failed,
            executors,
            notifier,
        })
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
        // The executors leave these to us, because their runs may end later.
        self.shared.release_unstarted(Duration::ZERO);
        let mut left = Vec::new();
        if !poller_ended || !self.executors.join(deadline) {
            let running = self.shared.in_flight.running_for(Duration::ZERO);
            left = running.iter().map(|job| format!("`{}` (id {})", job.kind.name, job.token.id)).collect();
            shutdown.enter(Phase::Killing);
            self.executors.join(Instant::now() + FLUSH_TIMEOUT);
            release_running(&self.shared, &running);
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
                self.shared.worker_id
            );
            completer.join_or_leave(flush_deadline);
        }
        self.cleaner.join_or_leave(flush_deadline);
        self.maintenance.join_or_leave(flush_deadline);
        left
    }
}

/// Releases the tasks of runs that don't end. If one returns later, its outcome is discarded.
fn release_running(shared: &Shared, jobs: &[Arc<Job>]) {
    let tokens: Vec<ClaimToken> =
        jobs.iter().map(|job| job.token).filter(|token| shared.in_flight.finish(token)).collect();
    if tokens.is_empty() {
        return;
    }
    let released = shared
        .database
        .connect_for(FLUSH_TIMEOUT)
        .and_then(|mut conn| Ok(lease::release(&mut conn, &tokens, &shared.retention)?));
    match released {
        Ok(1) => log::warn!("released 1 task that is still running"),
        Ok(count) => log::warn!("released {count} tasks that are still running"),
        Err(error) => log::warn!("failed to release the tasks that are still running: {error}"),
    }
}

/// Registers the worker. Returns its id, the identity of the database, which is the same for all programs on this host
/// that use it, and true if all nodes of the server see a liveness lock.
fn register(
    conn: &mut ReconnectingConn,
    database: &Database,
    kinds: &[Arc<Kind>],
    hostname: &str,
) -> Result<(u64, String, bool)> {
    let registered = conn.run(|conn| {
        for kind in kinds.iter().filter(|kind| kind.concurrency.is_some()) {
            claim::ensure_control_row(conn, "kind", &kind.name)?;
        }
        fleet::has_columns(conn)?;
        let worker_id = fleet::register(conn, 0, hostname)?;
        fault::point("joined");
        Ok((worker_id, enqueue::identity(conn)?, !locks_are_local(conn)?))
    });
    registered.map_err(|unfinished| match unfinished {
        Unfinished::Refused(error) => unfit(database, &error),
        Unfinished::GivenUp => Error::new(ErrorKind::Interrupted, "stopped by a signal while waiting for the database"),
    })
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

fn queues(kinds: &[Arc<Kind>], settings: &QueueSettings) -> Vec<String> {
    let defaults: BTreeSet<String> = kinds.iter().map(|kind| kind.queue.clone()).collect();
    if settings.queues.is_empty() { defaults.into_iter().collect() } else { settings.queues.clone() }
}

/// Returns the host's name, as `uname -n` prints it.
fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}
