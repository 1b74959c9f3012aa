//! A run in a process and a process group of its own. At its deadline the group is killed, with everything it started.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, never, select};
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
use crate::threads::{self, Thread, lock};

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
    match ProcessRun::start(executor, job, deadline) {
        Ok(run) => run.finish(executor, deadline),
        Err(error) => Outcome::failed(error.to_string()),
    }
}

/// Calls `work` with a connection that is used for nothing else.
fn with_own_conn<T>(executor: &Executor, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    Ok(work(&mut executor.shared.database.connect_for(TIMEOUT)?)?)
}

struct ProcessRun<'a> {
    job: &'a Job,
    child: Child,
    pid: Pid,
    run_id: String,
    /// Ends when the process ends. It is not reaped yet then, so that its id stays valid.
    waiter: Thread,
    pipes: [Thread; 3],
    /// A program's output, or a handler's report.
    output: Arc<Captured>,
    stderr: Arc<Captured>,
}

/// Why a run ended.
enum End {
    /// The process ended without being killed. `asked` is true if the worker asked it to end, because it is stopping.
    Exited { asked: bool },
    /// It was killed at its deadline.
    DeadlinePassed,
    /// It was killed because it was interrupted, or because the worker kills what still runs.
    Interrupted(Interrupted),
}

impl<'a> ProcessRun<'a> {
    fn start(executor: &Executor, job: &'a Job, deadline: Instant) -> Result<Self> {
        let run_id = tree::run_id(std::process::id(), &job.token);
        let (mut command, input, marker) = match &job.kind.work {
            Work::Handler { .. } => {
                let request = ChildRequest::new(job, executor, deadline, &run_id);
                let json = serde_json::to_string(&request)
                    .map_err(|error| Error::failure(format!("failed to write the request: {error}")))?;
                (child::handler_command(), json, Some(child::marker(&run_id)))
            }
            Work::Command { program, args } => {
                let mut command = child::program_command(program, args);
                command
                    .env("AIRUN_TASK_ID", job.token.id.to_string())
                    .env("AIRUN_TASK_KIND", &job.kind.name)
                    .env("AIRUN_TASK_ATTEMPT", job.attempt().to_string())
                    .env("AIRUN_TASK_TIMEOUT_MS", job.timeout.as_millis().to_string());
                (command, job.row.payload.clone(), None)
            }
        };
        // A handler's process formats its log lines itself.
        let stderr = if marker.is_some() { Stdio::inherit() } else { Stdio::piped() };
        command.env(tree::RUN_ID_VARIABLE, &run_id).process_group(0);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = spawned.map_err(|error| Error::failure(format!("failed to start its process: {error}")))?;
        let pid = Pid::from_child(&child);
        let waiter = wait_for_end(pid)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (output, captured_stderr) = (Arc::<Captured>::default(), Arc::<Captured>::default());
        let (out, err) = (Arc::clone(&output), Arc::clone(&captured_stderr));
        let (fields, same_fields) = scope::with(|fields| (fields.to_vec(), fields.to_vec()));
        let pipes = [
            threads::spawn("stdin", move || feed(stdin, &input))?,
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
        Ok(Self { job, child, pid, run_id, waiter, pipes, output, stderr: captured_stderr })
    }

    fn finish(mut self, executor: &Executor, deadline: Instant) -> Outcome {
        let end = self.wait(executor, deadline);
        if matches!(end, End::Exited { .. }) {
            // Surviving processes of its group would keep its output open. Those that left the group are meant to stay.
            tree::signal_group(self.pid, Signal::KILL);
        } else {
            tree::kill(self.pid, &self.run_id);
        }
        let read_deadline = Instant::now() + READ_TIMEOUT;
        self.waiter.join_or_leave(read_deadline);
        let status = self.child.wait();
        for thread in self.pipes {
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
                let [output, stderr] = [&self.output, &self.stderr].map(|captured| lock(captured).clone());
                match outcome(self.job, status, &String::from_utf8_lossy(&output), &String::from_utf8_lossy(&stderr)) {
                    // The child noticed its deadline a moment before this thread did.
                    Outcome::Interrupted(Interrupted::DeadlinePassed) => Outcome::failed(timed_out(self.job.timeout)),
                    outcome => outcome,
                }
            }
            (End::Exited { .. }, Err(error)) => Outcome::failed(format!("failed to wait for its process: {error}")),
            (End::DeadlinePassed, _) => Outcome::failed(format!("{}, and was killed", timed_out(self.job.timeout))),
            (End::Interrupted(reason), _) => Outcome::Interrupted(reason),
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
                recv(self.waiter.ended()) -> _ => return End::Exited { asked },
                recv(deadline_passed) -> _ => return End::DeadlinePassed,
                recv(kill.receiver()) -> _ => return End::Interrupted(Interrupted::Stopping),
                recv(grace) -> _ => {
                    return End::Interrupted(self.job.interrupt.reason().unwrap_or(Interrupted::Cancelled));
                }
                recv(interrupt) -> _ => {
                    log::info!("sent SIGTERM to its process; SIGKILL follows after {}", duration::short(GRACE));
                    tree::signal_group(self.pid, Signal::TERM);
                    grace = after(GRACE);
                    interrupt = never();
                }
                recv(stop) -> _ => {
                    // A handler sees the shutdown in its context and may still finish. A program would just be ended by
                    // the signal.
                    if matches!(self.job.kind.work, Work::Handler { .. }) {
                        tree::terminate(self.pid);
                        asked = true;
                    }
                    stop = never();
                }
            }
        }
    }
}

/// Waits for the end of a process in a thread, without reaping it.
fn wait_for_end(pid: Pid) -> Result<Thread> {
    threads::spawn("wait", move || {
        if let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            log::warn!("failed to wait for process {}: {error}", pid.as_raw_nonzero());
        }
    })
}

fn outcome(job: &Job, status: ExitStatus, output: &str, stderr: &str) -> Outcome {
    match &job.kind.work {
        Work::Handler { .. } => serde_json::from_str(output).unwrap_or_else(|_| {
            let error = format!("its process ended without a result: {}", describe(status));
            if job.is_crash_suspect() { Outcome::Crashed(error) } else { Outcome::failed(error) }
        }),
        Work::Command { .. } => {
            let error = match stderr {
                "" => describe(status),
                stderr => format!("{}: {stderr}", describe(status)),
            };
            match status.code() {
                Some(0) => result(output).map_or_else(|error| Outcome::failed(error.to_string()), Outcome::Succeeded),
                Some(EXIT_DATA_ERROR) => Outcome::Failed { error, retry: Retry::Never },
                _ => Outcome::failed(error),
            }
        }
    }
}

/// Returns a program's output as JSON: as it is if it is JSON, else as a string.
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

/// For example `exit code 1` or `signal 9 (SIGKILL)`.
fn describe(status: ExitStatus) -> String {
    let signal = || status.to_string().replace(": ", " ").replace(" (core dumped)", "");
    status.code().map_or_else(signal, |code| format!("exit code {code}"))
}
