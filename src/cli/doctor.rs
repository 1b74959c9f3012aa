//! `airun doctor`: prints the findings about the server, with advice.

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::output::count;
use super::table::Table;
use crate::db::Database;
use crate::doctor::{self, Assessment, Finding, Level};
use crate::error::Result;
use crate::migrate::migrator::Migrator;
use crate::migrate::status::CheckResult;

/// Examines the server. A problem with it is a finding, not an error.
pub fn run(context: &mut Context) -> Result<Exit> {
    let database = context.require_database()?;
    let mut findings = doctor::examine(&database);
    if findings.first().is_some_and(|connection| connection.assessment.level == Level::Ok) {
        let assessment = migrations(context, &database);
        findings.extend(assessment.map(|assessment| Finding { check: "migrations", assessment }));
    }
    let problems = findings.iter().filter(|finding| finding.assessment.level == Level::Problem).count();
    if context.args.has("--json") {
        context.output.report(Some(&database.name), &json!({"fit": problems == 0, "findings": findings}))?;
    } else {
        table(&findings).print(&mut context.output);
        context.output.line(&match problems {
            0 => "the server is fit for airun".to_owned(),
            n => format!("the server is not fit for airun: {}", count(n as u64, "problem")),
        });
    }
    Ok(if problems == 0 { Exit::Success } else { Exit::Failure })
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::default();
    for Finding { check, assessment } in findings {
        let level = match assessment.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        table.row([format!("{level:7}"), (*check).to_owned(), assessment.found.clone()]);
        if let Some(advice) = &assessment.advice {
            table.row([String::new(), String::new(), format!("→ {advice}")]);
        }
    }
    table
}

/// Checks the status of the migrations, if there is a folder of them.
fn migrations(context: &Context, database: &Database) -> Option<Assessment> {
    let folder = context.migrations_dir();
    if context.args.set("--dir").is_none() && !folder.is_dir() {
        return None;
    }
    let status = |migrator: Migrator<'_>| migrator.status().map(|report| (report.check(), report.migrations.len()));
    let (result, count) = match Migrator::from_folder(database, &folder, &context.stop).and_then(status) {
        Ok(status) => status,
        Err(error) => {
            return Some(Assessment::problem(error.to_string(), "fix the migrations; see `airun migrate check`"));
        }
    };
    let advice = "`airun migrate status` shows which";
    Some(match result {
        CheckResult::Pending => Assessment::note("migrations are pending", "run `airun migrate up`"),
        CheckResult::Drift => Assessment::problem("the file of an applied migration was edited or is missing", advice),
        CheckResult::Partial => Assessment::problem("a migration stopped half-way", advice),
        CheckResult::UpToDate => Assessment::ok(format!("applied: {count}, pending: 0")),
    })
}
