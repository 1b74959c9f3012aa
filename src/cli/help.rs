//! Renders the pages of help from the table of commands.

use super::args::{Command, Flag, Value};

/// Columns of a line.
const WIDTH: usize = 100;
/// The column where the texts of a list begin, unless a name is longer than that.
const INDENT: usize = 26;

/// Returns the page of `command`. The flags of `root` are those that every command takes.
pub fn page(root: &Command, command: &Command) -> String {
    let is_command = command.handler.is_some() || !command.commands.is_empty();
    let mut page = String::new();
    if is_command {
        let more = if !command.commands.is_empty() {
            " COMMAND"
        } else if command.flags.is_empty() {
            ""
        } else {
            " [FLAGS]"
        };
        page.push_str(&format!("usage: {}{more}\n\n", command.usage()));
    }
    page.push_str(&format!("{}\n", sentence(command.summary)));
    for line in command.help.lines() {
        // A line that begins with white space is laid out by hand.
        page.push_str(&if line.starts_with(' ') { line.to_owned() } else { wrapped(line, 0) });
        page.push('\n');
    }
    list(&mut page, "commands", command.listed().map(listed));
    if !command.path.is_empty() {
        list(&mut page, "flags", command.flags.iter().map(described));
    }
    if command.flags.iter().any(|flag| matches!(flag.value, Value::Required("TIME") | Value::Optional("TIME"))) {
        page.push_str("\nTIME is for example 500ms, 30s, 5m or 1h 30m; a bare number is seconds.\n");
    }
    if !command.examples.is_empty() {
        page.push_str("\nexamples:\n");
        for example in command.examples {
            page.push_str(&format!("  {example}\n"));
        }
    }
    if is_command {
        list(&mut page, "flags of every command", root.flags.iter().map(described));
    }
    page
}

/// Returns the paths of all commands and pages.
pub fn paths(root: &Command) -> impl Iterator<Item = &'static str> {
    root.listed().flat_map(|command| std::iter::once(command).chain(command.listed())).map(|command| command.path)
}

fn list(page: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) {
    for (i, (name, text)) in rows.enumerate() {
        if i == 0 {
            page.push_str(&format!("\n{title}:\n"));
        }
        let text = wrapped(&text, INDENT);
        if name.chars().count() + 4 > INDENT {
            page.push_str(&format!("  {name}\n{:INDENT$}{text}\n", ""));
        } else {
            page.push_str(&format!("  {name:width$}{text}\n", width = INDENT - 2));
        }
    }
}

/// Returns the summary as a sentence of its own.
fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

fn listed(command: &Command) -> (String, String) {
    let is_page = command.handler.is_none() && command.commands.is_empty();
    (format!("{}{}", if is_page { "help " } else { "" }, command.name()), command.summary.to_owned())
}

/// Returns a flag's name and value, and its help with variable and default.
fn described(flag: &Flag) -> (String, String) {
    let short = flag.short.map(|short| format!("{short}, ")).unwrap_or_default();
    let value = match flag.value {
        Value::None => String::new(),
        Value::Required(value) => format!(" {value}"),
        Value::Optional(value) => format!("[={value}]"),
    };
    let origin: Vec<String> = [("variable", flag.variable), ("default", flag.default)]
        .into_iter()
        .filter_map(|(what, text)| Some(format!("{what} {}", text?)))
        .collect();
    let origin = if origin.is_empty() { String::new() } else { format!(" ({})", origin.join(", ")) };
    (format!("{short}{}{value}", flag.name), format!("{}{origin}", flag.help))
}

/// Wraps `text` into lines of at most [`WIDTH`] columns. All lines except the first begin at column `indent`.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for (i, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > WIDTH {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if i > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_indented() {
        let text = "word ".repeat(30);
        let lines: Vec<String> = wrapped(text.trim_end(), 4).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].chars().count() <= WIDTH - 4 && lines[1].starts_with("    word word"), "{lines:?}");
    }
}
