//! Schema migrations: files, splitting, the journal, and the commands on them.

pub(crate) mod baseline;
pub(crate) mod catalog;
pub(crate) mod classify;
mod diff;
pub(crate) mod dump;
pub(crate) mod event;
mod execute;
pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod lock;
pub(crate) mod progress_probe;
pub(crate) mod recover;
pub(crate) mod redo;
pub(crate) mod resolve;
pub(crate) mod rollback;
pub(crate) mod script;
pub mod sql;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod version;
