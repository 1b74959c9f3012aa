//! Does what `airun migrate …` asks for, and tells.

use std::path::PathBuf;
use std::time::Duration;

use super::show::{self, EventPrinter};
use super::{Action, Command, Wait};
use crate::cli::output::Output;
use crate::cli::{Context, SETTINGS_ADVICE};
use crate::db::{Database, wait_until_ready};
use crate::error::{Error, Exit, Result};
use crate::migrate::{baseline, dump, files, redo, resolve, rollback, status, up};

/// Where the migrations are, if nobody says otherwise.
pub const FOLDER: &str = "migrations";
/// Longer than the other instances of a deployment take as a rule; shorter than an orchestrator's patience.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs `command`; the exit code is that of `status --check`.
///
/// # Errors
/// As the library's functions of the same names.
pub fn perform(command: Command, context: &Context) -> Result<Exit> {
    let mut output = Output::default();
    let exit = act(command, context, &mut output)?;
    output.finish()?;
    Ok(exit)
}

fn act(command: Command, context: &Context, output: &mut Output) -> Result<Exit> {
    let environment = &context.environment;
    let folder = command
        .dir
        .or_else(|| environment.get("AIRUN_MIGRATIONS_DIR").map(PathBuf::from))
        .unwrap_or_else(|| FOLDER.into());
    match &command.action {
        Action::Generate { name } => {
            let file = files::generate(&folder, name)?;
            for path in [Some(&file.up), file.down.as_ref()].into_iter().flatten() {
                output.line(&format!("wrote {}", path.display()));
            }
            return Ok(Exit::Success);
        }
        Action::Check => {
            let (migrations, statements) = up::check(&folder)?;
            output.line(&format!(
                "{} with {}: nothing wrong",
                count(migrations as u64, "migration"),
                count(statements, "statement")
            ));
            return Ok(Exit::Success);
        }
        _ => {}
    }
    let database = context.database()?.ok_or_else(|| Error::usage(SETTINGS_ADVICE))?;
    if let Action::Dump = command.action {
        wait(&database, command.wait, context)?;
        output.raw(&dump::dump(&mut database.connect()?, &database.name)?);
        return Ok(Exit::Success);
    }
    let files = status::read_folder(&folder)?;
    wait(&database, command.wait, context)?;
    let lock_timeout = command.lock_timeout.unwrap_or(LOCK_TIMEOUT);
    let shutdown = &context.stop;
    let mut printer = EventPrinter::new(output, &database);
    let events = &mut |event| printer.print(event);
    match command.action {
        Action::Up { to, limit, dry_run, strict } => {
            let options = up::Options { to, limit, only: None, strict, dry_run, lock_timeout };
            let applied = up::up(&database, files, &options, shutdown, events)?;
            printer.end();
            output.line(&match (applied, dry_run) {
                (0, _) => format!("nothing is pending in `{}`", database.name),
                (n, true) => format!("-- {} would be applied; nothing was touched", count(n, "migration")),
                (n, false) => format!("applied {} to `{}`", count(n, "migration"), database.name),
            });
        }
        Action::Rollback { to, limit, dry_run } => {
            let options = rollback::Options { limit, to, dry_run, lock_timeout };
            let undone = rollback::rollback(&database, &files, &options, shutdown, events)?;
            printer.end();
            output.line(&match (undone.len() as u64, dry_run) {
                (0, _) => format!("nothing is applied in `{}` that could be rolled back", database.name),
                (n, true) => format!("-- {} would be rolled back; nothing was touched", count(n, "migration")),
                (n, false) => format!("rolled back {} in `{}`", count(n, "migration"), database.name),
            });
        }
        Action::Redo { limit, dry_run } => {
            let options = rollback::Options { limit, to: None, dry_run, lock_timeout };
            let redone = redo::redo(&database, files, &options, shutdown, events)?;
            printer.end();
            output.line(&match (redone, dry_run) {
                (0, _) => format!("nothing is applied in `{}` that could be rolled back", database.name),
                (n, true) => format!("-- {} would be redone; nothing was touched", count(n, "migration")),
                (n, false) => format!("redid {} in `{}`", count(n, "migration"), database.name),
            });
        }
        Action::Status { json, check } => {
            let report = status::status(&mut database.connect_server()?, &database.name, files)?;
            output.raw(&if json { show::json(&report)? } else { show::table(&report) });
            return Ok(if check { report.check() } else { Exit::Success });
        }
        Action::Resolve { version, resolution, dry_run } => {
            let said =
                resolve::resolve(&database, files, version, resolution, dry_run, lock_timeout, shutdown, events)?;
            printer.end();
            output.line(&said);
        }
        Action::Baseline { to } => {
            let recorded = baseline::baseline(&database, files, to, lock_timeout, shutdown, events)?;
            printer.end();
            output.line(&format!("recorded {} as applied in `{}`", count(recorded, "migration"), database.name));
        }
        Action::Generate { .. } | Action::Check | Action::Dump => {}
    }
    Ok(Exit::Success)
}

fn wait(database: &Database, wait: Wait, context: &Context) -> Result<()> {
    match wait {
        Wait::No => Ok(()),
        Wait::AtMost(limit) => wait_until_ready(database, Some(limit), &context.stop),
        Wait::Forever => wait_until_ready(database, None, &context.stop),
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
