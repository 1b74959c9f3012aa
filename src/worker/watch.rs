//! Looks after the tasks from the worker's own thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use super::Settings;
use crate::error::Error;
use crate::interval;
use crate::observe::{HealthSource, metrics, scope, systemd};
use crate::periodic::{self, Grid, TaskStats};
use crate::queue;
use crate::shutdown::Shutdown;

/// With a time limit somewhere, it is looked at so often.
const STUCK_EVERY: Duration = Duration::from_secs(1);

/// What is seen of the tasks from outside.
#[derive(Clone)]
pub struct Health {
    pub periodic_stats: Vec<Arc<TaskStats>>,
    pub queue: Option<Arc<queue::Stats>>,
    pub started: Instant,
}

/// What sees to it.
pub struct Watch<'a> {
    pub watched: Health,
    pub settings: &'a Settings,
}

impl Watch<'_> {
    /// Watches until the stop, or until the worker can't go on, for which it returns the reason.
    pub fn until_stop(&self, shutdown: &Shutdown, failed: Option<&Receiver<Error>>) -> Option<Error> {
        let never = never();
        let failed = failed.unwrap_or(&never);
        let watchdog = systemd::watchdog_interval();
        let limited = self.watched.periodic_stats.iter().any(|stats| stats.time_limit.is_some());
        let step = [Some(self.settings.heartbeat), watchdog, limited.then_some(STUCK_EVERY)];
        let step = step.into_iter().flatten().min().unwrap_or(self.settings.heartbeat);
        let steps = Grid::new(self.watched.started, step);
        let heartbeats = Grid::new(self.watched.started, self.settings.heartbeat);
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
            let wait = until.saturating_duration_since(Instant::now());
            select! {
                recv(shutdown.receiver()) -> _ => return None,
                recv(failed) -> error => return error.ok(),
                default(wait) => {}
            }
        }
    }

    /// Says at once what is newly stuck, and tells systemd how things are.
    fn look(&self, now: Instant) {
        for stats in &self.watched.periodic_stats {
            if let Some(running) = stats.newly_stuck(now) {
                let _scope = scope::enter([("task", stats.name.as_str().into())]);
                log::warn!("stuck: running for {}", interval::short(running));
            }
        }
        // A worker that has lost threads ends itself in time; the watchdog would not let the others finish.
        let stuck = self.watched.stuck_at(now);
        if stuck.is_none() {
            systemd::keep_alive();
        }
        systemd::status(&stuck.or_else(|| self.watched.lost()).unwrap_or_else(|| self.next_run(now)));
    }

    fn next_run(&self, now: Instant) -> String {
        let next =
            self.watched.periodic_stats.iter().filter_map(|stats| Some((stats.snapshot().next?, &stats.name))).min();
        match next {
            Some((at, name)) => format!("next: {name} in {}", interval::short(at.saturating_duration_since(now))),
            None => "running".to_owned(),
        }
    }

    /// Says in the log how each task is.
    pub fn heartbeat(&self) {
        let now = Instant::now();
        // Before the page is turned, which they tell of.
        if let Some(path) = &self.settings.metrics_file
            && let Err(error) = metrics::write_file(path, &self.watched.metrics())
        {
            log::warn!("failed to write the metrics to `{}`: {error}", path.display());
        }
        for stats in &self.watched.periodic_stats {
            let snapshot = stats.reset_window();
            let (counts, late) = (snapshot.counts, &snapshot.lateness);
            let _scope = scope::enter([
                ("task", stats.name.as_str().into()),
                ("due", counts.due.into()),
                ("ok", counts.ok.into()),
                ("failed", counts.failed.into()),
                ("panicked", counts.panicked.into()),
                ("skipped", counts.skipped.into()),
                ("running", counts.running.into()),
                ("late_p50_ms", interval::millis(late.quantile(0.5)).into()),
                ("late_p99_ms", interval::millis(late.quantile(0.99)).into()),
                ("late_max_ms", interval::millis(late.max()).into()),
            ]);
            match (stats.stuck(now), snapshot.next) {
                (Some(running), _) => log::warn!("heartbeat: stuck for {}", interval::short(running)),
                (None, Some(next)) => {
                    let left = next.saturating_duration_since(now);
                    log::info!("heartbeat: next in {}", interval::short(left));
                }
                (None, None) => log::info!("heartbeat: running"),
            }
        }
        if let Some(queue) = &self.watched.queue {
            heartbeat_of_queue(&queue.snapshot(true));
        }
    }
}

fn heartbeat_of_queue(snapshot: &queue::Snapshot) {
    for (kind, sums) in &snapshot.kinds {
        let _scope = scope::enter([
            ("task", kind.as_str().into()),
            ("succeeded", sums.succeeded.into()),
            ("retried", sums.retried.into()),
            ("crashed", sums.crashed.into()),
            ("dead", sums.dead.into()),
            ("cancelled", sums.cancelled.into()),
            ("released", sums.released.into()),
        ]);
        log::info!("heartbeat");
    }
    let late = &snapshot.lateness;
    let _scope = scope::enter([
        ("running", snapshot.running.into()),
        ("claimed", snapshot.queued.into()),
        ("rescued", snapshot.rescued.into()),
        ("refused", snapshot.refused.into()),
        ("lost_threads", snapshot.lost_threads.into()),
        ("deadlocks", snapshot.retried.into()),
        ("lost_connections", snapshot.lost_connections.into()),
        ("late_p50_ms", interval::millis(late.quantile(0.5)).into()),
        ("late_p99_ms", interval::millis(late.quantile(0.99)).into()),
        ("late_max_ms", interval::millis(late.max()).into()),
    ]);
    log::info!("heartbeat of the database tasks");
}

impl Health {
    /// A periodic task's run that takes longer than it may.
    fn stuck_at(&self, now: Instant) -> Option<String> {
        self.periodic_stats.iter().find_map(|stats| {
            stats.stuck(now).map(|running| format!("stuck: {} is running for {}", stats.name, interval::short(running)))
        })
    }

    /// Threads that database tasks did not return.
    fn lost(&self) -> Option<String> {
        match self.queue.as_ref()?.lost_threads.load(Ordering::Relaxed) {
            0 => None,
            lost => Some(format!("lost threads: {lost}, to database tasks that do not return")),
        }
    }
}

impl HealthSource for Health {
    fn metrics(&self) -> String {
        let queue = self.queue.as_ref().map(|queue| queue.snapshot(false));
        metrics::render(&self.periodic_stats, queue.as_ref(), self.started, Instant::now())
    }

    fn unhealthy_reason(&self) -> Option<String> {
        self.stuck_at(Instant::now()).or_else(|| self.lost())
    }
}
