//! Control characters made visible, so that no name or server message can forge a line.

use std::borrow::Cow;

/// The text with its control characters as escapes; a tab stays.
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
    fn no_text_forges_a_line() {
        assert_eq!(escaped("grüß\tdich"), "grüß\tdich");
        assert_eq!(escaped("a\nERROR b\u{1b}[31m\r"), "a\\nERROR b\\u{1b}[31m\\r");
    }
}
