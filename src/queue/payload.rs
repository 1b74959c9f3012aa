//! The payloads of tasks, with their kind, version and defaults.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TaskError;

/// The queue of a task unless another one is named.
pub(super) const DEFAULT_QUEUE: &str = "default";

/// The payload of a database task. A program enqueues it, and a [`DatabaseTask`](super::DatabaseTask) receives it.
///
/// It is stored as JSON in the task's row, together with its kind and version. The payload type is separate from the
/// task that handles it, so a program can enqueue a task without linking the code that runs it.
///
/// ```
/// use airun::queue::TaskPayload;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendWelcome {
///     user_id: u64,
/// }
///
/// impl TaskPayload for SendWelcome {
///     const KIND: &'static str = "send_welcome";
/// }
/// ```
///
/// # Versions
///
/// Rows that an older program enqueued must stay readable. A field can be added as an `Option` without further work. For
/// any other change raise [`VERSION`](Self::VERSION) and decode the older versions too:
///
/// ```
/// use airun::TaskError;
/// use airun::queue::TaskPayload;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Resize {
///     width: u32,
///     height: u32,
/// }
///
/// impl TaskPayload for Resize {
///     const KIND: &'static str = "resize";
///     const VERSION: u16 = 2;
///
///     fn decode(version: u16, json: &str) -> Result<Self, TaskError> {
///         match version {
///             // Version 1 was the side of a square.
///             1 => {
///                 let side = serde_json::from_str(json)?;
///                 Ok(Self { width: side, height: side })
///             }
///             _ => Ok(serde_json::from_str(json)?),
///         }
///     }
/// }
///
/// assert_eq!(Resize::decode(1, "64").unwrap(), Resize { width: 64, height: 64 });
/// ```
pub trait TaskPayload: Serialize + DeserializeOwned {
    /// Name of the task's kind in the row: at most 64 letters, digits, `_`, `-` and `.`. It must be unique in a
    /// [`Registry`](crate::Registry).
    const KIND: &'static str;
    /// Version of the payload, from 1. A worker leaves rows of a newer version to a newer worker.
    const VERSION: u16 = 1;
    /// Queue to enqueue into unless [`Enqueue::queue`](super::Enqueue::queue) names another one.
    const QUEUE: &'static str = DEFAULT_QUEUE;
    /// Priority unless [`Enqueue::priority`](super::Enqueue::priority) gives another one.
    const PRIORITY: Priority = Priority::Normal;

    /// Decodes the JSON of a row. `version` is the row's, at most [`VERSION`](Self::VERSION).
    ///
    /// # Errors
    /// A task whose payload can't be decoded is dead at once; the error is stored as the reason.
    fn decode(version: u16, json: &str) -> Result<Self, TaskError> {
        let _ = version;
        serde_json::from_str(json).map_err(Into::into)
    }
}

/// The priority of a task. Workers claim all due tasks of one priority before any of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
#[repr(u8)]
pub enum Priority {
    /// Claimed before all others.
    Urgent = 0,
    /// The default.
    #[default]
    Normal = 1,
    /// Claimed only if nothing else is due.
    Bulk = 2,
}

impl Priority {
    /// All priorities in the order in which they are claimed.
    pub(crate) const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// Returns the name that the command line uses: `urgent`, `normal` or `bulk`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}
