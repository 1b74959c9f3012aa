//! Measures the time from enqueueing a task to its run by an idle worker.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airun::queue::{TaskPayload, enqueue};
use mysql::prelude::Queryable as _;
use serde::{Deserialize, Serialize};

use crate::fixture::Fixture;
use crate::{Result, quantile};

const TASKS: usize = 200;

/// The lab's task of this kind returns the time of its run, in microseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Clock;

impl TaskPayload for Clock {
    const KIND: &'static str = "clock";
}

pub fn run(fixture: &Fixture) -> Result {
    println!("\n{TASKS} single tasks for an idle worker: from before the INSERT to the run, ms");
    for (title, notify) in
        [("enqueued by airun on the same host", true), ("by a plain INSERT, without a notification", false)]
    {
        fixture.execute("TRUNCATE ai_server_tasks")?;
        let worker = fixture.start_worker(&[])?;
        thread::sleep(Duration::from_secs(2));
        let millis = run_singles(fixture, notify)?;
        drop(worker);
        let [median, p90, p99] = [0.5, 0.9, 0.99].map(|share| quantile(&millis, share));
        println!("  {title:<42} median {median:>6.1}   p90 {p90:>6.1}   p99 {p99:>6.1}");
    }
    Ok(())
}

/// Runs `TASKS` tasks, each enqueued after the one before has finished, and returns how many milliseconds each waited.
/// With `notify`, the enqueueing process wakes the worker.
pub fn run_singles(fixture: &Fixture, notify: bool) -> Result<Vec<f64>> {
    let mut millis = Vec::new();
    for n in 0..TASKS {
        millis.push(run_single(fixture, notify)?);
        // The pauses vary, so that the tasks do not fall into step with the worker's polling.
        thread::sleep(Duration::from_micros(20_000 + (n as u64 * 7919) % 40_000));
    }
    Ok(millis)
}

fn run_single(fixture: &Fixture, notify: bool) -> Result<f64> {
    let mut conn = fixture.conn()?;
    let before = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let id = if notify {
        enqueue(&mut conn, &Clock)?.id
    } else {
        conn.query_drop("INSERT INTO ai_server_tasks (kind, payload) VALUES ('clock', 'null')")?;
        conn.last_insert_id()
    };
    loop {
        let ran_at: Option<Option<u64>> = conn.query_first(format!(
            "SELECT CAST(result AS UNSIGNED) FROM ai_server_tasks WHERE id = {id} AND state = 'succeeded'"
        ))?;
        if let Some(ran_at) = ran_at.flatten() {
            return Ok((ran_at.saturating_sub(before)) as f64 / 1e3);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
