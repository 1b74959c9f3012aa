//! One direction of one migration: where its statements are, and what is known of them before the first one runs.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::catalog::hex;
use super::classify::{SessionStatement, StatementKind, classify, user_variables};
use super::files::{read_text, unreadable};
use super::sql::{Checksum, Position, SplitError, Splitter, statement_digest};
use crate::error::{Error, Result};

/// The text of a script.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Streamed from a file, so that memory stays bounded by the largest statement.
    File(&'a Path),
    /// A stored text.
    Text(&'a str),
}

/// A script and what messages call it.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    pub source: Source<'a>,
    /// The file's path, or what stands for it.
    pub label: String,
}

/// What one reading of a script tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptSummary {
    /// How many statements.
    pub total: u64,
    /// How many bytes of statements.
    pub bytes: u64,
    /// Over all statements, hexadecimal.
    pub checksum: String,
    /// Whether every statement reads or changes rows or the session, so that one transaction can hold it all.
    pub one_transaction: bool,
    /// Whether something of it may outlive it in its session.
    pub leaves_traces: bool,
    /// The user variables that it names, lower-case.
    pub variables: Vec<String>,
    /// Whether it asks for the last `AUTO_INCREMENT`.
    pub uses_insert_id: bool,
    /// The longest statement, in bytes, and where it is.
    pub longest: (u64, Position),
}

/// The beginning of a script, as far as it has run.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// Over the statements of the prefix, hexadecimal; `None` where the script is shorter.
    pub checksum: Option<String>,
    /// The digest of the statement after it, hexadecimal.
    pub next: Option<String>,
    /// Over the prefix and that statement.
    pub checksum_with_next: Option<String>,
    /// The running checksum of the prefix.
    pub sum: Checksum,
}

impl<'a> Script<'a> {
    /// The script in `path`.
    pub fn file(path: &'a Path) -> Self {
        Self { source: Source::File(path), label: path.display().to_string() }
    }

    /// A stored text that messages call `label`.
    pub fn text(text: &'a str, label: impl Into<String>) -> Self {
        Self { source: Source::Text(text), label: label.into() }
    }

    /// Its whole text.
    ///
    /// # Errors
    /// Fails where the file can't be read.
    pub fn read(&self) -> Result<String> {
        match self.source {
            Source::File(path) => read_text(path),
            Source::Text(text) => Ok(text.to_owned()),
        }
    }

    /// The length of its text in bytes; 0 where the file can't be looked at.
    pub fn length(&self) -> u64 {
        match self.source {
            Source::File(path) => path.metadata().map_or(0, |file| file.len()),
            Source::Text(text) => text.len() as u64,
        }
    }

    /// Its statements from the first one on.
    ///
    /// # Errors
    /// Fails where the file can't be opened.
    pub fn statements(&self) -> Result<Splitter<Box<dyn Read + 'a>>> {
        let reader: Box<dyn Read + 'a> = match self.source {
            Source::File(path) => Box::new(File::open(path).map_err(|error| unreadable(path, &error))?),
            Source::Text(text) => Box::new(text.as_bytes()),
        };
        Ok(Splitter::new(reader))
    }

    /// Puts the script's name before a splitter's error.
    pub fn split_error(&self, error: SplitError) -> Error {
        Error::failure(format!("{}:{error}", self.label))
    }

    /// Reads it once.
    ///
    /// # Errors
    /// Fails where it can't be read or isn't a sequence of statements, naming file, line and column.
    pub fn summary(&self) -> Result<ScriptSummary> {
        let mut statements = self.statements()?;
        let mut checksum = Checksum::new();
        let mut summary = ScriptSummary {
            total: 0,
            bytes: 0,
            checksum: String::new(),
            one_transaction: true,
            leaves_traces: false,
            variables: Vec::new(),
            uses_insert_id: false,
            longest: (0, Position::default()),
        };
        while let Some(statement) = statements.next().map_err(|error| self.split_error(error))? {
            summary.total += 1;
            let length = statement.text.len() as u64;
            summary.bytes += length;
            if length > summary.longest.0 {
                summary.longest = (length, statement.at);
            }
            checksum.add(statement.text);
            match classify(statement.text) {
                StatementKind::Dml { .. } => {}
                StatementKind::Session(SessionStatement::Other | SessionStatement::Use(_))
                | StatementKind::TemporaryTable { .. } => summary.leaves_traces = true,
                StatementKind::Ddl(_) | StatementKind::Idempotent => summary.one_transaction = false,
                StatementKind::Session(SessionStatement::Autocommit(_))
                | StatementKind::Transaction(_)
                | StatementKind::LockTables
                | StatementKind::UnlockTables
                | StatementKind::Unclassified => {
                    summary.one_transaction = false;
                    summary.leaves_traces = true;
                }
            }
            for variable in user_variables(statement.text) {
                summary.leaves_traces = true;
                if !summary.variables.contains(&variable) {
                    summary.variables.push(variable);
                }
            }
            summary.uses_insert_id = summary.uses_insert_id || mentions_insert_id(statement.text);
        }
        summary.checksum = hex(&checksum.so_far());
        Ok(summary)
    }

    /// Reads its first `done` statements and the one after them.
    ///
    /// # Errors
    /// As [`Script::summary`].
    pub fn prefix(&self, done: u64) -> Result<Prefix> {
        let mut statements = self.statements()?;
        let mut checksum = Checksum::new();
        let mut prefix = Prefix { checksum: None, next: None, checksum_with_next: None, sum: Checksum::new() };
        let mut k = 0;
        if done == 0 {
            prefix.checksum = Some(String::new());
        }
        while let Some(statement) = statements.next().map_err(|error| self.split_error(error))? {
            k += 1;
            checksum.add(statement.text);
            if k == done {
                prefix.checksum = Some(hex(&checksum.so_far()));
                prefix.sum = checksum.clone();
            }
            if k == done + 1 {
                prefix.next = Some(hex(&statement_digest(statement.text)));
                prefix.checksum_with_next = Some(hex(&checksum.so_far()));
                break;
            }
        }
        Ok(prefix)
    }
}

fn mentions_insert_id(sql: &str) -> bool {
    // `@@identity` and `@@last_insert_id` are its other names.
    let bytes = sql.as_bytes();
    let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
    bytes.len() < 4096 && (found(b"last_insert_id") || found(b"@@identity"))
}
