//! Tests `airun migrate`: its commands, its journal, and its recovery.

mod client_scripts;
mod commands;
mod crash;
mod kills;
mod lease;
mod procedures;
mod progress;
mod recovery;
mod server_migrations;
pub mod shared_server;
pub mod up_and_rollback;
