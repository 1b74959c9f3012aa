//! `airun task …`: the commands, a file each, and what they share.

mod change;
mod check;
mod enqueue;
mod kinds;
mod list;
mod queue_conn;
mod show;
mod stats;
mod verify;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use self::change::{cancel, pause, purge, resume, retry};
pub use self::check::check;
pub use self::enqueue::enqueue;
pub use self::kinds::kinds;
pub use self::list::list;
use self::queue_conn::QueueConn;
pub use self::show::show;
pub use self::stats::stats;
pub use self::verify::verify;
pub use self::workers::workers;
use super::args::Args;
use super::output::{count, print_error};
use crate::db::locks_are_local;
use crate::error::{Error, Result};
use crate::queue::state::State;
use crate::queue::store::inspect::{self, WorkerSummary};
use crate::queue::{Kind, Priority};

/// A kind with a payload version.
#[derive(Serialize, PartialEq, Eq)]
struct KindVersion {
    kind: String,
    version: u16,
}

fn ids(args: &Args) -> Result<Vec<u64>> {
    let id = |word: &String| {
        word.parse().map_err(|_| Error::usage(format!("invalid task id `{word}`; `airun task list` shows the ids")))
    };
    args.words.iter().map(id).collect()
}

/// Returns the value of `--state`, for example `dead,cancelled`.
fn states(args: &Args, allowed: &[State]) -> Result<Option<Vec<State>>> {
    args.read("--state", |text| {
        let state = |name: &str| State::named(name.trim()).filter(|state| allowed.contains(state));
        text.split(',').map(state).collect::<Option<_>>().ok_or_else(|| {
            let names: Vec<&str> = allowed.iter().map(|state| state.name()).collect();
            format!("use {}", names.join(", "))
        })
    })
}

fn registered_workers(conn: &mut QueueConn) -> Result<Vec<WorkerSummary>> {
    conn.run(|conn| {
        let locks_are_global = !locks_are_local(conn)?;
        inspect::workers(conn, locks_are_global)
    })
}

/// Returns the name of a priority, or its number if it has none.
fn priority_name(number: u8) -> String {
    let priority = Priority::ALL.into_iter().find(|priority| *priority as u8 == number);
    priority.map_or_else(|| number.to_string(), |priority| priority.name().to_owned())
}

/// True if this binary can run tasks of this kind and version.
fn can_run(kinds: &[Arc<Kind>], name: &str, version: u16) -> bool {
    kinds.iter().any(|kind| kind.name == name && (1..=kind.version).contains(&version))
}

/// Prints a note about a pending kind that this binary does not know.
fn note_unknown(KindVersion { kind, version }: &KindVersion) {
    let note = "this binary does not know kind";
    print_error("note", &format!("{note} `{kind}` version {version}; its tasks are left to another binary"));
}

fn count_tasks(number: u64) -> String {
    count(number, "task")
}

/// Returns a time span, before or after now, for example `1.2s`.
fn short(micros: i64) -> String {
    crate::duration::short(Duration::from_micros(micros.unsigned_abs()))
}
