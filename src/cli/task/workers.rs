//! `airun task workers`: the registered workers.

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::store::inspect::{self, WorkerSummary};

#[derive(Serialize)]
struct WorkersReport<'a> {
    format: u32,
    database: &'a str,
    workers: Vec<WorkerSummary>,
}

pub fn run(context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let workers = conn.run(|conn| {
        let locks_are_global = !locks_are_local(conn)?;
        inspect::workers(conn, locks_are_global)
    })?;
    if json {
        output.json(&WorkersReport { format: JSON_FORMAT, database: &conn.database.name, workers })?;
        return Ok(Exit::Success);
    }
    if workers.is_empty() {
        output.line(&format!("no worker runs tasks of `{}`; `airun worker` starts one", conn.database.name));
        return Ok(Exit::Success);
    }
    let mut table = Table::with_header(["worker", "state", "hostname", "pid", "tasks", "heartbeat", "started"]);
    for worker in &workers {
        table.row([
            worker.id.to_string(),
            worker.state.name().to_owned(),
            worker.hostname.clone(),
            worker.pid.to_string(),
            worker.running.to_string(),
            format!("{} ago", short(worker.heartbeat_age_micros)),
            format!("{} UTC", worker.started_at),
        ]);
    }
    table.print(output);
    Ok(Exit::Success)
}
