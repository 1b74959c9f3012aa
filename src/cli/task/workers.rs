//! `airun task workers`.

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::store::inspect::{self, Standing, Worker};

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    database: &'a str,
    workers: Vec<Worker>,
}

pub fn perform(context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let workers = operator.run(|conn| {
        let locks_tell = !locks_are_local(conn)?;
        inspect::workers(conn, locks_tell)
    })?;
    if json {
        output.json(&Report { format: JSON_FORMAT, database: &operator.database.name, workers })?;
        return Ok(Exit::Success);
    }
    if workers.is_empty() {
        output.line(&format!(
            "no worker takes database tasks from `{}`; `airun worker` starts one",
            operator.database.name
        ));
        return Ok(Exit::Success);
    }
    let mut table = Table::of(["worker", "state", "host", "process", "tasks", "seen", "started"]);
    for worker in &workers {
        table.row([
            worker.id.to_string(),
            match worker.standing {
                Standing::Idle => "idle",
                Standing::Busy => "busy",
                Standing::Gone => "gone",
            }
            .to_owned(),
            worker.hostname.clone(),
            worker.pid.to_string(),
            worker.running.to_string(),
            format!("{} ago", short(worker.seen_micros)),
            format!("{} UTC", worker.started_at),
        ]);
    }
    table.print(output);
    Ok(Exit::Success)
}
