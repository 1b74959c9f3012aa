//! Database tasks: a row in `ai_server_tasks` is a task.
//!
//! A task's states, and what moves it from one to the next:
//!
//! ```text
//!               ┌──────── retry, release, rescue ─────────┐
//!               ▼                                         │
//! INSERT ──▶ pending ───────────── claim ────────────▶ running ─── success ──▶ succeeded
//!               │                                       │   │
//!               └── cancel ──▶ cancelled ◀── cancel ────┘   └───── failure ──▶ dead
//! ```
//!
//! - Retry: the run failed and attempts are left, so the task waits for its backoff. Failure: none are left, or the error
//!   was fatal.
//! - Release: the run was interrupted or never started, which costs no attempt. Rescue: the worker died.
//! - An operator can make dead and cancelled tasks pending again. The cleaner deletes finished tasks after their retention.
//!
//! A worker's threads, and what they exchange:
//!
//! ```text
//!            polls, claims           runs                           writes outcomes
//! rows ───▶  poller ───jobs───▶  executors ────completions───▶  completer ───▶ rows
//!               ▲                    ▲                               ▲
//!  notifier ────┘ wakes              └── timeout watcher ────────────┘
//!                                        interrupts, abandons
//!
//! maintenance: heartbeat (liveness, leases), cancel watcher, rescuer (dead workers, orphaned tasks)
//! cleaner: finished tasks after their retention
//! ```
//!
//! They share one table, `in_flight`, with the state of each claimed task. `engine` starts and stops the threads.

mod backoff;
mod cancel_watcher;
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
mod kind;
mod maintenance;
mod notifier;
mod payload;
mod poll_planner;
mod poller;
mod prefetch;
mod rescuer;
mod shared;
pub(crate) mod state;
mod stats;
pub(crate) mod store;
mod task;
mod timeout_watcher;
mod transition;

pub use backoff::Backoff;
pub use command::CommandTask;
pub use context::TaskContext;
pub(crate) use engine::{Engine, QueueSettings, unfit};
pub use enqueue::{Enqueue, Enqueued, enqueue};
pub(crate) use enqueue::{check_name, insert_many, insert_one, wake};
pub(crate) use executor::child::{HANDLER, PROGRAM, become_program, run as run_child};
pub use interrupt::Interrupted;
pub(crate) use kind::{Kind, Work};
pub use payload::{Priority, TaskPayload};
pub(crate) use stats::{QueueSnapshot, Stats};
pub(crate) use store::Retention;
pub(crate) use store::enqueue::NewTask;
pub use task::{DatabaseTask, Failure, Isolation};
