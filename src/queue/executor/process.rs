//! A run in a process and a process group of its own. At its deadline the group is killed, with everything it started.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use mysql::Conn;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::child::{self, ChildRequest};
use super::output::{Captured, capture_report, capture_stderr, capture_stdout, feed};
use super::{Executor, timed_out, tree};
use crate::duration;
use crate::error::{Error, Result, TaskError};
use crate::observe::scope;
use crate::queue::interrupt::Interrupted;
use crate::queue::job::Job;
use crate::queue::kind::Work;
use crate::queue::store::complete::check_size;
use crate::queue::store::{lease, run_connection};
use crate::queue::transition::{Outcome, Retry};
use crate::shutdown::Phase;
use crate::threads::{self, Thread};

/// How long an interrupted process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);
const SIGTERM: i32 = 15;
/// `EX_DATAERR` of `sysexits.h`.
const EXIT_DATA_ERROR: i32 = 65;
/// How long the output of a process is read after its end.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

pub fn run(executor: &Executor, job: &Job, deadline: Instant) -> Outcome {
    if job.record.crashes > 0
        && let Err(error) = with_own_conn(executor, |conn| lease::count_isolated_run(conn, &job.token))
    {
        log::warn!("failed to count its run in a process of its own: {error}");
    }
    match Run::start(executor, job, deadline) {
        Ok(run) => run.finish(executor, deadline),
        Err(error) => failed(error.to_string()),
    }
}

/// Calls `work` with a connection that is used for nothing else.
fn with_own_conn<T>(executor: &Executor, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    Ok(work(&mut executor.shared.database.connect_for(TIMEOUT)?)?)
}

struct Run<'a> {
    job: &'a Job,
    child: Child,
    run_id: String,
    waiter: Thread,
    /// Receives a message when the process ends. It is not reaped yet then, so that its id stays valid.
    ended: Receiver<()>,
    readers: [Thread; 2],
    writer: Thread,
    /// A program's output, or a handler's report.
    output: Arc<Captured>,
    stderr: Arc<Captured>,
}

/// Why a run ended.
enum End {
    /// The process ended without being killed. `asked` is true if the worker asked it to end, because it is stopping.
    Exited {
        asked: bool,
    },
    DeadlinePassed,
    Interrupted(Interrupted),
    /// The worker kills what still runs.
    Killed,
}

impl<'a> Run<'a> {
    fn start(executor: &Executor, job: &'a Job, deadline: Instant) -> Result<Self> {
        let run_id = tree::run_id(&job.token);
        let (mut command, input, marker) = match &job.kind.work {
            Work::Handler { .. } => {
                let request = ChildRequest::new(job, executor, deadline, &run_id);
                (child::handler_command(), request.to_json()?, Some(child::marker(&run_id)))
            }
            Work::Command { program, args } => {
                let mut command = child::program_command(program, args);
                add_environment(&mut command, job);
                (command, job.payload.clone(), None)
            }
        };
        // A handler's process formats its log lines itself.
        let stderr = if marker.is_some() { Stdio::inherit() } else { Stdio::piped() };
        command.env(tree::RUN_ID_VARIABLE, &run_id).process_group(0);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = spawned.map_err(|error| Error::failure(format!("failed to start its process: {error}")))?;
        let (waiter, ended) = wait_for_end(pid(&child))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (output, captured_stderr) = (Arc::<Captured>::default(), Arc::<Captured>::default());
        let (out, err) = (Arc::clone(&output), Arc::clone(&captured_stderr));
        let (fields, same_fields) = scope::with(|fields| (fields.to_vec(), fields.to_vec()));
        let writer = threads::spawn("stdin", move || feed(stdin, &input))?;
        let readers = [
            threads::spawn("stdout", move || {
                let _scope = scope::enter(fields);
                match marker {
                    Some(marker) => capture_report(stdout, &marker, &out),
                    None => capture_stdout(stdout, &out),
                }
            })?,
            threads::spawn("stderr", move || {
                let _scope = scope::enter(same_fields);
                capture_stderr(stderr, &err);
            })?,
        ];
        Ok(Self { job, child, run_id, waiter, ended, readers, writer, output, stderr: captured_stderr })
    }

    fn finish(mut self, executor: &Executor, deadline: Instant) -> Outcome {
        let end = self.wait(executor, deadline);
        if matches!(end, End::Exited { .. }) {
            // Surviving processes of its group would keep its output open. Those that left the group are meant to stay.
            tree::kill_group(pid(&self.child));
        } else {
            tree::kill(pid(&self.child), &self.run_id);
        }
        let read_deadline = Instant::now() + READ_TIMEOUT;
        self.waiter.join_or_leave(read_deadline);
        let status = self.child.wait();
        for thread in self.readers.into_iter().chain([self.writer]) {
            thread.join_or_leave(read_deadline);
        }
        if matches!(self.job.kind.work, Work::Handler { .. })
            && !status.as_ref().is_ok_and(ExitStatus::success)
            && let Err(error) = with_own_conn(executor, |conn| run_connection::kill(conn, &self.job.token))
        {
            log::warn!("failed to kill the connection of its process: {error}");
        }
        match (end, status) {
            (End::Exited { asked: true }, Ok(status)) if status.signal() == Some(SIGTERM) => {
                Outcome::Interrupted(Interrupted::Stopping)
            }
            (End::Exited { .. }, Ok(status)) => {
                match outcome(self.job, status, &self.output.text(), &self.stderr.text()) {
                    // The child noticed its deadline a moment before this thread did.
                    Outcome::Interrupted(Interrupted::DeadlinePassed) => failed(timed_out(self.job.timeout)),
                    outcome => outcome,
                }
            }
            (End::Exited { .. }, Err(error)) => failed(format!("failed to wait for its process: {error}")),
            (End::DeadlinePassed, _) => failed(format!("{}, and was killed", timed_out(self.job.timeout))),
            (End::Interrupted(reason), _) => Outcome::Interrupted(reason),
            (End::Killed, _) => Outcome::Interrupted(Interrupted::Stopping),
        }
    }

    fn wait(&self, executor: &Executor, deadline: Instant) -> End {
        let deadline_passed = after(deadline.saturating_duration_since(Instant::now()));
        let kill = executor.shared.shutdown.until(Phase::Killing);
        let (mut stop, mut interrupt) =
            (executor.shared.shutdown.receiver().clone(), self.job.interrupt.raised().clone());
        let (mut grace, mut asked) = (never(), false);
        loop {
            select! {
                recv(self.ended) -> _ => return End::Exited { asked },
                recv(deadline_passed) -> _ => return End::DeadlinePassed,
                recv(kill.receiver()) -> _ => return End::Killed,
                recv(grace) -> _ => {
                    return End::Interrupted(self.job.interrupt.reason().unwrap_or(Interrupted::Cancelled));
                }
                recv(interrupt) -> _ => {
                    log::info!("sent SIGTERM to its process; SIGKILL follows after {}", duration::short(GRACE));
                    tree::terminate_group(pid(&self.child));
                    grace = after(GRACE);
                    interrupt = never();
                }
                recv(stop) -> _ => {
                    // A handler sees the shutdown in its context and may still finish. A program would just be ended by
                    // the signal.
                    if matches!(self.job.kind.work, Work::Handler { .. }) {
                        tree::terminate(pid(&self.child));
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

fn add_environment(command: &mut Command, job: &Job) {
    command
        .env("AIRUN_TASK_ID", job.token.id.to_string())
        .env("AIRUN_TASK_KIND", &job.kind.name)
        .env("AIRUN_TASK_ATTEMPT", job.attempt().to_string())
        .env("AIRUN_TASK_TIMEOUT_MS", job.timeout.as_millis().to_string());
}

/// Waits for the end of a process in a thread, without reaping it.
fn wait_for_end(pid: Pid) -> Result<(Thread, Receiver<()>)> {
    let (end, ended) = bounded(1);
    let waiter = threads::spawn("wait", move || {
        if let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            log::warn!("failed to wait for process {}: {error}", pid.as_raw_nonzero());
        }
        // The receiver is dropped if the run was killed and no longer waits.
        end.send(()).ok();
    })?;
    Ok((waiter, ended))
}

fn outcome(job: &Job, status: ExitStatus, output: &str, stderr: &str) -> Outcome {
    match &job.kind.work {
        Work::Handler { .. } => match serde_json::from_str(output) {
            Ok(outcome) => outcome,
            Err(_) => crashed(job, format!("its process ended without a result: {}", describe(status))),
        },
        Work::Command { .. } => {
            let error = match stderr {
                "" => describe(status),
                stderr => format!("{}: {stderr}", describe(status)),
            };
            match status.code() {
                Some(0) => result(output).map_or_else(|error| failed(error.to_string()), Outcome::Succeeded),
                Some(EXIT_DATA_ERROR) => Outcome::Failed { error, retry: Retry::Never },
                _ => failed(error),
            }
        }
    }
}

fn failed(error: String) -> Outcome {
    Outcome::Failed { error, retry: Retry::AsUsual }
}

/// A crash is a failure, unless it proves that the task killed its last worker.
fn crashed(job: &Job, error: String) -> Outcome {
    if job.is_crash_suspect() { Outcome::Crashed(error) } else { failed(error) }
}

/// A program's output as JSON: as it is if it is JSON, else as a string.
fn result(output: &str) -> Result<String, TaskError> {
    let output = output.trim();
    if output.is_empty() {
        return Ok("null".to_owned());
    }
    let json = match serde_json::from_str::<&serde_json::value::RawValue>(output) {
        Ok(json) => json.get().to_owned(),
        Err(_) => serde_json::to_string(output)?,
    };
    check_size(&json)?;
    Ok(json)
}

fn describe(status: ExitStatus) -> String {
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
