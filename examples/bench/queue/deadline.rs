//! How long a run that hangs outlives its deadline, in a process of its own.

use mysql::prelude::Queryable as _;

use super::bed::Bed;
use crate::{Result, quantile};

const TASKS: usize = 50;
const TIMEOUT_MS: u32 = 500;

pub fn show(bed: &Bed) -> Result {
    bed.execute("TRUNCATE ai_server_tasks")?;
    let row = format!("('act_apart', '\"hang\"', {TIMEOUT_MS}, 1)");
    bed.execute(&format!(
        "INSERT INTO ai_server_tasks (kind, payload, timeout_ms, max_attempts) VALUES {}",
        vec![row; TASKS].join(",")
    ))?;
    let worker = bed.worker(&["--threads", "1", "--log-level", "off"])?;
    bed.wait_for_none("act_apart", "pending")?;
    bed.wait_for_none("act_apart", "running")?;
    drop(worker);
    let late: Vec<f64> = bed.conn()?.query(format!(
        "SELECT TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) / 1e3 - {TIMEOUT_MS} FROM ai_server_tasks \
         WHERE state = 'dead' AND last_error LIKE 'timed out%'"
    ))?;
    if late.len() != TASKS {
        return Err(format!("{} of {TASKS} were killed", late.len()).into());
    }
    println!(
        "\n{TASKS} runs that hang in processes of their own, with {TIMEOUT_MS} ms each: from the deadline until they are \
         killed and that is written down, ms\n  median {:>6.1}   max {:>6.1}",
        quantile(&late, 0.5),
        quantile(&late, 1.0)
    );
    Ok(())
}
