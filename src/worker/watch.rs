//! The worker's own thread while tasks run: it logs heartbeats, warns about stuck tasks, and feeds systemd's watchdog.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use super::WorkerSettings;
use crate::duration;
use crate::error::Error;
use crate::histogram::Histogram;
use crate::observe::{Answer, metrics, scope, systemd};
use crate::periodic::{self, Grid, TaskStats};
use crate::queue;
use crate::shutdown::Shutdown;

/// How often tasks with a time limit are checked.
const STUCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The tasks' statistics, from which health and metrics are derived.
#[derive(Clone)]
pub struct Health {
    pub periodic_stats: Vec<Arc<TaskStats>>,
    pub queue: Option<Arc<queue::Stats>>,
    pub started: Instant,
}

pub struct Watch<'a> {
    pub health: Health,
    pub settings: &'a WorkerSettings,
}

impl Watch<'_> {
    /// Returns when a signal asks the worker to stop, or when it can't continue, with the reason.
    pub fn until_stop(&self, signals: &Shutdown, failed: Option<&Receiver<Error>>) -> Option<Error> {
        let never = never();
        let failed = failed.unwrap_or(&never);
        let watchdog = systemd::watchdog_interval();
        let has_time_limit = self.health.periodic_stats.iter().any(|stats| stats.time_limit.is_some());
        let step = [Some(self.settings.heartbeat), watchdog, has_time_limit.then_some(STUCK_CHECK_INTERVAL)];
        let step = step.into_iter().flatten().min().unwrap_or(self.settings.heartbeat);
        let heartbeats = Grid::new(self.health.started, self.settings.heartbeat);
        let mut next_heartbeat = 1;
        loop {
            let now = Instant::now();
            if let periodic::Plan::Run { tick, .. } = periodic::plan(&heartbeats, next_heartbeat, now) {
                self.log_heartbeat();
                next_heartbeat = tick + 1;
            }
            self.check(now);
            let wait = heartbeats.due(next_heartbeat).saturating_duration_since(Instant::now()).min(step);
            select! {
                recv(signals.receiver()) -> _ => return None,
                recv(failed) -> error => return error.ok(),
                default(wait) => {}
            }
        }
    }

    /// Warns about tasks that have become stuck, and reports to systemd.
    fn check(&self, now: Instant) {
        for stats in &self.health.periodic_stats {
            if let Some(running) = stats.newly_stuck(now) {
                let _scope = scope::enter([("task", stats.name.as_str().into())]);
                log::warn!("stuck: running for {}", duration::short(running));
            }
        }
        let stuck = self.health.stuck_at(now);
        // After abandoned threads the watchdog is still fed: the worker stops on its own after a few of them, whereas the
        // watchdog would kill the other tasks as well.
        if stuck.is_none() {
            systemd::keep_alive();
        }
        systemd::status(&stuck.or_else(|| self.health.abandoned_threads()).unwrap_or_else(|| self.next_run(now)));
    }

    fn next_run(&self, now: Instant) -> String {
        let stats = self.health.periodic_stats.iter();
        let next = stats.filter_map(|stats| Some((stats.snapshot().next?, &stats.name))).min();
        next.map_or_else(
            || "running".to_owned(),
            |(at, name)| format!("next: {name} in {}", duration::short(at.saturating_duration_since(now))),
        )
    }

    /// Logs the statistics of each task, and writes the metrics file.
    pub fn log_heartbeat(&self) {
        let now = Instant::now();
        // The file covers the time since the last heartbeat, so it is written before the window is reset.
        if let Some(path) = &self.settings.metrics_file
            && let Err(error) = metrics::write_file(path, &self.health.metrics())
        {
            log::warn!("failed to write the metrics to `{}`: {error}", path.display());
        }
        for stats in &self.health.periodic_stats {
            log_periodic(stats, now);
        }
        if let Some(queue) = &self.health.queue {
            log_queue(&queue.snapshot(true));
        }
    }
}

fn log_periodic(stats: &TaskStats, now: Instant) {
    let snapshot = stats.reset_window();
    let counts = snapshot.counts;
    let _scope = scope::enter([
        ("task", stats.name.as_str().into()),
        ("due", counts.due.into()),
        ("ok", counts.ok.into()),
        ("failed", counts.failed.into()),
        ("panicked", counts.panicked.into()),
        ("skipped", counts.skipped.into()),
        ("running", counts.running.into()),
    ]);
    let _lateness = enter_lateness(&snapshot.lateness);
    match (stats.stuck(now), snapshot.next) {
        (Some(running), _) => log::warn!("heartbeat: stuck for {}", duration::short(running)),
        (None, Some(next)) => {
            log::info!("heartbeat: next in {}", duration::short(next.saturating_duration_since(now)));
        }
        (None, None) => log::info!("heartbeat: running"),
    }
}

fn log_queue(snapshot: &queue::QueueSnapshot) {
    for (kind, counts) in &snapshot.kinds {
        let _scope = scope::enter([
            ("task", kind.as_str().into()),
            ("succeeded", counts.succeeded.into()),
            ("retried", counts.retried.into()),
            ("crashed", counts.crashed.into()),
            ("dead", counts.dead.into()),
            ("cancelled", counts.cancelled.into()),
            ("released", counts.released.into()),
        ]);
        log::info!("heartbeat");
    }
    let _scope = scope::enter([
        ("running", snapshot.running.into()),
        ("claimed", snapshot.queued.into()),
        ("rescued", snapshot.rescued.into()),
        ("rejected_outcomes", snapshot.refused.into()),
        ("abandoned_threads", snapshot.lost_threads.into()),
        ("retried_transactions", snapshot.retried.into()),
        ("lost_connections", snapshot.lost_connections.into()),
    ]);
    let _lateness = enter_lateness(&snapshot.lateness);
    log::info!("heartbeat of the database tasks");
}

fn enter_lateness(lateness: &Histogram) -> scope::Scope {
    scope::enter([
        ("late_p50_ms", duration::millis(lateness.quantile(0.5)).into()),
        ("late_p99_ms", duration::millis(lateness.quantile(0.99)).into()),
        ("late_max_ms", duration::millis(lateness.max()).into()),
    ])
}

impl Health {
    /// Returns a periodic task that exceeds its time limit.
    fn stuck_at(&self, now: Instant) -> Option<String> {
        let (stats, running) = self.periodic_stats.iter().find_map(|stats| Some((stats, stats.stuck(now)?)))?;
        Some(format!("stuck: {} has been running for {}", stats.name, duration::short(running)))
    }

    /// Threads of database tasks that ignored their deadlines.
    fn abandoned_threads(&self) -> Option<String> {
        match self.queue.as_ref()?.lost_threads.load(Ordering::Relaxed) {
            0 => None,
            1 => Some("abandoned 1 thread of a database task that ignored its deadline".to_owned()),
            count => Some(format!("abandoned {count} threads of database tasks that ignored their deadlines")),
        }
    }

    fn metrics(&self) -> String {
        let queue = self.queue.as_ref().map(|queue| queue.snapshot(false));
        metrics::render(&self.periodic_stats, queue.as_ref(), self.started, Instant::now())
    }

    /// Answers a request to the metrics port.
    pub fn answer(&self, path: &str) -> Answer {
        match path {
            "/metrics" => ("200 OK", self.metrics()),
            "/health" => match self.stuck_at(Instant::now()).or_else(|| self.abandoned_threads()) {
                None => ("200 OK", "ok\n".to_owned()),
                Some(reason) => ("503 Service Unavailable", format!("{reason}\n")),
            },
            _ => ("404 Not Found", "not found; use /metrics or /health\n".to_owned()),
        }
    }
}
