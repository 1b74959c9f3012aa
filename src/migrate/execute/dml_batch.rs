//! DML statements that wait to be sent in one packet. Pure.

use std::ops::Range;

use super::statement::Statement;
use crate::migrate::sql::Position;

const STATEMENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// A statement in a packet.
#[derive(Debug)]
pub struct QueuedDml {
    k: u64,
    at: Position,
    range: Range<usize>,
}

impl QueuedDml {
    pub fn statement<'p>(&self, packet: &'p str) -> Statement<'p> {
        Statement { k: self.k, at: self.at, text: &packet[self.range.clone()] }
    }

    /// The only statement of its packet.
    pub fn alone(statement: Statement<'_>) -> Self {
        Self { k: statement.k, at: statement.at, range: 0..statement.text.len() }
    }
}

#[derive(Debug, Default)]
pub struct DmlBatch {
    pub packet: String,
    pub statements: Vec<QueuedDml>,
}

impl DmlBatch {
    /// True if a statement must have its packet for itself: it is long, or it is a version comment, which may not count
    /// as a statement on this server.
    pub fn must_be_alone(text: &str) -> bool {
        text.len() >= BYTES_MAX || text.contains("/*!") || text.contains("/*M!")
    }

    pub fn has_room(&self, text: &str) -> bool {
        self.statements.len() < STATEMENTS_MAX && self.packet.len() + text.len() <= BYTES_MAX
    }

    pub fn push(&mut self, statement: Statement<'_>) {
        if !self.packet.is_empty() {
            // On a line of its own, because the statement before may end with a comment.
            self.packet.push_str("\n;\n");
        }
        let start = self.packet.len();
        self.packet.push_str(statement.text);
        self.statements.push(QueuedDml { k: statement.k, at: statement.at, range: start..self.packet.len() });
    }
}
