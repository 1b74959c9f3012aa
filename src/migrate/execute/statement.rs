//! A statement of the script that runs.

use crate::migrate::sql::Position;

/// A statement of the script.
#[derive(Clone, Copy)]
pub struct Statement<'s> {
    /// Its number, from 1.
    pub k: u64,
    pub at: Position,
    pub text: &'s str,
}

/// The beginning of a statement, on one line.
pub fn snippet(text: &str) -> String {
    const LENGTH_MAX: usize = 100;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(LENGTH_MAX));
        if line.chars().count() > LENGTH_MAX {
            return line.chars().take(LENGTH_MAX - 1).chain(['…']).collect();
        }
    }
    line
}
