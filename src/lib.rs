//! Schema migrations and background tasks for MySQL and MariaDB in one small, fast, blocking binary.

mod cli;
mod config;
mod db;
pub mod error;
mod fault;
mod interval;
pub mod migrate;
mod observe;
mod panics;
pub mod periodic;
mod registry;
pub mod shutdown;
mod worker;

pub use cli::main;
pub use registry::Registry;
