//! Positions in a script, and errors that name one.

use std::fmt;

use memchr::{memchr_iter, memrchr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of bytes before it.
    pub offset: u64,
    /// From 1.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { offset: 0, line: 1, column: 1 }
    }
}

impl Position {
    /// Returns the position after `bytes`, which start at this position.
    pub(super) fn advance(self, bytes: &[u8]) -> Self {
        let offset = self.offset + bytes.len() as u64;
        let characters = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
        // A byte order mark is not a column.
        let bytes = if self.offset == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        match memrchr(b'\n', bytes) {
            Some(last) => Self {
                offset,
                line: self.line + memchr_iter(b'\n', bytes).count() as u64,
                column: 1 + characters(&bytes[last + 1..]),
            },
            None => Self { offset, line: self.line, column: self.column + characters(bytes) },
        }
    }
}

/// The reason why a script can't be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitError {
    pub at: Position,
    pub(super) message: String,
}

impl fmt::Display for SplitError {
    /// `line:column: reason`, to be shown after the script's name and a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.message)
    }
}

impl std::error::Error for SplitError {}
