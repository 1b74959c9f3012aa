//! `airun task enqueue`: enqueues a task, or one for each line of standard input.

use std::io::{self, BufRead as _};
use std::sync::Arc;

use mysql::TxOpts;
use serde_json::json;
use serde_json::value::RawValue;

use super::count_tasks;
use super::queue_conn::QueueConn;
use crate::cli::args::Args;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::print_error;
use crate::cli::suggest::hint;
use crate::error::{Error, Result, with_causes};
use crate::queue::{self, Enqueued, Kind, NewTask, Priority};

pub fn enqueue(context: &mut Context) -> Result<Exit> {
    context.registry.check()?;
    let args = &context.args;
    let (kinds, unchecked) = (&context.registry.kinds, args.has("--unchecked"));
    let known = kinds.iter().find(|kind| kind.name == args.words[0]).map(AsRef::as_ref);
    let new = new_task(args, known)?;
    if known.is_none() && !unchecked {
        return Err(unknown_kind(&new.kind, kinds));
    }
    let checked = known.filter(|_| !unchecked);
    if let Some(kind) = checked.filter(|kind| new.version > kind.version) {
        return Err(Error::usage(format!(
            "this binary has `{}` only up to payload version {}, not {}; `--unchecked` enqueues it for another binary",
            kind.name, kind.version, new.version
        )));
    }
    let (json, payload) = (args.has("--json"), args.words.get(1).map(String::as_str));
    if args.has("--lines") {
        if payload.is_some() {
            return Err(Error::usage("`--lines` reads the payloads from standard input; don't give another payload"));
        }
        if new.dedupe_key.is_some() {
            return Err(Error::usage("`--dedupe-key` can't be used with `--lines`, because it belongs to one task"));
        }
        let enqueued = enqueue_lines(&new, checked, &mut QueueConn::connect(context)?)?;
        if json {
            context.output.report(None, &json!({"enqueued": enqueued}))?;
        } else {
            context.output.line(&format!("enqueued {}", count_tasks(enqueued)));
        }
        return Ok(Exit::Success);
    }
    let payload = match payload {
        Some("-") => io::read_to_string(io::stdin())
            .map_err(|error| Error::failure(format!("failed to read the payload from standard input: {error}")))?,
        payload => payload.unwrap_or("null").to_owned(),
    };
    check(payload.trim(), new.version, checked)?;
    let mut conn = QueueConn::connect(context)?;
    let Enqueued { id, inserted, .. } = conn.run_once(|conn| queue::insert_one(conn, &new, payload.trim()))?;
    if json {
        context.output.report(None, &json!({"id": id, "inserted": inserted}))?;
        return Ok(Exit::Success);
    }
    if !inserted {
        let text = format!("task {id} is pending or running and has this dedupe key; nothing was enqueued");
        print_error("note", &text);
    }
    context.output.line(&id.to_string());
    Ok(Exit::Success)
}

/// Returns the new task: the arguments, and the kind's defaults for the others.
fn new_task(args: &Args, known: Option<&Kind>) -> Result<NewTask> {
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
    let default_queue = || known.map_or_else(|| "default".to_owned(), |kind| kind.queue.clone());
    Ok(NewTask {
        kind: args.words[0].clone(),
        version: version.unwrap_or_else(|| known.map_or(1, |kind| kind.version)),
        queue: args.owned("--queue").unwrap_or_else(default_queue),
        priority: args
            .read("--priority", priority)?
            .unwrap_or_else(|| known.map_or(Priority::default(), |kind| kind.priority)),
        delay: args.duration("--delay")?.unwrap_or_default(),
        timeout,
        max_attempts,
        dedupe_key: args.owned("--dedupe-key"),
    })
}

fn priority(text: &str) -> Result<Priority, &'static str> {
    let named = Priority::ALL.into_iter().find(|priority| priority.name() == text);
    named.ok_or("use urgent, normal or bulk")
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

/// Enqueues all lines in one transaction, so an invalid line means that nothing is enqueued.
fn enqueue_lines(new: &NewTask, checked: Option<&Kind>, conn: &mut QueueConn) -> Result<u64> {
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
