//! `airun task list`: the newest tasks.

use std::sync::Arc;

use serde_json::json;

use super::queue_conn::QueueConn;
use super::{priority_name, short, states};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Table, excerpt};
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::group::TaskFilter;
use crate::queue::store::inspect::{TaskSummary, newest};

const LIMIT_MAX: usize = 10_000;
const ERROR_CHARACTERS: usize = 60;

pub fn list(context: &mut Context) -> Result<Exit> {
    let args = &context.args;
    let states = states(args, &State::ALL)?.unwrap_or_default();
    let filter = TaskFilter { states, kind: args.owned("--kind"), queue: args.owned("--queue") };
    let limit = args.parsed("--limit")?.unwrap_or(LIMIT_MAX);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::usage(format!("`--limit` must be from 1 to {LIMIT_MAX}")));
    }
    let mut conn = QueueConn::connect(context)?;
    let found = conn.run(|conn| newest(conn, &filter, limit))?;
    if context.args.has("--json") {
        context.output.report(Some(&conn.database.name), &json!({"tasks": found}))?;
    } else if found.is_empty() {
        let which = if filter.is_empty() { "tasks" } else { "matching tasks" };
        context.output.line(&format!("no {which} in `{}`", conn.database.name));
    } else {
        table(&found, &context.registry.kinds).print(&mut context.output);
    }
    Ok(Exit::Success)
}

fn table(tasks: &[TaskSummary], kinds: &[Arc<Kind>]) -> Table {
    let mut table = Table::with_header(["id", "state", "kind", "queue", "priority", "failed", "when", "error"]);
    for task in tasks {
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
    table
}

/// Failed attempts and the maximum, for example `2/10`.
pub fn failed_attempts(task: &TaskSummary, kinds: &[Arc<Kind>]) -> String {
    let of_kind = kinds.iter().find(|kind| kind.name == task.kind).map(|kind| kind.max_attempts);
    let max = if task.max_attempts > 0 { Some(task.max_attempts) } else { of_kind };
    format!("{}/{}", task.failures, max.map_or_else(|| "?".to_owned(), |max| max.to_string()))
}

/// Returns the time that matters in the task's state.
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
