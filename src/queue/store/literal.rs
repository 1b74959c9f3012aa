//! Values as SQL literals, and statements with their parameters filled in.

use std::time::Duration;

use crate::db::quote_text;

/// A value that can be a parameter of a statement.
pub trait Literal {
    fn write(&self, sql: &mut String);
}

/// A part of a statement, such as a condition. It must not hold a text that comes from outside.
#[derive(Debug)]
pub struct Fragment(pub String);

impl Literal for Fragment {
    fn write(&self, sql: &mut String) {
        sql.push_str(&self.0);
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Literal for $number {
            fn write(&self, sql: &mut String) {
                sql.push_str(&self.to_string());
            }
        })*
    };
}

numbers!(bool, u8, u16, u32, u64, usize);

impl Literal for &str {
    fn write(&self, sql: &mut String) {
        push_text(sql, self);
    }
}

impl Literal for String {
    fn write(&self, sql: &mut String) {
        push_text(sql, self);
    }
}

impl Literal for Option<&str> {
    fn write(&self, sql: &mut String) {
        match self {
            Some(text) => push_text(sql, text),
            None => sql.push_str("NULL"),
        }
    }
}

/// `INTERVAL 1000 MICROSECOND`, which can be added to a time.
impl Literal for Duration {
    fn write(&self, sql: &mut String) {
        /// Longer than any task waits, and short enough for the server to represent every sum of times.
        const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        sql.push_str(&format!("INTERVAL {} MICROSECOND", (*self).min(MAX).as_micros()));
    }
}

/// Appends a text, in plain quotes if it is ASCII without quotes and backslashes, whose meaning depends on `sql_mode`.
pub fn push_text(sql: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'\'' | b'\\') || !byte.is_ascii()) {
        sql.push_str(&quote_text(text));
    } else {
        sql.push('\'');
        sql.push_str(text);
        sql.push('\'');
    }
}

/// Maximum length of a text's literal in bytes.
pub fn text_bytes_max(text: &str) -> usize {
    2 * text.len() + 16
}

/// Replaces each `:name` outside of quotes by its value.
pub fn fill(statement: &str, parameters: &[(&str, &dyn Literal)]) -> String {
    let mut sql = String::with_capacity(2 * statement.len());
    for (number, part) in statement.split('\'').enumerate() {
        if number > 0 {
            sql.push('\'');
        }
        if number % 2 == 1 {
            sql.push_str(part);
            continue;
        }
        let mut pieces = part.split(':');
        sql.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let end = piece.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(piece.len());
            let (name, rest) = piece.split_at(end);
            match parameters.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => value.write(&mut sql),
                None => unreachable!("a statement without its parameter `:{name}`: {statement}"),
            }
            sql.push_str(rest);
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_filled_with_literals() {
        let statement =
            "SELECT ':id', :id FROM t WHERE kind = :kind AND at < NOW() + :wait AND (:condition) OR e = :error";
        let filled = sql!(
            statement,
            id = 7_u64,
            kind = "a:id",
            wait = Duration::from_millis(5),
            condition = Fragment("x = 1".to_owned()),
            error = None::<&str>,
        );
        assert_eq!(
            filled,
            "SELECT ':id', 7 FROM t WHERE kind = 'a:id' AND at < NOW() + INTERVAL 5000 MICROSECOND AND (x = 1) \
             OR e = NULL"
        );
    }

    #[test]
    fn a_text_can_not_leave_its_quotes() {
        for text in ["it's", "\\", "ü"] {
            assert!(sql!(":text", text = text).starts_with("_utf8mb4 x'"), "{text}");
        }
        assert_eq!(sql!(":text", text = "plain \"text\""), "'plain \"text\"'");
    }
}
