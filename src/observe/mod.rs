//! Shows a worker to its operators: logs, metrics, health, and its status in systemd.

mod escape;
mod http;
pub mod logging;
pub mod metrics;
pub(crate) mod scope;
pub(crate) mod systemd;

pub(crate) use escape::escaped;
pub(crate) use http::{Answer, Server};
