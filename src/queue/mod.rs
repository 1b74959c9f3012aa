//! Database tasks: a row in `ai_server_tasks` makes them due.
//!
//! A worker's threads, and what goes from one to the next:
//!
//! ```text
//!           looks, claims            runs                      writes verdicts
//! rows ──▶  dispatcher  ──jobs──▶  executors  ──outcomes──▶  completer  ──▶ rows
//!               ▲ bell                ▲ deadlines                ▲ outcomes
//!              bell                timekeeper ───────────────────┘
//!
//! heart: leases, the fleet, rescue        purger: final rows whose time is up
//! ```

mod backlog;
mod backoff;
mod bell;
mod command;
mod completer;
mod context;
mod dispatcher;
mod engine;
mod enqueue;
mod execute;
mod heart;
mod held;
mod intake;
mod interrupt;
mod job;
mod kind;
mod ledger;
mod outlook;
mod purger;
mod settle;
mod slots;
pub(crate) mod state;
pub(crate) mod store;
mod task;
mod timekeeper;

use std::time::Duration;

pub use backoff::Backoff;
pub use command::CommandTask;
pub use context::TaskContext;
pub(crate) use engine::{Engine, Settings, unfit};
pub use enqueue::{Enqueue, Enqueued, enqueue};
pub(crate) use enqueue::{PLAIN, is_plain, many, one, wake};
pub(crate) use execute::child::{HANDLER, PROGRAM, become_program, run as run_errand};
pub use interrupt::Interrupted;
pub(crate) use kind::{Kind, Work};
pub(crate) use ledger::{Ledger, Snapshot};
pub(crate) use store::complete::Keep;
pub(crate) use store::enqueue::New;
pub use task::{DatabaseTask, Failure, Isolation, Lane};

pub use crate::error::TaskError;

/// How long a claimed task is its worker's without a sign of life; extended long before its end. Only a worker that
/// stands still, or whose lock tells nothing, is waited for so long: one that died is seen at once.
const LEASE: Duration = Duration::from_secs(30);

/// A worker's lock must be free for so long until it counts as gone: it may only have lost its connection.
const MISSING_FOR: Duration = Duration::from_secs(2);
