//! Properties of the splitter that hold for any input. The tests and the fuzzer check them.

#![allow(clippy::expect_used, reason = "a failed expectation is a finding")]

use std::io::Read;

use super::super::{Position, SplitError, Splitter, statement_digest, tokens};

/// Statements with their positions, and the error that ended the script, if any.
pub type Split = (Vec<(String, Position)>, Option<SplitError>);

/// Splits `script`, with reads of at most `chunk` bytes.
pub fn split(script: &[u8], chunk: usize) -> Split {
    let mut splitter = Splitter::new(Trickle { left: script, chunk });
    let mut found = Vec::new();
    loop {
        match splitter.next() {
            Ok(Some(statement)) => found.push((statement.text.to_owned(), statement.at)),
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(error)),
        }
    }
}

/// A reader that returns a few bytes at a time.
struct Trickle<'a> {
    left: &'a [u8],
    chunk: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.chunk.min(self.left.len()).min(buffer.len());
        let (now, left) = self.left.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.left = left;
        Ok(length)
    }
}

/// Panics if a property doesn't hold for `script`.
pub fn check(script: &[u8]) {
    let whole = split(script, usize::MAX);
    assert_eq!(split(script, 1 + script.len() % 7), whole, "the sizes of reads don't matter");
    let (statements, error) = whole;
    let mut gap = Gap { delimiter: b";".to_vec(), from: 0 };
    for (text, at) in &statements {
        let from = usize::try_from(at.offset).expect("an offset in the script");
        gap.check(&script[..from], false);
        gap.from = from + length_in(&script[from..], text);
        assert_eq!((at.line, at.column), line_and_column(&script[..from]), "of {text:?}");
        check_tokens(text);
        check_alone(text);
    }
    if error.is_none() {
        gap.check(script, true);
    }
}

/// Returns the number of bytes of `script` that `text` was made from; `\r\n` became `\n`.
fn length_in(script: &[u8], text: &str) -> usize {
    let mut length = 0;
    for &byte in text.as_bytes() {
        if byte == b'\n' && script[length..].starts_with(b"\r\n") {
            length += 1;
        }
        assert_eq!(script[length], byte, "a statement is a part of the script: {text:?}");
        length += 1;
    }
    length
}

fn line_and_column(before: &[u8]) -> (u64, u64) {
    let before = str::from_utf8(before).expect("UTF-8, because a statement follows");
    let before = before.strip_prefix('\u{feff}').unwrap_or(before);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count() as u64, 1 + line.chars().count() as u64)
}

/// Tokens come in the order of the text, with only white space and comments between them.
fn check_tokens(text: &str) {
    let mut end = 0;
    for token in tokens(text) {
        let at = token.text.as_ptr().addr() - text.as_ptr().addr();
        assert!(!token.text.is_empty() && at >= end, "{token:?} of {text:?}");
        end = at + token.text.len();
    }
    // The lexer doesn't know whether a backslash was an escape when the text was split. A USE is a whole line, with or
    // without quotes.
    let is_use = text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("use"));
    if !text.contains('\\') && !is_use {
        assert_eq!(
            statement_digest(text),
            statement_digest(&format!("{text}\n")),
            "white space doesn't change the digest"
        );
    }
}

/// A statement alone, with a delimiter that it doesn't contain, is split into exactly that statement.
fn check_alone(text: &str) {
    let word: String = text.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '_').collect();
    // Alone on its line, a word such as `go` is a command of the client.
    let may_be_the_clients = text.len() == word.len() || text[word.len()..].starts_with(|c: char| c.is_whitespace());
    // Whether a backslash is an escape depends on earlier statements.
    if (may_be_the_clients && !SQL_WORDS.contains(&word.to_ascii_uppercase().as_str())) || text.contains('\\') {
        return;
    }
    // `\g` ends a statement even inside a version comment, which the server then rejects. `--` at the end is a comment.
    if text.contains("/*!") || text.contains("/*M!") || text.ends_with("--") {
        return;
    }
    let delimiter = ["//", "~!~", "|%|"].into_iter().find(|delimiter| !text.contains(delimiter));
    let Some(delimiter) = delimiter else { return };
    let (alone, error) = split(format!("DELIMITER {delimiter}\n{text}").as_bytes(), usize::MAX);
    assert_eq!(error, None, "{text:?}");
    // One `\r` is left of `\r\r\n`; the second pass removes it.
    assert!(alone.len() == 1 && alone[0].0 == text.replace("\r\n", "\n"), "{text:?} alone: {alone:?}");
}

const SQL_WORDS: [&str; 7] = ["SELECT", "INSERT", "CREATE", "BEGIN", "SET", "ALTER", "UPDATE"];

/// The text between two statements.
struct Gap {
    delimiter: Vec<u8>,
    from: usize,
}

impl Gap {
    /// Nothing between `from` and the end of `script` is a statement.
    fn check(&mut self, script: &[u8], at_end: bool) {
        let mut at = self.from;
        while at < script.len() {
            let rest = &script[at..];
            at += if at == 0 && rest.starts_with(b"\xef\xbb\xbf") {
                3
            } else if rest[0].is_ascii_whitespace() || rest[0] == 0x0b {
                1
            } else if rest.starts_with(&self.delimiter) {
                self.delimiter.len()
            } else if rest.starts_with(b"\\g") || rest.starts_with(b"\\G") {
                2
            } else if rest[0] == b'#' || rest.starts_with(b"--") {
                to_line_end(rest)
            } else if rest.starts_with(b"/*") {
                assert!(!rest.starts_with(b"/*!"), "a version comment is code");
                let end = rest[2..].windows(2).position(|two| two == b"*/").map(|end| end + 4);
                assert!(end.is_some() || at_end, "a comment that ends after the start of a statement");
                end.unwrap_or(rest.len())
            } else {
                self.line(&rest[..to_line_end(rest)])
            };
        }
    }

    /// Returns the length of a client command's line, the only other thing that may stand here.
    fn line(&mut self, line: &[u8]) -> usize {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_ascii_whitespace();
        let command = words.next().unwrap_or_default().to_ascii_lowercase();
        assert!(command.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "lost: {text:?}");
        if command == "delimiter" {
            let argument = text.trim_ascii()[9..].trim_ascii_start().to_owned();
            let quote = argument.chars().next().filter(|c| "'\"`".contains(*c));
            let end = |c: char| quote.map_or(c.is_ascii_whitespace(), |quote| c == quote);
            let argument = quote.map_or(argument.as_str(), |_| &argument[1..]);
            self.delimiter = argument.split(end).next().unwrap_or_default().as_bytes().to_vec();
        }
        line.len()
    }
}

fn to_line_end(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1)
}
