//! `airun periodic list | run`.

use serde::Serialize;

use super::args::Args;
use super::context::{Action, Context};
use super::output::Output;
use super::suggest::hint;
use super::worker::lock_scope;
use crate::cli::exit::Exit;
use crate::duration;
use crate::error::{Error, Result};
use crate::periodic;
use crate::registry::Registry;

/// `airun periodic list`
pub fn parse_list(args: Args) -> Result<Action> {
    Ok(Box::new(move |registry, _| {
        registry.check()?;
        list(&registry, args.has("--json"))?;
        Ok(Exit::Success)
    }))
}

/// `airun periodic run NAME`
pub fn parse_run(args: Args) -> Result<Action> {
    Ok(Box::new(move |registry, context| {
        registry.check()?;
        run(registry, &args.words[0], context)?;
        Ok(Exit::Success)
    }))
}

fn run(mut registry: Registry, name: &str, context: &Context) -> Result<()> {
    let scope = lock_scope(context)?;
    let Some(task) = registry.periodic.iter_mut().find(|task| task.name() == name) else {
        let known = registry.periodic.iter().map(|task| task.name());
        let hint = hint(name, known, "`airun periodic list` lists them");
        return Err(Error::usage(format!("unknown periodic task `{name}`{hint}")));
    };
    periodic::once(task.as_mut(), &periodic::lock::name(&scope, name), &context.stop)
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    emoji: &'a str,
    interval: String,
    interval_ms: u128,
    time_limit_ms: Option<u128>,
}

fn list(registry: &Registry, json: bool) -> Result<()> {
    let mut output = Output::default();
    let tasks: Vec<Listed<'_>> = registry
        .periodic
        .iter()
        .map(|task| Listed {
            name: task.name(),
            emoji: task.emoji(),
            interval: duration::format(task.interval()),
            interval_ms: task.interval().as_millis(),
            time_limit_ms: task.time_limit().map(|limit| limit.as_millis()),
        })
        .collect();
    if json {
        output.json(&tasks)?;
    } else {
        let width = tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
        for task in &tasks {
            output.line(&format!("{} {:width$}  every {}", task.emoji, task.name, task.interval));
        }
        if tasks.is_empty() {
            output.line("no periodic task is registered");
        }
    }
    output.finish()
}
