//! How migrations look on a terminal and to a program.

use std::time::Duration;

use super::progress::{Progress, Script};
use crate::cli::output::{Output, print_error};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::migrate::event::Event;
use crate::migrate::status::{MigrationStatus, Report, Status};
use crate::observe::escaped;

/// Turns events into lines: results on standard output; progress, warnings and notes on standard error.
pub struct EventPrinter<'o> {
    output: &'o mut Output,
    progress: Progress,
}

impl<'o> EventPrinter<'o> {
    pub fn new(output: &'o mut Output, database: &Database) -> Self {
        Self { output, progress: Progress::new(database) }
    }

    pub fn print(&mut self, event: Event) {
        let output = &mut *self.output;
        match event {
            Event::Begins { i, of, migration, bytes, session } => {
                self.progress.begins(Script { i, of, migration, bytes, session });
            }
            Event::Statement { k, total, bytes } => self.progress.statement(k, total, bytes),
            Event::Applied { version, name, statements, took } => {
                self.ended("applied", &format!("{version}_{name}"), statements, took);
            }
            Event::RolledBack { version, name, statements, took } => {
                self.ended("rolled back", &format!("{version}_{name}"), statements, took);
            }
            Event::WouldRun { place, text } => output.raw(&format!("-- {place}\n{text};\n\n")),
            Event::Warning(text) => self.progress.aside(|| print_error("warning", &text)),
            Event::Note(text) => self.progress.aside(|| print_error("note", &text)),
        }
    }

    fn ended(&mut self, what: &str, migration: &str, statements: u64, took: Duration) {
        let output = &mut *self.output;
        self.progress.ends(migration);
        self.progress.aside(|| output.line(&format!("{what} {migration}: {}", finished(statements, took))));
    }

    /// The work is done.
    pub fn end(self) {}
}

fn finished(statements: u64, took: Duration) -> String {
    format!("{statements} statement{} in {}", if statements == 1 { "" } else { "s" }, human(took))
}

fn human(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", took.as_millis()),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}

/// The report for programs, on one line.
pub fn json(report: &Report) -> Result<String> {
    serde_json::to_string(report)
        .map(|text| text + "\n")
        .map_err(|error| Error::failure(format!("failed to write the status as JSON: {error}")))
}

/// The report for people, as one text: a folder can hold thousands.
pub fn table(report: &Report) -> String {
    let title = MigrationStatus::label;
    let width = report.migrations.iter().map(|item| title(item).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut push = |line: &str| {
        text.push_str(&escaped(line));
        text.push('\n');
    };
    for item in &report.migrations {
        let mut line = format!("{:width$}  {:12}", title(item), words(item.status));
        if let (Some(at), Some(by), Some(ms)) = (&item.applied_at, &item.applied_by, item.duration_ms) {
            line.push_str(&format!("  {at} UTC  {by}"));
            if item.status != Status::Baseline {
                line.push_str(&format!("  {}", human(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)))));
            }
        }
        push(line.trim_end());
        if let Some((done, total)) = item.progress {
            push(&format!("  {done} of {total} statements have run"));
        }
        for reason in item.error.iter().flat_map(|error| error.lines()) {
            push(&format!("  {}", reason.trim()));
        }
    }
    push(&summary(report));
    text
}

fn summary(report: &Report) -> String {
    let mut counts: Vec<(Status, usize)> = Vec::new();
    for item in &report.migrations {
        match counts.iter_mut().find(|(standing, _)| *standing == item.status) {
            Some((_, n)) => *n += 1,
            None => counts.push((item.status, 1)),
        }
    }
    let parts: Vec<String> = counts.into_iter().map(|(standing, n)| format!("{n} {}", words(standing))).collect();
    match parts.as_slice() {
        [] => format!("`{}`: no migrations", report.database),
        _ => format!("`{}`: {}", report.database, parts.join(", ")),
    }
}

fn words(standing: Status) -> &'static str {
    match standing {
        Status::Pending => "pending",
        Status::OutOfOrder => "out of order",
        Status::Applied => "applied",
        Status::Baseline => "baseline",
        Status::Edited => "edited",
        Status::Missing => "missing",
        Status::Partial => "partial",
        Status::PartialRollback => "partial rollback",
    }
}
