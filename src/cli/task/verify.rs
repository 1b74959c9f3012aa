//! `airun task verify`: checks every row against the queue's invariants.

use std::time::Duration;

use serde::Serialize;

use super::count_tasks;
use super::queue_conn::QueueConn;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::store::verify::{self, Invariant, Violation};

/// How many ids of the tasks that violate an invariant are listed; the others are only counted.
const LISTED_MAX: usize = 10;

/// A worker that is stopping releases its tasks and deregisters within this time.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Finding {
    invariant: &'static str,
    description: &'static str,
    advice: &'static str,
    count: u64,
    /// The first ids of the violating tasks.
    ids: Vec<u64>,
}

#[derive(Default, Serialize)]
struct Fields {
    checked: u64,
    findings: Vec<Finding>,
}

impl Fields {
    fn add(&mut self, violations: impl IntoIterator<Item = Violation>) {
        for Violation { invariant, task_id } in violations {
            let known = self.findings.iter().position(|finding| finding.invariant == invariant.name);
            let index = known.unwrap_or_else(|| {
                let Invariant { name: invariant, description, advice } = *invariant;
                self.findings.push(Finding { invariant, description, advice, count: 0, ids: Vec::new() });
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

pub fn verify(context: &mut Context) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let mut fields = Fields::default();
    fields.add(find_unattended(&mut conn)?);
    fields.add(conn.run(verify::find_duplicates)?);
    for kind in &context.registry.kinds {
        if let Some(limit) = kind.concurrency {
            fields.add(conn.run(|conn| verify::find_excess(conn, &kind.name, limit))?);
        }
    }
    let mut after = 0;
    loop {
        let page = conn.run(|conn| verify::check_page(conn, after))?;
        fields.checked += page.checked;
        fields.add(page.violations);
        let Some(last) = page.last else { break };
        after = last;
        conn.check_interrupted()?;
    }
    if context.args.has("--json") {
        context.output.report(Some(&conn.database.name), &fields)?;
    } else {
        print(&fields, &mut context.output);
    }
    Ok(if fields.findings.is_empty() { Exit::Success } else { Exit::Failure })
}

/// The violations that two searches find: one search does not read rows, workers and locks at the same moment.
fn find_unattended(conn: &mut QueueConn) -> Result<Vec<Violation>> {
    let search = |conn: &mut QueueConn| {
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

fn print(report: &Fields, output: &mut Output) {
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
    let result = match report.findings.len() {
        0 => "all invariants hold".to_owned(),
        1 => "1 invariant is violated".to_owned(),
        n => format!("{n} invariants are violated"),
    };
    output.line(&format!("checked {}: {result}", count_tasks(report.checked)));
}
