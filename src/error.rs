//! Errors and the exit codes that they become.
//!
//! One concrete type: nobody recovers from an airun error by its variant, they read it and look at the exit code.
//! Code that must react to what a server said (a deadlock, a lost connection) looks at [`mysql::Error`] before it is
//! turned into this.

use std::error::Error as StdError;
use std::fmt;

/// What a task returns where it fails: any error, or a text by `?` or `.into()`.
pub type TaskError = Box<dyn StdError + Send + Sync>;

/// `Result` with airun's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How the process ends. The numbers are part of the public interface and listed by `airun help exit-codes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Success = 0,
    /// It was tried and failed; the message says what and where.
    Failure = 1,
    /// The command line or a setting is wrong; nothing was tried.
    Usage = 2,
    /// `migrate status --check`: migrations are pending.
    Pending = 3,
    /// What was applied and what the files say now differ.
    Drift = 4,
    /// A migration stopped half-way.
    Partial = 5,
    /// Somebody else holds the lock (`EX_TEMPFAIL` of `sysexits.h`).
    LockHeld = 75,
    /// Running work did not end within the stop timeout (as `timeout(1)` has it).
    StopTimeout = 124,
    /// A signal ended it before it was done (128 + SIGINT, as shells have it).
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, in a sentence that says what to do next, and the exit code that it deserves.
#[derive(Debug)]
pub struct Error {
    exit: Exit,
    message: String,
}

impl Error {
    /// An error that ends the process with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// It was tried and failed: exit code 1.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// The command line or a setting is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The exit code that this error deserves.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Puts what was being done in front: "failed to read `x`: permission denied".
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {}

impl From<mysql::Error> for Error {
    /// The server's own code and words where it spoke; never anything that could hold a password.
    fn from(error: mysql::Error) -> Self {
        Self::failure(crate::db::describe(&error))
    }
}

/// A task's error with what it says of its causes, in one line.
pub(crate) fn with_causes(error: &TaskError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Many errors repeat their cause's words.
        if !text.contains(&words) {
            text.push_str(&format!(": {words}"));
        }
        cause = error.source();
    }
    text
}
