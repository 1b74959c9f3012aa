//! What a thread is working on: key and value pairs that each of its log lines carries.

use std::cell::RefCell;

thread_local! {
    static PAIRS: RefCell<Vec<(&'static str, String)>> = const { RefCell::new(Vec::new()) };
}

/// The pairs are in force until it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Scope {
    outer: usize,
}

/// Adds `pairs` to this thread's log lines.
pub fn enter(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Scope {
    PAIRS.with_borrow_mut(|all| {
        let outer = all.len();
        all.extend(pairs);
        Scope { outer }
    })
}

impl Drop for Scope {
    fn drop(&mut self) {
        PAIRS.with_borrow_mut(|all| all.truncate(self.outer));
    }
}

/// This thread's pairs.
pub fn with<T>(read: impl FnOnce(&[(&'static str, String)]) -> T) -> T {
    PAIRS.with_borrow(|all| read(all))
}
