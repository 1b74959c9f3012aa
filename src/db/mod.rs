//! Connections to the server: opening, reconnecting, retrying, killing.

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

/// The start of an I/O error of the driver's inner layer.
const IO_ERROR: &str = "IO error: ";

/// Describes an error by the server's code and message, or by the driver's message without secrets.
pub fn describe(error: &mysql::Error) -> String {
    use mysql::{DriverError, Error};
    match error {
        Error::MySqlError(server) => format!("{} ({}): {}", server.code, server.state, server.message),
        Error::IoError(error) => error.to_string(),
        Error::DriverError(DriverError::ConnectTimeout) => "the server did not answer in time".to_owned(),
        Error::DriverError(DriverError::CouldNotConnect(Some((_, why, _)))) => why.clone(),
        Error::DriverError(DriverError::TlsNotSupported) => "TLS is required".to_owned(),
        // MySQL also answers with some method if the user does not exist.
        Error::DriverError(DriverError::UnknownAuthPlugin(method)) => {
            format!("the server asks for the authentication method `{method}`")
        }
        // The type inside is not public. An I/O error has the cause in its text; all others mean a closed connection.
        Error::CodecError(error) if error.to_string().starts_with(IO_ERROR) => {
            error.to_string().trim_start_matches(IO_ERROR).trim_matches(['`', '\'']).to_owned()
        }
        Error::CodecError(_) => "the connection was closed".to_owned(),
        // The text of a URL can hold a password. airun parses its own URLs, so this never happens.
        Error::UrlError(_) => "invalid URL".to_owned(),
        other => other.to_string(),
    }
}
