//! `airun worker`: starts the registered tasks, watches them, and stops them.

mod tasks;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::tasks::Tasks;
use self::watch::{Health, Watch};
use crate::db::Database;
use crate::duration;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Server, systemd};
use crate::queue::{Engine, QueueSettings};
use crate::registry::Registry;
use crate::shutdown::{self, Phase, Shutdown, Trigger};

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Time between two heartbeats in the log.
    pub heartbeat: Duration,
    /// How long running tasks may take to end after the worker was asked to stop.
    pub stop_timeout: Duration,
    /// File to which metrics are written at each heartbeat.
    pub metrics_file: Option<PathBuf>,
    /// Address at which metrics and health are served.
    pub metrics_addr: Option<SocketAddr>,
    /// Distinguishes this installation's task locks from those of others on the host.
    pub lock_scope: String,
    /// How database tasks are run.
    pub queue: QueueSettings,
    /// The database of the tasks. A worker of periodic tasks only doesn't need one.
    pub database: Option<Database>,
}

/// A worker whose tasks run.
struct RunningWorker {
    engine: Option<Engine>,
    tasks: Tasks,
    server: Option<Server>,
    health: Health,
}

/// Runs `registry`'s tasks until `signals` asks to stop, and waits for running tasks up to the stop timeout.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if the registry can't be run, [`ErrorKind::Other`] if the worker can't continue, and
/// [`ErrorKind::StopTimeout`] with the names of tasks that didn't end in time.
pub fn run(registry: Registry, settings: &WorkerSettings, signals: &Shutdown) -> Result<()> {
    registry.check()?;
    if registry.periodic.is_empty() && registry.kinds.is_empty() {
        return Err(Error::usage("no task is registered; add one in `src/tasks/mod.rs`"));
    }
    if !registry.kinds.is_empty() && settings.database.is_none() {
        return Err(no_database(&registry));
    }
    log::info!("starting worker {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let (mut trigger, shutdown) = shutdown::channel();
    let running = start(registry, settings, signals, &mut trigger, &shutdown)?;
    systemd::ready();
    let watch = Watch { health: running.health.clone(), settings };
    let failure = watch.until_stop(signals, running.engine.as_ref().map(|engine| &engine.failed));
    log::info!("stopping: waiting up to {} for running tasks", duration::format(settings.stop_timeout));
    systemd::stopping(settings.stop_timeout);
    let left = stop(running, &mut trigger, Instant::now() + settings.stop_timeout);
    watch.log_heartbeat();
    report(failure, &left, settings.stop_timeout)
}

fn start(
    registry: Registry,
    settings: &WorkerSettings,
    signals: &Shutdown,
    trigger: &mut Trigger,
    shutdown: &Shutdown,
) -> Result<RunningWorker> {
    let started = Instant::now();
    let engine = match &settings.database {
        Some(database) if !registry.kinds.is_empty() => {
            Some(Engine::start(registry.kinds, &settings.queue, database, signals, shutdown)?)
        }
        _ => None,
    };
    let queue = engine.as_ref().map(|engine| Arc::clone(&engine.stats));
    let others = Tasks::start(registry.periodic, &settings.lock_scope, Instant::now(), shutdown).and_then(|tasks| {
        let health = Health { periodic_stats: tasks.periodic_stats.clone(), queue, started };
        let answering = health.clone();
        let serve = |address| Server::start(address, move |path| answering.answer(path), shutdown.clone());
        let server = settings.metrics_addr.map(serve).transpose()?;
        if let Some(server) = &server {
            log::info!("serving metrics and health at http://{}/", server.address());
        }
        Ok((tasks, server, health))
    });
    match others {
        Ok((tasks, server, health)) => Ok(RunningWorker { engine, tasks, server, health }),
        Err(error) => {
            // Database tasks may already be running.
            if let Some(engine) = engine {
                engine.drain(trigger, Instant::now() + settings.stop_timeout);
            }
            Err(error)
        }
    }
}

/// Stops everything. Returns the names of tasks that still run at the deadline.
fn stop(running: RunningWorker, trigger: &mut Trigger, deadline: Instant) -> Vec<String> {
    trigger.enter(Phase::Draining);
    if let Some(server) = running.server {
        server.join();
    }
    let mut left = running.engine.map(|engine| engine.drain(trigger, deadline)).unwrap_or_default();
    left.extend(running.tasks.join(deadline));
    left
}

fn report(failure: Option<Error>, left: &[String], stop_timeout: Duration) -> Result<()> {
    let left = left.join(", ");
    if let Some(error) = failure {
        if !left.is_empty() {
            log::error!("left running: {left}");
        }
        return Err(error);
    }
    if !left.is_empty() {
        let message = format!("stopped with tasks still running after {}: {left}", duration::format(stop_timeout));
        return Err(Error::new(ErrorKind::StopTimeout, message));
    }
    log::info!("stopped");
    Ok(())
}

fn no_database(registry: &Registry) -> Error {
    let kinds: Vec<String> = registry.kinds.iter().map(|kind| format!("`{}`", kind.name)).collect();
    Error::usage(format!(
        "the database tasks {} need a database; set `--database-url` or `DATABASE_URL`, for example to \
         mysql://user:password@127.0.0.1:3306/database",
        kinds.join(", ")
    ))
}
