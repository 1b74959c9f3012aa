//! `airun periodic list | run`.

use serde::Serialize;

use super::args::Args;
use super::output::Output;
use super::worker::lock_scope;
use super::{Context, suggest};
use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::interval;
use crate::periodic;
use crate::registry::Registry;

/// What `airun periodic` is to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    List { json: bool },
    Run { name: String },
}

pub const COMMANDS: [&str; 2] = ["list", "run"];

/// Takes the arguments behind `periodic NAME` apart.
pub fn parse(name: &str, args: &mut Args) -> Result<Command> {
    match name {
        "list" => Ok(Command::List { json: args.flag("--json") }),
        "run" => {
            let name = args.word()?;
            let missing = || Error::usage("a task's name is missing; `airun periodic list` lists them");
            Ok(Command::Run { name: name.ok_or_else(missing)? })
        }
        unknown => Err(Error::usage(format!(
            "unknown command `periodic {unknown}`{}; `airun help periodic` lists them",
            suggest::among(unknown, COMMANDS.into_iter())
        ))),
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    emoji: &'a str,
    interval: String,
    interval_ms: u128,
    time_limit_ms: Option<u128>,
}

/// Lists the tasks, or runs one.
pub fn perform(command: Command, mut registry: Registry, context: &Context) -> Result<Exit> {
    registry.check()?;
    match command {
        Command::List { json } => list(&registry, json)?,
        Command::Run { name } => {
            let scope = lock_scope(context)?;
            let Some(task) = registry.periodic.iter_mut().find(|task| task.name() == name) else {
                let known = registry.periodic.iter().map(|task| task.name());
                return Err(Error::usage(format!(
                    "there is no periodic task `{name}`{}; `airun periodic list` lists them",
                    suggest::among(&name, known)
                )));
            };
            periodic::once(task.as_mut(), &periodic::lock::name(&scope, &name), &context.stop)?;
        }
    }
    Ok(Exit::Success)
}

fn list(registry: &Registry, json: bool) -> Result<()> {
    let mut output = Output::default();
    let tasks: Vec<Listed<'_>> = registry
        .periodic
        .iter()
        .map(|task| Listed {
            name: task.name(),
            emoji: task.emoji(),
            interval: interval::format(task.interval()),
            interval_ms: task.interval().as_millis(),
            time_limit_ms: task.time_limit().map(|limit| limit.as_millis()),
        })
        .collect();
    if json {
        let text = serde_json::to_string(&tasks)
            .map_err(|error| Error::failure(format!("failed to write the list as JSON: {error}")))?;
        output.line(&text);
    } else {
        let width = tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
        for task in &tasks {
            output.line(&format!(
                "{} {:width$}  every {}, next when a worker starts",
                task.emoji, task.name, task.interval
            ));
        }
        if tasks.is_empty() {
            output.line("no periodic task is registered");
        }
    }
    output.finish()
}
