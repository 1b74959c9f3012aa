//! Values that are written to a row of `ai_migrations`.

use std::time::{Duration, Instant};

use super::intent::Intent;
use super::row::State;
use crate::migrate::version::Version;

/// An UP as the journal stores it.
#[derive(Debug, Clone, Copy)]
pub struct Migration<'a> {
    pub version: Version,
    pub name: &'a str,
    pub applied_order: u64,
    pub checksum: &'a str,
    pub statements_total: u64,
    pub up_text: Option<&'a str>,
    pub down_text: Option<&'a str>,
}

/// A new row. If `state` is partial, none of the statements is done; otherwise all of them are.
#[derive(Debug)]
pub struct NewRow<'a> {
    pub migration: Migration<'a>,
    pub state: State,
    pub intent: Option<&'a Intent>,
    pub duration: Duration,
}

/// How far a script has got.
#[derive(Debug)]
pub struct Progress<'a> {
    pub version: Version,
    pub state: State,
    pub statements_total: u64,
    pub statements_done: u64,
    pub done_checksum: String,
    pub intent: Option<&'a Intent>,
    /// An SQL expression; see [`crate::migrate::session_state`].
    pub session_state: String,
    /// Added to the row's running time.
    pub duration: Duration,
}

/// The end of an UP.
#[derive(Debug)]
pub struct Finished {
    pub version: Version,
    pub name: String,
    pub statements_total: u64,
    pub checksum: String,
    /// Added to the row's running time.
    pub duration: Duration,
    pub started: Instant,
}
