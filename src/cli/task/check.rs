//! `airun task check`: whether this binary can run what is pending, to be asked before a deploy.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, knows, tasks};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::error::{Result, with_causes};
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::group::{Filter, Group, groups};
use crate::queue::store::inspect;

/// Of one kind and version so many are named; the others are counted.
const NAMED_MAX: u64 = 10;

#[derive(Serialize)]
struct Undecodable {
    id: u64,
    kind: String,
    version: u16,
    error: String,
}

#[derive(Serialize, PartialEq, Eq)]
struct Unknown {
    kind: String,
    version: u16,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    database: &'a str,
    checked: u64,
    /// The first of each kind and version.
    undecodable: Vec<Undecodable>,
    undecodable_count: u64,
    unknown: Vec<Unknown>,
}

pub fn perform(kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let database = operator.database.name.clone();
    let mut report = Report {
        format: JSON_FORMAT,
        database: &database,
        checked: 0,
        undecodable: Vec::new(),
        undecodable_count: 0,
        unknown: Vec::new(),
    };
    for group in operator.run(|conn| groups(conn, &Filter::states(&[State::Pending])))? {
        match kinds.iter().find(|kind| kind.name == group.kind) {
            Some(kind) if knows(kinds, &group.kind, group.version) => {
                look(&mut operator, &group, kind, &mut report)?;
            }
            _ => {
                let unknown = Unknown { kind: group.kind, version: group.version };
                if !report.unknown.contains(&unknown) {
                    report.unknown.push(unknown);
                }
            }
        }
    }
    let exit = if report.undecodable_count == 0 { Exit::Success } else { Exit::Failure };
    if json {
        output.json(&report)?;
    } else {
        print(&report, output);
    }
    Ok(exit)
}

/// Decodes all payloads of a group, a page at a time. Those that are claimed meanwhile are passed over.
fn look(operator: &mut Operator<'_>, group: &Group, kind: &Kind, report: &mut Report<'_>) -> Result<()> {
    let mut place = None;
    let mut bad = 0;
    loop {
        let (page, last) = operator.run(|conn| inspect::payloads(conn, group, place.as_ref()))?;
        report.checked += page.len() as u64;
        for (id, payload) in page {
            let Err(error) = kind.check(group.version, &payload) else { continue };
            bad += 1;
            if bad <= NAMED_MAX {
                let error = with_causes(&error);
                report.undecodable.push(Undecodable { id, kind: kind.name.clone(), version: group.version, error });
            }
        }
        place = last;
        if place.is_none() {
            report.undecodable_count += bad;
            return Ok(());
        }
        operator.wait(Duration::ZERO)?;
    }
}

fn print(report: &Report<'_>, output: &mut Output) {
    for task in &report.undecodable {
        output.line(&format!("task {} of kind `{}` version {}: {}", task.id, task.kind, task.version, task.error));
    }
    let more = report.undecodable_count - report.undecodable.len() as u64;
    if more > 0 {
        output.line(&format!("and {} more", tasks(more)));
    }
    for Unknown { kind, version } in &report.unknown {
        let text = format!("this binary doesn't know kind `{kind}` version {version}, which is left for one that does");
        print_error("note", &text);
    }
    output.line(&match report.undecodable_count {
        0 => format!("decoded {} pending: nothing wrong", tasks(report.checked)),
        n => format!(
            "{n} of {} pending can't be decoded and would be dead at once; decode their version, or raise it",
            tasks(report.checked)
        ),
    });
}
