//! Tests database tasks that real workers run, by the rows that result.

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

use mysql::prelude::Queryable as _;

use crate::support::{Database, Running, wait_until, worker_at};

/// Starts a worker of the tasks in `examples/lab/tasks.rs`.
fn worker(db: &Database, args: &str) -> Running {
    worker_at(&db.url(), args, &[])
}

/// Enqueues a task with an INSERT, as a program in any language can, and returns its id.
fn insert_task(db: &Database, kind: &str, payload: &str) -> u64 {
    insert_task_with(db, kind, payload, "")
}

/// Does the same as [`insert_task`] with more columns, for example `, priority = 0`.
fn insert_task_with(db: &Database, kind: &str, payload: &str, more: &str) -> u64 {
    let mut conn = db.conn();
    conn.exec_drop(format!("INSERT INTO ai_server_tasks SET kind = ?, payload = ?{more}"), (kind, payload)).unwrap();
    conn.last_insert_id()
}

/// True if a process exists and has not ended.
fn is_alive(process: u64) -> bool {
    // The state follows the program's name in parentheses. Z is a zombie: it has ended.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Waits until a process has ended.
fn wait_for_exit(process: u64) {
    wait_until(|| !is_alive(process));
}

/// Returns the number after `part` in a log line.
fn number_after(line: &str, part: &str) -> u64 {
    let (_, rest) = line.split_once(part).unwrap_or_else(|| panic!("no `{part}` in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after `{part}` in {line}"))
}

/// Returns columns of one task, joined by `|`.
fn task(db: &Database, id: u64, columns: &str) -> String {
    db.rows(&format!("SELECT {columns} FROM ai_server_tasks WHERE id = {id}")).concat()
}
