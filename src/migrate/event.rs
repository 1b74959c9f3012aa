//! What the migrator tells while it works; the command line decides how to show it.

use std::time::Duration;

use super::version::Version;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A script begins.
    Begins {
        /// Which of the scripts, from 1.
        i: u64,
        /// Of how many.
        of: u64,
        /// `VERSION_name`.
        migration: String,
        /// Of its text.
        bytes: u64,
        /// The server's number of the connection that it runs on.
        session: u32,
    },
    /// Statement `k` of `total` is next; it starts at this byte of the script.
    Statement { k: u64, total: u64, bytes: u64 },
    /// A migration was applied, and that is recorded.
    Applied { version: Version, name: String, statements: u64, took: Duration },
    /// A migration was rolled back, and that is recorded.
    RolledBack { version: Version, name: String, statements: u64, took: Duration },
    /// `--dry-run`: this statement, of which script, and where it stands.
    WouldRun { place: String, text: String },
    /// Something to know; the work goes on.
    Warning(String),
    /// Something good to know.
    Note(String),
}

/// Who is told.
pub type Events<'a> = dyn FnMut(Event) + 'a;
