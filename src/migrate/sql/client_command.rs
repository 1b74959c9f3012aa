//! Commands of the `mysql` client: lines that the client handles itself instead of sending them to the server.

/// A client command, as far as it matters to the splitter.
pub(super) enum ClientCommand<'a> {
    Delimiter(&'a [u8]),
    /// `USE` is a statement too, so the server gets it.
    Use,
    /// Only changes the client's own output.
    Ignored,
    /// A command that only the client can run.
    Unsupported(String),
}

/// Words that are commands if they start a line outside a statement.
const COMMANDS: [&str; 26] = [
    "delimiter",
    "use",
    "quit",
    "exit",
    "source",
    "system",
    "tee",
    "pager",
    "edit",
    "connect",
    "notee",
    "nopager",
    "warnings",
    "nowarning",
    "status",
    "print",
    "rehash",
    "help",
    "clear",
    "prompt",
    "charset",
    "go",
    "ego",
    "resetconnection",
    "query_attributes",
    "ssl_session_data_print",
];

/// The length and lower-case text of the word at the start of `rest`, if that is a client command.
pub(super) fn command_word(rest: &[u8]) -> Option<(usize, String)> {
    let length = rest.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_').unwrap_or(rest.len());
    let word = String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase();
    COMMANDS.contains(&word.as_str()).then_some((length, word))
}

/// Parses a client command's line, without the white space at its end.
pub(super) fn parse(line: &[u8]) -> ClientCommand<'_> {
    let word = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let command = String::from_utf8_lossy(&line[..word]).to_ascii_lowercase();
    match command.as_str() {
        "delimiter" => ClientCommand::Delimiter(first_argument(line[word..].trim_ascii_start())),
        "use" => ClientCommand::Use,
        "quit" | "exit" | "source" | "system" | "tee" | "pager" | "edit" | "connect" => {
            ClientCommand::Unsupported(command)
        }
        _ => ClientCommand::Ignored,
    }
}

/// The first argument of a command: quoted, or up to white space.
fn first_argument(text: &[u8]) -> &[u8] {
    let end = match text.first() {
        Some(&quote @ (b'\'' | b'"' | b'`')) => {
            let inner = &text[1..];
            return &inner[..memchr::memchr(quote, inner).unwrap_or(inner.len())];
        }
        _ => text.iter().position(u8::is_ascii_whitespace),
    };
    &text[..end.unwrap_or(text.len())]
}
