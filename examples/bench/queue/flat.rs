//! Whether speed depends on what else is in the table, and on who else looks at it.

use std::fs;

use airun::queue::DatabaseTask as _;
use mysql::prelude::Queryable as _;

use super::bed::Bed;
use super::latency;
use super::throughput::Noop;
use crate::{Result, quantile};

const TASKS: u64 = 100_000;
const FINISHED: u64 = 10_000_000;
const MANY: u64 = 1_000_000;
const ROUNDS: usize = 3;

pub fn show(bed: &Bed) -> Result {
    println!(
        "\n1 worker: tasks/s (and ratio to the first line), and what a claim of up to 500 takes; medians of {ROUNDS}"
    );
    let repeat = |what: &str, beside: Option<f64>, once: &dyn Fn() -> Result<Figures>| -> Result<f64> {
        let rounds: Vec<Figures> = (0..ROUNDS).map(|_| once()).collect::<Result<_>>()?;
        let [rate, median, p99] = [|f: &Figures| f.rate, |f: &Figures| f.claims.median, |f: &Figures| f.claims.p99]
            .map(|part| quantile(&rounds.iter().map(part).collect::<Vec<_>>(), 0.5));
        let ratio = rate / beside.unwrap_or(rate);
        println!("  {what:<36} {rate:>7.0} ({ratio:.2})   median {median:>5.1} ms   p99 {p99:>5.1} ms");
        Ok(rate)
    };
    let empty = repeat("in an empty table", None, &|| {
        bed.execute("TRUNCATE ai_server_tasks")?;
        drained(bed)
    })?;
    repeat(&format!("with {MANY} pending"), Some(empty), &|| with_pending(bed))?;
    bed.execute("TRUNCATE ai_server_tasks")?;
    fill_finished(bed)?;
    repeat(&format!("with {FINISHED} finished"), Some(empty), &|| drained(bed))?;
    with_snapshot(bed, empty)
}

/// Of one worker.
struct Figures {
    /// Tasks a second.
    rate: f64,
    claims: Claims,
}

/// Milliseconds.
struct Claims {
    median: f64,
    p99: f64,
}

/// Has a worker with all that `meanwhile` waits for; returns what its claims took.
fn claims(bed: &Bed, meanwhile: impl FnOnce() -> Result) -> Result<Claims> {
    bed.settle()?;
    let file = std::env::temp_dir().join(format!("airun-bench-{}.prom", std::process::id()));
    // The metrics are those since the last heartbeat.
    let worker = bed.worker(&["--metrics-file", &file.display().to_string(), "--heartbeat", "1h"])?;
    let waited = meanwhile();
    drop(worker);
    waited?;
    let metrics = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let of = |quantile: &str| -> Result<f64> {
        let name = format!("airun_tasks_claim_seconds{{quantile=\"{quantile}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name)).ok_or("a metric is missing")?;
        Ok(value.parse::<f64>()? * 1e3)
    };
    Ok(Claims { median: of("0.5")?, p99: of("0.99")? })
}

/// What `TASKS` more take.
fn drained(bed: &Bed) -> Result<Figures> {
    bed.fill(Noop::KIND, TASKS)?;
    let last = last(bed)?;
    let claims = claims(bed, || bed.wait_for(last))?;
    Ok(Figures { rate: rate(bed, last - TASKS)?, claims })
}

/// The first tasks of a long backlog.
fn with_pending(bed: &Bed) -> Result<Figures> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, MANY)?;
    let first = last(bed)? - MANY;
    let claims = claims(bed, || bed.wait_for(first + TASKS))?;
    Ok(Figures { rate: rate(bed, first)?, claims })
}

fn fill_finished(bed: &Bed) -> Result {
    let mut conn = bed.conn()?;
    let row = "('noop', '{\"n\": 12345}', 'succeeded', UTC_TIMESTAMP(6) + INTERVAL 7 DAY)";
    let rows = vec![row; 2000].join(",");
    for _ in 0..FINISHED / 2000 {
        conn.query_drop(format!("INSERT INTO ai_server_tasks (kind, payload, state, due_at) VALUES {rows}"))?;
    }
    Ok(())
}

/// A transaction that is left open keeps the server from forgetting anything.
fn with_snapshot(bed: &Bed, empty: f64) -> Result {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, MANY)?;
    let last = last(bed)?;
    let mut snapshot = bed.conn()?;
    snapshot.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    snapshot.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
    let Claims { median, p99 } = claims(bed, || bed.wait_for(last))?;
    let rate = rate(bed, last - MANY)?;
    let ratio = rate / empty;
    let what = format!("{MANY} behind an open snapshot");
    println!("  {what:<36} {rate:>7.0} ({ratio:.2})   median {median:>5.1} ms   p99 {p99:>5.1} ms");
    // A worker that begins there knows nothing of where the pending ones are.
    let mut waits = Vec::new();
    let Claims { median, p99 } = claims(bed, || {
        waits = latency::singles(bed, true)?;
        Ok(())
    })?;
    let [begun, latest] = [0.5, 0.99].map(|share| quantile(&waits, share));
    println!(
        "\n{} single tasks behind them, to a new worker: claims median {median:.1} ms, p99 {p99:.1} ms; from before the \
         INSERT to the run median {begun:.1} ms, p99 {latest:.1} ms",
        waits.len()
    );
    snapshot.query_drop("ROLLBACK")?;
    Ok(())
}

fn last(bed: &Bed) -> Result<u64> {
    bed.first("SELECT MAX(id) FROM ai_server_tasks")
}

/// Tasks a second of those behind `id`.
fn rate(bed: &Bed, id: u64) -> Result<f64> {
    let (count, seconds): (u64, f64) = bed.first(&format!(
        "SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks \
         WHERE id > {id} AND state = 'succeeded'"
    ))?;
    Ok(count as f64 / seconds)
}
