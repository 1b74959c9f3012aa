//! The migrator reports its progress as events. The command line decides how to show them.

use std::time::Duration;

/// A report of progress or of something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A script starts.
    Begins(ScriptStart),
    /// Statement `k` of `total` is about to run. It starts at byte `bytes` of the script.
    Statement { k: u64, total: u64, bytes: u64 },
    /// A migration was applied and recorded.
    Applied { migration: String, statements: u64, took: Duration },
    /// A migration was rolled back, and its row deleted.
    RolledBack { migration: String, statements: u64, took: Duration },
    /// `--dry-run`: a statement that would run, and its place as `file:line`.
    WouldRun { place: String, text: String },
    /// A problem that does not stop the command.
    Warning(String),
    /// Information that is not a problem.
    Note(String),
}

/// A script that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStart {
    /// Its number among the scripts of this command, from 1.
    pub i: u64,
    /// The number of scripts.
    pub of: u64,
    /// `VERSION_name`
    pub migration: String,
    /// Length of its text in bytes.
    pub bytes: u64,
    /// Id of the connection that runs it.
    pub session: u32,
}

/// Receives the events.
pub type Events<'a> = dyn FnMut(Event) + 'a;
