//! Schema migrations: files, splitting, the journal, and the commands on them.

pub mod baseline;
pub mod blockers;
pub mod catalog;
mod cursor;
mod diff;
pub mod dump;
pub mod event;
pub mod evidence;
pub mod files;
pub mod journal;
pub mod lock;
pub mod recover;
pub mod redo;
pub mod resolve;
pub mod rollback;
pub mod run;
pub mod script;
pub mod session;
pub mod sql;
pub mod statement;
pub mod status;
pub mod up;
pub mod version;
