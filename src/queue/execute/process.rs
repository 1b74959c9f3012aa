//! A run in a process of its own, with a process group of its own. At its deadline all of it is killed, and what it
//! started with it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::child::{self, Errand};
use super::tree;
use super::{Executor, timed_out};
use crate::error::{Error, Result, TaskError};
use crate::interval;
use crate::observe::scope;
use crate::queue::interrupt::Interrupted;
use crate::queue::job::Job;
use crate::queue::kind::Work;
use crate::queue::settle::Outcome;
use crate::queue::task::Retry;
use crate::threads::{self, Thread};

/// From asking a cancelled run to end until it is killed.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// What is kept of a program's standard output, its result; bytes.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// The end of its standard error is the reason of a failure; lines.
const REASON_LINES_MAX: usize = 20;
/// `EX_DATAERR` of `sysexits.h`.
const EXIT_DATA_ERROR: i32 = 65;
/// What was printed before a kill is read after it.
const READ_LIMIT: Duration = Duration::from_secs(1);

pub fn run(executor: &Executor, job: &Arc<Job>, deadline: Instant) -> Outcome {
    match Run::start(executor, job, deadline) {
        Ok(run) => run.finish(executor, deadline),
        Err(error) => Outcome::Failed { error: error.to_string(), retry: Retry::AsUsual },
    }
}

struct Run<'a> {
    job: &'a Arc<Job>,
    child: Child,
    cookie: String,
    /// Closes when the process has ended; it isn't reaped yet then, so that its id still means it.
    ended: Thread,
    when_ended: Receiver<bool>,
    readers: [Thread; 2],
    writer: Thread,
    output: Receiver<String>,
    reason: Receiver<String>,
}

/// Why a run came to its end.
enum End {
    Itself,
    Deadline,
    Cancelled,
    Abandoned,
}

impl<'a> Run<'a> {
    fn start(executor: &Executor, job: &'a Arc<Job>, deadline: Instant) -> Result<Self> {
        let cookie = tree::cookie(&job.fence);
        let errand = Errand::of(job, executor, deadline, &cookie);
        let (mut command, input, token) = match &job.kind.work {
            Work::Handler { .. } => (child::handler_command(), errand.to_json()?, Some(child::token(&cookie))),
            Work::Command { program, args } => {
                let mut command = child::program_command(program, args);
                command
                    .env("AIRUN_TASK_ID", job.fence.id.to_string())
                    .env("AIRUN_TASK_KIND", &job.kind.name)
                    .env("AIRUN_TASK_ATTEMPT", job.attempt().to_string())
                    .env("AIRUN_TASK_TIMEOUT_MS", job.timeout.as_millis().to_string());
                (command, job.payload.clone(), None)
            }
        };
        // A handler's process logs by itself, as this one does.
        let stderr = if token.is_some() { Stdio::inherit() } else { Stdio::piped() };
        command.env(tree::COOKIE, &cookie).process_group(0);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = spawned.map_err(|error| Error::failure(format!("failed to start its process: {error}")))?;
        let pid = pid(&child);
        let (end, when_ended) = bounded(1);
        let ended = threads::spawn("wait", move || {
            let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            end.send(waited.is_ok()).unwrap_or_default();
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let writer = threads::spawn("stdin", move || feed(stdin, &input))?;
        let (out, output) = bounded(1);
        let (err, reason) = bounded(1);
        let pairs = scope::with(<[_]>::to_vec);
        let readers = [
            threads::spawn("stdout", move || out.send(listen(stdout, token, pairs)).unwrap_or_default())?,
            threads::spawn("stderr", {
                let pairs = scope::with(<[_]>::to_vec);
                move || err.send(overhear(stderr, pairs)).unwrap_or_default()
            })?,
        ];
        Ok(Self { job, child, cookie, ended, when_ended, readers, writer, output, reason })
    }

    fn finish(mut self, executor: &Executor, deadline: Instant) -> Outcome {
        let end = self.wait(executor, deadline);
        if matches!(end, End::Itself) {
            // Whatever it left behind would keep its output open.
            tree::kill_group(pid(&self.child));
        } else {
            tree::kill(pid(&self.child), &self.cookie);
        }
        let limit = Instant::now() + READ_LIMIT;
        drop(self.ended.join(limit));
        let status = self.child.wait();
        for thread in self.readers.into_iter().chain([self.writer]) {
            drop(thread.join(limit));
        }
        let (output, reason) = (self.output.try_recv().unwrap_or_default(), self.reason.try_recv().unwrap_or_default());
        match (end, status) {
            (End::Itself, Ok(status)) => outcome(self.job, status, output, reason),
            (End::Itself, Err(error)) => {
                Outcome::Failed { error: format!("failed to wait for its process: {error}"), retry: Retry::AsUsual }
            }
            (End::Deadline, _) => Outcome::Failed {
                error: format!("{}, and was killed", timed_out(self.job.timeout)),
                retry: Retry::AsUsual,
            },
            (End::Cancelled, _) => Outcome::Interrupted(Interrupted::Cancelled),
            (End::Abandoned, _) => Outcome::Interrupted(Interrupted::Stopping),
        }
    }

    fn wait(&self, executor: &Executor, deadline: Instant) -> End {
        let time_up = after(deadline.saturating_duration_since(Instant::now()));
        let (mut stop, mut cancel) = (executor.stop.receiver().clone(), self.job.interrupt.raised().clone());
        let mut grace = never();
        loop {
            select! {
                recv(self.when_ended) -> _ => return End::Itself,
                recv(time_up) -> _ => return End::Deadline,
                recv(executor.abandoned.receiver()) -> _ => return End::Abandoned,
                recv(grace) -> _ => return End::Cancelled,
                recv(cancel) -> _ => {
                    log::info!("asking its process to end; it is killed in {}", interval::short(CANCEL_GRACE));
                    tree::ask(pid(&self.child));
                    grace = after(CANCEL_GRACE);
                    cancel = never();
                }
                recv(stop) -> _ => {
                    // Its context says that the worker stops. A program wouldn't know that it may finish.
                    if matches!(self.job.kind.work, Work::Handler { .. }) {
                        tree::ask(pid(&self.child));
                    }
                    stop = never();
                }
            }
        }
    }
}

/// A child's id is above 0.
fn pid(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT)
}

fn feed(stdin: Option<ChildStdin>, input: &str) {
    // It may end without reading it.
    if let Some(mut stdin) = stdin {
        stdin.write_all(input.as_bytes()).unwrap_or_default();
    }
}

/// A program's output is its result. A handler reports in a line of its own; what else it prints is logged.
fn listen(stdout: Option<ChildStdout>, token: Option<String>, pairs: Vec<(&'static str, String)>) -> String {
    let Some(stdout) = stdout else { return String::new() };
    let _scope = scope::enter(pairs);
    let Some(token) = token else {
        let mut bytes = Vec::new();
        let mut stdout = stdout;
        let whole = stdout.by_ref().take(OUTPUT_BYTES_MAX as u64).read_to_end(&mut bytes).is_ok();
        let rest = std::io::copy(&mut stdout, &mut std::io::sink()).unwrap_or(0);
        if rest > 0 || !whole {
            log::warn!("printed more than {OUTPUT_BYTES_MAX} bytes: {rest} are left out of its result");
        }
        return String::from_utf8_lossy(&bytes).into_owned();
    };
    let mut report = String::new();
    for line in BufReader::new(stdout).split(b'\n').map_while(std::io::Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(&token) {
            Some(json) => report = json.to_owned(),
            None if line.is_empty() => {}
            None => log::info!("{line}"),
        }
    }
    report
}

/// Logs what a program says, and keeps the end of it.
fn overhear(stderr: Option<ChildStderr>, pairs: Vec<(&'static str, String)>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let _scope = scope::enter(pairs);
    let mut last: Vec<String> = Vec::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log::info!("{line}");
        if last.len() == REASON_LINES_MAX {
            last.remove(0);
        }
        last.push(line);
    }
    last.join("\n")
}

fn outcome(job: &Job, status: ExitStatus, output: String, reason: String) -> Outcome {
    match &job.kind.work {
        Work::Handler { .. } => match serde_json::from_str(&output) {
            Ok(outcome) => outcome,
            Err(_) => crashed(job, format!("its process ended without a result: {}", words(status))),
        },
        Work::Command { .. } => {
            let failed = |retry| {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                Outcome::Failed { error: format!("{}{reason}", words(status)), retry }
            };
            match status.code() {
                Some(0) => result(&output).map_or_else(
                    |error| Outcome::Failed { error: error.to_string(), retry: Retry::AsUsual },
                    Outcome::Succeeded,
                ),
                Some(EXIT_DATA_ERROR) => failed(Retry::Never),
                _ => failed(Retry::AsUsual),
            }
        }
    }
}

/// A kind that is always run this way has failed; one that is on trial has shown that it was to blame.
fn crashed(job: &Job, error: String) -> Outcome {
    if job.on_trial() { Outcome::Crashed(error) } else { Outcome::Failed { error, retry: Retry::AsUsual } }
}

/// What a program printed, as JSON.
fn result(output: &str) -> Result<String, TaskError> {
    let output = output.trim();
    if output.is_empty() {
        return Ok("null".to_owned());
    }
    match serde_json::from_str::<&serde_json::value::RawValue>(output) {
        Ok(json) => Ok(json.get().to_owned()),
        Err(_) => Ok(serde_json::to_string(output)?),
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::from_named_raw(signal) {
            Some(name) => format!("signal {signal} ({name:?})"),
            None => format!("signal {signal}"),
        },
        (None, None) => "no exit code".to_owned(),
    }
}
