//! `airun task verify`: whether what must be true of the rows is.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, tasks};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::Kind;
use crate::queue::store::verify::{self, Broken, Invariant};

/// Of one finding so many tasks are named; the others are counted.
const NAMED_MAX: usize = 10;

/// A worker that ends just now leaves its tasks and the fleet within less.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Finding {
    invariant: &'static str,
    broken: &'static str,
    advice: &'static str,
    count: u64,
    /// The first of them.
    ids: Vec<u64>,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    database: &'a str,
    checked: u64,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, (invariant, id): Broken) {
        let known = self.findings.iter().position(|finding| finding.invariant == invariant.name);
        let at = known.unwrap_or_else(|| {
            let Invariant { name, broken, advice } = *invariant;
            self.findings.push(Finding { invariant: name, broken, advice, count: 0, ids: Vec::new() });
            self.findings.len() - 1
        });
        let finding = &mut self.findings[at];
        finding.count += 1;
        if finding.ids.len() < NAMED_MAX {
            finding.ids.push(id);
        }
    }
}

pub fn perform(kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let database = operator.database.name.clone();
    let mut report = Report { format: JSON_FORMAT, database: &database, checked: 0, findings: Vec::new() };
    for broken in running(&mut operator)? {
        report.add(broken);
    }
    for broken in operator.run(verify::duplicates)? {
        report.add(broken);
    }
    for kind in kinds {
        let Some(limit) = kind.concurrency else { continue };
        for broken in operator.run(|conn| verify::beyond(conn, &kind.name, limit))? {
            report.add(broken);
        }
    }
    let mut after = 0;
    loop {
        let page = operator.run(|conn| verify::page(conn, after))?;
        report.checked += page.checked;
        for broken in page.broken {
            report.add(broken);
        }
        let Some(last) = page.last else { break };
        after = last;
        operator.wait(Duration::ZERO)?;
    }
    let exit = if report.findings.is_empty() { Exit::Success } else { Exit::Failure };
    if json {
        output.json(&report)?;
    } else {
        print(&report, output);
    }
    Ok(exit)
}

/// What is so at two looks: rows, workers and locks aren't read at the same moment.
fn running(operator: &mut Operator<'_>) -> Result<Vec<Broken>> {
    let look = |operator: &mut Operator<'_>| {
        operator.run(|conn| {
            let locks_tell = !locks_are_local(conn)?;
            verify::running(conn, locks_tell)
        })
    };
    let first = look(operator)?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    operator.wait(SETTLE)?;
    let same = |((invariant, id), claim_count): &(Broken, u32)| {
        first.iter().any(|((first, first_id), first_claims)| {
            (first.name, first_id, first_claims) == (invariant.name, id, claim_count)
        })
    };
    Ok(look(operator)?.into_iter().filter(same).map(|(broken, _)| broken).collect())
}

fn print(report: &Report<'_>, output: &mut Output) {
    for finding in &report.findings {
        let ids: Vec<String> = finding.ids.iter().map(u64::to_string).collect();
        let more = if finding.count > ids.len() as u64 { ", …" } else { "" };
        output.line(&format!(
            "{}: {} {}: {}{more}",
            finding.invariant,
            tasks(finding.count),
            finding.broken,
            ids.join(", ")
        ));
        output.line(&format!("  {}", finding.advice));
    }
    let wrong = if report.findings.is_empty() { ": nothing wrong" } else { "" };
    output.line(&format!("checked {}{wrong}", tasks(report.checked)));
}
