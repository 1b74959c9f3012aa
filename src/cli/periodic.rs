//! `airun periodic list | run`.

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::suggest::hint;
use super::worker::lock_scope;
use crate::duration;
use crate::error::{Error, Result};
use crate::periodic;

/// `airun periodic run NAME`
pub fn run(context: &mut Context) -> Result<Exit> {
    context.registry.check()?;
    let scope = lock_scope(context)?;
    let name = &context.args.words[0];
    let tasks = &mut context.registry.periodic;
    let Some(task) = tasks.iter_mut().find(|task| task.name() == name) else {
        let hint = hint(name, tasks.iter().map(|task| task.name()), "`airun periodic list` lists them");
        return Err(Error::usage(format!("unknown periodic task `{name}`{hint}")));
    };
    periodic::once(task.as_mut(), &periodic::lock::name(&scope, name), &context.stop)?;
    Ok(Exit::Success)
}

/// `airun periodic list`
pub fn list(context: &mut Context) -> Result<Exit> {
    context.registry.check()?;
    let tasks = &context.registry.periodic;
    if context.args.has("--json") {
        let listed = tasks.iter().map(|task| {
            json!({
                "name": task.name(),
                "emoji": task.emoji(),
                "interval": duration::format(task.interval()),
                "interval_ms": task.interval().as_millis() as u64,
                "time_limit_ms": task.time_limit().map(|limit| limit.as_millis() as u64),
            })
        });
        context.output.json(&listed.collect::<Vec<_>>())?;
    } else if tasks.is_empty() {
        context.output.line("no periodic task is registered");
    } else {
        let width = tasks.iter().map(|task| task.name().len()).max().unwrap_or(0);
        for task in tasks {
            let interval = duration::format(task.interval());
            context.output.line(&format!("{} {:width$}  every {interval}", task.emoji(), task.name()));
        }
    }
    Ok(Exit::Success)
}
