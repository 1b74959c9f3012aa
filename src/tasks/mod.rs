//! This server's tasks. To add one: write it in a file of its own, like [`pulse`], and add it to the list.

mod pulse;

use airun::Registry;

/// The one list of what the worker runs.
pub fn registry() -> Registry {
    Registry::new().periodic(pulse::Pulse::default())
}
