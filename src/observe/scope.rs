//! The fields that each log line of a thread carries, such as the task that it runs.

use std::cell::RefCell;

use serde_json::Value;

/// A name with its unit, such as `late_p50_ms`, and a text or a number.
pub type Field = (&'static str, Value);

thread_local! {
    static FIELDS: RefCell<Vec<Field>> = const { RefCell::new(Vec::new()) };
}

/// Removes its fields when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Scope {
    outer: usize,
}

/// Adds `fields` to the log lines of this thread.
pub fn enter(fields: impl IntoIterator<Item = Field>) -> Scope {
    FIELDS.with_borrow_mut(|all| {
        let outer = all.len();
        all.extend(fields);
        Scope { outer }
    })
}

impl Drop for Scope {
    fn drop(&mut self) {
        FIELDS.with_borrow_mut(|all| all.truncate(self.outer));
    }
}

/// Calls `read` with the fields of this thread.
pub fn with<T>(read: impl FnOnce(&[Field]) -> T) -> T {
    FIELDS.with_borrow(|all| read(all))
}
