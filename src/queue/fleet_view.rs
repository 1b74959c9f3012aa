//! This worker's view of the fleet of workers, shared by its threads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::db::jitter;

pub struct FleetView {
    /// Number of workers that are alive, including this one.
    pub workers: AtomicU32,
    /// Number of workers that have nothing to do.
    pub idle_workers: AtomicU32,
    /// True if this worker has nothing to do.
    pub is_idle: AtomicBool,
    /// Set when tasks become pending again that are due before those the poller has seen.
    pub rescan: AtomicBool,
}

impl Default for FleetView {
    fn default() -> Self {
        Self {
            workers: AtomicU32::new(1),
            idle_workers: AtomicU32::new(1),
            is_idle: AtomicBool::new(true),
            rescan: AtomicBool::new(false),
        }
    }
}

impl FleetView {
    /// Number of workers that are alive, at least 1.
    pub fn workers(&self) -> u32 {
        self.workers.load(Ordering::Relaxed).max(1)
    }

    /// Returns the time until this worker's next turn at work that the whole fleet does once every `interval`. It is
    /// random, so that the workers don't act in step.
    pub fn turn(&self, interval: Duration) -> Duration {
        interval.saturating_mul(self.workers()).mul_f64(0.5 + jitter())
    }
}
