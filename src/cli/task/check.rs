//! `airun task check`: decodes the payload of every pending task with this binary, before a deploy.

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{KindVersion, can_run, count_tasks, note_unknown};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::error::{Result, with_causes};
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::group::{TaskFilter, TaskGroup, groups};
use crate::queue::store::inspect;

/// How many undecodable tasks of each group are listed; the others are only counted.
const LISTED_MAX: u64 = 10;

#[derive(Serialize)]
struct Undecodable {
    id: u64,
    kind: String,
    version: u16,
    error: String,
}

#[derive(Default, Serialize)]
struct Fields {
    checked: u64,
    /// The first undecodable tasks of each kind and version.
    undecodable: Vec<Undecodable>,
    undecodable_count: u64,
    unknown: Vec<KindVersion>,
}

pub fn check(context: &mut Context) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let kinds = &context.registry.kinds;
    let mut fields = Fields::default();
    for group in conn.run(|conn| groups(conn, &TaskFilter::states(&[State::Pending])))? {
        match kinds.iter().find(|kind| kind.name == group.kind) {
            Some(kind) if can_run(kinds, &group.kind, group.version) => {
                decode_group(&mut conn, &group, kind, &mut fields)?;
            }
            _ => {
                let unknown = KindVersion { kind: group.kind, version: group.version };
                if !fields.unknown.contains(&unknown) {
                    fields.unknown.push(unknown);
                }
            }
        }
    }
    if context.args.has("--json") {
        context.output.report(Some(&conn.database.name), &fields)?;
    } else {
        print(&fields, &mut context.output);
    }
    Ok(if fields.undecodable_count == 0 { Exit::Success } else { Exit::Failure })
}

/// Decodes all payloads of a group, a page at a time. Tasks that are claimed meanwhile are skipped.
fn decode_group(conn: &mut QueueConn, group: &TaskGroup, kind: &Kind, report: &mut Fields) -> Result<()> {
    let mut cursor = None;
    let mut undecodable = 0;
    loop {
        let (page, next) = conn.run(|conn| inspect::payloads(conn, group, cursor.as_ref()))?;
        report.checked += page.len() as u64;
        for (id, payload) in page {
            let Err(error) = kind.check(group.version, &payload) else { continue };
            undecodable += 1;
            if undecodable <= LISTED_MAX {
                let error = with_causes(&error);
                report.undecodable.push(Undecodable { id, kind: kind.name.clone(), version: group.version, error });
            }
        }
        cursor = next;
        if cursor.is_none() {
            report.undecodable_count += undecodable;
            return Ok(());
        }
        conn.check_interrupted()?;
    }
}

fn print(report: &Fields, output: &mut Output) {
    for task in &report.undecodable {
        output.line(&format!("task {} of kind `{}` version {}: {}", task.id, task.kind, task.version, task.error));
    }
    let more = report.undecodable_count - report.undecodable.len() as u64;
    if more > 0 {
        output.line(&format!("and {more} more"));
    }
    report.unknown.iter().for_each(note_unknown);
    output.line(&match report.undecodable_count {
        0 => format!("decoded all pending payloads: {}", count_tasks(report.checked)),
        n => format!(
            "{n} of {} can't be decoded and would be dead after the deploy; let the handler decode their payloads, or \
             give it a higher version",
            count_tasks(report.checked)
        ),
    });
}
