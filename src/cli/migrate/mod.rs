//! The arguments of `airun migrate`.

mod perform;
mod print;
mod progress;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

pub use perform::{FOLDER, perform};

use super::args::Args;
use super::{duration, suggest};
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

pub const COMMANDS: [&str; 9] =
    ["generate", "up", "rollback", "redo", "status", "check", "resolve", "baseline", "dump"];

/// Parses the arguments that follow `migrate NAME`.
pub fn parse(name: &str, args: &mut Args) -> Result<Command> {
    let mut command = Command { dir: None, wait: Wait::No, lock_timeout: None, action: Action::Check };
    if name != "dump" {
        command.dir = args.value("--dir")?.map(PathBuf::from);
    }
    if !matches!(name, "generate" | "check") {
        command.wait = wait(args)?;
    }
    if !matches!(name, "generate" | "check" | "status" | "dump") {
        command.lock_timeout =
            args.value("--lock-timeout")?.map(|text| duration("--lock-timeout", &text)).transpose()?;
    }
    command.action = match name {
        "generate" => Action::Generate { name: word(args, "migrate generate NAME", "a name")? },
        "up" => Action::Up {
            to: args.parsed("--to")?,
            limit: count(args)?,
            dry_run: args.flag("--dry-run"),
            strict: args.flag("--strict"),
        },
        "rollback" => {
            let (to, limit) = (args.parsed("--to")?, count(args)?);
            if to.is_some() && limit.is_some() {
                return Err(Error::usage("`--to` and `-n` can't be combined; give one of them"));
            }
            Action::Rollback { to, limit: limit.unwrap_or(1), dry_run: args.flag("--dry-run") }
        }
        "redo" => Action::Redo { limit: count(args)?.unwrap_or(1), dry_run: args.flag("--dry-run") },
        "status" => Action::Status { json: args.flag("--json"), check: args.flag("--check") },
        "check" => Action::Check,
        "resolve" => {
            let resolution = resolution(args)?;
            let dry_run = args.flag("--dry-run");
            let version = word(args, "migrate resolve VERSION …", "a version")?.parse()?;
            Action::Resolve { version, resolution, dry_run }
        }
        "baseline" => Action::Baseline { to: word(args, "migrate baseline VERSION", "a version")?.parse()? },
        "dump" => Action::Dump,
        unknown => {
            return Err(Error::usage(format!(
                "unknown command `migrate {unknown}`{}; `airun help migrate` lists them",
                suggest::among(unknown, COMMANDS.into_iter())
            )));
        }
    };
    Ok(command)
}

/// Parses `-n`, which must be at least 1.
fn count(args: &mut Args) -> Result<Option<u64>> {
    Ok(args.parsed::<NonZeroU64>("-n")?.map(NonZeroU64::get))
}

fn wait(args: &mut Args) -> Result<Wait> {
    Ok(match args.optional_value("--wait")? {
        None => Wait::No,
        Some(None) => Wait::Forever,
        Some(Some(text)) => Wait::AtMost(duration("--wait", &text)?),
    })
}

fn resolution(args: &mut Args) -> Result<Resolution> {
    let options = [
        args.flag("--applied").then_some(Resolution::Applied),
        args.flag("--pending").then_some(Resolution::Pending),
        args.parsed("--from-statement")?.map(|k| Resolution::FromStatement { k }),
        args.flag("--accept-edit").then_some(Resolution::AcceptEdit),
    ];
    let mut given = options.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(resolution), None) => Ok(resolution),
        _ => Err(Error::usage("give exactly one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`")),
    }
}

fn word(args: &mut Args, usage: &str, what: &str) -> Result<String> {
    args.word()?.ok_or_else(|| Error::usage(format!("{what} is missing; usage: airun {usage}")))
}
