//! Measures how long a hanging run in a process of its own outlives its deadline.

use mysql::prelude::Queryable as _;

use crate::fixture::Fixture;
use crate::{Result, quantile};

const TASKS: usize = 50;
const TIMEOUT_MS: u32 = 500;

pub fn run(fixture: &Fixture) -> Result {
    fixture.execute("TRUNCATE ai_server_tasks")?;
    let row = format!("('act_apart', '\"hang\"', {TIMEOUT_MS}, 1)");
    fixture.execute(&format!(
        "INSERT INTO ai_server_tasks (kind, payload, timeout_ms, max_attempts) VALUES {}",
        vec![row; TASKS].join(",")
    ))?;
    let worker = fixture.start_worker(&["--threads", "1", "--log-level", "off"])?;
    fixture.wait_for_none("act_apart", "pending")?;
    fixture.wait_for_none("act_apart", "running")?;
    drop(worker);
    let late: Vec<f64> = fixture.conn()?.query(format!(
        "SELECT TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) / 1e3 - {TIMEOUT_MS} FROM ai_server_tasks \
         WHERE state = 'dead' AND last_error LIKE 'timed out%'"
    ))?;
    if late.len() != TASKS {
        return Err(format!("{} of {TASKS} runs timed out", late.len()).into());
    }
    println!(
        "\n{TASKS} hanging runs in processes of their own, with a timeout of {TIMEOUT_MS} ms: from the deadline until the \
         process is killed and the row is written, ms\n  median {:>6.1}   max {:>6.1}",
        quantile(&late, 0.5),
        quantile(&late, 1.0)
    );
    Ok(())
}
