//! This server's tasks. To add one: write it in a file of its own, like [`pulse`] for one that time makes due or
//! [`name_conversation`] for one that is enqueued, and add it to the list.

mod name_conversation;
mod pulse;

use airun::Registry;

/// The one list of what the worker runs.
pub fn registry() -> Registry {
    Registry::new().periodic(pulse::Pulse::default()).task(name_conversation::NameConversation)
}
