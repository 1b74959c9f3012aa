//! `airun task kinds`: the kinds that this binary runs, and the pending ones that it does not know.

use std::sync::Arc;

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, KindVersion, can_run, note_unknown};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::cli::table::Table;
use crate::duration;
use crate::error::Result;
use crate::queue::state::State;
use crate::queue::store::group::{TaskFilter, groups};
use crate::queue::{Isolation, Kind, Work};

#[derive(Serialize)]
struct ListedKind<'a> {
    kind: &'a str,
    version: u16,
    queue: &'a str,
    priority: &'static str,
    timeout_ms: u128,
    max_attempts: u32,
    concurrency: Option<u32>,
    isolation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
}

impl<'a> ListedKind<'a> {
    fn of(kind: &'a Kind) -> Self {
        let (isolation, program) = match &kind.work {
            Work::Handler { isolation: Isolation::Thread, .. } => ("thread", None),
            Work::Handler { isolation: Isolation::Process, .. } => ("process", None),
            Work::Command { program, .. } => ("command", Some(program.to_string_lossy().into_owned())),
        };
        Self {
            kind: &kind.name,
            version: kind.version,
            queue: &kind.queue,
            priority: kind.priority.name(),
            timeout_ms: kind.timeout.as_millis(),
            max_attempts: kind.max_attempts,
            concurrency: kind.concurrency,
            isolation,
            program,
        }
    }
}

#[derive(Serialize)]
struct KindsReport<'a> {
    format: u32,
    kinds: Vec<ListedKind<'a>>,
    /// Pending kinds that this binary does not know; `None` without a database.
    unknown: Option<Vec<KindVersion>>,
}

pub fn run(kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let unknown = match context.database()? {
        Some(_) => Some(unknown_pending(kinds, &mut QueueConn::connect(context)?)?),
        None => None,
    };
    let report =
        KindsReport { format: JSON_FORMAT, kinds: kinds.iter().map(|kind| ListedKind::of(kind)).collect(), unknown };
    if json {
        output.json(&report)?;
        return Ok(Exit::Success);
    }
    if report.kinds.is_empty() {
        output.line("this binary has no kinds of database tasks");
    } else {
        table(&report.kinds, kinds).print(output);
    }
    match &report.unknown {
        None => print_error("note", "without a database, pending kinds that this binary does not know can't be listed"),
        Some(unknown) => unknown.iter().for_each(note_unknown),
    }
    Ok(Exit::Success)
}

fn table(listed: &[ListedKind<'_>], kinds: &[Arc<Kind>]) -> Table {
    let mut table =
        Table::with_header(["kind", "version", "queue", "priority", "timeout", "attempts", "at once", "runs in"]);
    for (listed, kind) in listed.iter().zip(kinds) {
        table.row([
            listed.kind.to_owned(),
            listed.version.to_string(),
            listed.queue.to_owned(),
            listed.priority.to_owned(),
            duration::format(kind.timeout),
            listed.max_attempts.to_string(),
            listed.concurrency.map_or_else(|| "any".to_owned(), |limit| limit.to_string()),
            match &listed.program {
                Some(program) => format!("the program `{program}`"),
                None => format!("a {}", listed.isolation),
            },
        ]);
    }
    table
}

fn unknown_pending(kinds: &[Arc<Kind>], conn: &mut QueueConn<'_>) -> Result<Vec<KindVersion>> {
    let pending = conn.run(|conn| groups(conn, &TaskFilter::states(&[State::Pending])))?;
    let mut unknown: Vec<KindVersion> = pending
        .into_iter()
        .filter(|group| !can_run(kinds, &group.kind, group.version))
        .map(|group| KindVersion { kind: group.kind, version: group.version })
        .collect();
    unknown.dedup();
    Ok(unknown)
}
