//! Helpers for the queue in a test's database: tables, workers and commands.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::database::rows;
use super::{Database, Finished, LIMIT, Running, assert_not_logged, lab};

/// The server's error for a deadlock, as the log shows it.
pub const DEADLOCK: &str = "1213 (40001)";
/// The server's error for a lock wait that timed out, as the log shows it.
pub const LOCK_WAIT_TIMEOUT: &str = "1205 (HY000)";
/// The columns that a failed wait prints.
const TASKS: &str = "SELECT * FROM ai_server_tasks";

impl Database {
    /// Applies this server's migrations, which create the queue's tables.
    pub fn create_tables(&self) {
        let up = self.airun(&format!("migrate up --dir {}/migrations", env!("CARGO_MANIFEST_DIR")));
        assert_eq!(up.code, 0, "{up:?}");
    }

    /// Runs a command of `examples/lab`, which has the tasks of `examples/lab/tasks.rs`.
    pub fn lab(&self, args: &str) -> Finished {
        Running::start(lab_at(&self.url(), args)).finish()
    }

    /// Does the same as [`Database::lab`], with `input` on standard input.
    pub fn lab_with(&self, args: &str, input: &str) -> Finished {
        let mut command = lab_at(&self.url(), args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lab");
        // The command may exit before it has read everything.
        drop(child.stdin.take().expect("its input").write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("its end");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Finished { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub fn stdout_of(&self, args: &str) -> String {
        let finished = self.lab(args);
        assert_eq!(finished.code, 0, "{args}: {finished:?}");
        finished.stdout
    }

    /// Runs a command and returns the JSON that it prints.
    pub fn json(&self, args: &str) -> serde_json::Value {
        let finished = self.lab(&format!("{args} --json"));
        let value: serde_json::Value =
            serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{args}: {error}: {finished:?}"));
        assert_eq!((&value["format"], finished.stdout.lines().count()), (&1.into(), 1), "{args}: {value}");
        value
    }

    /// Starts a worker with these tasks and waits until it can claim.
    pub fn worker(&self) -> Running {
        let mut worker = worker_at(&self.url(), "--threads 4", &[]);
        worker.wait_for("claims tasks of");
        worker
    }

    /// Waits until a query returns these rows. It fails if the result has not changed for the whole limit.
    pub fn wait_for_rows(&self, query: &str, expected: &[&str]) {
        let mut conn = self.conn();
        let (mut last, mut deadline) = (Vec::new(), Instant::now() + LIMIT);
        loop {
            let found = rows(&mut conn, query);
            if found == expected {
                return;
            }
            if found != last {
                deadline = Instant::now() + LIMIT;
            }
            assert!(
                Instant::now() < deadline,
                "{query}\nreturns {found:?}\ninstead of {expected:?}; the tasks:\n{}",
                rows(&mut conn, TASKS).join("\n")
            );
            last = found;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until no task is pending or running.
    pub fn wait_until_idle(&self) {
        self.wait_for_rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state IN ('pending', 'running')", &["0"]);
    }

    /// Waits until a task is in this state.
    pub fn wait_for_state(&self, id: u64, state: &str) {
        self.wait_for_rows(&format!("SELECT state FROM ai_server_tasks WHERE id = {id}"), &[state]);
    }
}

/// Returns a command of `examples/lab` with its database tasks, for the database that `url` names.
fn lab_at(url: &str, args: &str) -> Command {
    let mut command = lab(args);
    // Some tasks are programs that are found in the `PATH`.
    command.env("LAB_QUEUE", "1").env("DATABASE_URL", url).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Starts a worker of the tasks in `examples/lab/tasks.rs`.
pub fn worker_at(url: &str, args: &str, environment: &[(&str, &str)]) -> Running {
    let mut command = lab_at(url, &format!("worker {args}"));
    command.envs(environment.iter().copied());
    Running::start(command)
}

/// Stops a worker whose connections were never lost, and checks that its log contains no error that points to a bug.
pub fn stop(worker: Running) -> Finished {
    let ended = stop_after_lost_connections(worker);
    assert_not_logged(&ended.stderr, "whose claim this worker never received");
    ended
}

/// Does the same as [`stop`] for a worker that may have lost the answer to a claim.
pub fn stop_after_lost_connections(worker: Running) -> Finished {
    worker.signal("TERM");
    let ended = worker.finish();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_not_logged(&ended.stderr, "this is a bug in airun");
    for error in [DEADLOCK, LOCK_WAIT_TIMEOUT] {
        assert!(!ended.stderr.contains(error), "{}", ended.stderr);
    }
    ended
}
