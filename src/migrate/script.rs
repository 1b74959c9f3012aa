//! The text of one direction of a migration, and its summary.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::classify::{StatementKind, classify, user_variables};
use super::event::{Event, Events};
use super::files::{read_text, text_of, unreadable};
use super::names::hex;
use super::sql::{Checksum, Position, SplitError, Splitter, statement_digest};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// Streamed, so that memory is bounded by the longest statement.
    File(&'a Path),
    Memory(&'a [u8]),
}

/// A script and its name in messages.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    source: Source<'a>,
    /// The path of the file, or a name for a stored text.
    pub label: String,
}

/// The result of a first reading of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScriptSummary {
    /// Number of statements.
    pub total: u64,
    /// Checksum of all statements, hexadecimal.
    pub checksum: String,
    /// True if every statement is DML or changes only the session, so that one transaction can hold them all.
    pub one_transaction: bool,
    /// True if the script may leave something in its session.
    pub leaves_traces: bool,
    /// The user variables that it names, in lower case.
    pub variables: Vec<String>,
    /// True if it reads the last `AUTO_INCREMENT`.
    pub uses_insert_id: bool,
    /// Length of the longest statement in bytes, and its place.
    pub longest: (u64, Position),
}

/// The first statements of a script, for recovery.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    /// Checksum of the statements, hexadecimal. Empty if there are none.
    pub checksum: String,
    /// Digest of the last one, hexadecimal.
    pub last: String,
}

impl<'a> Script<'a> {
    /// Returns the script in a file.
    pub fn file(path: &'a Path) -> Self {
        Self { source: Source::File(path), label: path.display().to_string() }
    }

    /// Creates a script in memory, which messages call `label`.
    pub fn memory(text: &'a [u8], label: impl Into<String>) -> Self {
        Self { source: Source::Memory(text), label: label.into() }
    }

    /// Returns the whole text.
    pub fn read(&self) -> Result<String> {
        match self.source {
            Source::File(path) => read_text(path),
            Source::Memory(text) => text_of(text.to_vec(), &self.label),
        }
    }

    /// Length of the text in bytes; 0 if the file's metadata can't be read, since it is only needed to show progress.
    pub fn length(&self) -> u64 {
        match self.source {
            Source::File(path) => path.metadata().map_or(0, |file| file.len()),
            Source::Memory(text) => text.len() as u64,
        }
    }

    /// Returns the statements, from the first one on.
    pub fn statements(&self) -> Result<Splitter<Box<dyn Read + 'a>>> {
        let reader: Box<dyn Read + 'a> = match self.source {
            Source::File(path) => Box::new(File::open(path).map_err(|error| unreadable(path, &error))?),
            Source::Memory(text) => Box::new(text),
        };
        Ok(Splitter::new(reader))
    }

    /// Puts the script's name before a splitter's error.
    pub fn split_error(&self, error: SplitError) -> Error {
        Error::failure(format!("{}:{error}", self.label))
    }

    /// Reads the script and summarizes it.
    ///
    /// # Errors
    /// Fails if it can't be read or split, naming file, line and column.
    pub fn summarize(&self) -> Result<ScriptSummary> {
        let mut statements = self.statements()?;
        let mut checksum = Checksum::default();
        let mut summary = ScriptSummary { one_transaction: true, ..ScriptSummary::default() };
        while let Some(statement) = statements.next().map_err(|error| self.split_error(error))? {
            let length = statement.text.len() as u64;
            if length > summary.longest.0 {
                summary.longest = (length, statement.at);
            }
            checksum.add(statement.text);
            summary.add(statement.text);
        }
        summary.checksum = hex(&checksum.so_far());
        Ok(summary)
    }

    /// Reads the first `length` statements; `None` if the script has fewer.
    pub fn prefix(&self, length: u64) -> Result<Option<Prefix>> {
        let mut statements = self.statements()?;
        let mut checksum = Checksum::default();
        let mut prefix = Prefix::default();
        for k in 1..=length {
            let next = statements.next().map_err(|error| self.split_error(error))?;
            let Some(statement) = next else { return Ok(None) };
            checksum.add(statement.text);
            if k == length {
                prefix = Prefix { checksum: hex(&checksum.so_far()), last: hex(&statement_digest(statement.text)) };
            }
        }
        Ok(Some(prefix))
    }

    /// Reports the statements after the first `done` ones as [`Event::WouldRun`].
    pub fn preview(&self, done: u64, events: &mut Events<'_>) -> Result<()> {
        let mut statements = self.statements()?;
        let mut k = 0;
        while let Some(statement) = statements.next().map_err(|error| self.split_error(error))? {
            k += 1;
            if k > done {
                let place = format!("{}:{}", self.label, statement.at.line);
                events(Event::WouldRun { place, text: statement.text.to_owned() });
            }
        }
        Ok(())
    }
}

impl ScriptSummary {
    fn add(&mut self, text: &str) {
        self.total += 1;
        match classify(text) {
            StatementKind::Dml { .. } => {}
            StatementKind::Session | StatementKind::Use(_) | StatementKind::TemporaryTable { .. } => {
                self.leaves_traces = true
            }
            StatementKind::Ddl(_) | StatementKind::Idempotent => self.one_transaction = false,
            StatementKind::Autocommit(_)
            | StatementKind::Begin
            | StatementKind::Commit
            | StatementKind::Rollback
            | StatementKind::Savepoint
            | StatementKind::LockTables
            | StatementKind::UnlockTables
            | StatementKind::Unclassified => {
                self.one_transaction = false;
                self.leaves_traces = true;
            }
        }
        for variable in user_variables(text) {
            self.leaves_traces = true;
            if !self.variables.contains(&variable) {
                self.variables.push(variable);
            }
        }
        self.uses_insert_id = self.uses_insert_id || mentions_insert_id(text);
    }
}

fn mentions_insert_id(sql: &str) -> bool {
    // `@@identity` and `@@last_insert_id` are other names for it. Longer statements are data, not code.
    const LENGTH_MAX: usize = 4096;
    let bytes = sql.as_bytes();
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
    bytes.len() < LENGTH_MAX && (contains(b"last_insert_id") || contains(b"@@identity"))
}
