//! `airun task kinds`: the kinds that this binary runs, and the pending ones that it does not know.

use std::sync::Arc;

use serde_json::{Value, json};

use super::queue_conn::QueueConn;
use super::{KindVersion, can_run, note_unknown};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::print_error;
use crate::cli::table::Table;
use crate::duration;
use crate::error::Result;
use crate::queue::state::State;
use crate::queue::store::group::{TaskFilter, groups};
use crate::queue::{Isolation, Kind, Work};

/// How a kind's tasks are run, and by which program if it is a command.
fn isolation(kind: &Kind) -> (&'static str, Option<String>) {
    match &kind.work {
        Work::Handler { isolation: Isolation::Thread, .. } => ("thread", None),
        Work::Handler { isolation: Isolation::Process, .. } => ("process", None),
        Work::Command { program, .. } => ("command", Some(program.to_string_lossy().into_owned())),
    }
}

fn fields(kind: &Kind) -> Value {
    let (isolation, program) = isolation(kind);
    let mut fields = json!({
        "kind": kind.name,
        "version": kind.version,
        "queue": kind.queue,
        "priority": kind.priority.name(),
        "timeout_ms": kind.timeout.as_millis() as u64,
        "max_attempts": kind.max_attempts,
        "concurrency": kind.concurrency,
        "isolation": isolation,
    });
    if let Some(program) = program {
        fields["program"] = program.into();
    }
    fields
}

pub fn kinds(context: &mut Context) -> Result<Exit> {
    context.registry.check()?;
    let kinds = &context.registry.kinds;
    // Without a database there is nothing to compare with.
    let unknown = match context.database()? {
        Some(_) => Some(unknown_pending(kinds, &mut QueueConn::connect(context)?)?),
        None => None,
    };
    if context.args.has("--json") {
        let listed: Vec<Value> = kinds.iter().map(|kind| fields(kind)).collect();
        context.output.report(None, &json!({"kinds": listed, "unknown": unknown}))?;
        return Ok(Exit::Success);
    }
    if kinds.is_empty() {
        context.output.line("this binary has no kinds of database tasks");
    } else {
        table(kinds).print(&mut context.output);
    }
    if unknown.is_none() {
        print_error("note", "without a database, pending kinds that this binary does not know can't be listed");
    }
    unknown.iter().flatten().for_each(note_unknown);
    Ok(Exit::Success)
}

fn table(kinds: &[Arc<Kind>]) -> Table {
    let mut table =
        Table::with_header(["kind", "version", "queue", "priority", "timeout", "attempts", "at once", "runs in"]);
    for kind in kinds {
        let (isolation, program) = isolation(kind);
        table.row([
            kind.name.clone(),
            kind.version.to_string(),
            kind.queue.clone(),
            kind.priority.name().to_owned(),
            duration::format(kind.timeout),
            kind.max_attempts.to_string(),
            kind.concurrency.map_or_else(|| "any".to_owned(), |limit| limit.to_string()),
            program.map_or_else(|| format!("a {isolation}"), |program| format!("the program `{program}`")),
        ]);
    }
    table
}

fn unknown_pending(kinds: &[Arc<Kind>], conn: &mut QueueConn) -> Result<Vec<KindVersion>> {
    let pending = conn.run(|conn| groups(conn, &TaskFilter::states(&[State::Pending])))?;
    let mut unknown: Vec<KindVersion> = pending
        .into_iter()
        .filter(|group| !can_run(kinds, &group.kind, group.version))
        .map(|group| KindVersion { kind: group.kind, version: group.version })
        .collect();
    unknown.dedup();
    Ok(unknown)
}
