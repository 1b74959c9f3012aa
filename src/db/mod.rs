//! Connecting, waiting, retrying; the only place that knows the server's kind.

mod connect;
mod kill;
mod names;
mod reconnect;
pub mod retry;
mod topology;
mod wait;

pub use connect::{Database, IS_READ_ONLY, Tls, TlsMode};
pub use kill::{kill_by, kill_connection, kill_query};
pub use names::{quote_name, quote_text};
pub use reconnect::{ConnStats, ReconnectingConn, Unfinished, jitter, open_session};
pub use topology::locks_are_local;
pub use wait::wait_until_ready;

/// How the driver begins an I/O error of its inner layer.
const IO_ERROR: &str = "IO error: ";

/// The server's code and words, or the driver's words without anything secret.
pub fn describe(error: &mysql::Error) -> String {
    use mysql::{DriverError, Error};
    match error {
        Error::MySqlError(server) => format!("{} ({}): {}", server.code, server.state, server.message),
        Error::IoError(error) => error.to_string(),
        Error::DriverError(DriverError::ConnectTimeout) => "the server didn't answer in time".to_owned(),
        Error::DriverError(DriverError::CouldNotConnect(Some((_, why, _)))) => why.clone(),
        Error::DriverError(DriverError::TlsNotSupported) => "TLS was asked for".to_owned(),
        // MySQL names any method for a user that it doesn't know.
        Error::DriverError(DriverError::UnknownAuthPlugin(method)) => {
            format!("the server asks for the authentication method `{method}`")
        }
        // The type inside isn't public; an I/O error of its own says why, the others that the server is gone.
        Error::CodecError(error) if error.to_string().starts_with(IO_ERROR) => {
            error.to_string().trim_start_matches(IO_ERROR).trim_matches(['`', '\'']).to_owned()
        }
        Error::CodecError(_) => "the connection was closed".to_owned(),
        // A URL's text can hold a password; airun parses its own, so this is not to be seen.
        Error::UrlError(_) => "the URL is wrong".to_owned(),
        other => other.to_string(),
    }
}
