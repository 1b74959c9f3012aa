//! Catches a task's panic and formats it as one line with its location.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`. A panic in it becomes an error with its location and message, instead of being printed.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(install);
    CATCHING.set(true);
    // The task's own state may be inconsistent, as it may be after an error. Only the task uses it again.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(false);
    outcome.map_err(|payload| {
        let message = message(payload.as_ref());
        // Dropping the payload may panic too, outside of this function's reach.
        std::mem::forget(payload);
        let location = LOCATION.take().map_or_else(String::new, |location| format!(" at {location}"));
        format!("panicked{location}: {message}")
    })
}

/// Installs a panic hook, because only a hook receives the location of a panic.
fn install() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if CATCHING.get() {
            LOCATION.set(info.location().map(ToString::to_string));
        } else {
            default_hook(info);
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is not a string".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_carries_its_location() {
        let panic = catch(|| -> () { panic!("of {}", 5) }).unwrap_err();
        assert!(panic.starts_with("panicked at src/panics.rs:") && panic.ends_with(": of 5"), "{panic}");
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn a_payload_that_is_not_a_string_is_described() {
        let panic = catch(|| -> () { panic::panic_any(5) }).unwrap_err();
        assert!(panic.ends_with("with a value that is not a string"));
    }
}
