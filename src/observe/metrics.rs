//! Metrics in Prometheus's text format, for a file or a port.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::periodic::TaskStats;
use crate::queue;

/// The content type of Prometheus's text exposition format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The worker's metrics at `now`.
pub fn render(tasks: &[Arc<TaskStats>], queue: Option<&queue::Snapshot>, started: Instant, now: Instant) -> String {
    let mut text = String::new();
    family(&mut text, "airun_uptime_seconds", "gauge", "Time since the worker started.");
    sample(&mut text, "airun_uptime_seconds", "", seconds(now - started));
    family(&mut text, "airun_periodic_ticks_total", "counter", "Ticks that were due, by what became of them.");
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
    let gauge =
        |text: &mut String, name: &str, help: &str, value: &dyn Fn(&TaskStats, &crate::periodic::Snapshot) -> f64| {
            family(text, name, "gauge", help);
            for (stats, snapshot) in &snapshots {
                sample(text, name, &format!("{{task=\"{}\"}}", stats.name), value(stats, snapshot));
            }
        };
    gauge(&mut text, "airun_periodic_running", "Whether a run is going on.", &|_, snapshot| {
        snapshot.counts.running as f64
    });
    gauge(
        &mut text,
        "airun_periodic_running_seconds",
        "How long the run that is going on takes already.",
        &|_, snapshot| snapshot.running_since.map_or(0.0, |since| seconds(now.saturating_duration_since(since))),
    );
    gauge(&mut text, "airun_periodic_stuck", "Whether a run takes longer than it may.", &|stats, _| {
        f64::from(u8::from(stats.stuck(now).is_some()))
    });
    gauge(
        &mut text,
        "airun_periodic_lateness_max_seconds",
        "The latest start since the last heartbeat.",
        &|_, snapshot| seconds(snapshot.lateness.max()),
    );
    if let Some(queue) = queue {
        render_queue(&mut text, queue);
    }
    text
}

fn render_queue(text: &mut String, queue: &queue::Snapshot) {
    family(text, "airun_tasks_total", "counter", "Database tasks that this worker had, by what became of them.");
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
        ("airun_tasks_running", "gauge", "Runs that are going on.", queue.running),
        ("airun_tasks_claimed", "gauge", "Claimed and not begun.", queue.queued),
        ("airun_tasks_rescued_total", "counter", "Taken back from workers that had gone.", queue.rescued),
        ("airun_tasks_refused_total", "counter", "Outcomes that came too late.", queue.refused),
        ("airun_tasks_lost_threads_total", "counter", "Threads that did not return.", queue.lost_threads),
        (
            "airun_tasks_deadlocks_total",
            "counter",
            "Transactions tried again after a deadlock or lock wait.",
            queue.retried,
        ),
        ("airun_tasks_lost_connections_total", "counter", "Connections that were lost.", queue.lost_connections),
    ] {
        family(text, name, kind, help);
        sample(text, name, "", value as f64);
    }
    for (name, help, times) in [
        ("airun_tasks_lateness_seconds", "From due to begun, since the last heartbeat.", &queue.lateness),
        ("airun_tasks_claim_seconds", "How long claims took, since the last heartbeat.", &queue.claims),
    ] {
        family(text, name, "gauge", help);
        for share in [0.5, 0.99, 1.0] {
            sample(text, name, &format!("{{quantile=\"{share}\"}}"), seconds(times.quantile(share)));
        }
    }
}

/// Writes `text` so that a reader sees the old file or the new one, never a part.
///
/// # Errors
/// Fails where the file or its folder can't be written to.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    // node_exporter reads `*.prom`, so the half-written one must be called otherwise.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.tmp", std::process::id()));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, path)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // A String can always be written to.
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").unwrap_or_default();
}

fn sample(text: &mut String, name: &str, labels: &str, value: f64) {
    writeln!(text, "{name}{labels} {value}").unwrap_or_default();
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
