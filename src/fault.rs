//! Fault points: places where a test can make the process die as if it had been killed.
//!
//! They do something only in builds with `RUSTFLAGS="--cfg airun_fault_points"`, as `scripts/test` makes them. In all
//! others the compiler removes them.

use std::env;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Aborts the process if `AIRUN_FAULT` is `name`, or is `name:N` and this is the N-th time that the point is reached.
pub fn point(name: &str) {
    static REACHED: AtomicU64 = AtomicU64::new(0);
    if !cfg!(airun_fault_points) {
        return;
    }
    let Ok(wanted) = env::var("AIRUN_FAULT") else { return };
    let (point, nth) =
        wanted.split_once(':').map_or((wanted.as_str(), 1), |(point, nth)| (point, nth.parse().unwrap_or(1)));
    if point == name && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        process::abort();
    }
}

/// The fault point before (`STEP-before`) or after (`STEP-after`) a step.
pub fn step(step: &str, when: &str) {
    if cfg!(airun_fault_points) {
        point(&format!("{step}-{when}"));
    }
}

/// True if `AIRUN_FORCE` is `name`: a test requests a code path that normally only other servers or machines take.
pub fn is_forced(name: &str) -> bool {
    cfg!(airun_fault_points) && env::var("AIRUN_FORCE").is_ok_and(|forced| forced == name)
}
