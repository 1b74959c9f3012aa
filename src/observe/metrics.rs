//! Metrics in Prometheus's text format.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::periodic::{Snapshot, TaskStats};
use crate::queue;

/// The content type of Prometheus's text exposition format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the metrics of the worker at `now`. Units and suffixes follow Prometheus: `_seconds`, and `_total` for
/// counters only.
pub fn render(tasks: &[Arc<TaskStats>], queue: Option<&queue::Snapshot>, started: Instant, now: Instant) -> String {
    let mut text = String::new();
    family(&mut text, "airun_uptime_seconds", "gauge", "Time since the worker started.");
    sample(&mut text, "airun_uptime_seconds", "", seconds(now - started));
    family(&mut text, "airun_periodic_ticks_total", "counter", "Ticks of the periodic tasks, by outcome.");
    let snapshots: Vec<_> = tasks.iter().map(|stats| (stats, stats.snapshot())).collect();
    for (stats, snapshot) in &snapshots {
        let counts = snapshot.counts;
        let outcomes =
            [("ok", counts.ok), ("failed", counts.failed), ("panicked", counts.panicked), ("skipped", counts.skipped)];
        for (outcome, count) in outcomes {
            let labels = format!("{{task=\"{}\",outcome=\"{outcome}\"}}", stats.name);
            sample(&mut text, "airun_periodic_ticks_total", &labels, count as f64);
        }
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&TaskStats, &Snapshot) -> f64| {
        family(&mut text, name, "gauge", help);
        for (stats, snapshot) in &snapshots {
            sample(&mut text, name, &format!("{{task=\"{}\"}}", stats.name), value(stats, snapshot));
        }
    };
    gauge("airun_periodic_running", "1 while the task runs.", &|_, snapshot| snapshot.counts.running as f64);
    gauge("airun_periodic_running_seconds", "Duration of the current run so far.", &|_, snapshot| {
        snapshot.running_since.map_or(0.0, |since| seconds(now.saturating_duration_since(since)))
    });
    gauge("airun_periodic_stuck", "1 while a run exceeds its time limit.", &|stats, _| {
        f64::from(u8::from(stats.stuck(now).is_some()))
    });
    gauge("airun_periodic_lateness_max_seconds", "Latest start since the last heartbeat.", &|_, snapshot| {
        seconds(snapshot.lateness.max())
    });
    if let Some(queue) = queue {
        render_queue(&mut text, queue);
    }
    text
}

fn render_queue(text: &mut String, queue: &queue::Snapshot) {
    family(text, "airun_tasks_total", "counter", "Database tasks that this worker claimed, by outcome.");
    for (kind, counts) in &queue.kinds {
        for (outcome, count) in [
            ("succeeded", counts.succeeded),
            ("retried", counts.retried),
            ("crashed", counts.crashed),
            ("dead", counts.dead),
            ("cancelled", counts.cancelled),
            ("released", counts.released),
        ] {
            sample(text, "airun_tasks_total", &format!("{{kind=\"{kind}\",outcome=\"{outcome}\"}}"), count as f64);
        }
    }
    for (name, kind, help, value) in [
        ("airun_tasks_running", "gauge", "Tasks that are running.", queue.running),
        ("airun_tasks_claimed", "gauge", "Tasks that are claimed and not started.", queue.queued),
        ("airun_tasks_rescued_total", "counter", "Tasks rescued from dead workers.", queue.rescued),
        (
            "airun_tasks_rejected_outcomes_total",
            "counter",
            "Outcomes rejected because the task was no longer this worker's.",
            queue.refused,
        ),
        (
            "airun_tasks_abandoned_threads_total",
            "counter",
            "Threads abandoned because their task ignored its deadline.",
            queue.lost_threads,
        ),
        (
            "airun_tasks_retried_transactions_total",
            "counter",
            "Transactions retried after a deadlock or a lock wait timeout.",
            queue.retried,
        ),
        ("airun_tasks_lost_connections_total", "counter", "Lost database connections.", queue.lost_connections),
    ] {
        family(text, name, kind, help);
        sample(text, name, "", value as f64);
    }
    for (name, help, times) in [
        ("airun_tasks_lateness_seconds", "Time from due to started, since the last heartbeat.", &queue.lateness),
        ("airun_tasks_claim_seconds", "Duration of the claims since the last heartbeat.", &queue.claims),
    ] {
        family(text, name, "gauge", help);
        // The label `quantile` is reserved for summaries.
        for (stat, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            sample(text, name, &format!("{{stat=\"{stat}\"}}"), seconds(times.quantile(share)));
        }
    }
}

/// Replaces the file `path`, so that a reader sees either the old text or the new one in full.
///
/// # Errors
/// The file or its folder is not writable.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    // node_exporter reads every `*.prom`, so the unfinished file needs another suffix.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.tmp", std::process::id()));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, path)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn sample(text: &mut String, name: &str, labels: &str, value: f64) {
    text.push_str(&format!("{name}{labels} {value}\n"));
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
