//! Schema migrations and background tasks for MySQL and MariaDB in one small, fast, blocking binary.
//!
//! A program hands a [`Registry`] of its tasks to [`main()`] and gets airun's whole command line: `migrate`,
//! `worker`, `periodic`, `task` and `doctor`. There are no async functions, no ORM and no unsafe code.
//!
//! # Migrations
//!
//! A migration is a pair of SQL files, such as `migrations/20260101000000_create_users_UP.sql` and `…_DOWN.sql`. The
//! commands apply them; a program without tasks needs only this:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     airun::main(airun::Registry::new())
//! }
//! ```
//!
//! ```console
//! $ airun migrate generate create_users
//! $ airun migrate up
//! $ airun migrate status
//! ```
//!
//! `up` records every statement in the table `ai_migrations`. After an error or a crash, the next `up` resumes at the
//! statement that failed.
//!
//! # Periodic tasks
//!
//! A [`PeriodicTask`](periodic::PeriodicTask) runs at an interval in each worker:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//!
//! use airun::periodic::{PeriodicContext, PeriodicTask};
//! use airun::{Registry, TaskError};
//!
//! struct Greet;
//!
//! impl PeriodicTask for Greet {
//!     fn name(&self) -> &str {
//!         "greet"
//!     }
//!     fn interval(&self) -> Duration {
//!         Duration::from_secs(300)
//!     }
//!     fn execute(&mut self, _: &PeriodicContext<'_>) -> Result<(), TaskError> {
//!         log::info!("hello");
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     airun::main(Registry::new().periodic(Greet))
//! }
//! ```
//!
//! # Database tasks
//!
//! A row in the table `ai_server_tasks` makes a database task due. A program enqueues a
//! [`TaskPayload`](queue::TaskPayload), and a worker runs the [`DatabaseTask`](queue::DatabaseTask) of its kind:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use airun::mysql::Conn;
//! use airun::queue::{DatabaseTask, TaskContext, TaskPayload, enqueue};
//! use airun::{Registry, TaskError};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendWelcome {
//!     user_id: u64,
//! }
//!
//! impl TaskPayload for SendWelcome {
//!     const KIND: &'static str = "send_welcome";
//! }
//!
//! // In the program that enqueues, on a connection or in a transaction of its own:
//! fn sign_up(conn: &mut Conn, user_id: u64) -> airun::Result<()> {
//!     enqueue(conn, &SendWelcome { user_id })?;
//!     Ok(())
//! }
//!
//! // In the program that works:
//! struct WelcomeSender;
//!
//! impl DatabaseTask for WelcomeSender {
//!     type Payload = SendWelcome;
//!     type Output = ();
//!
//!     fn execute(&self, payload: SendWelcome, _: &TaskContext<'_>) -> Result<(), TaskError> {
//!         log::info!("welcome, user {}", payload.user_id);
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     airun::main(Registry::new().task(WelcomeSender))
//! }
//! ```
//!
//! # Modules
//!
//! - `cli` parses arguments, calls the other modules and prints. No other module depends on it.
//! - `config` reads settings from flags, the environment and `.env` files.
//! - `db` connects, reconnects, and classifies the server's errors.
//! - `migrate` applies migration files: `sql` splits them into statements and `classify` determines what a statement does
//!   (both pure), `execute` runs them, `journal` holds the SQL on `ai_migrations`, `lock` keeps other migrators out, and
//!   `recover` finds out after a crash what happened.
//! - [`periodic`] calculates when tasks run (pure) and runs them.
//! - [`queue`] runs database tasks. Its page has a diagram of the threads and of a task's states. `transition`,
//!   `prefetch`, `poll_planner` and `backoff` decide (pure), and `store` holds the SQL.
//! - `worker` starts the periodic tasks and the queue, watches them, and stops them in order.
//! - `doctor` checks that a server is configured as airun needs it.
//! - `observe` writes logs and metrics and reports to systemd.
//! - `shutdown` turns signals into the phases of a shutdown, each a channel that closes.
//!
//! # Invariants
//!
//! - `migrate`, `periodic` and `queue` do not depend on each other.
//! - The process exits only by returning from `main`. Only `cli` writes to standard output, except in the process of an
//!   isolated task, which reports its outcome there.
//! - SQL is only in `db`, `migrate`, `queue::store` and `doctor`.
//! - Decisions are pure functions of values and the current time; threads and SQL carry them out.
//! - Every wait ends at shutdown, and every channel is bounded.
//! - Every thread has a name and an owner that joins it with a time limit. A thread that does not return by then is named
//!   in the log and abandoned.
//! - A change of a migration's state is one statement that names the expected state and proves that the lock is held.
//! - A change of a task's state is one statement that names the expected state, or one under the row's lock. While the
//!   task runs, the statement also names the worker and the number of the claim. All times are the server's.
//! - A migration's statement and its record in the journal are committed together. If the server can't do that, the
//!   intent is recorded first, with what later shows whether the statement was executed.
//! - There is no unsafe code, no async runtime, no ORM, and no trait with a single implementation.

mod cli;
mod config;
mod db;
mod doctor;
mod duration;
mod error;
mod fault;
mod histogram;
mod migrate;
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
#[cfg(fuzzing)]
#[doc(hidden)]
pub use migrate::sql::tests::properties::check as check_splitter;
/// The driver: the functions of this crate take its connections and transactions.
pub use mysql;
pub use registry::Registry;
