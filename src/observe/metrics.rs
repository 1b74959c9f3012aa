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
pub fn render(
    tasks: &[Arc<TaskStats>],
    queue: Option<&queue::QueueSnapshot>,
    started: Instant,
    now: Instant,
) -> String {
    let mut text = String::new();
    family(
        &mut text,
        "airun_uptime_seconds",
        "Time since the worker started.",
        [(String::new(), seconds(now - started))],
    );
    let snapshots: Vec<_> = tasks.iter().map(|stats| (stats, stats.snapshot())).collect();
    let ticks = snapshots.iter().flat_map(|(stats, Snapshot { counts, .. })| {
        [("ok", counts.ok), ("failed", counts.failed), ("panicked", counts.panicked), ("skipped", counts.skipped)]
            .map(|(outcome, count)| (format!("{{task=\"{}\",outcome=\"{outcome}\"}}", stats.name), count as f64))
    });
    family(&mut text, "airun_periodic_ticks_total", "Ticks of the periodic tasks, by outcome.", ticks);
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&TaskStats, &Snapshot) -> f64| {
        let sample = |(stats, snapshot): &(&Arc<TaskStats>, Snapshot)| {
            (format!("{{task=\"{}\"}}", stats.name), value(stats, snapshot))
        };
        family(&mut text, name, help, snapshots.iter().map(sample));
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

fn render_queue(text: &mut String, queue: &queue::QueueSnapshot) {
    let outcomes = queue.kinds.iter().flat_map(|(kind, counts)| {
        [
            ("succeeded", counts.succeeded),
            ("retried", counts.retried),
            ("crashed", counts.crashed),
            ("dead", counts.dead),
            ("cancelled", counts.cancelled),
            ("released", counts.released),
        ]
        .map(|(outcome, count)| (format!("{{kind=\"{kind}\",outcome=\"{outcome}\"}}"), count as f64))
    });
    family(text, "airun_tasks_total", "Database tasks that this worker claimed, by outcome.", outcomes);
    for (name, help, value) in [
        ("running", "Tasks that are running.", queue.running),
        ("claimed", "Tasks that are claimed and not started.", queue.queued),
        ("rescued_total", "Tasks rescued from dead workers.", queue.rescued),
        ("rejected_outcomes_total", "Outcomes of tasks that were no longer this worker's.", queue.refused),
        ("abandoned_threads_total", "Threads abandoned because their task ignored its deadline.", queue.lost_threads),
        ("retried_transactions_total", "Transactions retried after a deadlock or a lock wait timeout.", queue.retried),
        ("lost_connections_total", "Lost database connections.", queue.lost_connections),
    ] {
        family(text, &format!("airun_tasks_{name}"), help, [(String::new(), value as f64)]);
    }
    for (name, help, times) in [
        ("airun_tasks_lateness_seconds", "Time from due to started, since the last heartbeat.", &queue.lateness),
        ("airun_tasks_claim_seconds", "Duration of the claims since the last heartbeat.", &queue.claims),
    ] {
        // The label `quantile` is reserved for summaries.
        let stats = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
        let sample = |(stat, share)| (format!("{{stat=\"{stat}\"}}"), seconds(times.quantile(share)));
        family(text, name, help, stats.map(sample));
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

/// Adds a metric with its samples: their labels and values.
fn family(text: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    for (labels, value) in samples {
        text.push_str(&format!("{name}{labels} {value}\n"));
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
