//! Two error types: [`Error`] is airun's, [`TaskError`] is a task's.

use std::error::Error as StdError;
use std::fmt;

use crate::db::{self, retry};

/// The error that a task returns. Any error becomes one through `?`, and a text through `.into()`.
///
/// Return a [`Failure`](crate::queue::Failure) to choose when a database task is tried again.
pub type TaskError = Box<dyn StdError + Send + Sync>;

/// A `Result` with airun's [`Error`] unless another error type is given.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of airun. Its text is one or more sentences that say what failed, why, and what to do next.
///
/// A program that reacts to an error uses [`kind`](Self::kind) or [`is_retryable`](Self::is_retryable). If the database
/// server or the connection to it caused the error, [`source`](StdError::source) is the [`mysql::Error`], which has the
/// server's error code.
///
/// ```
/// use std::error::Error as _;
///
/// use airun::mysql;
///
/// fn report(error: &airun::Error) {
///     match error.source().and_then(|source| source.downcast_ref::<mysql::Error>()) {
///         Some(mysql::Error::MySqlError(server)) => eprintln!("server error {}: {error}", server.code),
///         _ => eprintln!("{error}"),
///     }
///     if error.is_retryable() {
///         eprintln!("trying again later");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<TaskError>,
}

/// The category of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, a name or a setting is invalid. Nothing was tried.
    InvalidInput,
    /// The database server returned an error, or the connection to it failed.
    Database,
    /// An applied migration differs from its file.
    Drift,
    /// A migration stopped half-way.
    PartiallyApplied,
    /// Another session or process holds the lock.
    LockHeld,
    /// Running work did not end within the stop timeout.
    StopTimeout,
    /// A signal stopped the process before it was done.
    Interrupted,
    /// Anything else, for example a file that can't be read.
    Other,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Something was tried and failed.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// The command line, a setting or an argument is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Prefixes the error with what was being done: "failed to read `x`: permission denied".
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Returns the category of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// True if the same call may succeed later: after a deadlock, a lock wait timeout or a lost connection, while the
    /// server is overloaded, shutting down or read-only during a failover, or while the lock is held elsewhere.
    ///
    /// After a deadlock the server has rolled the whole transaction back, and after a lost connection it is
    /// unknown whether the last statement was executed: repeat the transaction from its beginning.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            ErrorKind::LockHeld => true,
            ErrorKind::Database => {
                self.source.as_ref().and_then(|source| source.downcast_ref()).is_some_and(retry::is_retryable)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<mysql::Error> for Error {
    /// The text is the server's code and message, or what the driver reports. It never contains a password.
    fn from(error: mysql::Error) -> Self {
        Self { kind: ErrorKind::Database, message: db::describe(&error), source: Some(Box::new(error)) }
    }
}

/// Returns a task's error and its causes in one line.
pub(crate) fn with_causes(error: &TaskError) -> String {
    let mut error: &(dyn StdError + 'static) = error.as_ref();
    let mut text = describe(error);
    // The text of these two already contains their causes.
    while !error.is::<Error>()
        && !error.is::<mysql::Error>()
        && let Some(cause) = error.source()
    {
        let cause_text = describe(cause);
        // Many errors repeat the text of their cause.
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        error = cause;
    }
    text
}

fn describe(error: &(dyn StdError + 'static)) -> String {
    error.downcast_ref().map_or_else(|| error.to_string(), db::describe)
}

#[cfg(test)]
mod tests {
    use mysql::MySqlError;

    use super::*;

    fn server_error(code: u16) -> mysql::Error {
        mysql::Error::MySqlError(MySqlError { state: "40001".to_owned(), message: "Deadlock found".to_owned(), code })
    }

    #[test]
    fn a_server_error_keeps_its_cause_and_says_whether_to_retry() {
        let error = Error::from(server_error(1213)).context("failed to enqueue");
        assert_eq!(error.to_string(), "failed to enqueue: 1213 (40001): Deadlock found");
        assert_eq!(error.kind(), ErrorKind::Database);
        assert!(error.is_retryable() && !Error::from(server_error(1064)).is_retryable());
        let source = error.source().and_then(|source| source.downcast_ref::<mysql::Error>());
        assert!(matches!(source, Some(mysql::Error::MySqlError(server)) if server.code == 1213));
    }

    #[test]
    fn a_cause_is_named_once() {
        assert_eq!(with_causes(&server_error(1213).into()), "1213 (40001): Deadlock found");
        assert_eq!(with_causes(&Error::from(server_error(1213)).into()), "1213 (40001): Deadlock found");
        assert_eq!(with_causes(&"the lamp is broken".into()), "the lamp is broken");
    }
}
