//! What is written to a row of `ai_migrations`.

use std::time::Duration;

use super::State;
use crate::migrate::recover::evidence::Intent;
use crate::migrate::version::Version;

/// A row to be.
#[derive(Debug)]
pub struct Begin<'a> {
    pub version: Version,
    pub name: &'a str,
    pub state: State,
    pub sequence: u64,
    pub checksum: &'a str,
    pub total: u64,
    pub done: u64,
    pub intent: Option<&'a Intent>,
    pub up_text: Option<&'a str>,
    pub down_text: Option<&'a str>,
    pub duration: Duration,
}

/// How far a script has come.
#[derive(Debug)]
pub struct Progress<'a> {
    pub total: u64,
    pub done: u64,
    pub done_checksum: &'a str,
    pub intent: Option<&'a Intent>,
    pub session: Option<&'a str>,
    pub error: Option<&'a str>,
    /// Added to the row's running time.
    pub spent: Duration,
}

/// What [`super::Journal::replace_up`] writes.
#[derive(Debug)]
pub struct UpReplacement<'a> {
    pub state: State,
    pub checksum: &'a str,
    pub total: u64,
    pub up_text: Option<&'a str>,
    pub down_text: Option<&'a str>,
}

/// What [`super::Journal::resolve`] writes; a text that is `None` stays as it is.
#[derive(Debug)]
pub struct Resolved<'a> {
    pub state: State,
    pub checksum: &'a str,
    pub total: u64,
    pub done: u64,
    pub done_checksum: &'a str,
    pub up_text: Option<&'a str>,
    pub down_text: Option<&'a str>,
}
