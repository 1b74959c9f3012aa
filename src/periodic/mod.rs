//! Periodic tasks: time makes them due.

pub(crate) mod lock;
mod plan;
mod run;
mod stats;
mod task;

pub use plan::{Grid, Plan, plan};
pub(crate) use run::{once, run_loop};
pub use stats::{Counts, Outcome, Snapshot, TaskStats};
pub use task::{PeriodicContext, PeriodicTask};

pub use crate::error::TaskError;
