//! This server's tasks. To add one, write it in a file of its own and add it to the list below. Copy [`pulse`] for a task
//! that runs at an interval, or [`name_conversation`] for one that is enqueued.

mod name_conversation;
mod pulse;

use airun::Registry;

/// Returns the list of the tasks that the worker runs.
pub fn registry() -> Registry {
    Registry::new().periodic(pulse::Pulse::default()).task(name_conversation::ConversationNamer)
}
