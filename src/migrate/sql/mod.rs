//! SQL as text: splits files into statements and statements into tokens, and computes checksums over tokens. Pure.
//!
//! The rules are those of the `mysql` client, so a file that works with `mysql < file` means the same here. In addition,
//! the body of a routine needs no `DELIMITER`.

mod body;
mod checksum;
mod client_command;
mod lexer;
mod line_endings;
mod position;
mod splitter;
#[cfg(any(test, fuzzing))]
pub mod tests;

pub use checksum::{Checksum, statement_digest};
pub use lexer::{Token, TokenKind, tokens};
pub use position::{Position, SplitError};
pub use splitter::Splitter;
