//! Commands of the `mysql` client: lines that the client handles itself instead of sending them to the server.

/// A client command, as far as it matters to the splitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientCommand {
    Delimiter,
    /// `USE` is a statement too, so the server gets it.
    Use,
    /// Only changes the client's own output.
    Ignored,
    /// A command that only the client can run.
    Unsupported,
}

/// The length of the word at the start of `rest`, and the command that it is if it starts a line outside a statement.
pub(super) fn command_word(rest: &[u8]) -> Option<(usize, ClientCommand)> {
    let length = rest.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_').unwrap_or(rest.len());
    let command = match String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase().as_str() {
        "delimiter" => ClientCommand::Delimiter,
        "use" => ClientCommand::Use,
        "quit" | "exit" | "source" | "system" | "tee" | "pager" | "edit" | "connect" => ClientCommand::Unsupported,
        "notee"
        | "nopager"
        | "warnings"
        | "nowarning"
        | "status"
        | "print"
        | "rehash"
        | "help"
        | "clear"
        | "prompt"
        | "charset"
        | "go"
        | "ego"
        | "resetconnection"
        | "query_attributes"
        | "ssl_session_data_print" => ClientCommand::Ignored,
        _ => return None,
    };
    Some((length, command))
}

/// Returns the first argument of a command: quoted, or up to white space.
pub(super) fn first_argument(text: &[u8]) -> &[u8] {
    let end = match text.first() {
        Some(&quote @ (b'\'' | b'"' | b'`')) => {
            let inner = &text[1..];
            return &inner[..memchr::memchr(quote, inner).unwrap_or(inner.len())];
        }
        _ => text.iter().position(u8::is_ascii_whitespace),
    };
    &text[..end.unwrap_or(text.len())]
}
