//! `airun task verify`: checks every row against the queue's invariants.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, count_tasks};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::Kind;
use crate::queue::store::verify::{self, Invariant, Violation};

/// How many ids of the tasks that violate an invariant are listed; the others are only counted.
const LISTED_MAX: usize = 10;

/// A worker that is stopping releases its tasks and deregisters within this time.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct ViolatedInvariant {
    invariant: &'static str,
    description: &'static str,
    advice: &'static str,
    count: u64,
    /// The first ones.
    ids: Vec<u64>,
}

#[derive(Serialize)]
struct VerifyReport<'a> {
    format: u32,
    database: &'a str,
    checked: u64,
    findings: Vec<ViolatedInvariant>,
}

impl VerifyReport<'_> {
    fn add(&mut self, violations: impl IntoIterator<Item = Violation>) {
        for Violation { invariant, task_id } in violations {
            let known = self.findings.iter().position(|finding| finding.invariant == invariant.name);
            let index = known.unwrap_or_else(|| {
                let Invariant { name, description, advice } = *invariant;
                self.findings.push(ViolatedInvariant {
                    invariant: name,
                    description,
                    advice,
                    count: 0,
                    ids: Vec::new(),
                });
                self.findings.len() - 1
            });
            let finding = &mut self.findings[index];
            finding.count += 1;
            if finding.ids.len() < LISTED_MAX {
                finding.ids.push(task_id);
            }
        }
    }
}

pub fn run(kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let database = conn.database.name.clone();
    let mut report = VerifyReport { format: JSON_FORMAT, database: &database, checked: 0, findings: Vec::new() };
    report.add(find_unattended(&mut conn)?);
    report.add(conn.run(verify::find_duplicates)?);
    for kind in kinds {
        if let Some(limit) = kind.concurrency {
            report.add(conn.run(|conn| verify::find_excess(conn, &kind.name, limit))?);
        }
    }
    let mut after = 0;
    loop {
        let page = conn.run(|conn| verify::check_page(conn, after))?;
        report.checked += page.checked;
        report.add(page.violations);
        let Some(last) = page.last else { break };
        after = last;
        conn.check_interrupted()?;
    }
    let exit = if report.findings.is_empty() { Exit::Success } else { Exit::Failure };
    if json {
        output.json(&report)?;
    } else {
        print(&report, output);
    }
    Ok(exit)
}

/// The violations that two searches find: one search does not read rows, workers and locks at the same moment.
fn find_unattended(conn: &mut QueueConn<'_>) -> Result<Vec<Violation>> {
    let search = |conn: &mut QueueConn<'_>| {
        conn.run(|conn| {
            let locks_are_global = !locks_are_local(conn)?;
            verify::find_unattended(conn, locks_are_global)
        })
    };
    let first = search(conn)?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    conn.wait(SETTLE)?;
    let key = |(violation, claim_count): &(Violation, u32)| (violation.invariant.name, violation.task_id, *claim_count);
    let again = search(conn)?.into_iter().filter(|found| first.iter().any(|other| key(other) == key(found)));
    Ok(again.map(|(violation, _)| violation).collect())
}

fn print(report: &VerifyReport<'_>, output: &mut Output) {
    for finding in &report.findings {
        let ids: Vec<String> = finding.ids.iter().map(u64::to_string).collect();
        let more = if finding.count > ids.len() as u64 { ", …" } else { "" };
        output.line(&format!(
            "{}: {} {}: {}{more}",
            finding.invariant,
            count_tasks(finding.count),
            finding.description,
            ids.join(", ")
        ));
        output.line(&format!("  {}", finding.advice));
    }
    output.line(&match report.findings.len() {
        0 => format!("checked {}: all invariants hold", count_tasks(report.checked)),
        1 => format!("checked {}: 1 invariant is violated", count_tasks(report.checked)),
        n => format!("checked {}: {n} invariants are violated", count_tasks(report.checked)),
    });
}
