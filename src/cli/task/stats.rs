//! `airun task stats`: the number of tasks, and how long they wait.

use std::collections::BTreeMap;

use serde::Serialize;

use super::queue_conn::QueueConn;
use super::{registered_workers, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::error::Result;
use crate::queue::state::State;
use crate::queue::store::group::{TaskFilter, groups};
use crate::queue::store::inspect::{self, WorkerState};

/// Counting a group stops at this number, which takes about ten milliseconds.
const COUNT_MAX: u64 = 100_000;

/// A number of tasks.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Count {
    count: u64,
    /// True if counting stopped early.
    at_least: bool,
}

impl Count {
    fn add(&mut self, count: u64, limit: Option<u64>) {
        self.count += count;
        self.at_least |= limit.is_some_and(|limit| count >= limit);
    }

    fn text(self) -> String {
        format!("{}{}", self.count, if self.at_least { "+" } else { "" })
    }
}

#[derive(Debug, Default, Serialize)]
struct StatsRow {
    kind: String,
    queue: String,
    states: BTreeMap<State, Count>,
    due: Count,
    /// How long the oldest due task has been due.
    oldest_due_ms: Option<i64>,
}

#[derive(Serialize)]
struct PausedControl {
    scope: String,
    name: String,
    #[serde(serialize_with = "inspect::rfc3339_if_any")]
    paused_at: Option<String>,
}

#[derive(Serialize)]
struct Fields {
    /// One entry for each kind and queue.
    tasks: Vec<StatsRow>,
    oldest_due_ms: Option<i64>,
    paused: Vec<PausedControl>,
    workers_alive: usize,
    workers_dead: usize,
}

pub fn stats(context: &mut Context) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let tasks = rows(&mut conn, (!context.args.has("--exact")).then_some(COUNT_MAX))?;
    let paused = conn.run(inspect::paused)?;
    let workers = registered_workers(&mut conn)?;
    let dead = workers.iter().filter(|worker| worker.state == WorkerState::Dead).count();
    let fields = Fields {
        oldest_due_ms: tasks.iter().filter_map(|line| line.oldest_due_ms).max(),
        tasks,
        paused: paused.into_iter().map(|(scope, name, paused_at)| PausedControl { scope, name, paused_at }).collect(),
        workers_alive: workers.len() - dead,
        workers_dead: dead,
    };
    if context.args.has("--json") {
        context.output.report(Some(&conn.database.name), &fields)?;
    } else {
        print(&fields, &conn.database.name, &mut context.output);
    }
    Ok(Exit::Success)
}

fn rows(conn: &mut QueueConn, limit: Option<u64>) -> Result<Vec<StatsRow>> {
    let mut lines: BTreeMap<(String, String), StatsRow> = BTreeMap::new();
    for group in conn.run(|conn| groups(conn, &TaskFilter::default()))? {
        let count = conn.run(|conn| inspect::count(conn, &group, false, limit))?;
        let line = lines.entry((group.kind.clone(), group.queue.clone())).or_default();
        line.states.entry(group.state).or_default().add(count, limit);
        if group.state != State::Pending {
            continue;
        }
        let Some(oldest) = conn.run(|conn| inspect::oldest_due(conn, &group))?.filter(|micros| *micros >= 0) else {
            continue;
        };
        line.due.add(conn.run(|conn| inspect::count(conn, &group, true, limit))?, limit);
        line.oldest_due_ms = line.oldest_due_ms.max(Some(oldest / 1000));
    }
    let named = |((kind, queue), row): ((String, String), StatsRow)| StatsRow { kind, queue, ..row };
    Ok(lines.into_iter().map(named).collect())
}

fn print(report: &Fields, database: &str, output: &mut Output) {
    let mut table =
        Table::with_header(["kind", "queue", "pending", "due", "oldest", "running", "succeeded", "dead", "cancelled"]);
    let mut limited = false;
    for line in &report.tasks {
        let count = |state| line.states.get(&state).copied().unwrap_or_default();
        limited |= line.states.values().any(|count| count.at_least);
        table.row([
            line.kind.clone(),
            line.queue.clone(),
            count(State::Pending).text(),
            line.due.text(),
            line.oldest_due_ms.map(|ms| short(ms.saturating_mul(1000))).unwrap_or_default(),
            count(State::Running).text(),
            count(State::Succeeded).text(),
            count(State::Dead).text(),
            count(State::Cancelled).text(),
        ]);
    }
    if report.tasks.is_empty() {
        output.line(&format!("no tasks in `{database}`"));
    } else {
        table.print(output);
    }
    if limited {
        output.line(&format!("`+`: counting stopped at {COUNT_MAX} tasks of a group; `--exact` counts all"));
    }
    for control in &report.paused {
        let since = control.paused_at.as_deref().map(|at| format!(" since {at} UTC")).unwrap_or_default();
        output.line(&format!("the {} `{}` is paused{since}", control.scope, control.name));
    }
    let dead = match report.workers_dead {
        0 => String::new(),
        n => format!(", {n} dead"),
    };
    output.line(&format!("workers: {} alive{dead}", report.workers_alive));
}
