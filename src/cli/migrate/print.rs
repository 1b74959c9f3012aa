//! Prints the events of a migration run and the status report.

use std::time::Duration;

use super::progress::Progress;
use crate::cli::output::{Output, count, print_error};
use crate::db::Database;
use crate::duration;
use crate::migrate::event::Event;
use crate::migrate::status::{MigrationStatus, Report, Status};
use crate::observe::escaped;

/// Prints events: results to standard output; progress, warnings and notes to standard error.
pub struct EventPrinter<'o> {
    output: &'o mut Output,
    progress: Progress,
}

impl<'o> EventPrinter<'o> {
    pub fn new(output: &'o mut Output, database: &Database) -> Self {
        Self { output, progress: Progress::new(database) }
    }

    pub fn print(&mut self, event: Event) {
        match event {
            Event::Begins(script) => self.progress.start_script(script),
            Event::Statement { k, total, bytes } => self.progress.start_statement(k, total, bytes),
            Event::Applied { migration, statements, took } => self.finished("applied", &migration, statements, took),
            Event::RolledBack { migration, statements, took } => {
                self.finished("rolled back", &migration, statements, took);
            }
            Event::WouldRun { place, text } => self.output.raw(&format!("-- {place}\n{text};\n\n")),
            Event::Warning(text) => self.progress.print_above(|| print_error("warning", &text)),
            Event::Note(text) => self.progress.print_above(|| print_error("note", &text)),
        }
    }

    fn finished(&mut self, what: &str, migration: &str, statements: u64, took: Duration) {
        let line = format!("{what} {migration}: {} in {}", count(statements, "statement"), duration::short(took));
        self.progress.finish_script(migration);
        self.progress.print_above(|| self.output.line(&line));
    }
}

/// Returns the report as a table, in one text because a folder can hold thousands of migrations.
pub fn table(report: &Report) -> String {
    let width = report.migrations.iter().map(|item| item.label().chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut push = |line: &str| {
        text.push_str(&escaped(line));
        text.push('\n');
    };
    for item in &report.migrations {
        push(row(item, width).trim_end());
        if let (Some(done), Some(total)) = (item.statements_done, item.statements_total) {
            push(&format!("  {done} of {} done", count(total, "statement")));
        }
        for reason in item.error.iter().flat_map(|error| error.lines()) {
            push(&format!("  {}", reason.trim()));
        }
    }
    push(&summary(report));
    text
}

fn row(item: &MigrationStatus, width: usize) -> String {
    let mut row = format!("{:width$}  {:12}", item.label(), words(item.status));
    if let (Some(at), Some(by), Some(ms)) = (&item.applied_at, &item.applied_by, item.duration_ms) {
        row.push_str(&format!("  {at} UTC  {by}"));
        if item.status != Status::Baseline {
            let took = Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
            row.push_str(&format!("  {}", duration::short(took)));
        }
    }
    row
}

fn summary(report: &Report) -> String {
    let mut counts: Vec<(Status, usize)> = Vec::new();
    for item in &report.migrations {
        match counts.iter_mut().find(|(status, _)| *status == item.status) {
            Some((_, n)) => *n += 1,
            None => counts.push((item.status, 1)),
        }
    }
    let parts: Vec<String> = counts.into_iter().map(|(status, n)| format!("{n} {}", words(status))).collect();
    match parts.as_slice() {
        [] => format!("`{}`: no migrations", report.database),
        _ => format!("`{}`: {}", report.database, parts.join(", ")),
    }
}

fn words(status: Status) -> &'static str {
    match status {
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
