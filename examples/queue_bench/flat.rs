//! Whether speed depends on what else is in the table, and on who else looks at it.

use std::fs;

use mysql::prelude::Queryable as _;

use crate::Result;
use crate::bed::Bed;
use crate::throughput::{Noop, drain, workers};
use airun::queue::DatabaseTask as _;

const TASKS: u64 = 100_000;
const FINISHED: u64 = 10_000_000;
const PENDING: u64 = 1_000_000;

pub fn show(bed: &Bed) -> Result {
    println!("\n1 worker, tasks/s (and ratio to an empty table)");
    let empty = workers(bed, 1)?;
    println!("  empty table          {empty:>7.0}");
    let backlog = with_pending(bed)?;
    println!("  {PENDING:>8} pending     {backlog:>7.0} ({:.2})", backlog / empty);
    let finished = with_finished(bed)?;
    println!("  {FINISHED:>8} finished    {finished:>7.0} ({:.2})", finished / empty);
    with_snapshot(bed)
}

/// The first tasks of a long backlog.
fn with_pending(bed: &Bed) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, PENDING)?;
    let worker = bed.worker(&[])?;
    let mut conn = bed.conn()?;
    let done = format!("SELECT 1 FROM ai_server_tasks WHERE state = 'succeeded' LIMIT {TASKS}, 1");
    while conn.query_first::<u8, _>(&done)?.is_none() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    drop(worker);
    let (count, seconds): (u64, f64) = bed.first(
        "SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks \
         WHERE state = 'succeeded'",
    )?;
    Ok(count as f64 / seconds)
}

fn with_finished(bed: &Bed) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    let mut conn = bed.conn()?;
    let row = "('noop', '{\"n\": 12345}', 'succeeded', UTC_TIMESTAMP(6) + INTERVAL 7 DAY)";
    let rows = vec![row; 2000].join(",");
    for _ in 0..FINISHED / 2000 {
        conn.query_drop(format!("INSERT INTO ai_server_tasks (kind, payload, state, due_at) VALUES {rows}"))?;
    }
    bed.fill(Noop::KIND, TASKS)?;
    drain(bed, 1, TASKS)
}

/// A transaction that is left open keeps the server from forgetting anything.
fn with_snapshot(bed: &Bed) -> Result {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, PENDING)?;
    let mut snapshot = bed.conn()?;
    snapshot.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    snapshot.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
    let file = std::env::temp_dir().join(format!("airun-bench-{}.prom", std::process::id()));
    let worker = bed.worker(&["--metrics-file", &file.display().to_string(), "--heartbeat", "1h"])?;
    bed.wait_for_none(Noop::KIND, "pending")?;
    bed.wait_for_none(Noop::KIND, "running")?;
    drop(worker);
    snapshot.query_drop("ROLLBACK")?;
    let metrics = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let seconds: f64 =
        bed.first("SELECT TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks")?;
    println!(
        "\n{PENDING} tasks behind a snapshot that is left open: {:.0} tasks/s; claims, ms",
        PENDING as f64 / seconds
    );
    for line in metrics.lines().filter(|line| line.starts_with("airun_tasks_claim_seconds{")) {
        let (labels, value) = line.split_once("} ").ok_or("a metric without a value")?;
        let quantile = labels.split('"').nth(1).ok_or("a metric without a quantile")?;
        println!("  p{:<4} {:>7.2}", quantile.parse::<f64>()? * 100.0, value.parse::<f64>()? * 1e3);
    }
    Ok(())
}
