//! `airun task kinds`: what this binary can run, and what waits for another.

use std::sync::Arc;

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, knows};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::cli::table::Table;
use crate::error::Result;
use crate::interval;
use crate::queue::state::State;
use crate::queue::store::group::{Filter, groups};
use crate::queue::{Isolation, Kind, Work};

#[derive(Serialize)]
struct Listed<'a> {
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

impl<'a> Listed<'a> {
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

#[derive(Serialize, PartialEq, Eq)]
struct Unknown {
    kind: String,
    version: u16,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    kinds: Vec<Listed<'a>>,
    /// Pending in the database; `None` where no database is named.
    unknown: Option<Vec<Unknown>>,
}

pub fn perform(kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let unknown = match context.database()? {
        Some(_) => Some(unknown(kinds, &mut Operator::connect(context)?)?),
        None => None,
    };
    let report = Report { format: JSON_FORMAT, kinds: kinds.iter().map(|kind| Listed::of(kind)).collect(), unknown };
    if json {
        output.json(&report)?;
        return Ok(Exit::Success);
    }
    if report.kinds.is_empty() {
        output.line("no database task is registered");
    } else {
        table(&report.kinds, kinds).print(output);
    }
    match &report.unknown {
        None => print_error("note", "no database is named, so this doesn't tell what else is pending"),
        Some(unknown) => {
            for Unknown { kind, version } in unknown {
                print_error(
                    "note",
                    &format!("tasks of kind `{kind}` version {version} are pending, which this binary doesn't know"),
                );
            }
        }
    }
    Ok(Exit::Success)
}

fn table(listed: &[Listed<'_>], kinds: &[Arc<Kind>]) -> Table {
    let mut table = Table::of(["kind", "version", "queue", "priority", "timeout", "attempts", "at once", "runs in"]);
    for (listed, kind) in listed.iter().zip(kinds) {
        table.row([
            listed.kind.to_owned(),
            listed.version.to_string(),
            listed.queue.to_owned(),
            listed.priority.to_owned(),
            interval::format(kind.timeout),
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

fn unknown(kinds: &[Arc<Kind>], operator: &mut Operator<'_>) -> Result<Vec<Unknown>> {
    let pending = operator.run(|conn| groups(conn, &Filter::states(&[State::Pending])))?;
    let mut unknown: Vec<Unknown> = pending
        .into_iter()
        .filter(|group| !knows(kinds, &group.kind, group.version))
        .map(|group| Unknown { kind: group.kind, version: group.version })
        .collect();
    unknown.dedup();
    Ok(unknown)
}
