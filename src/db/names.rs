//! Quotes names and texts for SQL.

/// Returns `name` in backticks.
pub fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Returns `text` as a literal that means the same under every `sql_mode` and character set.
pub fn quote_text(text: &str) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut literal = String::with_capacity(2 * text.len() + 16);
    literal.push_str("_utf8mb4 x'");
    for byte in text.bytes() {
        literal.push(DIGITS[usize::from(byte >> 4)]);
        literal.push(DIGITS[usize::from(byte & 15)]);
    }
    literal.push('\'');
    literal
}
