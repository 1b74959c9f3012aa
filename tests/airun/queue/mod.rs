//! Database tasks, run by real workers: what becomes of the rows.

mod cancelling;
mod chaos;
mod choosing;
mod claim;
mod commands;
mod crashes;
mod faults;
mod outages;
mod outcomes;
mod processes;
mod stopping;
mod timeouts;

use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::support::{Database, Running, lab};

/// Nothing that a test waits for takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts a worker of the tasks in `examples/lab/tasks.rs`.
fn worker(db: &Database, args: &str) -> Running {
    worker_at(&db.url(), args, &[])
}

fn worker_at(url: &str, args: &str, environment: &[(&str, &str)]) -> Running {
    let mut command = lab(&format!("worker {args}"));
    command.env("LAB_QUEUE", "1").env("DATABASE_URL", url).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(environment.iter().copied());
    Running::start(command)
}

/// Enqueues a task, as any program would; its id.
fn put(db: &Database, kind: &str, payload: &str) -> u64 {
    put_with(db, kind, payload, "")
}

/// As [`put`], with more columns: `, priority = 0`.
fn put_with(db: &Database, kind: &str, payload: &str, more: &str) -> u64 {
    let mut conn = db.conn();
    conn.exec_drop(format!("INSERT INTO ai_server_tasks SET kind = ?, payload = ?{more}"), (kind, payload)).unwrap();
    conn.last_insert_id()
}

/// Whether a process is there and has not ended.
fn lives(process: u64) -> bool {
    // Behind the name in brackets comes the state; nobody may have asked yet how a Z ended.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Waits until a process has ended.
fn until_ended(process: u64) {
    let deadline = Instant::now() + LIMIT;
    while lives(process) {
        assert!(Instant::now() < deadline, "process {process} still lives");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number behind `part` in a log line.
fn number_after(line: &str, part: &str) -> u64 {
    let (_, rest) = line.split_once(part).unwrap_or_else(|| panic!("no `{part}` in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind `{part}` in {line}"))
}

/// Columns of one task, joined by `|`.
fn task(db: &Database, id: u64, columns: &str) -> String {
    db.rows(&format!("SELECT {columns} FROM ai_server_tasks WHERE id = {id}")).concat()
}
