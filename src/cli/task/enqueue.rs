//! `airun task enqueue`: enqueues a task, or one for each line of standard input.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;
use std::time::Duration;

use mysql::TxOpts;
use serde::Serialize;
use serde_json::value::RawValue;

use super::queue_conn::QueueConn;
use super::{JSON_FORMAT, count_tasks};
use crate::cli::args::{Args, invalid};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::cli::suggest::hint;
use crate::error::{Error, Result, with_causes};
use crate::queue::{self, Kind, NewTask, Priority};

/// The arguments of `task enqueue`.
#[derive(Debug, PartialEq)]
pub struct EnqueueArgs {
    kind: String,
    payload: PayloadSource,
    version: Option<u16>,
    queue: Option<String>,
    priority: Option<Priority>,
    delay: Duration,
    timeout: Option<Duration>,
    max_attempts: Option<u32>,
    dedupe_key: Option<String>,
    /// Skip the checks against the kinds of this binary.
    unchecked: bool,
}

/// The source of the payload.
#[derive(Debug, PartialEq)]
enum PayloadSource {
    Text(String),
    /// Standard input is one payload.
    Input,
    /// Each line of standard input is a payload.
    Lines,
}

/// Reads the arguments of `task enqueue`.
pub fn parse(args: &Args) -> Result<EnqueueArgs> {
    let lines = args.has("--lines");
    let text = |name| args.value(name).map(str::to_owned);
    let dedupe_key = text("--dedupe-key");
    let payload = match (args.words.get(1).map(String::as_str), lines) {
        (None, true) => PayloadSource::Lines,
        (Some(_), true) => {
            return Err(Error::usage("`--lines` reads the payloads from standard input; don't give another payload"));
        }
        (Some("-"), false) => PayloadSource::Input,
        (Some(text), false) => PayloadSource::Text(text.to_owned()),
        (None, false) => PayloadSource::Text("null".to_owned()),
    };
    if dedupe_key.is_some() && lines {
        return Err(Error::usage("`--dedupe-key` can't be used with `--lines`, because it belongs to one task"));
    }
    let timeout = args.duration("--timeout")?;
    if timeout.is_some_and(|timeout| timeout.is_zero() || timeout.as_millis() > u128::from(u32::MAX)) {
        return Err(Error::usage("`--timeout` must be longer than zero and at most 49 days"));
    }
    let (max_attempts, version) = (args.parsed("--max-attempts")?, args.parsed("--payload-version")?);
    if max_attempts == Some(0) {
        return Err(Error::usage("`--max-attempts` must be at least 1"));
    }
    if version == Some(0) {
        return Err(Error::usage("`--payload-version` must be at least 1"));
    }
    Ok(EnqueueArgs {
        kind: args.words[0].clone(),
        payload,
        version,
        queue: text("--queue"),
        priority: args.value("--priority").map(priority).transpose()?,
        delay: args.duration("--delay")?.unwrap_or_default(),
        timeout,
        max_attempts,
        dedupe_key,
        unchecked: args.has("--unchecked"),
    })
}

fn priority(text: &str) -> Result<Priority> {
    Priority::ALL
        .into_iter()
        .find(|priority| priority.name() == text)
        .ok_or_else(|| invalid("--priority", text, "use urgent, normal or bulk"))
}

#[derive(Serialize)]
struct EnqueuedTask {
    format: u32,
    id: u64,
    inserted: bool,
}

#[derive(Serialize)]
struct EnqueuedTasks {
    format: u32,
    enqueued: u64,
}

pub fn run(args: EnqueueArgs, kinds: &[Arc<Kind>], context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let known = kinds.iter().find(|kind| kind.name == args.kind).map(AsRef::as_ref);
    if known.is_none() && !args.unchecked {
        return Err(unknown_kind(&args.kind, kinds));
    }
    let new = new_task(&args, known);
    let checked = known.filter(|_| !args.unchecked);
    if let Some(kind) = checked.filter(|kind| new.version > kind.version) {
        return Err(Error::usage(format!(
            "this binary has `{}` only up to payload version {}, not {}; `--unchecked` enqueues it for another binary",
            kind.name, kind.version, new.version
        )));
    }
    match args.payload {
        PayloadSource::Lines => {
            let enqueued = enqueue_lines(&new, checked, &mut QueueConn::connect(context)?)?;
            if json {
                output.json(&EnqueuedTasks { format: JSON_FORMAT, enqueued })?;
            } else {
                output.line(&format!("enqueued {}", count_tasks(enqueued)));
            }
        }
        PayloadSource::Text(text) => enqueue_one(&text, &new, checked, context, json, output)?,
        PayloadSource::Input => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::failure(format!("failed to read the payload from standard input: {error}")))?;
            enqueue_one(&text, &new, checked, context, json, output)?;
        }
    }
    Ok(Exit::Success)
}

/// The new task: the arguments, and the kind's defaults for the others.
fn new_task(args: &EnqueueArgs, known: Option<&Kind>) -> NewTask {
    let default = known.map_or_else(|| "default".to_owned(), |kind| kind.queue.clone());
    NewTask {
        kind: args.kind.clone(),
        version: args.version.unwrap_or_else(|| known.map_or(1, |kind| kind.version)),
        queue: args.queue.clone().unwrap_or(default),
        priority: args.priority.unwrap_or_else(|| known.map_or(Priority::default(), |kind| kind.priority)),
        delay: args.delay,
        timeout: args.timeout,
        max_attempts: args.max_attempts,
        dedupe_key: args.dedupe_key.clone(),
    }
}

fn unknown_kind(name: &str, kinds: &[Arc<Kind>]) -> Error {
    Error::usage(format!(
        "this binary has no kind `{name}`{} (`--unchecked` enqueues it for another binary)",
        hint(name, kinds.iter().map(|kind| kind.name.as_str()), "`airun task kinds` lists its kinds")
    ))
}

/// Checks that the payload is JSON, and that its kind can decode it.
fn check(payload: &str, version: u16, kind: Option<&Kind>) -> Result<()> {
    serde_json::from_str::<&RawValue>(payload)
        .map_err(|error| Error::usage(format!("the payload is not JSON: {error}; a JSON text needs double quotes")))?;
    let Some(kind) = kind else { return Ok(()) };
    kind.check(version, payload).map_err(|error| {
        Error::usage(format!(
            "`{}` version {version} can't decode this payload: {}; `--unchecked` enqueues it anyway",
            kind.name,
            with_causes(&error)
        ))
    })
}

fn enqueue_one(
    payload: &str,
    new: &NewTask,
    checked: Option<&Kind>,
    context: &Context,
    json: bool,
    output: &mut Output,
) -> Result<()> {
    let payload = payload.trim();
    check(payload, new.version, checked)?;
    let mut conn = QueueConn::connect(context)?;
    let enqueued = conn.run_once(|conn| queue::insert_one(conn, new, payload))?;
    if json {
        output.json(&EnqueuedTask { format: JSON_FORMAT, id: enqueued.id, inserted: enqueued.inserted })?;
        return Ok(());
    }
    if !enqueued.inserted {
        print_error(
            "note",
            &format!("task {} is pending or running and has this dedupe key; nothing was enqueued", enqueued.id),
        );
    }
    output.line(&enqueued.id.to_string());
    Ok(())
}

/// Enqueues all lines in one transaction, so an invalid line means that nothing is enqueued.
fn enqueue_lines(new: &NewTask, checked: Option<&Kind>, conn: &mut QueueConn<'_>) -> Result<u64> {
    let lines = io::stdin().lock().lines().enumerate().filter_map(|(number, line)| {
        let number = number + 1;
        let line = match line {
            Ok(line) => line.trim().to_owned(),
            Err(error) => {
                return Some(Err(Error::failure(format!("failed to read line {number} of standard input: {error}"))));
            }
        };
        if line.is_empty() {
            return None;
        }
        let checked = check(&line, new.version, checked);
        Some(checked.map(|()| line).map_err(|error| error.context(format!("line {number}; nothing was enqueued"))))
    });
    let count = conn.run_once(|conn| {
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        let count = queue::insert_many(&mut transaction, new, lines)?;
        transaction.commit()?;
        Ok(count)
    })?;
    if new.delay.is_zero() {
        conn.wake()?;
    }
    Ok(count)
}
