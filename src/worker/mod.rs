//! `airun worker`: starts the registered tasks, watches over them, and brings them to an end.

mod tasks;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::tasks::Tasks;
use self::watch::{Health, Watch};
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::interval;
use crate::observe::{Server, systemd};
use crate::queue::{self, Engine};
use crate::registry::Registry;
use crate::shutdown::{self, Shutdown};

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From one heartbeat in the log to the next.
    pub heartbeat: Duration,
    /// How long running work may take to end after the stop was asked for.
    pub stop_timeout: Duration,
    /// Where metrics are written at each heartbeat.
    pub metrics_file: Option<PathBuf>,
    /// Where metrics and health are served.
    pub metrics_addr: Option<SocketAddr>,
    /// Tells this installation's task locks from those of others on the host.
    pub lock_scope: String,
    /// How database tasks are run, and where they are; only those need it.
    pub queue: queue::Settings,
    pub database: Option<Database>,
}

/// Runs `registry`'s tasks until the stop, and waits for those that run.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] where the registry can't be run; [`ErrorKind::Other`] where the worker can't go on;
/// [`ErrorKind::StopTimeout`] where something didn't end in time, naming it.
pub fn run(registry: Registry, settings: &Settings, shutdown: &Shutdown) -> Result<()> {
    registry.check()?;
    if registry.periodic.is_empty() && registry.kinds.is_empty() {
        return Err(Error::usage("no task is registered, so there is nothing to run; see `src/tasks/mod.rs`"));
    }
    let started = Instant::now();
    log::info!("worker {} starts, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    // Closed by the first signal, or when the worker can't go on.
    let (stop_all, stop) = shutdown::channel();
    let engine = if registry.kinds.is_empty() {
        None
    } else {
        let database = settings.database.as_ref().ok_or_else(|| no_database(&registry))?;
        Some(Engine::start(registry.kinds, &settings.queue, database, shutdown, &stop)?)
    };
    let queue = engine.as_ref().map(|engine| Arc::clone(&engine.stats));
    let others = Tasks::start(registry.periodic, &settings.lock_scope, Instant::now(), &stop).and_then(|tasks| {
        let watched = Health { periodic_stats: tasks.periodic_stats.clone(), queue, started };
        Ok((serve(settings, watched.clone(), &stop)?, tasks, watched))
    });
    let (server, tasks, watched) = match others {
        Ok(others) => others,
        Err(error) => {
            // Tasks may run already.
            drop(stop_all);
            if let Some(engine) = engine {
                engine.drain(Instant::now() + settings.stop_timeout);
            }
            return Err(error);
        }
    };
    let watch = Watch { watched, settings };
    systemd::ready();
    let failed = watch.until_stop(shutdown, engine.as_ref().map(Engine::failed));
    log::info!("stopping: what runs may take {} to end", interval::format(settings.stop_timeout));
    systemd::stopping(settings.stop_timeout);
    drop(stop_all);
    let deadline = Instant::now() + settings.stop_timeout;
    if let Some(server) = server {
        server.join();
    }
    let mut left = engine.map(|engine| engine.drain(deadline)).unwrap_or_default();
    left.extend(tasks.join(deadline));
    watch.heartbeat();
    if let Some(error) = failed {
        if !left.is_empty() {
            log::error!("still running: {}; it is left behind", left.join(", "));
        }
        return Err(error);
    }
    if left.is_empty() {
        log::info!("stopped");
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::StopTimeout,
        format!(
            "still running {} after the stop: {}; it is left behind",
            interval::format(settings.stop_timeout),
            left.join(", ")
        ),
    ))
}

fn serve(settings: &Settings, watched: Health, stop: &Shutdown) -> Result<Option<Server>> {
    let Some(address) = settings.metrics_addr else { return Ok(None) };
    let server = Server::start(address, watched, stop.clone())?;
    log::info!("metrics and health at http://{}/", server.address());
    Ok(Some(server))
}

fn no_database(registry: &Registry) -> Error {
    let kinds: Vec<String> = registry.kinds.iter().map(|kind| format!("`{}`", kind.name)).collect();
    Error::usage(format!(
        "the database tasks {} need a database; set `--database-url` or `DATABASE_URL`, as in \
         mysql://user:password@127.0.0.1:3306/database",
        kinds.join(", ")
    ))
}
