//! `airun worker`: turns its flags, variables and defaults into the worker's settings.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::args::{Args, Flag, Setting};
use super::context::{Action, Context};
use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::queue::{self, Retention};
use crate::worker::{self, Settings};

/// Shared by the worker, which sets it for tasks that end there, and by `airun task cancel`.
pub const RETENTION: Flag =
    Flag::setting("--retention", "TIME", "AIRUN_RETENTION", "how long to keep tasks that succeeded or were cancelled")
        .default("7d");

/// More threads don't help the server, and each may open a connection.
const THREADS_MAX: usize = 256;

/// `airun worker`: runs the worker until a signal.
pub fn parse(args: Args) -> Result<Action> {
    Ok(Box::new(move |registry, context| {
        let settings = settings(&args, context)?;
        worker::run(registry, &settings, &context.stop)?;
        Ok(Exit::Success)
    }))
}

fn settings(args: &Args, context: &Context) -> Result<Settings> {
    let setting = |name| args.setting(name, &context.environment);
    let duration = |name| setting(name).map_or(Ok(Duration::ZERO), |setting| setting.duration());
    let heartbeat = duration("--heartbeat")?;
    if heartbeat.is_zero() {
        return Err(Error::usage("`--heartbeat` must be longer than zero"));
    }
    Ok(Settings {
        heartbeat,
        stop_timeout: duration("--stop-timeout")?,
        metrics_file: setting("--metrics-file").map(|setting| PathBuf::from(setting.text)),
        metrics_addr: setting("--metrics-addr").map(|setting| address(&setting)).transpose()?,
        lock_scope: lock_scope(context)?,
        queue: queue::Settings {
            threads: setting("--threads").map_or(Ok(1), |setting| threads(&setting))?,
            queues: setting("--queues").map_or(Ok(Vec::new()), |setting| queues(&setting))?,
            retention: Retention { finished: duration("--retention")?, dead: duration("--dead-retention")? },
        },
        database: context.database()?,
    })
}

/// How long a command that ends tasks keeps them.
///
/// # Errors
/// The variable doesn't hold a duration.
pub fn retention(context: &Context) -> Result<Duration> {
    RETENTION.resolve(None, &context.environment).map_or(Ok(Duration::ZERO), |setting| setting.duration())
}

fn threads(setting: &Setting<'_>) -> Result<usize> {
    let number = setting.text.parse().ok().filter(|number| (1..=THREADS_MAX).contains(number));
    number.ok_or_else(|| setting.invalid(format!("use a number from 1 to {THREADS_MAX}")))
}

fn queues(setting: &Setting<'_>) -> Result<Vec<String>> {
    let names: Vec<String> = setting.text.split(',').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        queue::check_name("queue", name).map_err(|error| error.context(format!("`{}`", setting.source)))?;
    }
    Ok(names)
}

fn address(setting: &Setting<'_>) -> Result<SocketAddr> {
    setting.text.parse().map_err(|_| setting.invalid("use IP:PORT, for example 127.0.0.1:9464"))
}

/// Distinguishes this installation from others on the host: the database, or without one the path of the program.
pub fn lock_scope(context: &Context) -> Result<String> {
    if let Some(database) = context.database()? {
        return Ok(database.to_string());
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    Ok(program.map_or_else(|_| "airun".to_owned(), |path| path.display().to_string()))
}
