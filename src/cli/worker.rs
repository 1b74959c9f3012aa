//! `airun worker`: turns its flags, variables and defaults into the worker's settings.

use std::env;
use std::net::SocketAddr;

use super::context::Context;
use super::exit::Exit;
use crate::error::{Error, Result};
use crate::queue::{self, QueueSettings, Retention};
use crate::worker::{self, WorkerSettings};

/// More threads don't help the server, and each may open a connection.
const THREADS_MAX: usize = 256;

/// `airun worker`: runs the worker until a signal.
pub fn run(context: &mut Context) -> Result<Exit> {
    let settings = settings(context)?;
    worker::run(std::mem::take(&mut context.registry), &settings, &context.stop)?;
    Ok(Exit::Success)
}

fn settings(context: &Context) -> Result<WorkerSettings> {
    let args = &context.args;
    let duration = |name| args.duration(name).map(Option::unwrap_or_default);
    let heartbeat = duration("--heartbeat")?;
    if heartbeat.is_zero() {
        return Err(Error::usage("`--heartbeat` must be longer than zero"));
    }
    Ok(WorkerSettings {
        heartbeat,
        stop_timeout: duration("--stop-timeout")?,
        metrics_file: args.path("--metrics-file"),
        metrics_addr: args.read("--metrics-addr", address)?,
        lock_scope: lock_scope(context)?,
        queue: QueueSettings {
            threads: args.read("--threads", threads)?.unwrap_or(1),
            queues: args.read("--queues", queues)?.unwrap_or_default(),
            retention: Retention { finished: duration("--retention")?, dead: duration("--dead-retention")? },
        },
        database: context.database()?,
    })
}

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=THREADS_MAX).contains(number));
    number.ok_or_else(|| format!("use a number from 1 to {THREADS_MAX}"))
}

fn queues(text: &str) -> Result<Vec<String>> {
    let checked = |name: &str| queue::check_name("queue", name).map(|()| name.to_owned());
    text.split(',').map(|name| checked(name.trim())).collect()
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "use IP:PORT, for example 127.0.0.1:9464")
}

/// Distinguishes this installation from others on the host: the database, or without one the path of the program.
pub fn lock_scope(context: &Context) -> Result<String> {
    if let Some(database) = context.database()? {
        return Ok(database.to_string());
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    Ok(program.map_or_else(|_| "airun".to_owned(), |path| path.display().to_string()))
}
