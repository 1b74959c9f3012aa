//! `airun migrate`: reads the arguments, runs the command, and prints what it did.

mod print;
mod progress;

use std::num::NonZeroU64;
use std::time::Duration;

use self::print::EventPrinter;
use super::args::Args;
use super::context::Context;
use super::exit::Exit;
use super::output::count;
use crate::db::{Database, wait_until_ready};
use crate::error::{Error, Result};
use crate::migrate::migrator::Migrator;
use crate::migrate::resolve::Resolution;
use crate::migrate::rollback::RollbackOptions;
use crate::migrate::up::UpOptions;
use crate::migrate::{self, files};

pub fn generate(context: &mut Context) -> Result<Exit> {
    let file = files::generate(&context.migrations_dir(), &context.args.words[0])?;
    for path in [Some(&file.up), file.down.as_ref()].into_iter().flatten() {
        context.output.line(&format!("created {}", path.display()));
    }
    Ok(Exit::Success)
}

pub fn check(context: &mut Context) -> Result<Exit> {
    let (migrations, statements) = migrate::check::check(&context.migrations_dir())?;
    let (migrations, statements) = (count(migrations as u64, "migration"), count(statements, "statement"));
    context.output.line(&format!("{migrations} with {statements}: no errors"));
    Ok(Exit::Success)
}

pub fn dump(context: &mut Context) -> Result<Exit> {
    let wait_max = context.args.duration("--wait")?;
    let database = context.require_database()?;
    wait_if_asked(&database, wait_max, context)?;
    context.output.raw(&migrate::dump::dump(&mut database.connect()?, &database.name)?);
    Ok(Exit::Success)
}

pub fn status(context: &mut Context) -> Result<Exit> {
    let wait_max = context.args.duration("--wait")?;
    let database = context.require_database()?;
    let migrator = Migrator::from_folder(&database, &context.migrations_dir(), &context.stop)?;
    wait_if_asked(&database, wait_max, context)?;
    let report = migrator.status()?;
    if context.args.has("--json") {
        context.output.json(&report)?;
    } else {
        context.output.raw(&print::table(&report));
    }
    Ok(if context.args.has("--check") { report.check().into() } else { Exit::Success })
}

pub fn up(context: &mut Context) -> Result<Exit> {
    let args = &context.args;
    let (to, limit, dry_run) = (args.parsed("--to")?, limit(args)?, args.has("--dry-run"));
    let options = UpOptions { to, limit, only: None, strict: args.has("--strict"), dry_run };
    change(context, |migrator, name| {
        Ok(match (migrator.up(&options)?, dry_run) {
            (0, _) => format!("no migration is pending in `{name}`"),
            (n, true) => format!("-- {} would be applied; nothing was changed", count(n, "migration")),
            (n, false) => format!("applied {} to `{name}`", count(n, "migration")),
        })
    })
}

pub fn rollback(context: &mut Context) -> Result<Exit> {
    let args = &context.args;
    let (to, dry_run) = (args.parsed("--to")?, args.has("--dry-run"));
    if to.is_some() && args.has("-n") {
        return Err(Error::usage("`--to` and `-n` can't be combined; give one of them"));
    }
    let options = RollbackOptions { limit: limit(args)?.unwrap_or(1), to, dry_run };
    change(context, |migrator, name| {
        Ok(match (migrator.rollback(&options)?.len() as u64, dry_run) {
            (0, _) => format!("no migration in `{name}` can be rolled back"),
            (n, true) => format!("-- {} would be rolled back; nothing was changed", count(n, "migration")),
            (n, false) => format!("rolled back {} in `{name}`", count(n, "migration")),
        })
    })
}

pub fn redo(context: &mut Context) -> Result<Exit> {
    let dry_run = context.args.has("--dry-run");
    let options = RollbackOptions { limit: limit(&context.args)?.unwrap_or(1), to: None, dry_run };
    change(context, |migrator, name| {
        Ok(match (migrator.redo(&options)?, dry_run) {
            (0, _) => format!("no migration in `{name}` can be rolled back"),
            (n, true) => format!("-- {} would be redone; nothing was changed", count(n, "migration")),
            (n, false) => format!("redid {} in `{name}`", count(n, "migration")),
        })
    })
}

pub fn resolve(context: &mut Context) -> Result<Exit> {
    let resolution = resolution(&context.args)?;
    let (version, dry_run) = (context.args.words[0].parse()?, context.args.has("--dry-run"));
    change(context, |migrator, _| migrator.resolve(version, resolution, dry_run))
}

pub fn baseline(context: &mut Context) -> Result<Exit> {
    let to = context.args.words[0].parse()?;
    change(context, |migrator, name| {
        Ok(format!("recorded {} as applied in `{name}`", count(migrator.baseline(to)?, "migration")))
    })
}

/// Runs a command that writes to the database, or reports what it would write, and prints the message that it returns.
fn change(context: &mut Context, command: impl FnOnce(&mut Migrator<'_>, &str) -> Result<String>) -> Result<Exit> {
    let (lock_timeout, wait_max) = (context.args.duration("--lock-timeout")?, context.args.duration("--wait")?);
    let database = context.require_database()?;
    let mut migrator = Migrator::from_folder(&database, &context.migrations_dir(), &context.stop)?;
    if let Some(lock_timeout) = lock_timeout {
        migrator = migrator.lock_timeout(lock_timeout);
    }
    wait_if_asked(&database, wait_max, context)?;
    let mut printer = EventPrinter::new(&mut context.output, &database);
    let result = command(&mut migrator.on_event(|event| printer.print(event)), &database.name)?;
    drop(printer);
    context.output.line(&result);
    Ok(Exit::Success)
}

/// Waits for a server that is still starting, if `--wait` is given: for at most its value, or without a limit.
fn wait_if_asked(database: &Database, max: Option<Duration>, context: &Context) -> Result<()> {
    if context.args.has("--wait") { wait_until_ready(database, max, &context.stop) } else { Ok(()) }
}

/// Returns the value of `-n`. Zero is refused, because it can only be a mistake.
fn limit(args: &Args) -> Result<Option<u64>> {
    Ok(args.parsed::<NonZeroU64>("-n")?.map(NonZeroU64::get))
}

fn resolution(args: &Args) -> Result<Resolution> {
    let given = [
        args.has("--applied").then_some(Resolution::Applied),
        args.has("--pending").then_some(Resolution::Pending),
        args.parsed("--from-statement")?.map(|k| Resolution::FromStatement { k }),
        args.has("--accept-edit").then_some(Resolution::AcceptEdit),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(resolution), None) => Ok(resolution),
        _ => Err(Error::usage("give exactly one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`")),
    }
}
