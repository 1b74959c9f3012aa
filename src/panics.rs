//! A task's panic: caught, and told as one line with its place.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a task said when it panicked, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    message: String,
    place: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "panicked at {place}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

/// Runs `work`; a panic in it becomes an error instead of a printed message.
///
/// # Errors
/// The panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(install);
    CATCHING.set(true);
    // The task's own state may be half-changed, as it may be after an error; it is the task that goes on with it.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(false);
    outcome.map_err(|payload| {
        let message = message(payload.as_ref());
        // Dropping a payload may panic in its turn, and nobody is left to catch that.
        std::mem::forget(payload);
        Panic { message, place: PLACE.take() }
    })
}

/// The place is known to the hook only.
fn install() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if CATCHING.get() {
            PLACE.set(info.location().map(ToString::to_string));
        } else {
            otherwise(info);
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_its_place() {
        let panic = catch(|| -> () { panic!("of {}", 5) }).unwrap_err().to_string();
        assert!(panic.starts_with("panicked at src/panics.rs:") && panic.ends_with(": of 5"), "{panic}");
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn a_strange_payload_is_told_too() {
        let panic = catch(|| -> () { panic::panic_any(5) }).unwrap_err();
        assert!(panic.to_string().ends_with("with a value that is no text"));
    }
}
