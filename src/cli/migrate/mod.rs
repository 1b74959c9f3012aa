//! The arguments of `airun migrate`.

mod perform;
mod print;
mod progress;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use self::perform::perform;
use super::args::Args;
use super::context;
use crate::error::{Error, Result};
use crate::migrate::resolve::Resolution;
use crate::migrate::version::Version;

/// A parsed `airun migrate` command line.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub dir: Option<PathBuf>,
    pub wait: Wait,
    /// How long to wait for another migrator, and for metadata locks.
    pub lock_timeout: Option<Duration>,
    pub action: Action,
}

#[derive(Debug, PartialEq)]
pub enum Action {
    Generate { name: String },
    Up { to: Option<Version>, limit: Option<u64>, dry_run: bool, strict: bool },
    Rollback { to: Option<Version>, limit: u64, dry_run: bool },
    Redo { limit: u64, dry_run: bool },
    Status { json: bool, check: bool },
    Check,
    Resolve { version: Version, resolution: Resolution, dry_run: bool },
    Baseline { to: Version },
    Dump,
}

/// How long to wait for a server that doesn't accept connections yet.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum Wait {
    #[default]
    No,
    AtMost(Duration),
    Forever,
}

pub fn generate(args: Args) -> Result<context::Action> {
    let name = args.words[0].clone();
    action(&args, Action::Generate { name })
}

pub fn up(args: Args) -> Result<context::Action> {
    let (to, limit) = (args.parsed("--to")?, limit(&args)?);
    action(&args, Action::Up { to, limit, dry_run: args.has("--dry-run"), strict: args.has("--strict") })
}

pub fn rollback(args: Args) -> Result<context::Action> {
    let (to, limit) = (args.parsed("--to")?, limit(&args)?);
    if to.is_some() && args.has("-n") {
        return Err(Error::usage("`--to` and `-n` can't be combined; give one of them"));
    }
    action(&args, Action::Rollback { to, limit: limit.unwrap_or(1), dry_run: args.has("--dry-run") })
}

pub fn redo(args: Args) -> Result<context::Action> {
    action(&args, Action::Redo { limit: limit(&args)?.unwrap_or(1), dry_run: args.has("--dry-run") })
}

pub fn status(args: Args) -> Result<context::Action> {
    action(&args, Action::Status { json: args.has("--json"), check: args.has("--check") })
}

pub fn check(args: Args) -> Result<context::Action> {
    action(&args, Action::Check)
}

pub fn resolve(args: Args) -> Result<context::Action> {
    let resolution = resolution(&args)?;
    let version = args.words[0].parse()?;
    action(&args, Action::Resolve { version, resolution, dry_run: args.has("--dry-run") })
}

pub fn baseline(args: Args) -> Result<context::Action> {
    action(&args, Action::Baseline { to: args.words[0].parse()? })
}

pub fn dump(args: Args) -> Result<context::Action> {
    action(&args, Action::Dump)
}

/// Adds the flags that several commands share; a command that doesn't take one never has it.
fn action(args: &Args, action: Action) -> Result<context::Action> {
    let wait = match args.duration("--wait")? {
        Some(limit) => Wait::AtMost(limit),
        None if args.has("--wait") => Wait::Forever,
        None => Wait::No,
    };
    let command = Command { dir: args.path("--dir"), wait, lock_timeout: args.duration("--lock-timeout")?, action };
    Ok(Box::new(move |_, context| perform(command, context)))
}

/// The value of `-n`. Zero is refused, because it can only be a mistake.
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
