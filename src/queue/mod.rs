//! Database tasks: a row in `ai_server_tasks` makes them due.
//!
//! A worker's threads, and what goes from one to the next:
//!
//! ```text
//!           looks, claims            runs                      writes transitions
//! rows ──▶  poller  ──jobs──▶  executors  ──outcomes──▶  completer  ──▶ rows
//!               ▲ bell                ▲ deadlines                ▲ outcomes
//!              bell                timeout_watcher ───────────────────┘
//!
//! heart: leases, the fleet, rescue        cleaner: final rows whose time is up
//! ```

mod backoff;
mod cleaner;
mod command;
mod completer;
mod context;
mod engine;
mod enqueue;
mod executor;
mod heartbeat;
mod in_flight;
mod interrupt;
mod job;
mod job_channel;
mod kind;
mod notifier;
mod payload;
mod poll_planner;
mod poller;
mod prefetch;
mod slots;
pub(crate) mod state;
mod stats;
pub(crate) mod store;
mod task;
mod timeout_watcher;
mod transition;

use std::time::Duration;

pub use backoff::Backoff;
pub use command::CommandTask;
pub use context::TaskContext;
pub(crate) use engine::{Engine, Settings, unfit};
pub use enqueue::{Enqueue, Enqueued, enqueue};
pub(crate) use enqueue::{check_name, insert_many, insert_one, wake};
pub(crate) use executor::child::{HANDLER, PROGRAM, become_program, run as run_errand};
pub use interrupt::Interrupted;
pub(crate) use kind::{Kind, Work};
pub use payload::{Priority, TaskPayload};
pub(crate) use stats::{Snapshot, Stats};
pub(crate) use store::complete::Retention;
pub(crate) use store::enqueue::New;
pub use task::{DatabaseTask, Failure, Isolation};

/// How long a claimed task is its worker's without a sign of life; extended long before its end. Only a worker that
/// stands still, or whose lock tells nothing, is waited for so long: one that died is seen at once.
const LEASE: Duration = Duration::from_secs(30);

/// A worker's lock must be free for so long until it counts as gone: it may only have lost its connection.
const MISSING_FOR: Duration = Duration::from_secs(2);
