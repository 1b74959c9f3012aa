//! Writes to standard output and standard error: whole lines, without control characters.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::observe::escaped;

/// Version of the reports. It is raised when a field is removed or changes its meaning.
const JSON_FORMAT: u32 = 1;

#[derive(Serialize)]
struct Report<'a, T> {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a str>,
    #[serde(flatten)]
    fields: T,
}

/// Standard output. A full disk is an error; a closed pipe, as after `| head`, is not.
#[derive(Default)]
pub struct Output {
    failed: Option<io::Error>,
}

impl Output {
    /// Writes a line, with its control characters escaped.
    pub fn line(&mut self, text: &str) {
        self.raw(&format!("{}\n", escaped(text)));
    }

    /// Writes `fields`, an object, as JSON on one line, after the version of the format and the database.
    ///
    /// # Errors
    /// Fails as [`json`](Self::json) does.
    pub fn report(&mut self, database: Option<&str>, fields: &impl Serialize) -> Result<()> {
        self.json(&Report { format: JSON_FORMAT, database, fields })
    }

    /// Writes `value` as JSON, on one line.
    ///
    /// # Errors
    /// It can't be represented as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::failure(format!("failed to write the result as JSON: {error}")))?;
        // JSON of the server may have line breaks, but only between its tokens.
        self.raw(&(text.replace(['\n', '\r'], " ") + "\n"));
        Ok(())
    }

    /// Writes the text unchanged.
    pub fn raw(&mut self, text: &str) {
        if self.failed.is_none() {
            let mut stdout = io::stdout().lock();
            self.failed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).err();
        }
    }

    /// Reports whether everything was written.
    ///
    /// # Errors
    /// A write failed for another reason than a closed pipe.
    pub fn finish(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::failure(format!("failed to write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Writes a message to standard error. `kind` is `error`, `warning` or `note`.
pub fn print_error(kind: &str, text: &str) {
    let text: Vec<Cow<'_, str>> = text.lines().map(escaped).collect();
    // If standard error is closed, there is nowhere to report it.
    io::stderr().lock().write_all(format!("airun: {kind}: {}\n", text.join("\n")).as_bytes()).ok();
}

/// Returns a number with its noun, for example `1 task` or `2 tasks`.
pub fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
