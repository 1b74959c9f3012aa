//! `airun worker`: starts the registered tasks, watches over them, and brings them to an end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Error, Exit, Result};
use crate::interval;
use crate::observe::{Answers, Server, metrics, scope, systemd};
use crate::periodic::{self, Grid, Ledger, PeriodicTask};
use crate::registry::Registry;
use crate::shutdown::{Shutdown, Woken};

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
}

/// With a time limit somewhere, it is looked at so often.
const STUCK_EVERY: Duration = Duration::from_secs(1);

/// Runs `registry`'s tasks until the stop, and waits for those that run.
///
/// # Errors
/// [`Exit::Usage`] where the registry can't be run; [`Exit::StopTimeout`] where something didn't end in time, naming it.
pub fn run(registry: Registry, settings: &Settings, shutdown: &Shutdown) -> Result<()> {
    registry.check()?;
    if registry.periodic.is_empty() {
        return Err(Error::usage("no task is registered, so there is nothing to run; see `src/tasks/mod.rs`"));
    }
    let started = Instant::now();
    log::info!("worker {} starts, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let tasks = Tasks::start(registry.periodic, &settings.lock_scope, started, shutdown)?;
    let watch = Watch { ledgers: tasks.ledgers.clone(), started, settings };
    let server = match settings.metrics_addr {
        Some(address) => {
            let health = Health { ledgers: tasks.ledgers.clone(), started };
            let server = Server::start(address, health, shutdown.clone())?;
            log::info!("metrics and health at http://{}/", server.address());
            Some(server)
        }
        None => None,
    };
    systemd::ready();
    watch.until_stop(shutdown);
    log::info!("stopping: what runs may take {} to end", interval::format(settings.stop_timeout));
    systemd::stopping(settings.stop_timeout);
    if let Some(server) = server {
        server.join();
    }
    let left = tasks.join(Instant::now() + settings.stop_timeout);
    watch.heartbeat();
    if left.is_empty() {
        log::info!("stopped");
        return Ok(());
    }
    Err(Error::new(
        Exit::StopTimeout,
        format!(
            "still running {} after the stop: {}; it is left behind",
            interval::format(settings.stop_timeout),
            left.join(", ")
        ),
    ))
}

/// The threads of the periodic tasks.
struct Tasks {
    ledgers: Vec<Arc<Ledger>>,
    threads: Vec<JoinHandle<()>>,
    /// Each thread's number, when it has ended.
    ended: Receiver<usize>,
}

impl Tasks {
    fn start(
        tasks: Vec<Box<dyn PeriodicTask>>,
        lock_scope: &str,
        anchor: Instant,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let (sender, ended) = bounded(tasks.len());
        let mut all = Self { ledgers: Vec::new(), threads: Vec::new(), ended };
        for (number, task) in tasks.into_iter().enumerate() {
            log::info!("{} {} every {}", task.emoji(), task.name(), interval::format(task.interval()));
            let ledger = Arc::new(Ledger::new(task.name(), task.time_limit()));
            let thread = Thread {
                grid: Grid::new(anchor, task.interval()),
                lock_name: periodic::lock::name(lock_scope, task.name()),
                ledger: Arc::clone(&ledger),
                shutdown: shutdown.clone(),
                ended: sender.clone(),
                number,
                task,
            };
            all.ledgers.push(ledger);
            all.threads.push(thread.spawn()?);
        }
        Ok(all)
    }

    /// Waits for the threads until `deadline`; returns the names of the tasks that still run.
    fn join(self, deadline: Instant) -> Vec<String> {
        let mut threads: Vec<Option<JoinHandle<()>>> = self.threads.into_iter().map(Some).collect();
        while threads.iter().any(Option::is_some) {
            let Ok(number) = self.ended.recv_deadline(deadline) else { break };
            if let Some(thread) = threads[number].take()
                && thread.join().is_err()
            {
                log::error!("the thread of `{}` panicked: airun has a bug", self.ledgers[number].name);
            }
        }
        let left = threads.iter().zip(&self.ledgers).filter(|(thread, _)| thread.is_some());
        left.map(|(_, ledger)| format!("`{}`", ledger.name)).collect()
    }
}

struct Thread {
    task: Box<dyn PeriodicTask>,
    grid: Grid,
    lock_name: String,
    ledger: Arc<Ledger>,
    shutdown: Shutdown,
    ended: Sender<usize>,
    number: usize,
}

impl Thread {
    fn spawn(self) -> Result<JoinHandle<()>> {
        let name = self.ledger.name.clone();
        thread::Builder::new()
            .name(name.clone())
            .spawn(move || self.run())
            .map_err(|error| Error::failure(format!("failed to start the thread of `{name}`: {error}")))
    }

    fn run(mut self) {
        periodic::obey(self.task.as_mut(), &self.grid, &self.lock_name, &self.ledger, &self.shutdown);
        // There is room for every thread's number, and nobody else waits for it.
        self.ended.send(self.number).unwrap_or_default();
    }
}

/// Looks after the tasks from the worker's own thread.
struct Watch<'a> {
    ledgers: Vec<Arc<Ledger>>,
    started: Instant,
    settings: &'a Settings,
}

impl Watch<'_> {
    fn until_stop(&self, shutdown: &Shutdown) {
        let watchdog = systemd::watchdog_interval();
        let limited = self.ledgers.iter().any(|ledger| ledger.time_limit.is_some());
        let step = [Some(self.settings.heartbeat), watchdog, limited.then_some(STUCK_EVERY)];
        let step = step.into_iter().flatten().min().unwrap_or(self.settings.heartbeat);
        let steps = Grid::new(self.started, step);
        let heartbeats = Grid::new(self.started, self.settings.heartbeat);
        let (mut next_step, mut next_heartbeat) = (1, 1);
        loop {
            let now = Instant::now();
            if let periodic::Plan::Run { tick, .. } = periodic::plan(&heartbeats, next_heartbeat, now) {
                self.heartbeat();
                next_heartbeat = tick + 1;
            }
            if let periodic::Plan::Run { tick, .. } = periodic::plan(&steps, next_step, now) {
                next_step = tick + 1;
            }
            self.look(now);
            let until = steps.due(next_step).min(heartbeats.due(next_heartbeat));
            if shutdown.wait_until(until) == Woken::Stopping {
                return;
            }
        }
    }

    /// Says at once what is newly stuck, and tells systemd how things are.
    fn look(&self, now: Instant) {
        for ledger in &self.ledgers {
            if let Some(running) = ledger.newly_stuck(now) {
                log::warn!("stuck: running for {} task={}", interval::short(running), ledger.name);
            }
        }
        match illness(&self.ledgers, now) {
            Some(culprit) => systemd::status(&culprit),
            None => {
                systemd::alive();
                systemd::status(&self.next_run(now));
            }
        }
    }

    fn next_run(&self, now: Instant) -> String {
        let next = self.ledgers.iter().filter_map(|ledger| Some((ledger.snapshot().next?, &ledger.name))).min();
        match next {
            Some((at, name)) => format!("next: {name} in {}", interval::short(at.saturating_duration_since(now))),
            None => "running".to_owned(),
        }
    }

    fn heartbeat(&self) {
        let now = Instant::now();
        for ledger in &self.ledgers {
            let snapshot = ledger.turn_page();
            let (sums, late) = (snapshot.sums, &snapshot.lateness);
            let _scope = scope::enter([
                ("task", ledger.name.clone()),
                ("due", sums.due.to_string()),
                ("ok", sums.ok.to_string()),
                ("failed", sums.failed.to_string()),
                ("panicked", sums.panicked.to_string()),
                ("skipped", sums.skipped.to_string()),
                ("running", sums.running.to_string()),
                ("late_p50", interval::short(late.quantile(0.5))),
                ("late_p99", interval::short(late.quantile(0.99))),
                ("late_max", interval::short(late.max())),
            ]);
            match (ledger.stuck(now), snapshot.next) {
                (Some(running), _) => log::warn!("heartbeat: stuck for {}", interval::short(running)),
                (None, Some(next)) => {
                    let left = next.saturating_duration_since(now);
                    log::info!("heartbeat: next in {}", interval::short(left));
                }
                (None, None) => log::info!("heartbeat: running"),
            }
        }
        if let Some(path) = &self.settings.metrics_file
            && let Err(error) = metrics::write_file(path, &metrics::render(&self.ledgers, self.started, now))
        {
            log::warn!("failed to write the metrics to `{}`: {error}", path.display());
        }
    }
}

/// What a look from outside finds wrong: a run that takes longer than it may.
fn illness(ledgers: &[Arc<Ledger>], now: Instant) -> Option<String> {
    ledgers.iter().find_map(|ledger| {
        ledger.stuck(now).map(|running| format!("stuck: {} is running for {}", ledger.name, interval::short(running)))
    })
}

struct Health {
    ledgers: Vec<Arc<Ledger>>,
    started: Instant,
}

impl Answers for Health {
    fn metrics(&self) -> String {
        metrics::render(&self.ledgers, self.started, Instant::now())
    }

    fn illness(&self) -> Option<String> {
        illness(&self.ledgers, Instant::now())
    }
}
