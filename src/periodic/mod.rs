//! Periodic tasks: time makes them due.

mod ledger;
pub(crate) mod lock;
mod plan;
mod run;
mod task;

pub use ledger::{Ledger, Outcome, Snapshot, Sums};
pub use plan::{Grid, Plan, plan};
pub(crate) use run::{obey, once};
pub use task::{PeriodicContext, PeriodicTask};

pub use crate::error::TaskError;
