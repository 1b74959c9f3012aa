//! Schema migrations: files, splitting, the journal, and the commands on them.

pub mod blockers;
pub mod catalog;
mod cursor;
pub mod event;
pub mod evidence;
pub mod files;
pub mod journal;
pub mod lock;
pub mod run;
pub mod script;
pub mod session;
pub mod sql;
pub mod statement;
pub mod version;
