//! Tasks a second, beside one connection that does the least SQL that could be called a queue.

use std::time::Instant;

use airun::queue::{DatabaseTask, Enqueue, TaskContext, TaskError};
use mysql::prelude::Queryable as _;

use super::bed::Bed;
use crate::Result;

const TASKS: u64 = 100_000;
const BATCH: u64 = 500;
const ROUNDS: usize = 4;

/// What the lab's worker runs.
pub struct Noop;

impl DatabaseTask for Noop {
    type Payload = serde_json::Value;
    type Output = ();
    const KIND: &'static str = "noop";

    fn execute(&self, _: Self::Payload, _: &TaskContext<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}

pub fn show(bed: &Bed) -> Result {
    println!("\nbulk enqueue of {TASKS} tasks, tasks/s (and ratio to the multi-row INSERT of the same round)");
    insert(bed)?;
    for round in 0..ROUNDS {
        // In turn, since what comes second has the other's pages still being written.
        let first = if round % 2 == 0 { enqueue(bed)? } else { insert(bed)? };
        let second = if round % 2 == 0 { insert(bed)? } else { enqueue(bed)? };
        let (raw, airun) = if round % 2 == 0 { (second, first) } else { (first, second) };
        println!("  INSERT {raw:>7.0}   airun {airun:>7.0} ({:.2})", airun / raw);
    }
    println!("\n{TASKS} tasks from pending to succeeded, tasks/s (and ratio to the raw limit of the same round)");
    println!("  raw limit: one connection, batches of {BATCH}, an UPDATE to claim and one to complete, known ids");
    for _ in 0..ROUNDS {
        let raw = raw(bed)?;
        let one = workers(bed, 1)?;
        let four = workers(bed, 4)?;
        println!(
            "  raw {raw:>7.0}   1 worker {one:>7.0} ({:.2})   4 workers {four:>7.0} ({:.2})",
            one / raw,
            four / raw
        );
    }
    Ok(())
}

fn rate(started: Instant) -> f64 {
    TASKS as f64 / started.elapsed().as_secs_f64()
}

fn insert(bed: &Bed) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    let started = Instant::now();
    bed.fill(Noop::KIND, TASKS)?;
    Ok(rate(started))
}

fn enqueue(bed: &Bed) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    let payloads = vec![serde_json::json!({ "n": 12345 }); usize::try_from(TASKS)?];
    let mut conn = bed.conn()?;
    let started = Instant::now();
    Enqueue::<Noop>::new().insert_many(&mut conn, &payloads)?;
    Ok(rate(started))
}

fn raw(bed: &Bed) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, TASKS)?;
    let mut conn = bed.conn()?;
    let first: u64 = bed.first("SELECT MIN(id) FROM ai_server_tasks")?;
    let started = Instant::now();
    let mut id = first;
    while id < first + TASKS {
        let last = id + BATCH - 1;
        conn.query_drop(format!(
            "UPDATE ai_server_tasks SET state = 'running', owner = 1, claims = claims + 1, \
             started_at = UTC_TIMESTAMP(6), due_at = UTC_TIMESTAMP(6) + INTERVAL 30 SECOND WHERE id BETWEEN {id} AND {last}"
        ))?;
        conn.query_drop(format!(
            "UPDATE ai_server_tasks SET state = 'succeeded', owner = 0, finished_at = UTC_TIMESTAMP(6), \
             due_at = UTC_TIMESTAMP(6) + INTERVAL 7 DAY WHERE id BETWEEN {id} AND {last}"
        ))?;
        id += BATCH;
    }
    Ok(rate(started))
}

/// Of so many processes together.
pub fn workers(bed: &Bed, processes: usize) -> Result<f64> {
    bed.execute("TRUNCATE ai_server_tasks")?;
    bed.fill(Noop::KIND, TASKS)?;
    drain(bed, processes, TASKS)
}

/// Has workers do what is pending; tasks a second from the first claim to the last completion.
pub fn drain(bed: &Bed, processes: usize, tasks: u64) -> Result<f64> {
    let started: Result<Vec<_>> = (0..processes).map(|_| bed.worker(&[])).collect();
    bed.wait_for_none(Noop::KIND, "pending")?;
    bed.wait_for_none(Noop::KIND, "running")?;
    drop(started?);
    let seconds: f64 = bed.first(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 FROM ai_server_tasks \
         WHERE started_at > '2000-01-01'",
    )?;
    Ok(tasks as f64 / seconds)
}
