//! `airun task stats`: how many tasks there are, and whether they wait.

use std::collections::BTreeMap;

use serde::Serialize;

use super::operator::Operator;
use super::{JSON_FORMAT, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::db::locks_are_local;
use crate::error::Result;
use crate::queue::state::State;
use crate::queue::store::group::{Filter, groups};
use crate::queue::store::inspect::{self, Standing};

/// So many tasks of a group are counted: some ten milliseconds.
const COUNT_MAX: u64 = 100_000;

/// A number, which stands for that many or more where counting ended there.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Count {
    count: u64,
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
struct Line {
    kind: String,
    queue: String,
    states: BTreeMap<State, Count>,
    due: Count,
    /// How long the oldest of those due has been.
    oldest_due_ms: Option<i64>,
}

#[derive(Serialize)]
struct Control {
    scope: String,
    name: String,
    #[serde(serialize_with = "inspect::rfc3339_if_any")]
    paused_at: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    database: &'a str,
    /// By kind and queue.
    tasks: Vec<Line>,
    oldest_due_ms: Option<i64>,
    paused: Vec<Control>,
    workers_alive: usize,
    workers_gone: usize,
}

pub fn perform(exact: bool, context: &Context, json: bool, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let tasks = lines(&mut operator, (!exact).then_some(COUNT_MAX))?;
    let paused = operator.run(inspect::paused)?;
    let workers = operator.run(|conn| {
        let locks_tell = !locks_are_local(conn)?;
        inspect::workers(conn, locks_tell)
    })?;
    let gone = workers.iter().filter(|worker| worker.standing == Standing::Gone).count();
    let report = Report {
        format: JSON_FORMAT,
        database: &operator.database.name,
        oldest_due_ms: tasks.iter().filter_map(|line| line.oldest_due_ms).max(),
        tasks,
        paused: paused.into_iter().map(|(scope, name, paused_at)| Control { scope, name, paused_at }).collect(),
        workers_alive: workers.len() - gone,
        workers_gone: gone,
    };
    if json {
        output.json(&report)?;
    } else {
        print(&report, output);
    }
    Ok(Exit::Success)
}

fn lines(operator: &mut Operator<'_>, limit: Option<u64>) -> Result<Vec<Line>> {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    for group in operator.run(|conn| groups(conn, &Filter::default()))? {
        let count = operator.run(|conn| inspect::count(conn, &group, limit))?;
        let line = lines.entry((group.kind.clone(), group.queue.clone())).or_default();
        line.states.entry(group.state).or_default().add(count, limit);
        if group.state != State::Pending {
            continue;
        }
        let Some(oldest) = operator.run(|conn| inspect::oldest_due(conn, &group))?.filter(|micros| *micros >= 0) else {
            continue;
        };
        line.due.add(operator.run(|conn| inspect::count_due(conn, &group, limit))?, limit);
        line.oldest_due_ms = line.oldest_due_ms.max(Some(oldest / 1000));
    }
    let named = |((kind, queue), line): ((String, String), Line)| Line { kind, queue, ..line };
    Ok(lines.into_iter().map(named).collect())
}

fn print(report: &Report<'_>, output: &mut Output) {
    let mut table =
        Table::of(["kind", "queue", "pending", "due", "oldest", "running", "succeeded", "dead", "cancelled"]);
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
        output.line(&format!("no task in `{}`", report.database));
    } else {
        table.print(output);
    }
    if limited {
        output.line(&format!("counting ends at {COUNT_MAX} of a sort, which is marked by `+`; `--exact` counts all"));
    }
    for control in &report.paused {
        let since = control.paused_at.as_deref().map(|at| format!(" since {at} UTC")).unwrap_or_default();
        output.line(&format!("the {} `{}` is paused{since}", control.scope, control.name));
    }
    let gone = match report.workers_gone {
        0 => String::new(),
        n => format!(", {n} gone"),
    };
    output.line(&format!("workers: {} alive{gone}", report.workers_alive));
}
