//! Waits for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than any wait in a test takes, even on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `condition` is true.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen within {LIMIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
