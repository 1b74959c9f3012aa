//! Periodic tasks: each worker runs them at their intervals.

pub(crate) mod lock;
mod plan;
mod run;
mod stats;
mod task;

pub(crate) use plan::{Grid, Plan, plan};
pub(crate) use run::{once, run_loop};
pub(crate) use stats::{Snapshot, TaskStats};
pub use task::{PeriodicContext, PeriodicTask};

pub use crate::shutdown::Woken;
