//! `airun task list`.

use std::sync::Arc;

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, priority, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::{Table, excerpt};
use crate::error::Result;
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::group::Filter;
use crate::queue::store::inspect::{Summary, newest};

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    database: &'a str,
    tasks: Vec<Summary>,
}

const ERROR_CHARACTERS: usize = 60;

pub fn perform(
    filter: &Filter,
    limit: usize,
    kinds: &[Arc<Kind>],
    context: &Context,
    json: bool,
    output: &mut Output,
) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let found = operator.run(|conn| newest(conn, filter, limit))?;
    if json {
        output.json(&Report { format: JSON_FORMAT, database: &operator.database.name, tasks: found })?;
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        output.line(&format!("no such task in `{}`", operator.database.name));
        return Ok(Exit::Success);
    }
    let mut table = Table::of(["id", "state", "kind", "queue", "priority", "failed", "when", "error"]);
    for task in &found {
        table.row([
            task.id.to_string(),
            task.state.name().to_owned(),
            task.kind.clone(),
            task.queue.clone(),
            priority(task.priority),
            failed(task, kinds),
            when(task),
            task.last_error.as_deref().map(|error| excerpt(error, ERROR_CHARACTERS)).unwrap_or_default(),
        ]);
    }
    table.print(output);
    Ok(Exit::Success)
}

/// Failed attempts, of how many: `2/10`.
pub fn failed(task: &Summary, kinds: &[Arc<Kind>]) -> String {
    let of_kind = kinds.iter().find(|kind| kind.name == task.kind).map(|kind| kind.max_attempts);
    let most = if task.max_attempts > 0 { Some(task.max_attempts) } else { of_kind };
    format!("{}/{}", task.failures, most.map_or_else(|| "?".to_owned(), |most| most.to_string()))
}

/// What its state makes interesting.
pub fn when(task: &Summary) -> String {
    match task.state {
        State::Pending if task.due_in_micros > 0 => format!("due in {}", short(task.due_in_micros)),
        State::Pending => format!("due for {}", short(task.due_in_micros)),
        State::Running => {
            let cancelling = if task.cancel_requested { ", to be cancelled" } else { "" };
            format!("for {} on worker {}{cancelling}", short(task.quiet_micros), task.worker_id)
        }
        _ => format!("{} ago", short(task.quiet_micros)),
    }
}
