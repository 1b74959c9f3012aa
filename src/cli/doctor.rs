//! `airun doctor`: prints the findings about the server, with advice.

use std::path::PathBuf;

use serde::Serialize;

use super::args::Args;
use super::context::{Action, Context};
use super::output::Output;
use crate::cli::exit::Exit;
use crate::db::Database;
use crate::doctor::{self, Assessment, Finding, Level};
use crate::error::Result;
use crate::migrate::migrator::Migrator;
use crate::migrate::status::CheckResult;

/// The version of the `--json` shape; raised when a field is removed or changes its meaning.
const JSON_FORMAT: u32 = 1;

/// `airun doctor`
pub fn parse(args: Args) -> Result<Action> {
    let (dir, json) = (args.path("--dir"), args.has("--json"));
    Ok(Box::new(move |_, context| examine(dir, json, context)))
}

#[derive(Serialize)]
struct DoctorReport<'a> {
    format: u32,
    database: &'a str,
    fit: bool,
    findings: &'a [Finding],
}

/// Examines the server. A problem with it is a finding, not an error.
fn examine(dir: Option<PathBuf>, json: bool, context: &Context) -> Result<Exit> {
    let database = context.require_database()?;
    let mut findings = doctor::examine(&database);
    if findings.first().is_some_and(|connection| connection.assessment.level == Level::Ok) {
        let assessment = migrations(dir, context, &database);
        findings.extend(assessment.map(|assessment| Finding { check: "migrations", assessment }));
    }
    let problems = findings.iter().filter(|finding| finding.assessment.level == Level::Problem).count();
    let mut output = Output::default();
    if json {
        let report =
            DoctorReport { format: JSON_FORMAT, database: &database.name, fit: problems == 0, findings: &findings };
        output.json(&report)?;
    } else {
        print(&findings, &mut output);
        output.line(&match problems {
            0 => "the server is fit for airun".to_owned(),
            1 => "the server is not fit for airun: 1 problem".to_owned(),
            n => format!("the server is not fit for airun: {n} problems"),
        });
    }
    output.finish()?;
    Ok(if problems == 0 { Exit::Success } else { Exit::Failure })
}

fn print(findings: &[Finding], output: &mut Output) {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, assessment } in findings {
        let level = match assessment.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        output.line(&format!("{level:7}  {:width$}  {}", check, assessment.found));
        if let Some(advice) = &assessment.advice {
            output.line(&format!("{:7}  {:width$}  → {advice}", "", ""));
        }
    }
}

/// Checks the status of the migrations, if there is a folder of them.
fn migrations(dir: Option<PathBuf>, context: &Context, database: &Database) -> Option<Assessment> {
    let named = context.named_migrations_dir(dir);
    let folder = context.migrations_dir(named.clone());
    if named.is_none() && !folder.is_dir() {
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
