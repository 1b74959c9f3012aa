//! Runs the commands of `airun migrate` and prints their results.

use std::path::Path;

use super::print::{self, EventPrinter, count};
use super::{Action, Command, Wait};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::db::{Database, wait_until_ready};
use crate::error::{Error, Result};
use crate::migrate::migrator::Migrator;
use crate::migrate::rollback::RollbackOptions;
use crate::migrate::up::UpOptions;
use crate::migrate::{check, dump, files};

/// Runs `command`. The exit code is [`Exit::Success`] or that of `status --check`.
///
/// # Errors
/// As the library's functions of the same names.
pub fn perform(command: Command, context: &Context) -> Result<Exit> {
    let folder = context.migrations_dir(command.dir);
    let connect = || Ok::<_, Error>((context.require_database()?, command.wait));
    let mut output = Output::default();
    let mut exit = Exit::Success;
    match command.action {
        Action::Generate { name } => generate(&folder, &name, &mut output)?,
        Action::Check => check(&folder, &mut output)?,
        Action::Dump => {
            let (database, wait) = connect()?;
            wait_for(&database, wait, context)?;
            output.raw(&dump::dump(&mut database.connect()?, &database.name)?);
        }
        action => {
            let (database, wait) = connect()?;
            let mut migrator = Migrator::from_folder(&database, &folder, &context.stop)?;
            if let Some(lock_timeout) = command.lock_timeout {
                migrator = migrator.lock_timeout(lock_timeout);
            }
            wait_for(&database, wait, context)?;
            if let Action::Status { json, check } = action {
                let report = migrator.status()?;
                if json {
                    output.json(&report)?
                } else {
                    output.raw(&print::table(&report))
                }
                exit = if check { report.check().into() } else { Exit::Success };
            } else {
                change(action, &database, migrator, &mut output)?;
            }
        }
    }
    output.finish()?;
    Ok(exit)
}

fn generate(folder: &Path, name: &str, output: &mut Output) -> Result<()> {
    let file = files::generate(folder, name)?;
    for path in [Some(&file.up), file.down.as_ref()].into_iter().flatten() {
        output.line(&format!("created {}", path.display()));
    }
    Ok(())
}

fn check(folder: &Path, output: &mut Output) -> Result<()> {
    let (migrations, statements) = check::check(folder)?;
    let (migrations, statements) = (count(migrations as u64, "migration"), count(statements, "statement"));
    output.line(&format!("{migrations} with {statements}: no errors"));
    Ok(())
}

/// Runs a command that writes to the database or, with `--dry-run`, prints what it would do.
fn change(action: Action, database: &Database, migrator: Migrator<'_>, output: &mut Output) -> Result<()> {
    let name = &database.name;
    let mut printer = EventPrinter::new(output, database);
    let mut migrator = migrator.on_event(|event| printer.print(event));
    let result = match action {
        Action::Up { to, limit, dry_run, strict } => {
            let options = UpOptions { to, limit, only: None, strict, dry_run };
            match (migrator.up(&options)?, dry_run) {
                (0, _) => format!("no migration is pending in `{name}`"),
                (n, true) => format!("-- {} would be applied; nothing was changed", count(n, "migration")),
                (n, false) => format!("applied {} to `{name}`", count(n, "migration")),
            }
        }
        Action::Rollback { to, limit, dry_run } => {
            let options = RollbackOptions { limit, to, dry_run };
            match (migrator.rollback(&options)?.len() as u64, dry_run) {
                (0, _) => format!("no migration in `{name}` can be rolled back"),
                (n, true) => format!("-- {} would be rolled back; nothing was changed", count(n, "migration")),
                (n, false) => format!("rolled back {} in `{name}`", count(n, "migration")),
            }
        }
        Action::Redo { limit, dry_run } => {
            let options = RollbackOptions { limit, to: None, dry_run };
            match (migrator.redo(&options)?, dry_run) {
                (0, _) => format!("no migration in `{name}` can be rolled back"),
                (n, true) => format!("-- {} would be redone; nothing was changed", count(n, "migration")),
                (n, false) => format!("redid {} in `{name}`", count(n, "migration")),
            }
        }
        Action::Resolve { version, resolution, dry_run } => migrator.resolve(version, resolution, dry_run)?,
        Action::Baseline { to } => {
            let recorded = migrator.baseline(to)?;
            format!("recorded {} as applied in `{name}`", count(recorded, "migration"))
        }
        Action::Generate { .. } | Action::Check | Action::Dump | Action::Status { .. } => return Ok(()),
    };
    drop(migrator);
    drop(printer);
    output.line(&result);
    Ok(())
}

fn wait_for(database: &Database, wait: Wait, context: &Context) -> Result<()> {
    match wait {
        Wait::No => Ok(()),
        Wait::AtMost(limit) => wait_until_ready(database, Some(limit), &context.stop),
        Wait::Forever => wait_until_ready(database, None, &context.stop),
    }
}
