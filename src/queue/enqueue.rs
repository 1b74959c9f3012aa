//! Enqueueing tasks.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::notifier;
use super::payload::{Priority, TaskPayload};
use super::store::enqueue::{self as store, NewTask};
use crate::error::{Error, Result};

/// The size of the column.
const DEDUPE_KEY_BYTES_MAX: usize = 191;

/// Enqueues a task with this payload, to run as soon as possible. Returns the id of its row.
///
/// If `conn` is a transaction, the task is committed or rolled back with everything else in it:
///
/// ```no_run
/// use airun::mysql::prelude::Queryable;
/// use airun::mysql::{Conn, TxOpts};
/// use airun::queue::{TaskPayload, enqueue};
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
///
/// fn sign_up(conn: &mut Conn, name: &str) -> Result<(), Box<dyn std::error::Error>> {
///     let mut transaction = conn.start_transaction(TxOpts::default())?;
///     transaction.exec_drop("INSERT INTO users (name) VALUES (?)", (name,))?;
///     let user_id = transaction.last_insert_id().ok_or("no id")?;
///     enqueue(&mut transaction, &SendWelcome { user_id })?;
///     Ok(transaction.commit()?)
/// }
/// ```
///
/// # Errors
/// The payload can't be written as JSON, the kind or the queue has an invalid name, or the server refuses the row.
pub fn enqueue<P: TaskPayload>(conn: &mut impl Queryable, payload: &P) -> Result<Enqueued> {
    Enqueue::new().insert(conn, payload)
}

/// Enqueues tasks with other options than the defaults of their payload type.
///
/// ```no_run
/// use std::time::Duration;
///
/// use airun::mysql::Conn;
/// use airun::queue::{Enqueue, Priority, TaskPayload};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Remind {
///     invoice: u64,
/// }
///
/// impl TaskPayload for Remind {
///     const KIND: &'static str = "remind";
/// }
///
/// fn remind_tomorrow(conn: &mut Conn, invoice: u64) -> airun::Result<()> {
///     let enqueued = Enqueue::new()
///         .delay(Duration::from_secs(24 * 3600))
///         .priority(Priority::Bulk)
///         .dedupe_key(format!("remind {invoice}"))
///         .insert(conn, &Remind { invoice })?;
///     if !enqueued.inserted {
///         log::info!("task {} will remind of invoice {invoice} already", enqueued.id);
///     }
///     Ok(())
/// }
/// ```
#[must_use]
pub struct Enqueue<P> {
    new: NewTask,
    payload: PhantomData<fn(P)>,
}

/// The result of [`enqueue`] and [`Enqueue::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// Id of the row in `ai_server_tasks`.
    pub id: u64,
    /// False if a pending or running task had the same dedupe key; `id` is then that task's.
    pub inserted: bool,
}

impl<P: TaskPayload> Enqueue<P> {
    /// Returns the defaults of the payload type, to run as soon as possible.
    pub fn new() -> Self {
        let new = NewTask {
            kind: P::KIND.to_owned(),
            version: P::VERSION,
            queue: P::QUEUE.to_owned(),
            priority: P::PRIORITY,
            delay: Duration::ZERO,
            timeout: None,
            max_attempts: None,
            dedupe_key: None,
        };
        Self { new, payload: PhantomData }
    }

    /// Runs the task no earlier than this long from now, by the server's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.new.delay = delay;
        self
    }

    /// Enqueues into this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.new.queue = queue.into();
        self
    }

    /// Enqueues with this priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.new.priority = priority;
        self
    }

    /// Time limit of each run, from 1 ms to 49 days.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.new.timeout = Some(timeout);
        self
    }

    /// Number of failed runs after which the task is dead, at least 1.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.new.max_attempts = Some(max_attempts.max(1));
        self
    }

    /// Enqueues only if no pending or running task has this key, of at most 191 bytes.
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.new.dedupe_key = Some(key.into());
        self
    }

    /// Enqueues one task.
    ///
    /// # Errors
    /// Fails as [`enqueue`] does.
    pub fn insert(&self, conn: &mut impl Queryable, payload: &P) -> Result<Enqueued> {
        insert_one(conn, &self.new, &to_json(payload)?)
    }

    /// Enqueues many tasks, in statements of at most 1,000 rows or 1 MB, and returns their number. Outside a transaction
    /// each statement is committed on its own, so the tasks before an error stay enqueued.
    ///
    /// # Errors
    /// Fails as [`enqueue`] does, or if a dedupe key was given, which only one task can have.
    pub fn insert_many<'p>(&self, conn: &mut impl Queryable, payloads: impl IntoIterator<Item = &'p P>) -> Result<u64>
    where
        P: 'p,
    {
        let count = insert_many(conn, &self.new, payloads.into_iter().map(to_json))?;
        wake(conn)?;
        Ok(count)
    }
}

impl<P: TaskPayload> Default for Enqueue<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for Enqueue<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Enqueue").field(&self.new).finish()
    }
}

fn to_json<P: TaskPayload>(payload: &P) -> Result<String> {
    serde_json::to_string(payload)
        .map_err(|error| Error::usage(format!("failed to write the payload of `{}` as JSON: {error}", P::KIND)))
}

/// Enqueues one task and wakes the workers of this host.
pub(crate) fn insert_one(conn: &mut impl Queryable, new: &NewTask, payload: &str) -> Result<Enqueued> {
    check(new)?;
    let enqueued = match &new.dedupe_key {
        Some(key) => insert_unless_active(conn, new, key, payload)?,
        None => insert(conn, new, payload)?,
    };
    if enqueued.inserted && new.delay.is_zero() {
        wake(conn)?;
    }
    Ok(enqueued)
}

/// Enqueues a task for each payload without waking workers, and returns their number. The tasks before an error may be
/// in the database.
pub(crate) fn insert_many<P: AsRef<str>>(
    conn: &mut impl Queryable,
    new: &NewTask,
    payloads: impl Iterator<Item = Result<P>>,
) -> Result<u64> {
    check(new)?;
    if new.dedupe_key.is_some() {
        return Err(Error::usage("only one task can have a dedupe key; enqueue the tasks one by one"));
    }
    let mut failed = None;
    let payloads = payloads.map_while(|payload| payload.map_err(|error| failed = Some(error)).ok());
    let count = store::insert(conn, new, payloads)?;
    failed.map_or(Ok(count), Err)
}

/// Wakes the workers of this host, because a task is due.
pub(crate) fn wake(conn: &mut impl Queryable) -> mysql::Result<()> {
    notifier::notify(&store::identity(conn)?);
    Ok(())
}

fn insert(conn: &mut impl Queryable, new: &NewTask, payload: &str) -> mysql::Result<Enqueued> {
    store::insert(conn, new, std::iter::once(payload))?;
    Ok(Enqueued { id: store::last_id(conn)?, inserted: true })
}

/// The unique key decides. Reading first avoids a failed INSERT, which would leave this transaction with a lock on the
/// active task's key, and that task's completion would have to wait for it.
fn insert_unless_active(conn: &mut impl Queryable, new: &NewTask, key: &str, payload: &str) -> Result<Enqueued> {
    const TRIES_MAX: usize = 10;
    if let Some(id) = store::active(conn, key, false)? {
        return Ok(Enqueued { id, inserted: false });
    }
    for _ in 0..TRIES_MAX {
        match insert(conn, new, payload) {
            Err(error) if store::is_duplicate(&error) => {}
            result => return Ok(result?),
        }
        // The active task may have finished between the two statements.
        if let Some(id) = store::active(conn, key, true)? {
            return Ok(Enqueued { id, inserted: false });
        }
    }
    Err(Error::failure(format!("tasks with the dedupe key `{key}` start and finish too quickly; try again")))
}

fn check(new: &NewTask) -> Result<()> {
    check_name("kind", &new.kind)?;
    check_name("queue", &new.queue)?;
    match &new.dedupe_key {
        Some(key) if key.len() > DEDUPE_KEY_BYTES_MAX => Err(Error::usage(format!(
            "the dedupe key has {} bytes, but at most {DEDUPE_KEY_BYTES_MAX} are possible; use a hash of it",
            key.len()
        ))),
        _ => Ok(()),
    }
}

/// Checks the name of a kind, a queue or a periodic task; `what` says which.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::usage(format!("invalid {what} name `{name}`; use 1 to 64 letters, digits, `_`, `-` and `.`")))
}
