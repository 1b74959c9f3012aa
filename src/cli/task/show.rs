//! `airun task show`: one task in full.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::change::no_such_task;
use super::list::{failed_attempts, timing};
use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, count, priority_name};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::duration;
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::queue::store::inspect::{self, TaskDetails, TaskSummary};

#[derive(Serialize)]
struct TaskReport<'a> {
    format: u32,
    database: &'a str,
    #[serde(flatten)]
    summary: &'a TaskSummary,
    payload: &'a RawValue,
    progress: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    hostname: Option<&'a str>,
    pid: Option<u32>,
}

pub fn run(id: u64, kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let details = conn.run(|conn| inspect::details(conn, id))?;
    let details = details.ok_or_else(|| Error::failure(no_such_task(&conn, id)))?;
    if json {
        output.json(&report(&details, &conn.database.name)?)?;
    } else {
        table(&details, kinds).print(output);
    }
    Ok(Exit::Success)
}

fn report<'a>(details: &'a TaskDetails, database: &'a str) -> Result<TaskReport<'a>> {
    let raw = |text: &'a str| {
        serde_json::from_str::<&RawValue>(text)
            .map_err(|error| Error::failure(format!("task {} has invalid JSON: {error}", details.summary.id)))
    };
    Ok(TaskReport {
        format: JSON_FORMAT,
        database,
        summary: &details.summary,
        payload: raw(&details.payload)?,
        progress: details.progress.as_deref().map(raw).transpose()?,
        result: details.result.as_deref().map(raw).transpose()?,
        hostname: details.runs_on.as_ref().map(|(hostname, _)| hostname.as_str()),
        pid: details.runs_on.as_ref().map(|(_, pid)| *pid),
    })
}

fn table(details: &TaskDetails, kinds: &[Arc<Kind>]) -> Table {
    let task = &details.summary;
    let mut table = Table::default();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("task", task.id.to_string());
    row("kind", format!("{} version {}", task.kind, task.payload_version));
    row("queue", format!("{}, priority {}", task.queue, priority_name(task.priority)));
    row("state", format!("{}, {}", task.state.name(), timing(task)));
    row("failed", failed_attempts(task, kinds));
    if task.crashes > 0 {
        row("crashed", task.crashes.to_string());
    }
    if task.isolated_runs > 0 {
        row("isolated", format!("{} without an outcome", count(task.isolated_runs, "run")));
    }
    row("claimed", task.claim_count.to_string());
    row("timeout", timeout(task, kinds));
    if let Some(key) = &task.dedupe_key {
        row("dedupe key", key.clone());
    }
    row("created", format!("{} UTC", task.created_at));
    if task.scheduled_at != task.created_at {
        row("scheduled", format!("{} UTC", task.scheduled_at));
    }
    if task.worker_id == 0 {
        let name = if task.state.is_final() { "purged after" } else { "due" };
        row(name, format!("{} UTC", task.next_action_at));
    }
    if let Some(at) = &task.started_at {
        row("started", format!("{at} UTC"));
    }
    if let Some(at) = &task.finished_at {
        row("finished", format!("{at} UTC"));
    }
    if task.worker_id != 0 {
        let place = match &details.runs_on {
            Some((hostname, pid)) => format!(", process {pid} on {hostname}"),
            None => ", which is not registered".to_owned(),
        };
        row("worker", format!("{}{place}; its lease ends {} UTC", task.worker_id, task.next_action_at));
    }
    row("payload", details.payload.clone());
    if let Some(progress) = &details.progress {
        row("progress", progress.clone());
    }
    if let Some(result) = &details.result {
        row("result", result.clone());
    }
    if let Some(error) = &task.last_error {
        row("last error", error.clone());
    }
    table
}

fn timeout(task: &TaskSummary, kinds: &[Arc<Kind>]) -> String {
    if task.timeout_ms > 0 {
        return duration::format(Duration::from_millis(task.timeout_ms.into()));
    }
    let kind = kinds.iter().find(|kind| kind.name == task.kind);
    kind.map_or_else(|| "the kind's default".to_owned(), |kind| duration::format(kind.timeout))
}
