//! Splits a script into statements as the `mysql` client does. It keeps only the current statement in memory.

use std::io::Read;
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use super::body::Body;
use super::client_command::{ClientCommand, command_word, first_argument};
use super::lexer::{is_dash_comment, is_word, tokens, version_open};
use super::line_endings::join_line_endings;
use super::position::{Position, SplitError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The text that is sent to the server: from its first token to its delimiter, comments included.
    pub text: &'a str,
    /// Position of its first token.
    pub at: Position,
}

/// Reads a script and returns its statements one after another.
pub struct Splitter<R> {
    reader: R,
    at_end: bool,
    buffer: Vec<u8>,
    /// Everything in `buffer` before this index was returned or skipped.
    start: usize,
    /// Position of `start` in the script.
    here: Position,
    delimiter: Vec<u8>,
    no_backslash_escapes: bool,
}

/// Size of the first read, in bytes.
const READ_FIRST: usize = 4 * 1024;
/// Size of a read in a long file, in bytes.
const READ: usize = 64 * 1024;

/// State of the scan of one statement, kept while more bytes are read.
struct Scan {
    /// Everything before this index was scanned.
    at: usize,
    /// Index of the statement's first token.
    code: Option<usize>,
    within: Within,
    body: Body,
    version_comment: bool,
}

#[derive(Clone, Copy)]
enum Within {
    Code,
    Quote { quote: u8, from: usize },
    Line,
    Block { from: usize },
}

enum Found {
    /// A delimiter of this length, at `Scan::at`.
    Delimiter(usize),
    /// A line with a client command.
    ClientLine { command: ClientCommand, word: usize, end: usize },
    /// More bytes are needed.
    More,
    /// The end of the script.
    End,
}

impl<R: Read> Splitter<R> {
    /// Creates a splitter at the start of a script.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            at_end: false,
            buffer: Vec::new(),
            start: 0,
            here: Position::default(),
            delimiter: b";".to_vec(),
            no_backslash_escapes: false,
        }
    }

    /// The next statement, or `None` at the end of the script.
    ///
    /// # Errors
    /// Fails if the script can't be read, isn't UTF-8, doesn't close a quote, comment or body, or contains a command
    /// that only the client can run.
    // Not an iterator, because the statements borrow from the splitter.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Statement<'_>>, SplitError> {
        loop {
            let mut scan = Scan {
                at: self.start,
                code: None,
                within: Within::Code,
                body: Body::default(),
                version_comment: false,
            };
            let (end, after) = loop {
                match self.scan(&mut scan)? {
                    Found::More => self.read(&mut scan)?,
                    Found::Delimiter(length) => break (scan.at, scan.at + length),
                    Found::ClientLine { command, word, end } => {
                        if let Some(statement) = self.client_line(scan.at..end, word, command)? {
                            scan.code = Some(statement.start);
                            break (statement.end, end);
                        }
                        scan.code = None;
                        break (end, end);
                    }
                    Found::End if scan.code.is_none() => {
                        self.skip_to(self.buffer.len())?;
                        return Ok(None);
                    }
                    Found::End => {
                        self.check_closed(&scan)?;
                        break (scan.at, scan.at);
                    }
                }
            };
            let Some(code) = scan.code else {
                self.skip_to(after)?;
                continue;
            };
            self.skip_to(code)?;
            let at = self.here;
            self.skip_to(after)?;
            let end = code + join_line_endings(&mut self.buffer[code..end]);
            let text = self.buffer[code..end].trim_ascii_end();
            // `skip_to` checked that this is UTF-8.
            let text = str::from_utf8(text).unwrap_or_default();
            if let Some(on) = sets_no_backslash_escapes(text) {
                self.no_backslash_escapes = on;
            }
            return Ok(Some(Statement { text, at }));
        }
    }

    fn scan(&self, scan: &mut Scan) -> Result<Found, SplitError> {
        let buffer = &self.buffer[..];
        loop {
            if !self.leave(scan)? {
                return Ok(self.more_or_end());
            }
            let rest = &buffer[scan.at..];
            let Some(&byte) = rest.first() else { return Ok(self.more_or_end()) };
            if byte.is_ascii_whitespace() || byte == 0x0b {
                scan.at += 1;
                continue;
            }
            // Everything below looks ahead by fewer bytes than this.
            if !self.at_end && rest.len() < 16 + self.delimiter.len() {
                return Ok(Found::More);
            }
            if scan.at == 0 && rest.starts_with(b"\xef\xbb\xbf") && self.here.offset == 0 {
                scan.at += 3;
                continue;
            }
            if !scan.version_comment && !scan.body.is_open() && rest.starts_with(&self.delimiter) {
                return Ok(Found::Delimiter(self.delimiter.len()));
            }
            // Outside a statement, MariaDB's client drops a line that begins with `--` and any text. No SQL begins so.
            if byte == b'#' || is_dash_comment(rest) || (scan.code.is_none() && rest.starts_with(b"--")) {
                scan.within = Within::Line;
                continue;
            }
            if rest.starts_with(b"/*") {
                if let Some(length) = version_open(rest) {
                    scan.version_comment = true;
                    scan.code.get_or_insert(scan.at);
                    scan.at += length;
                } else {
                    scan.within = Within::Block { from: scan.at };
                    scan.at += 2;
                }
                continue;
            }
            if scan.version_comment && rest.starts_with(b"*/") {
                if rest[1..].starts_with(&self.delimiter) {
                    // The clients find the delimiter first and send a comment that is not closed.
                    let delimiter = String::from_utf8_lossy(&self.delimiter);
                    let message = format!(
                        "the delimiter `{delimiter}` overlaps the end of a version comment; put a space after `*/`"
                    );
                    return Err(self.error(scan.at, message));
                }
                scan.version_comment = false;
                scan.at += 2;
                continue;
            }
            if scan.code.is_none()
                && byte.is_ascii_alphabetic()
                && let Some(found) = self.client_line_at(scan.at)
            {
                return Ok(found);
            }
            if byte == b'\\' {
                match rest.get(1) {
                    Some(b'g' | b'G') => return Ok(Found::Delimiter(2)),
                    Some(b'N') => {}
                    _ => {
                        return Err(
                            self.error(scan.at, "a `\\` command of the client is not SQL; remove it".to_owned())
                        );
                    }
                }
            }
            scan.code.get_or_insert(scan.at);
            if matches!(byte, b'\'' | b'"' | b'`') {
                scan.body.quoted();
                scan.within = Within::Quote { quote: byte, from: scan.at };
                scan.at += 1;
            } else if is_word(byte) {
                let Some(length) = self.word(rest) else { return Ok(Found::More) };
                if self.delimiter == b";" {
                    scan.body.word(&rest[..length]);
                }
                scan.at += length;
            } else {
                if self.delimiter == b";" {
                    scan.body.mark(byte);
                }
                scan.at += 1;
            }
        }
    }

    /// Scans to the end of the quote or comment that the scan is in, if any. Returns false if the end was not read yet.
    fn leave(&self, scan: &mut Scan) -> Result<bool, SplitError> {
        let end = match scan.within {
            Within::Code => return Ok(true),
            Within::Quote { quote, .. } => {
                let escape = if quote == b'`' || self.no_backslash_escapes { quote } else { b'\\' };
                loop {
                    match memchr2(quote, escape, &self.buffer[scan.at..]).map(|found| scan.at + found) {
                        Some(at) if self.buffer[at] == quote => break Some(at + 1),
                        Some(at) if at + 1 < self.buffer.len() => scan.at = at + 2,
                        Some(at) => {
                            scan.at = at;
                            return Ok(false);
                        }
                        None => break None,
                    }
                }
            }
            Within::Line => memchr(b'\n', &self.buffer[scan.at..]).map(|found| scan.at + found + 1),
            Within::Block { from } => {
                let end = memmem::find(&self.buffer[scan.at..], b"*/").map(|found| scan.at + found);
                let comment = &self.buffer[from + 2..end.unwrap_or(from + 2)];
                if let Some(nested) = comment.windows(3).position(|three| matches!(three, b"/*!" | b"/*+")) {
                    // MySQL's client nests the comments, but the servers and MariaDB's client don't.
                    let message = "a comment can't contain `/*!` or `/*+`, because clients disagree on where it ends; \
                                   use `-- ` on each line instead";
                    return Err(self.error(from + 2 + nested, message.to_owned()));
                }
                end.map(|end| end + 2)
            }
        };
        let Some(end) = end else {
            // The last byte may be the `*` of a `*/` that is not complete yet.
            scan.at = self.buffer.len().saturating_sub(usize::from(!self.at_end)).max(scan.at);
            return Ok(false);
        };
        (scan.at, scan.within) = (end, Within::Code);
        Ok(true)
    }

    /// The length of the word at the start of `rest`, which a delimiter of letters can end. `None` if the word may
    /// continue in bytes that were not read yet.
    fn word(&self, rest: &[u8]) -> Option<usize> {
        let length = match rest.iter().position(|&byte| !is_word(byte)) {
            Some(length) => length,
            None if self.at_end => rest.len(),
            None => return None,
        };
        match self.delimiter[0] {
            first if is_word(first) => {
                Some(memmem::find(&rest[1..], &self.delimiter).map_or(length, |at| length.min(at + 1)))
            }
            _ => Some(length),
        }
    }

    fn more_or_end(&self) -> Found {
        if self.at_end { Found::End } else { Found::More }
    }

    /// Checks if a client command's line starts at `at`, outside a statement.
    fn client_line_at(&self, at: usize) -> Option<Found> {
        let rest = &self.buffer[at..];
        let (word, command) = command_word(rest)?;
        let Some(end) = memchr(b'\n', rest).map(|end| end + 1).or_else(|| self.at_end.then_some(rest.len())) else {
            return Some(Found::More);
        };
        let line = &rest[..end];
        let ends_word = line.get(word).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let starts_line =
            self.buffer[..at].iter().rev().take_while(|&&byte| byte != b'\n').all(u8::is_ascii_whitespace);
        // A line that contains the delimiter is SQL.
        let contains_delimiter =
            || memmem::find(line, &self.delimiter).is_some() || memmem::find(line, b"\\g").is_some();
        let is_command = ends_word && (command == ClientCommand::Delimiter || (starts_line && !contains_delimiter()));
        is_command.then_some(Found::ClientLine { command, word, end: at + end })
    }

    /// Handles the line of a client command, whose word has this length. Returns the range of the statement if the server
    /// gets it too.
    fn client_line(
        &mut self,
        line: Range<usize>,
        word: usize,
        command: ClientCommand,
    ) -> Result<Option<Range<usize>>, SplitError> {
        let text = self.buffer[line.clone()].trim_ascii_end();
        match command {
            ClientCommand::Delimiter => match first_argument(text[word..].trim_ascii_start()) {
                b"" => Err(self.error(line.start, "DELIMITER needs an argument, as in `DELIMITER //`".to_owned())),
                delimiter if delimiter.contains(&b'\\') => {
                    Err(self.error(line.start, "a delimiter can't contain a backslash; use a different one".to_owned()))
                }
                delimiter => {
                    self.delimiter = delimiter.to_vec();
                    Ok(None)
                }
            },
            ClientCommand::Use => Ok(Some(line.start..line.start + text.len())),
            ClientCommand::Ignored => Ok(None),
            ClientCommand::Unsupported => {
                let command = String::from_utf8_lossy(&text[..word]).to_ascii_lowercase();
                let message = format!(
                    "`{command}` is a command of the `mysql` client and can't run here; remove it or write SQL"
                );
                Err(self.error(line.start, message))
            }
        }
    }

    fn check_closed(&self, scan: &Scan) -> Result<(), SplitError> {
        let code = scan.code.unwrap_or(self.start);
        match scan.within {
            Within::Quote { quote, from } => {
                Err(self.error(from, format!("the quote {} is never closed", char::from(quote))))
            }
            Within::Block { from } => {
                Err(self.error(from, "the comment `/*` is never closed; close it with `*/`".to_owned()))
            }
            _ if scan.version_comment => {
                Err(self.error(code, "a version comment `/*!` is never closed; close it with `*/`".to_owned()))
            }
            _ if scan.body.is_open() => Err(self.error(
                code,
                "the body of this statement has no end; add the missing END, or set a DELIMITER".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Reads more bytes, after moving those that are still needed to the front of the buffer.
    fn read(&mut self, scan: &mut Scan) -> Result<(), SplitError> {
        let done = self.start;
        self.buffer.drain(..done);
        self.start = 0;
        scan.at -= done;
        scan.code = scan.code.map(|code| code - done);
        match &mut scan.within {
            Within::Quote { from, .. } | Within::Block { from } => *from -= done,
            Within::Code | Within::Line => {}
        }
        if scan.code.is_none() && matches!(scan.within, Within::Code) {
            // The scan has found only whole comments and white space so far, which can be dropped.
            let skipped = scan.at;
            self.skip_to(skipped)?;
        }
        let held = self.buffer.len();
        // Most files are small, and a large buffer costs more than reading them.
        let wanted = held.clamp(READ_FIRST, READ).max(held - self.start);
        self.buffer.resize(held + wanted, 0);
        let mut filled = held;
        while filled < self.buffer.len() {
            match self.reader.read(&mut self.buffer[filled..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(length) => filled += length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(self.start, format!("failed to read the script: {error}"))),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Skips to `to`. Fails if the skipped bytes are not UTF-8.
    fn skip_to(&mut self, to: usize) -> Result<(), SplitError> {
        let bytes = &self.buffer[self.start..to];
        if let Err(error) = str::from_utf8(bytes) {
            let bad = self.start + error.valid_up_to();
            let offset = self.here.offset + error.valid_up_to() as u64;
            return Err(self.error(bad, format!("not UTF-8 at byte {offset}; save the file as UTF-8")));
        }
        self.here = self.here.advance(bytes);
        self.start = to;
        Ok(())
    }

    fn error(&self, at: usize, message: String) -> SplitError {
        SplitError { at: self.here.advance(&self.buffer[self.start..at.max(self.start)]), message }
    }
}

/// True if the statement turns `NO_BACKSLASH_ESCAPES` on, false if it turns it off. The server reports the mode to the
/// client; here only the statement's text is known, so any other assignment of `sql_mode` counts as turning it off.
fn sets_no_backslash_escapes(text: &str) -> Option<bool> {
    let first = tokens(text).find(|token| token.kind == super::TokenKind::Word)?;
    if !first.text.eq_ignore_ascii_case("SET") || text.len() > 64 * 1024 {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let at = upper.find("SQL_MODE")?;
    let assigned = upper.match_indices("SQL_MODE").any(|(at, name)| {
        let rest = upper[at + name.len()..].trim_start_matches('`').trim_start();
        (rest.starts_with('=') || rest.starts_with(":="))
            && !upper[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric())
    });
    assigned.then(|| upper[at..].contains("NO_BACKSLASH_ESCAPES"))
}

#[cfg(test)]
mod tests;
