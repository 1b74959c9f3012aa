//! The child side of a run in a process of its own.

use std::cell::{Cell, RefCell};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::getppid;
use serde::{Deserialize, Serialize};

use super::Executor;
use super::thread::handle;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::observe::logging;
use crate::queue::context::TaskContext;
use crate::queue::job::Job;
use crate::queue::kind::{Kind, Work};
use crate::queue::store::claim::ClaimedTask;
use crate::shutdown::Shutdown;

/// Internal command of this binary: runs one task for a worker.
pub const HANDLER: &str = "__task";
/// Internal command of this binary: replaces itself by a task's program.
pub const PROGRAM: &str = "__program";
/// Environment variable with the worker's process id. A run must not outlive its worker.
const PARENT: &str = "AIRUN_TASK_WORKER";

/// The request that a handler's process reads from its standard input.
#[derive(Serialize, Deserialize)]
pub struct ChildRequest {
    worker_id: u64,
    kind: String,
    version: u16,
    row: ClaimedTask,
    time_left: Duration,
    retention: Duration,
    database: Database,
    marker: String,
}

impl ChildRequest {
    pub fn new(job: &Job, executor: &Executor, deadline: Instant, run_id: &str) -> Self {
        Self {
            worker_id: job.token.worker_id,
            kind: job.kind.name.clone(),
            version: job.version,
            row: job.row.clone(),
            time_left: deadline.saturating_duration_since(Instant::now()),
            retention: executor.shared.retention.finished,
            database: executor.shared.database.clone(),
            marker: marker(run_id),
        }
    }
}

/// Returns the start of the line of standard output that is the report.
pub fn marker(run_id: &str) -> String {
    format!("airun-report-{run_id}:")
}

/// Returns the command for a handler's process. It is this very binary, even if its file was replaced meanwhile.
pub fn handler_command() -> Command {
    let (filter, format) = logging::settings();
    let mut command = this_binary();
    command.args(["--log-format", format.name(), HANDLER]).env("RUST_LOG", filter);
    command
}

pub fn program_command(program: &OsStr, args: &[OsString]) -> Command {
    let mut command = this_binary();
    command.arg(PROGRAM).arg(program).args(args);
    command
}

fn this_binary() -> Command {
    let path = PathBuf::from("/proc/self/exe");
    let path = if path.exists() { path } else { env::current_exe().unwrap_or(path) };
    let mut command = Command::new(path);
    command.env(PARENT, std::process::id().to_string());
    command
}

/// Makes the kernel kill this process when its worker ends. Only Linux can do that.
fn end_with_worker() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Error::failure(format!("failed to make the task end with its worker: {error}")))?;
    let worker = env::var(PARENT).ok().and_then(|text| text.parse::<i32>().ok());
    // The worker may have ended before that.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) == worker {
        Ok(())
    } else {
        Err(Error::usage(format!("`{HANDLER}` and `{PROGRAM}` are internal commands of the worker")))
    }
}

/// Replaces this process by a program. Returns why the program can't be started.
pub fn become_program(args: &[OsString]) -> Error {
    let Some((program, args)) = args.split_first() else {
        return Error::usage(format!("`{PROGRAM}` is an internal command of the worker"));
    };
    if let Err(error) = end_with_worker() {
        return error;
    }
    let error = Command::new(program).args(args).env_remove(PARENT).exec();
    Error::failure(format!("failed to start `{}`: {error}", program.to_string_lossy()))
}

/// Runs the task of a worker's request, and reports its outcome.
pub fn run(kinds: &[Arc<Kind>], stop: &Shutdown) -> Result<()> {
    end_with_worker()?;
    let failed = |what: &str, error: &dyn std::fmt::Display| Error::failure(format!("failed to {what}: {error}"));
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| failed("read the request", &error))?;
    let request: ChildRequest = serde_json::from_str(&text).map_err(|error| failed("read the request", &error))?;
    let kind = kinds.iter().find(|kind| kind.name == request.kind);
    let Some((kind, Work::Handler { run, .. })) = kind.map(|kind| (kind, &kind.work)) else {
        return Err(Error::failure(format!("this binary has no handler of kind `{}`", request.kind)));
    };
    let job = Job::new(kind, request.version, request.worker_id, request.row);
    let _scope = super::scope(&job);
    let context = TaskContext {
        job: &job,
        deadline: Instant::now() + request.time_left,
        retention: request.retention,
        stop,
        database: &request.database,
        conn: &RefCell::new(None),
        conn_is_tried: Cell::new(false),
        conn_is_marked: true,
        completed: Cell::new(false),
    };
    let report = serde_json::to_string(&handle(run, &context)).map_err(|error| failed("report", &error))?;
    // The handler may have printed a line without its end.
    let line = format!("\n{}{report}\n", request.marker);
    std::io::stdout().write_all(line.as_bytes()).map_err(|error| failed("report", &error))
}
