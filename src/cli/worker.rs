//! `airun worker`: its arguments, and the settings that they make.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::args::Args;
use super::{Context, duration};
use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::queue::{self, Retention};
use crate::registry::Registry;
use crate::worker::{self, Settings};

/// What `airun worker` is told; what is `None` comes from the environment, or is the default.
#[derive(Debug, PartialEq)]
pub struct Command {
    heartbeat: Option<String>,
    stop_timeout: Option<String>,
    metrics_file: Option<PathBuf>,
    metrics_addr: Option<String>,
    threads: Option<String>,
    queues: Option<String>,
    retention: Option<String>,
    dead_retention: Option<String>,
}

const HEARTBEAT: Duration = Duration::from_secs(60);
/// Less than the 30 s that orchestrators give as a rule.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);
const THREADS: usize = 8;
/// More don't help the server, and each may have a connection.
const THREADS_MAX: usize = 256;
const DAY: Duration = Duration::from_secs(24 * 3600);
const RETENTION: Duration = Duration::from_secs(7 * DAY.as_secs());
const DEAD_RETENTION: Duration = Duration::from_secs(90 * DAY.as_secs());

/// Takes the arguments behind `worker` apart.
pub fn parse(args: &mut Args) -> Result<Command> {
    Ok(Command {
        heartbeat: args.value("--heartbeat")?,
        stop_timeout: args.value("--stop-timeout")?,
        metrics_file: args.value("--metrics-file")?.map(PathBuf::from),
        metrics_addr: args.value("--metrics-addr")?,
        threads: args.value("--threads")?,
        queues: args.value("--queues")?,
        retention: args.value("--retention")?,
        dead_retention: args.value("--dead-retention")?,
    })
}

/// Runs the worker until a signal.
pub fn perform(command: Command, registry: Registry, context: &Context) -> Result<Exit> {
    let environment = &context.environment;
    let text = |flag: Option<String>, name: &'static str| flag.or_else(|| environment.get(name).map(str::to_owned));
    let time = |flag, flag_name, name, default| text(flag, name).map_or(Ok(default), |text| duration(flag_name, &text));
    let heartbeat = time(command.heartbeat, "--heartbeat", "AIRUN_HEARTBEAT", HEARTBEAT)?;
    if heartbeat.is_zero() {
        return Err(Error::usage("`--heartbeat` must be longer than zero"));
    }
    let metrics_addr = match text(command.metrics_addr, "AIRUN_METRICS_ADDR") {
        Some(text) => Some(address(&text)?),
        None => None,
    };
    let settings = Settings {
        heartbeat,
        stop_timeout: time(command.stop_timeout, "--stop-timeout", "AIRUN_STOP_TIMEOUT", STOP_TIMEOUT)?,
        metrics_file: command.metrics_file.or_else(|| environment.get("AIRUN_METRICS_FILE").map(PathBuf::from)),
        metrics_addr,
        lock_scope: lock_scope(context)?,
        queue: queue::Settings {
            threads: text(command.threads, "AIRUN_THREADS").map_or(Ok(THREADS), |text| threads(&text))?,
            queues: text(command.queues, "AIRUN_QUEUES").map_or(Ok(Vec::new()), |text| queues(&text))?,
            retention: Retention {
                finished: retention(command.retention, context)?,
                dead: time(command.dead_retention, "--dead-retention", "AIRUN_DEAD_RETENTION", DEAD_RETENTION)?,
            },
        },
        database: context.database()?,
    };
    worker::run(registry, &settings, &context.stop)?;
    Ok(Exit::Success)
}

/// How long tasks that succeeded or were cancelled are kept: as the flag has it, else the environment.
pub fn retention(flag: Option<String>, context: &Context) -> Result<Duration> {
    let text = flag.or_else(|| context.environment.get("AIRUN_RETENTION").map(str::to_owned));
    text.map_or(Ok(RETENTION), |text| duration("--retention", &text))
}

fn threads(text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=THREADS_MAX).contains(number));
    number.ok_or_else(|| Error::usage(format!("`{text}` can't be the value of `--threads`: give 1 to {THREADS_MAX}")))
}

fn queues(text: &str) -> Result<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        queue::check_name("queue", name).map_err(|error| error.context("the value of `--queues`"))?;
    }
    Ok(names)
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| {
        Error::usage(format!("`{text}` can't be the value of `--metrics-addr`: give IP:PORT, as in 127.0.0.1:9464"))
    })
}

/// The database tells this installation from another on the same host; without one, the program's own path does.
pub fn lock_scope(context: &Context) -> Result<String> {
    if let Some(database) = context.database()? {
        return Ok(database.to_string());
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    Ok(program.map_or_else(|_| "airun".to_owned(), |path| path.display().to_string()))
}
