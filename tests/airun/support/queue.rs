//! The queue of a test's database: its tables, its workers, its commands.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::database::rows;
use super::{Database, Finished, LIMIT, Running, assert_not_logged, lab};

/// How the log shows the server's error for a deadlock.
pub const DEADLOCK: &str = "1213 (40001)";
/// How the log shows the server's error for a lock that was not released in time.
pub const LOCK_WAIT_TIMEOUT: &str = "1205 (HY000)";
/// Shown if a test waits in vain.
const TASKS: &str = "SELECT * FROM ai_server_tasks";

impl Database {
    /// Makes the queue's tables, and the others of this server.
    pub fn prepare(&self) {
        let up = self.airun(&format!("migrate up --dir {}/migrations", env!("CARGO_MANIFEST_DIR")));
        assert_eq!(up.code, 0, "{up:?}");
    }

    /// A command of the program with the tasks of `examples/lab/tasks.rs`.
    pub fn lab(&self, args: &str) -> Finished {
        Running::start(self.lab_command(args)).finish()
    }

    /// As [`Database::lab`], with `input` on its standard input.
    pub fn lab_with(&self, args: &str, input: &str) -> Finished {
        let mut command = self.lab_command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lab");
        // It may end before it has read everything.
        drop(child.stdin.take().expect("its input").write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("its end");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Finished { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What a command prints that succeeds.
    pub fn told(&self, args: &str) -> String {
        let finished = self.lab(args);
        assert_eq!(finished.code, 0, "{args}: {finished:?}");
        finished.stdout
    }

    /// What a command prints for programs.
    pub fn json(&self, args: &str) -> serde_json::Value {
        let finished = self.lab(&format!("{args} --json"));
        let value: serde_json::Value =
            serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{args}: {error}: {finished:?}"));
        assert_eq!((&value["format"], finished.stdout.lines().count()), (&1.into(), 1), "{args}: {value}");
        value
    }

    /// Starts a worker of those tasks.
    pub fn worker(&self) -> Running {
        let mut worker = Running::start(self.lab_command("worker --threads 4"));
        worker.wait_for("claims tasks of");
        worker
    }

    fn lab_command(&self, args: &str) -> Command {
        let mut command = lab(args);
        command.env("LAB_QUEUE", "1").env("DATABASE_URL", self.url()).env("PATH", "/usr/bin:/bin");
        command
    }

    /// Waits until a query has these rows. However slow the machine is, something changes within the limit.
    pub fn until(&self, query: &str, expected: &[&str]) {
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
    pub fn until_done(&self) {
        self.until("SELECT COUNT(*) FROM ai_server_tasks WHERE state IN ('pending', 'running')", &["0"]);
    }

    /// Waits until a task is in this state.
    pub fn until_state(&self, id: u64, state: &str) {
        self.until(&format!("SELECT state FROM ai_server_tasks WHERE id = {id}"), &[state]);
    }
}

/// Stops a worker that had no trouble with its connections, and checks that it found nothing wrong with itself.
pub fn stop(worker: Running) -> Finished {
    let ended = stop_after_lost_connections(worker);
    assert_not_logged(&ended.stderr, "whose claim this worker never received");
    ended
}

/// As [`stop`], for a worker that may have lost the answer to a claim.
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
