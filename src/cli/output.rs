//! Standard output and standard error: whole lines, no forged ones, and nobody minds a reader that has gone.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::observe::escaped;

/// Standard output. A reader that has gone (`| head`) is no error; a full disk is.
#[derive(Default)]
pub struct Output {
    failed: Option<io::Error>,
}

impl Output {
    /// One line of text; control characters are escaped.
    pub fn line(&mut self, text: &str) {
        self.raw(&format!("{}\n", escaped(text)));
    }

    /// A value for programs, on one line.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::failure(format!("failed to write the answer as JSON: {error}")))?;
        // What comes from the server may have line breaks, between its tokens only.
        self.raw(&(text.replace(['\n', '\r'], " ") + "\n"));
        Ok(())
    }

    /// Text as it is.
    pub fn raw(&mut self, text: &str) {
        if self.failed.is_none() {
            let mut stdout = io::stdout().lock();
            self.failed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).err();
        }
    }

    /// Whether everything was written.
    ///
    /// # Errors
    /// What kept it from being written, except that nobody reads it any more.
    pub fn finish(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::failure(format!("failed to write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// One message on standard error. There is nobody to tell if that is closed.
pub fn print_error(kind: &str, text: &str) {
    let text: Vec<Cow<'_, str>> = text.lines().map(escaped).collect();
    io::stderr().lock().write_all(format!("airun: {kind}: {}\n", text.join("\n")).as_bytes()).unwrap_or_default();
}
