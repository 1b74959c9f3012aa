//! Schema migrations and background tasks for MySQL and MariaDB in one small, fast, blocking binary.

mod cli;
pub mod config;
pub mod db;
pub mod error;
pub mod fault;
pub mod migrate;
pub mod shutdown;

pub use cli::main;
