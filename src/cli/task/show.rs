//! `airun task show`: one task in full.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::change::no_such_task;
use super::list::{failed_attempts, timing};
use super::queue_conn::QueueConn;
use super::{ids, priority_name};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::table::Table;
use crate::duration;
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::queue::store::inspect::{self, TaskDetails, TaskSummary};

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(flatten)]
    summary: &'a TaskSummary,
    payload: &'a RawValue,
    progress: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    hostname: Option<&'a str>,
    pid: Option<u32>,
}

pub fn show(context: &mut Context) -> Result<Exit> {
    let id = ids(&context.args)?[0];
    let mut conn = QueueConn::connect(context)?;
    let details = conn.run(|conn| inspect::details(conn, id))?;
    let details = details.ok_or_else(|| Error::failure(no_such_task(&conn, id)))?;
    if context.args.has("--json") {
        context.output.report(Some(&conn.database.name), &fields(&details)?)?;
    } else {
        table(&details, &context.registry.kinds).print(&mut context.output);
    }
    Ok(Exit::Success)
}

fn fields(details: &TaskDetails) -> Result<Fields<'_>> {
    fn raw(text: &str) -> serde_json::Result<&RawValue> {
        serde_json::from_str(text)
    }
    let fields = || {
        Ok(Fields {
            summary: &details.summary,
            payload: raw(&details.payload)?,
            progress: details.progress.as_deref().map(raw).transpose()?,
            result: details.result.as_deref().map(raw).transpose()?,
            hostname: details.runs_on.as_ref().map(|(hostname, _)| hostname.as_str()),
            pid: details.runs_on.as_ref().map(|(_, pid)| *pid),
        })
    };
    fields().map_err(|error: serde_json::Error| {
        Error::failure(format!("task {} has invalid JSON: {error}", details.summary.id))
    })
}

fn table(details: &TaskDetails, kinds: &[Arc<Kind>]) -> Table {
    let task = &details.summary;
    let mut table = Table::default();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.row([name.to_owned(), value]);
        }
    };
    let utc = |at: &String| format!("{at} UTC");
    let is_claimed = task.worker_id != 0;
    row("task", Some(task.id.to_string()));
    row("kind", Some(format!("{} version {}", task.kind, task.payload_version)));
    row("queue", Some(format!("{}, priority {}", task.queue, priority_name(task.priority))));
    row("state", Some(format!("{}, {}", task.state.name(), timing(task))));
    row("failed", Some(failed_attempts(task, kinds)));
    row("crashed", (task.crashes > 0).then(|| task.crashes.to_string()));
    let isolated = || format!("{} without an outcome", count(task.isolated_runs, "run"));
    row("isolated", (task.isolated_runs > 0).then(isolated));
    row("claimed", Some(task.claim_count.to_string()));
    row("timeout", Some(timeout(task, kinds)));
    row("dedupe key", task.dedupe_key.clone());
    row("created", Some(utc(&task.created_at)));
    row("scheduled", (task.scheduled_at != task.created_at).then(|| utc(&task.scheduled_at)));
    let next = if task.state.is_final() { "purged after" } else { "due" };
    row(next, (!is_claimed).then(|| utc(&task.next_action_at)));
    row("started", task.started_at.as_ref().map(utc));
    row("finished", task.finished_at.as_ref().map(utc));
    let place = match &details.runs_on {
        Some((hostname, pid)) => format!(", process {pid} on {hostname}"),
        None => ", which is not registered".to_owned(),
    };
    let worker = || format!("{}{place}; its lease ends {} UTC", task.worker_id, task.next_action_at);
    row("worker", is_claimed.then(worker));
    row("payload", Some(details.payload.clone()));
    row("progress", details.progress.clone());
    row("result", details.result.clone());
    row("last error", task.last_error.clone());
    table
}

fn timeout(task: &TaskSummary, kinds: &[Arc<Kind>]) -> String {
    if task.timeout_ms > 0 {
        return duration::format(Duration::from_millis(task.timeout_ms.into()));
    }
    let kind = kinds.iter().find(|kind| kind.name == task.kind);
    kind.map_or_else(|| "the kind's default".to_owned(), |kind| duration::format(kind.timeout))
}
