//! Runs airun as its users do, with real processes, real servers and real signals.
//!
//! `scripts/test` starts a MySQL and a MariaDB server and sets their URLs in the environment. Without them, every test
//! that needs one fails and says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::let_underscore_must_use, reason = "a test may wait for time to pass")]

mod cli;
mod cluster;
mod migrate;
mod periodic;
mod queue;
mod support;
mod tidy;
