//! SQL as text: statements out of files, tokens out of statements, checksums over tokens. Pure; knows no server.
//!
//! The rules are the `mysql` client's, so that a file which `mysql < file` accepts means the same here. Beyond it, the
//! body of a routine needs no `DELIMITER`.

mod body;
mod checksum;
mod lexer;
mod line_endings;
mod splitter;

pub use checksum::{Checksum, statement_digest};
pub use lexer::{Token, TokenKind, tokens};
pub use splitter::{Position, SplitError, Splitter, Statement};
