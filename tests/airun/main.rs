//! airun as its users run it: real processes, real servers, real signals.
//!
//! `scripts/test` starts a MySQL and a MariaDB and names them in the environment; a missing one fails every test that
//! needs it, with what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::let_underscore_must_use, reason = "a test may wait for time to pass")]

mod cli;
mod cluster;
mod migrate;
mod periodic;
mod queue;
mod support;
mod tidy;
