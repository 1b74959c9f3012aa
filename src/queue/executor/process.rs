//! A run in a process of its own, with a process group of its own. At its deadline all of it is killed, and what it
//! started with it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use mysql::Conn;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::child::{self, ChildRequest};
use super::tree;
use super::{Executor, timed_out};
use crate::error::{Error, Result, TaskError};
use crate::interval;
use crate::observe::scope::{self, Field};
use crate::queue::interrupt::Interrupted;
use crate::queue::job::Job;
use crate::queue::kind::Work;
use crate::queue::store::complete::fits;
use crate::queue::store::{lease, run};
use crate::queue::task::Retry;
use crate::queue::transition::Outcome;
use crate::threads::{self, Thread};

/// From asking a run that was told to end until it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// What is kept of a program's standard output, its result; bytes.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// What a handler reports: a result twice in quotes, with its quotes escaped; bytes.
const REPORT_BYTES_MAX: usize = 16 << 20;
/// A line of the log, and the reason of a failure; bytes.
const LINE_BYTES_MAX: usize = 8 << 10;
/// The end of its standard error is the reason of a failure; lines.
const REASON_LINES_MAX: usize = 20;
const SIGTERM: i32 = 15;
/// `EX_DATAERR` of `sysexits.h`.
const EXIT_DATA_ERROR: i32 = 65;
/// What was printed before a kill is read after it.
const READ_LIMIT: Duration = Duration::from_secs(1);

pub fn run(executor: &Executor, job: &Arc<Job>, deadline: Instant) -> Outcome {
    if job.record.crashes > 0
        && let Err(error) = on_the_side(executor, |conn| lease::begin_trial(conn, &job.token))
    {
        log::warn!("failed to write down that it is on trial: {error}");
    }
    match Run::start(executor, job, deadline) {
        Ok(run) => run.finish(executor, deadline),
        Err(error) => Outcome::Failed { error: error.to_string(), retry: Retry::AsUsual },
    }
}

/// Does `work` on a connection for it alone.
fn on_the_side<T>(executor: &Executor, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T> {
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
    Ok(work(&mut executor.database.connect_for(ANSWER_TIMEOUT)?)?)
}

struct Run<'a> {
    job: &'a Arc<Job>,
    child: Child,
    run_id: String,
    /// Closes when the process has ended; it isn't reaped yet then, so that its id still means it.
    ended: Thread,
    when_ended: Receiver<bool>,
    readers: [Thread; 2],
    writer: Thread,
    output: Arc<Heard>,
    reason: Arc<Heard>,
}

/// What a reader has heard so far: something that the process left behind may keep the pipe open without end.
#[derive(Default)]
struct Heard(Mutex<Vec<u8>>);

impl Heard {
    /// Nothing panics while it is locked.
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// Why a run came to its end.
enum End {
    /// Perhaps since the worker's stop came before it could hear of it as such.
    Itself {
        asked: bool,
    },
    Deadline,
    Told(Interrupted),
    Abandoned,
}

impl<'a> Run<'a> {
    fn start(executor: &Executor, job: &'a Arc<Job>, deadline: Instant) -> Result<Self> {
        let run_id = tree::run_id(&job.token);
        let request = ChildRequest::of(job, executor, deadline, &run_id);
        let (mut command, input, token) = match &job.kind.work {
            Work::Handler { .. } => (child::handler_command(), request.to_json()?, Some(child::marker(&run_id))),
            Work::Command { program, args } => {
                let mut command = child::program_command(program, args);
                command
                    .env("AIRUN_TASK_ID", job.token.id.to_string())
                    .env("AIRUN_TASK_KIND", &job.kind.name)
                    .env("AIRUN_TASK_ATTEMPT", job.attempt().to_string())
                    .env("AIRUN_TASK_TIMEOUT_MS", job.timeout.as_millis().to_string());
                (command, job.payload.clone(), None)
            }
        };
        // A handler's process logs by itself, as this one does.
        let stderr = if token.is_some() { Stdio::inherit() } else { Stdio::piped() };
        command.env(tree::COOKIE, &run_id).process_group(0);
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
        let (output, reason) = (Arc::<Heard>::default(), Arc::<Heard>::default());
        let (out, err) = (Arc::clone(&output), Arc::clone(&reason));
        let (pairs, same_pairs) = scope::with(|pairs| (pairs.to_vec(), pairs.to_vec()));
        let readers = [
            threads::spawn("stdout", move || match token {
                Some(marker) => listen(stdout, &marker, pairs, &out),
                None => retention(stdout, pairs, &out),
            })?,
            threads::spawn("stderr", move || overhear(stderr, same_pairs, &err))?,
        ];
        Ok(Self { job, child, run_id, ended, when_ended, readers, writer, output, reason })
    }

    fn finish(mut self, executor: &Executor, deadline: Instant) -> Outcome {
        let end = self.wait(executor, deadline);
        if matches!(end, End::Itself { .. }) {
            // Whatever it left behind would keep its output open. What has left the group as well is meant to stay.
            tree::kill_group(pid(&self.child));
        } else {
            tree::kill(pid(&self.child), &self.run_id);
        }
        let limit = Instant::now() + READ_LIMIT;
        drop(self.ended.join(limit));
        let status = self.child.wait();
        for thread in self.readers.into_iter().chain([self.writer]) {
            drop(thread.join(limit));
        }
        if matches!(self.job.kind.work, Work::Handler { .. }) && !status.as_ref().is_ok_and(ExitStatus::success) {
            let ended = on_the_side(executor, |conn| run::end(conn, &self.job.token));
            if let Err(error) = ended {
                log::warn!("failed to end the connection of its process: {error}");
            }
        }
        let (output, reason) = (self.output.text(), self.reason.text());
        match (end, status) {
            (End::Itself { asked: true }, Ok(status)) if status.signal() == Some(SIGTERM) => {
                Outcome::Interrupted(Interrupted::Stopping)
            }
            (End::Itself { .. }, Ok(status)) => match outcome(self.job, status, output, reason) {
                // It has seen its deadline a moment before we did.
                Outcome::Interrupted(Interrupted::DeadlinePassed) => {
                    Outcome::Failed { error: timed_out(self.job.timeout), retry: Retry::AsUsual }
                }
                outcome => outcome,
            },
            (End::Itself { .. }, Err(error)) => {
                Outcome::Failed { error: format!("failed to wait for its process: {error}"), retry: Retry::AsUsual }
            }
            (End::Deadline, _) => Outcome::Failed {
                error: format!("{}, and was killed", timed_out(self.job.timeout)),
                retry: Retry::AsUsual,
            },
            (End::Told(why), _) => Outcome::Interrupted(why),
            (End::Abandoned, _) => Outcome::Interrupted(Interrupted::Stopping),
        }
    }

    fn wait(&self, executor: &Executor, deadline: Instant) -> End {
        let time_up = after(deadline.saturating_duration_since(Instant::now()));
        let (mut stop, mut cancel) = (executor.stop.receiver().clone(), self.job.interrupt.raised().clone());
        let (mut grace, mut asked) = (never(), false);
        loop {
            select! {
                recv(self.when_ended) -> _ => return End::Itself { asked },
                recv(time_up) -> _ => return End::Deadline,
                recv(executor.abandoned.receiver()) -> _ => return End::Abandoned,
                recv(grace) -> _ => return End::Told(self.job.interrupt.why().unwrap_or(Interrupted::Cancelled)),
                recv(cancel) -> _ => {
                    log::info!("asking its process to end; it is killed in {}", interval::short(GRACE));
                    tree::ask(pid(&self.child));
                    grace = after(GRACE);
                    cancel = never();
                }
                recv(stop) -> _ => {
                    // Its context says that the worker stops. A program wouldn't know that it may finish.
                    if matches!(self.job.kind.work, Work::Handler { .. }) {
                        tree::ask_leader(pid(&self.child));
                        asked = true;
                    }
                    stop = never();
                }
            }
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn feed(stdin: Option<ChildStdin>, input: &str) {
    // It may end without reading it.
    if let Some(mut stdin) = stdin {
        stdin.write_all(input.as_bytes()).unwrap_or_default();
    }
}

/// Keeps a program's output, which is its result.
fn retention(stdout: Option<ChildStdout>, pairs: Vec<Field>, heard: &Heard) {
    let Some(mut stdout) = stdout else { return };
    let _scope = scope::enter(pairs);
    let mut left_out = 0;
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
        let mut kept = heard.bytes();
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
        left_out += count.saturating_sub(room);
    }
    if left_out > 0 {
        log::warn!("printed more than {OUTPUT_BYTES_MAX} bytes: {left_out} are left out of its result");
    }
}

/// Keeps a handler's report, which has a line of its own; what else it prints is logged.
fn listen(stdout: Option<ChildStdout>, token: &str, pairs: Vec<Field>, heard: &Heard) {
    let Some(stdout) = stdout else { return };
    let _scope = scope::enter(pairs);
    for line in lines(stdout, REPORT_BYTES_MAX) {
        match line.strip_prefix(token.as_bytes()) {
            Some(json) => *heard.bytes() = json.to_vec(),
            None if line.is_empty() => {}
            None => log::info!("{}", String::from_utf8_lossy(&line)),
        }
    }
}

/// Logs what a program says, and keeps the end of it.
fn overhear(stderr: Option<ChildStderr>, pairs: Vec<Field>, heard: &Heard) {
    let Some(stderr) = stderr else { return };
    let _scope = scope::enter(pairs);
    let mut last: Vec<String> = Vec::new();
    for line in lines(stderr, LINE_BYTES_MAX) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log::info!("{line}");
        last.push(line);
        while last.len() > REASON_LINES_MAX
            || last.len() > 1 && last.iter().map(String::len).sum::<usize>() > LINE_BYTES_MAX
        {
            last.remove(0);
        }
        *heard.bytes() = last.join("\n").into_bytes();
    }
}

/// Lines without their ends; one that is longer than `max` comes in pieces.
fn lines(from: impl Read, max: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut from = BufReader::new(from);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let count = from.by_ref().take(max as u64).read_until(b'\n', &mut line).ok()?;
        line.pop_if(|byte| *byte == b'\n');
        (count > 0).then_some(line)
    })
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
    let json = match serde_json::from_str::<&serde_json::value::RawValue>(output) {
        Ok(json) => json.get().to_owned(),
        Err(_) => serde_json::to_string(output)?,
    };
    fits(&json)?;
    Ok(json)
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            let name = match Signal::from_named_raw(signal) {
                Some(Signal::ABORT) => " (SIGABRT)",
                Some(Signal::KILL) => " (SIGKILL)",
                Some(Signal::SEGV) => " (SIGSEGV)",
                Some(Signal::TERM) => " (SIGTERM)",
                _ => "",
            };
            format!("signal {signal}{name}")
        }
        (None, None) => "no exit code".to_owned(),
    }
}
