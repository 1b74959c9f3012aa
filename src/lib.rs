//! Schema migrations and background tasks for MySQL and MariaDB in one small, fast, blocking binary.
//!
//! A program of yours is a [`Registry`] of tasks, handed to [`main()`], which gives it airun's whole command line:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//!
//! use airun::{Registry, TaskError};
//! use airun::periodic::{PeriodicContext, PeriodicTask};
//!
//! struct Sweep;
//!
//! impl PeriodicTask for Sweep {
//!     fn name(&self) -> &str {
//!         "sweep"
//!     }
//!     fn interval(&self) -> Duration {
//!         Duration::from_secs(300)
//!     }
//!     fn execute(&mut self, _: &PeriodicContext<'_>) -> Result<(), TaskError> {
//!         log::info!("swept");
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     airun::main(Registry::new().periodic(Sweep))
//! }
//! ```
//!
//! # Rooms
//!
//! - `cli` takes arguments apart, prints, and knows everybody else; nobody knows it.
//! - `config` finds settings, `db` connects; they don't know what for.
//! - [`migrate`] applies files: [`migrate::sql`] splits them (pure), `statement` says what a statement may do (pure),
//!   `journal` holds the SQL on `ai_migrations`, `run` carries a script out, `evidence` tells after a crash what
//!   happened.
//! - [`periodic`] decides when tasks run (pure) and obeys; `worker` starts them, watches, and brings them to an end.
//! - [`queue`] runs what rows in `ai_server_tasks` make due: its own page has a picture of its threads. `settle`,
//!   `intake`, `outlook` and `backoff` decide (pure), `store` holds the SQL: `look`, `claim`, `complete` and `lease`
//!   are the workers', `admin`, `inspect` and `verify` the operators'.
//! - `doctor` tries whether a server is fit.
//! - `observe` is what the outside sees: logs, metrics, systemd.
//! - [`shutdown`] makes signals a closed channel.
//!
//! # Invariants
//!
//! - `migrate`, `periodic` and `queue` don't know each other.
//! - Only the binary's `main` ends the process, by what it returns. Only `cli` writes to standard output.
//! - What to do is decided by pure functions of values and `now`; threads and SQL carry it out.
//! - Every wait of a thread can be ended by the stop, every channel is bounded, every thread has a name and an owner
//!   that waits for its end, but for those that hang, which are named and left behind.
//! - Every change of `ai_migrations` is one statement that names the state it expects and proves that the lock is held.
//! - Every change of a task's state is one statement that names the state it expects, or one under the row's lock; while
//!   the task runs, also the owner and the number of the claim. Times are the server's.
//! - `db`, the journal, the queue's store and `doctor` hold all the SQL.
//! - A statement and the record of it are committed together, or the record of what was about to happen comes first,
//!   with what tells afterwards whether it did.
//! - There is no `unsafe`, no async runtime, no ORM, and no trait with one implementation.

mod cli;
mod config;
mod db;
mod doctor;
mod error;
mod fault;
mod interval;
mod lateness;
pub mod migrate;
mod observe;
mod panics;
pub mod periodic;
pub mod queue;
mod registry;
mod shutdown;
mod threads;
mod worker;

pub use cli::main;
pub use error::{Error, ErrorKind, Result, TaskError};
pub use mysql;
pub use registry::Registry;
