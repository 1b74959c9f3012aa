//! Measures tasks per second, compared with one connection that runs the least SQL that makes a queue.

use std::time::Instant;

use airun::queue::{Enqueue, TaskPayload};
use mysql::prelude::Queryable as _;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::fixture::Fixture;

const TASKS: u64 = 100_000;
const BATCH: u64 = 500;
const ROUNDS: usize = 4;

/// The lab's task of this kind does nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Noop {
    n: u32,
}

impl TaskPayload for Noop {
    const KIND: &'static str = "noop";
}

pub fn run(fixture: &Fixture) -> Result {
    println!("\nbulk enqueue of {TASKS} tasks, tasks/s (and ratio to the multi-row INSERT of the same round)");
    rate_of_inserts(fixture)?;
    for round in 0..ROUNDS {
        // The second one runs while the server still writes the pages of the first, so they take turns.
        let airun_first = round % 2 == 0;
        let first = if airun_first { rate_of_enqueue(fixture)? } else { rate_of_inserts(fixture)? };
        let second = if airun_first { rate_of_inserts(fixture)? } else { rate_of_enqueue(fixture)? };
        let (raw, airun) = if airun_first { (second, first) } else { (first, second) };
        println!("  INSERT {raw:>7.0}   airun {airun:>7.0} ({:.2})", airun / raw);
    }
    println!("\n{TASKS} tasks from pending to succeeded, tasks/s (and ratio to the raw limit of the same round)");
    println!("  raw limit: one connection, batches of {BATCH}, an UPDATE to claim and one to complete, known ids");
    for _ in 0..ROUNDS {
        let raw = rate_of_raw_queue(fixture)?;
        let one = rate_of_workers(fixture, 1)?;
        let four = rate_of_workers(fixture, 4)?;
        println!(
            "  raw {raw:>7.0}   1 worker {one:>7.0} ({:.2})   4 workers {four:>7.0} ({:.2})",
            one / raw,
            four / raw
        );
    }
    Ok(())
}

fn rate_since(started: Instant) -> f64 {
    TASKS as f64 / started.elapsed().as_secs_f64()
}

fn rate_of_inserts(fixture: &Fixture) -> Result<f64> {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    let started = Instant::now();
    fixture.insert_tasks(Noop::KIND, TASKS)?;
    Ok(rate_since(started))
}

fn rate_of_enqueue(fixture: &Fixture) -> Result<f64> {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    let payloads = vec![Noop { n: 12345 }; usize::try_from(TASKS)?];
    let mut conn = fixture.conn()?;
    let started = Instant::now();
    Enqueue::new().insert_many(&mut conn, &payloads)?;
    Ok(rate_since(started))
}

fn rate_of_raw_queue(fixture: &Fixture) -> Result<f64> {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    fixture.insert_tasks(Noop::KIND, TASKS)?;
    let mut conn = fixture.conn()?;
    let first: u64 = fixture.first("SELECT MIN(id) FROM ai_server_tasks")?;
    let started = Instant::now();
    let mut id = first;
    while id < first + TASKS {
        let last = id + BATCH - 1;
        conn.query_drop(format!(
            "UPDATE ai_server_tasks SET state = 'running', worker_id = 1, claim_count = claim_count + 1, \
             started_at = UTC_TIMESTAMP(6), next_action_at = UTC_TIMESTAMP(6) + INTERVAL 30 SECOND WHERE id BETWEEN {id} AND {last}"
        ))?;
        conn.query_drop(format!(
            "UPDATE ai_server_tasks SET state = 'succeeded', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
             next_action_at = UTC_TIMESTAMP(6) + INTERVAL 7 DAY WHERE id BETWEEN {id} AND {last}"
        ))?;
        id += BATCH;
    }
    Ok(rate_since(started))
}

/// Returns the rate of `processes` workers together, from the first claim to the last completion.
fn rate_of_workers(fixture: &Fixture, processes: usize) -> Result<f64> {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    fixture.insert_tasks(Noop::KIND, TASKS)?;
    let workers: Result<Vec<_>> = (0..processes).map(|_| fixture.start_worker(&[])).collect();
    fixture.wait_for_none(Noop::KIND, "pending")?;
    fixture.wait_for_none(Noop::KIND, "running")?;
    drop(workers?);
    let seconds: f64 = fixture.first(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks \
         WHERE started_at > '2000-01-01'",
    )?;
    Ok(TASKS as f64 / seconds)
}
