//! Schema migrations. `Migrator` has the commands as its methods.

mod baseline;
mod catalog;
pub(crate) mod check;
mod classify;
mod context;
mod diff;
pub(crate) mod dump;
pub(crate) mod event;
mod execute;
pub(crate) mod files;
mod journal;
mod lock;
pub(crate) mod migrator;
mod names;
mod parsed;
pub(crate) mod progress_probe;
mod recover;
mod redo;
pub(crate) mod resolve;
pub(crate) mod rollback;
mod script;
mod session_state;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod version;
