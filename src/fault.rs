//! Fault points: a test names one, and the process dies there as if it had been killed.
//!
//! Compiled in by the feature `fault-points` only; without it a point is nothing at all.

/// Aborts the process where `AIRUN_FAULT` is `name`, or `name:N` at the N-th time that the point is passed.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("AIRUN_FAULT") else { return };
    let (point, nth) =
        wanted.split_once(':').map_or((wanted.as_str(), 1), |(point, nth)| (point, nth.parse().unwrap_or(1)));
    if point == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        std::process::abort();
    }
}

/// Nothing: the feature `fault-points` is off.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &str) {}

/// The point before (`STEP-before`) or behind (`STEP-after`) a step.
#[cfg(feature = "fault-points")]
pub fn step(step: &str, when: &str) {
    point(&format!("{step}-{when}"));
}

/// Nothing: the feature `fault-points` is off.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn step(_step: &str, _when: &str) {}

/// Whether `AIRUN_FORCE` is `name`: a way that is taken elsewhere only, to be tested here.
#[cfg(feature = "fault-points")]
pub fn is_forced(name: &str) -> bool {
    std::env::var("AIRUN_FORCE").is_ok_and(|forced| forced == name)
}

/// Never: the feature `fault-points` is off.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn is_forced(_name: &str) -> bool {
    false
}
