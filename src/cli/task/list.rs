//! `airun task list`: the newest tasks.

use std::sync::Arc;

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, priority_name, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::{Table, excerpt};
use crate::error::Result;
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::group::TaskFilter;
use crate::queue::store::inspect::{TaskSummary, newest};

#[derive(Serialize)]
struct TaskList<'a> {
    format: u32,
    database: &'a str,
    tasks: Vec<TaskSummary>,
}

const ERROR_CHARACTERS: usize = 60;

pub fn run(
    filter: &TaskFilter,
    limit: usize,
    kinds: &[Arc<Kind>],
    context: &Context,
    json: bool,
    output: &mut Output,
) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let found = conn.run(|conn| newest(conn, filter, limit))?;
    if json {
        output.json(&TaskList { format: JSON_FORMAT, database: &conn.database.name, tasks: found })?;
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        let which = if filter.is_empty() { "tasks" } else { "matching tasks" };
        output.line(&format!("no {which} in `{}`", conn.database.name));
        return Ok(Exit::Success);
    }
    let mut table = Table::with_header(["id", "state", "kind", "queue", "priority", "failed", "when", "error"]);
    for task in &found {
        table.row([
            task.id.to_string(),
            task.state.name().to_owned(),
            task.kind.clone(),
            task.queue.clone(),
            priority_name(task.priority),
            failed_attempts(task, kinds),
            timing(task),
            task.last_error.as_deref().map(|error| excerpt(error, ERROR_CHARACTERS)).unwrap_or_default(),
        ]);
    }
    table.print(output);
    Ok(Exit::Success)
}

/// Failed attempts and the maximum, for example `2/10`.
pub fn failed_attempts(task: &TaskSummary, kinds: &[Arc<Kind>]) -> String {
    let of_kind = kinds.iter().find(|kind| kind.name == task.kind).map(|kind| kind.max_attempts);
    let max = if task.max_attempts > 0 { Some(task.max_attempts) } else { of_kind };
    format!("{}/{}", task.failures, max.map_or_else(|| "?".to_owned(), |max| max.to_string()))
}

/// The time that matters in the task's state.
pub fn timing(task: &TaskSummary) -> String {
    match task.state {
        State::Pending if task.due_in_micros > 0 => format!("due in {}", short(task.due_in_micros)),
        State::Pending => format!("due for {}", short(task.due_in_micros)),
        State::Running => {
            let cancelling = if task.cancel_requested { ", cancellation requested" } else { "" };
            format!("for {} on worker {}{cancelling}", short(task.quiet_micros), task.worker_id)
        }
        _ => format!("{} ago", short(task.quiet_micros)),
    }
}
