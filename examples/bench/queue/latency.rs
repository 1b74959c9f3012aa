//! From enqueueing one task to its run, on an idle worker.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airun::queue::{DatabaseTask, TaskContext, TaskError, enqueue};
use mysql::prelude::Queryable as _;

use super::bed::Bed;
use crate::{Result, quantile};

const TASKS: usize = 200;

/// The lab's: tells when it ran, in microseconds since 1970.
struct Clock;

impl DatabaseTask for Clock {
    type Payload = ();
    type Output = u64;
    const KIND: &'static str = "clock";

    fn execute(&self, (): (), _: &TaskContext<'_>) -> Result<u64, TaskError> {
        Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
    }
}

pub fn show(bed: &Bed) -> Result {
    println!("\n{TASKS} single tasks to an idle worker: from before the INSERT to the run, ms");
    for (how, rung) in [("enqueued by airun on the same host", true), ("by a plain INSERT, without the wake-up", false)]
    {
        bed.execute("TRUNCATE ai_server_tasks")?;
        let worker = bed.worker(&[])?;
        thread::sleep(Duration::from_secs(2));
        let millis = singles(bed, rung)?;
        drop(worker);
        let [median, p90, p99] = [0.5, 0.9, 0.99].map(|share| quantile(&millis, share));
        println!("  {how:<40} median {median:>6.1}   p90 {p90:>6.1}   p99 {p99:>6.1}");
    }
    Ok(())
}

/// What `TASKS` tasks wait, each enqueued when the one before is done; milliseconds.
pub fn singles(bed: &Bed, rung: bool) -> Result<Vec<f64>> {
    let mut millis = Vec::new();
    for n in 0..TASKS {
        millis.push(one(bed, rung)?);
        // Not in step with the worker's polling.
        thread::sleep(Duration::from_micros(20_000 + (n as u64 * 7919) % 40_000));
    }
    Ok(millis)
}

fn one(bed: &Bed, rung: bool) -> Result<f64> {
    let mut conn = bed.conn()?;
    let before = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let id = if rung {
        enqueue::<Clock>(&mut conn, &())?.id
    } else {
        conn.query_drop("INSERT INTO ai_server_tasks (kind, payload) VALUES ('clock', 'null')")?;
        conn.last_insert_id()
    };
    loop {
        let ran: Option<Option<u64>> = conn.query_first(format!(
            "SELECT CAST(result AS UNSIGNED) FROM ai_server_tasks WHERE id = {id} AND state = 'succeeded'"
        ))?;
        if let Some(ran) = ran.flatten() {
            return Ok((ran.saturating_sub(before)) as f64 / 1e3);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
