//! Connecting, waiting, session set-up, retrying, named locks; the only place that knows the server's kind.

mod names;
pub mod retry;

pub use names::{quote_name, quote_text};

/// The server's code and words, or the driver's words without anything secret.
pub fn describe(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(server) => format!("{} ({}): {}", server.code, server.state, server.message),
        other => other.to_string(),
    }
}
