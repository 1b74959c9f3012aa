//! Splits a script into statements as the `mysql` client does, holding no more of it than the current one.

use std::fmt;
use std::io::Read;

use memchr::{memchr, memchr_iter, memchr2, memmem, memrchr};

use super::body::Body;
use super::lexer::{is_dash_comment, is_word, tokens, version_open};
use super::line_endings::join_line_endings;

/// A place in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
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

/// One statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What is sent: from its first code to before its delimiter, comments within it included.
    pub text: &'a str,
    /// Where its first code stands.
    pub at: Position,
}

/// Why a script can't be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitError {
    /// Where the trouble begins.
    pub at: Position,
    message: String,
}

impl fmt::Display for SplitError {
    /// `line:column: why`, to stand behind the script's name and a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.message)
    }
}

impl std::error::Error for SplitError {}

/// Hands out a script's statements one after the other.
pub struct Splitter<R> {
    reader: R,
    at_end: bool,
    buffer: Vec<u8>,
    /// Everything before it in `buffer` was handed out or skipped.
    start: usize,
    /// The position of `start`.
    here: Position,
    delimiter: Vec<u8>,
    no_backslash_escapes: bool,
}

/// What is read first, bytes.
const READ_FIRST: usize = 4 * 1024;
/// What is read at once where a file is long, bytes.
const READ: usize = 64 * 1024;

/// What the scan of one statement remembers when it has to wait for more bytes.
struct Scan {
    /// Looked at up to here.
    at: usize,
    /// The first code of the statement.
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
    /// A delimiter of this length at `Scan::at`.
    Delimiter(usize),
    /// A line for the client itself, not the server, up to its end.
    ClientLine(usize),
    /// More bytes are needed.
    More,
    /// The script is over.
    End,
}

impl<R: Read> Splitter<R> {
    /// A splitter at the start of a script.
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
    /// Fails where the script can't be read, isn't UTF-8, leaves a quote, comment or body open, or wants the client to
    /// do what only the client can.
    // Not an iterator: what it hands out borrows from it.
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
                    Found::ClientLine(end) => {
                        let line = scan.at..end;
                        if let Some(statement) = self.client_line(line)? {
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
            // `skip_to` has proven it.
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
            match scan.within {
                Within::Code => {}
                Within::Quote { quote, .. } => {
                    let escape = if quote == b'`' || self.no_backslash_escapes { quote } else { b'\\' };
                    match memchr2(quote, escape, &buffer[scan.at..]) {
                        Some(found) if buffer[scan.at + found] == quote => {
                            scan.at += found + 1;
                            scan.within = Within::Code;
                        }
                        Some(found) if scan.at + found + 1 < buffer.len() => scan.at += found + 2,
                        Some(found) => {
                            scan.at += found;
                            return Ok(self.more_or_end());
                        }
                        None => {
                            scan.at = buffer.len();
                            return Ok(self.more_or_end());
                        }
                    }
                    continue;
                }
                Within::Line => match memchr(b'\n', &buffer[scan.at..]) {
                    Some(found) => {
                        scan.at += found + 1;
                        scan.within = Within::Code;
                    }
                    None => {
                        scan.at = buffer.len();
                        return Ok(self.more_or_end());
                    }
                },
                Within::Block { .. } => match memmem::find(&buffer[scan.at..], b"*/") {
                    Some(found) => {
                        scan.at += found + 2;
                        scan.within = Within::Code;
                    }
                    None => {
                        // The `*` may be there and the `/` not yet.
                        scan.at = buffer.len().saturating_sub(usize::from(!self.at_end)).max(scan.at);
                        return Ok(self.more_or_end());
                    }
                },
            }
            let rest = &buffer[scan.at..];
            let Some(&byte) = rest.first() else { return Ok(self.more_or_end()) };
            if byte.is_ascii_whitespace() || byte == 0x0b {
                scan.at += 1;
                continue;
            }
            // Everything below looks ahead by less than this.
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
            // MariaDB's client drops a line that begins with `--` and more where no statement is open; no SQL begins so.
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
                scan.version_comment = false;
                scan.at += 2;
                continue;
            }
            if scan.code.is_none() && byte.is_ascii_alphabetic() {
                match self.client_command(scan.at) {
                    Some(Found::ClientLine(end)) => return Ok(Found::ClientLine(end)),
                    Some(found) => return Ok(found),
                    None => {}
                }
            }
            if byte == b'\\' {
                match rest.get(1) {
                    Some(b'g' | b'G') => return Ok(Found::Delimiter(2)),
                    Some(b'N') => {}
                    _ => {
                        return Err(
                            self.error(scan.at, "a `\\` command is the client's, not SQL; take it out".to_owned())
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

    /// The length of the word at the start of `rest`, which a delimiter of letters can end; `None` where it may go on.
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

    /// Whether the line at `at`, where no statement is open, is one for the client.
    fn client_command(&self, at: usize) -> Option<Found> {
        let rest = &self.buffer[at..];
        let word = rest.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_').unwrap_or(rest.len());
        let command = rest[..word].to_ascii_lowercase();
        if !CLIENT_COMMANDS.iter().any(|known| known.as_bytes() == command) {
            return None;
        }
        let Some(end) = memchr(b'\n', rest).map(|end| end + 1).or_else(|| self.at_end.then_some(rest.len())) else {
            return Some(Found::More);
        };
        let line = &rest[..end];
        let ends_word = line.get(word).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let starts_line =
            self.buffer[..at].iter().rev().take_while(|&&byte| byte != b'\n').all(u8::is_ascii_whitespace);
        let is_command = if command == b"delimiter" {
            ends_word
        } else {
            // A line that holds the delimiter is SQL.
            ends_word
                && starts_line
                && memmem::find(line, &self.delimiter).is_none()
                && memmem::find(line, b"\\g").is_none()
        };
        is_command.then_some(Found::ClientLine(at + end))
    }

    /// Does what the client does with its line, or says why not. `USE` is a statement all the same.
    fn client_line(&mut self, line: std::ops::Range<usize>) -> Result<Option<std::ops::Range<usize>>, SplitError> {
        let text = self.buffer[line.clone()].trim_ascii_end();
        let end = line.start + text.len();
        let word = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let command = String::from_utf8_lossy(&text[..word]).to_ascii_lowercase();
        let argument = text[word..].trim_ascii_start();
        match command.as_str() {
            "delimiter" => {
                let delimiter = argument_of(argument).to_vec();
                if delimiter.is_empty() {
                    return Err(self.error(line.start, "DELIMITER must be followed by a delimiter, as in `DELIMITER //`".to_owned()));
                }
                if delimiter.contains(&b'\\') {
                    return Err(self.error(line.start, "DELIMITER can't contain a backslash; take another one".to_owned()));
                }
                self.delimiter = delimiter;
                Ok(None)
            }
            "use" => Ok(Some(line.start..end)),
            "quit" | "exit" | "source" | "system" | "tee" | "pager" | "edit" | "connect" => Err(self.error(
                line.start,
                format!("`{command}` is a command of the `mysql` client, which only it can do; take it out or write SQL instead"),
            )),
            // About the client's own output: nothing to do.
            _ => Ok(None),
        }
    }

    fn check_closed(&self, scan: &Scan) -> Result<(), SplitError> {
        let code = scan.code.unwrap_or(self.start);
        match scan.within {
            Within::Quote { quote, from } => {
                Err(self.error(from, format!("the quote {} is never closed; close it", char::from(quote))))
            }
            Within::Block { from } => {
                Err(self.error(from, "the comment `/*` is never closed; close it with `*/`".to_owned()))
            }
            _ if scan.version_comment => {
                Err(self.error(code, "a version comment `/*!` is never closed; close it with `*/`".to_owned()))
            }
            _ if scan.body.is_open() => Err(self.error(
                code,
                "the body of this statement is never ended; add the END that is missing, or set a DELIMITER".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Reads more, after moving what is still needed to the front.
    fn read(&mut self, scan: &mut Scan) -> Result<(), SplitError> {
        let gone = self.start;
        self.buffer.drain(..gone);
        self.start = 0;
        scan.at -= gone;
        scan.code = scan.code.map(|code| code - gone);
        match &mut scan.within {
            Within::Quote { from, .. } | Within::Block { from } => *from -= gone,
            Within::Code | Within::Line => {}
        }
        if scan.code.is_none() && matches!(scan.within, Within::Code | Within::Line) {
            // Nothing but comments and white space so far.
            let skipped = scan.at;
            self.skip_to(skipped)?;
        }
        let held = self.buffer.len();
        // Most files are small, and a buffer costs more than reading them.
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
                Err(error) => return Err(self.error(self.start, format!("can't be read: {error}"))),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Moves on to `to`, which must be UTF-8 up to there.
    fn skip_to(&mut self, to: usize) -> Result<(), SplitError> {
        let bytes = &self.buffer[self.start..to];
        if let Err(error) = str::from_utf8(bytes) {
            let bad = self.start + error.valid_up_to();
            let offset = self.here.offset + error.valid_up_to() as u64;
            return Err(self.error(bad, format!("not UTF-8 at byte {offset}; save the file as UTF-8")));
        }
        self.here = advance(self.here, bytes);
        self.start = to;
        Ok(())
    }

    fn error(&self, at: usize, message: String) -> SplitError {
        SplitError { at: advance(self.here, &self.buffer[self.start..at.max(self.start)]), message }
    }
}

/// Words that the client takes for itself where they begin a line at which no statement is open.
const CLIENT_COMMANDS: [&str; 26] = [
    "delimiter",
    "use",
    "quit",
    "exit",
    "source",
    "system",
    "tee",
    "pager",
    "edit",
    "connect",
    "notee",
    "nopager",
    "warnings",
    "nowarning",
    "status",
    "print",
    "rehash",
    "help",
    "clear",
    "prompt",
    "charset",
    "go",
    "ego",
    "resetconnection",
    "query_attributes",
    "ssl_session_data_print",
];

fn advance(from: Position, bytes: &[u8]) -> Position {
    let offset = from.offset + bytes.len() as u64;
    let characters = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
    // A byte order mark takes no room.
    let bytes = if from.offset == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
    match memrchr(b'\n', bytes) {
        Some(last) => Position {
            offset,
            line: from.line + memchr_iter(b'\n', bytes).count() as u64,
            column: 1 + characters(&bytes[last + 1..]),
        },
        None => Position { offset, line: from.line, column: from.column + characters(bytes) },
    }
}

/// The first argument of a client command: quoted, or up to white space.
fn argument_of(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(&quote @ (b'\'' | b'"' | b'`')) => match memchr(quote, &text[1..]) {
            Some(end) => &text[1..=end],
            None => &text[1..],
        },
        _ => &text[..text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len())],
    }
}

/// Whether the statement turns `NO_BACKSLASH_ESCAPES` on or off. The client hears of it from the server; here the
/// statement's own words tell: any other assignment of `sql_mode` is taken to turn it off.
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
