//! Schema migrations and background tasks for MySQL and MariaDB in one small, fast, blocking binary.

mod cli;
pub mod config;
pub mod db;
pub mod error;
pub mod fault;
pub mod interval;
pub mod migrate;
pub mod observe;
mod panics;
pub mod periodic;
mod registry;
pub mod shutdown;
pub mod worker;

pub use cli::main;
pub use registry::Registry;
