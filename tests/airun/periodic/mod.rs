//! Periodic tasks.

mod worker;
