//! Measures whether the rate depends on the other rows of the table and on open snapshots of other sessions.

use std::fs;

use airun::queue::TaskPayload as _;
use mysql::prelude::Queryable as _;

use crate::fixture::Fixture;
use crate::latency::run_singles;
use crate::throughput::Noop;
use crate::{Result, quantile};

const TASKS: u64 = 100_000;
const FINISHED: u64 = 10_000_000;
const BACKLOG: u64 = 1_000_000;
const ROUNDS: usize = 3;

pub fn run(fixture: &Fixture) -> Result {
    println!(
        "\n1 worker: tasks/s (and ratio to the first line), and the time of a claim of up to 500 tasks; medians of {ROUNDS}"
    );
    let empty = repeat("in an empty table", None, || {
        fixture.execute("TRUNCATE ai_server_tasks")?;
        with_the_table_as_it_is(fixture)
    })?;
    repeat(&format!("with {BACKLOG} pending"), Some(empty), || with_a_backlog(fixture))?;
    fixture.execute("TRUNCATE ai_server_tasks")?;
    insert_finished_tasks(fixture)?;
    repeat(&format!("with {FINISHED} finished"), Some(empty), || with_the_table_as_it_is(fixture))?;
    with_an_old_snapshot(fixture, empty)
}

/// The figures of one worker.
struct Figures {
    tasks_per_second: f64,
    claims: ClaimTimes,
}

struct ClaimTimes {
    median_ms: f64,
    p99_ms: f64,
}

/// Measures `ROUNDS` times and prints the medians. Returns the median rate.
fn repeat(title: &str, baseline: Option<f64>, measure: impl Fn() -> Result<Figures>) -> Result<f64> {
    let rounds: Vec<Figures> = (0..ROUNDS).map(|_| measure()).collect::<Result<_>>()?;
    let median = |value: fn(&Figures) -> f64| quantile(&rounds.iter().map(value).collect::<Vec<_>>(), 0.5);
    let rate = median(|figures| figures.tasks_per_second);
    let claims = ClaimTimes {
        median_ms: median(|figures| figures.claims.median_ms),
        p99_ms: median(|figures| figures.claims.p99_ms),
    };
    print(title, &Figures { tasks_per_second: rate, claims }, baseline.unwrap_or(rate));
    Ok(rate)
}

fn print(title: &str, figures: &Figures, baseline: f64) {
    let Figures { tasks_per_second: rate, claims: ClaimTimes { median_ms, p99_ms } } = figures;
    let ratio = rate / baseline;
    println!("  {title:<36} {rate:>7.0} ({ratio:.2})   median {median_ms:>5.1} ms   p99 {p99_ms:>5.1} ms");
}

/// Runs a worker until `wait` returns, and returns how long its claims took.
fn claims_during(fixture: &Fixture, wait: impl FnOnce() -> Result) -> Result<ClaimTimes> {
    fixture.flush_table()?;
    let file = std::env::temp_dir().join(format!("airun-bench-{}.prom", std::process::id()));
    // Quantiles start anew at each heartbeat, so none may occur during the measurement.
    let worker = fixture.start_worker(&["--metrics-file", &file.display().to_string(), "--heartbeat", "1h"])?;
    let waited = wait();
    drop(worker);
    waited?;
    let metrics = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let millis = |quantile: &str| -> Result<f64> {
        let name = format!("airun_tasks_claim_seconds{{quantile=\"{quantile}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        Ok(value.ok_or_else(|| format!("no metric `{name}`"))?.parse::<f64>()? * 1e3)
    };
    Ok(ClaimTimes { median_ms: millis("0.5")?, p99_ms: millis("0.99")? })
}

/// Measures `TASKS` new tasks.
fn with_the_table_as_it_is(fixture: &Fixture) -> Result<Figures> {
    fixture.insert_tasks(Noop::KIND, TASKS)?;
    let last = last_id(fixture)?;
    let claims = claims_during(fixture, || fixture.wait_for_success(last))?;
    Ok(Figures { tasks_per_second: rate_after(fixture, last - TASKS)?, claims })
}

/// Measures the first `TASKS` tasks of a long backlog.
fn with_a_backlog(fixture: &Fixture) -> Result<Figures> {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    fixture.insert_tasks(Noop::KIND, BACKLOG)?;
    let before_first = last_id(fixture)? - BACKLOG;
    let claims = claims_during(fixture, || fixture.wait_for_success(before_first + TASKS))?;
    Ok(Figures { tasks_per_second: rate_after(fixture, before_first)?, claims })
}

fn insert_finished_tasks(fixture: &Fixture) -> Result {
    let mut conn = fixture.conn()?;
    let row = "('noop', '{\"n\": 12345}', 'succeeded', UTC_TIMESTAMP(6) + INTERVAL 7 DAY)";
    let rows = vec![row; 2000].join(",");
    for _ in 0..FINISHED / 2000 {
        conn.query_drop(format!("INSERT INTO ai_server_tasks (kind, payload, state, next_action_at) VALUES {rows}"))?;
    }
    Ok(())
}

/// Measures a backlog while an open transaction keeps the server from purging old row versions.
fn with_an_old_snapshot(fixture: &Fixture, baseline: f64) -> Result {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    fixture.insert_tasks(Noop::KIND, BACKLOG)?;
    let last = last_id(fixture)?;
    let mut snapshot = fixture.conn()?;
    snapshot.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    snapshot.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
    let claims = claims_during(fixture, || fixture.wait_for_success(last))?;
    let tasks_per_second = rate_after(fixture, last - BACKLOG)?;
    print(&format!("{BACKLOG} under an old snapshot"), &Figures { tasks_per_second, claims }, baseline);
    // A new worker does not yet know where in the index the pending tasks are.
    let mut waits = Vec::new();
    let ClaimTimes { median_ms, p99_ms } = claims_during(fixture, || {
        waits = run_singles(fixture, true)?;
        Ok(())
    })?;
    let [wait_median, wait_p99] = [0.5, 0.99].map(|share| quantile(&waits, share));
    println!(
        "\n{} single tasks for a new worker under the same snapshot: claims median {median_ms:.1} ms, p99 {p99_ms:.1} ms; \
         from before the INSERT to the run median {wait_median:.1} ms, p99 {wait_p99:.1} ms",
        waits.len()
    );
    snapshot.query_drop("ROLLBACK")?;
    Ok(())
}

fn last_id(fixture: &Fixture) -> Result<u64> {
    fixture.first("SELECT MAX(id) FROM ai_server_tasks")
}

/// Returns the rate of the succeeded tasks whose ids are greater than `id`.
fn rate_after(fixture: &Fixture, id: u64) -> Result<f64> {
    let (count, seconds): (u64, f64) = fixture.first(&format!(
        "SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks \
         WHERE id > {id} AND state = 'succeeded'"
    ))?;
    Ok(count as f64 / seconds)
}
