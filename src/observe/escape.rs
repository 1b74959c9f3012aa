//! Escapes control characters, so that no name and no message of a server can forge a log line.

use std::borrow::Cow;

/// Returns `text` with its control characters escaped, except tabs.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let forges = |c: char| c.is_control() && c != '\t';
    if !text.chars().any(forges) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if forges(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("grüß\tdich"), "grüß\tdich");
        assert_eq!(escaped("a\nERROR b\u{1b}[31m\r"), "a\\nERROR b\\u{1b}[31m\\r");
    }
}
