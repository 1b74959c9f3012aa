//! Making a task due, from Rust.

use std::marker::PhantomData;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::notifier;
use super::store::enqueue::{self as store, New};
use super::task::{DatabaseTask, Priority};
use crate::error::{Error, Result};

/// A row's key, at most; bytes.
const DEDUPE_KEY_BYTES_MAX: usize = 191;

/// Puts a task of `T` into its queue, to run at once.
///
/// `conn` may be a transaction: then the task is committed, or vanishes, with everything else in it.
///
/// # Errors
/// The payload can't be written as JSON, or the server refuses the row.
pub fn enqueue<T: DatabaseTask>(conn: &mut impl Queryable, payload: &T::Payload) -> Result<Enqueued> {
    Enqueue::<T>::new().insert(conn, payload)
}

/// How a task of `T` is enqueued.
pub struct Enqueue<T> {
    new: New,
    kind: PhantomData<fn(T)>,
}

/// What became of an [`enqueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Of the row.
    pub id: u64,
    /// Not so where a living task had the same dedupe key; the id is that one's.
    pub inserted: bool,
}

impl<T: DatabaseTask> Enqueue<T> {
    /// As the kind says, at once.
    pub fn new() -> Self {
        let new = New {
            kind: T::KIND.to_owned(),
            version: T::VERSION,
            queue: T::QUEUE.to_owned(),
            priority: T::PRIORITY,
            delay: Duration::ZERO,
            timeout: None,
            max_attempts: None,
            dedupe_key: None,
        };
        Self { new, kind: PhantomData }
    }

    /// Not before so long from now, by the server's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.new.delay = delay;
        self
    }

    /// Into another queue than the kind's.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.new.queue = queue.into();
        self
    }

    /// With another priority than the kind's.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.new.priority = priority;
        self
    }

    /// Of each run, instead of the kind's; at most 49 days.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.new.timeout = Some(timeout);
        self
    }

    /// Instead of the kind's.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.new.max_attempts = Some(max_attempts.max(1));
        self
    }

    /// Only if no task with this key is pending or running; at most 191 bytes.
    #[must_use]
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.new.dedupe_key = Some(key.into());
        self
    }

    /// Enqueues one.
    ///
    /// # Errors
    /// As [`enqueue`].
    pub fn insert(&self, conn: &mut impl Queryable, payload: &T::Payload) -> Result<Enqueued> {
        one(conn, &self.new, &json(payload)?)
    }

    /// Enqueues many, in statements of up to a thousand rows or a megabyte; how many. Outside a transaction each
    /// statement commits by itself.
    ///
    /// # Errors
    /// As [`enqueue`]; a dedupe key is for one task.
    pub fn insert_many<'p>(
        &self,
        conn: &mut impl Queryable,
        payloads: impl IntoIterator<Item = &'p T::Payload>,
    ) -> Result<u64>
    where
        T::Payload: 'p,
    {
        let count = many(conn, &self.new, payloads.into_iter().map(json))?;
        wake(conn)?;
        Ok(count)
    }
}

impl<T: DatabaseTask> Default for Enqueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Enqueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Enqueue").field(&self.new).finish()
    }
}

fn json<P: serde::Serialize>(payload: &P) -> Result<String> {
    serde_json::to_string(payload)
        .map_err(|error| Error::failure(format!("failed to write the payload as JSON: {error}")))
}

/// Enqueues one task, and wakes a worker of this host.
///
/// # Errors
/// As [`enqueue`].
pub(crate) fn one(conn: &mut impl Queryable, new: &New, payload: &str) -> Result<Enqueued> {
    check(new)?;
    let enqueued = match &new.dedupe_key {
        Some(key) => deduplicated(conn, new, key, payload)?,
        None => inserted(conn, new, payload)?,
    };
    if enqueued.inserted && new.delay.is_zero() {
        wake(conn)?;
    }
    Ok(enqueued)
}

/// Enqueues a task for each payload, and wakes nobody; how many. Those before an error may be in the database.
///
/// # Errors
/// As [`enqueue`], and the first of `payloads`; a dedupe key is for one task.
pub(crate) fn many<P: AsRef<str>>(
    conn: &mut impl Queryable,
    new: &New,
    payloads: impl Iterator<Item = Result<P>>,
) -> Result<u64> {
    check(new)?;
    if new.dedupe_key.is_some() {
        return Err(Error::usage("a dedupe key is for one task; enqueue them one by one"));
    }
    let mut refused = None;
    let payloads = payloads.map_while(|payload| payload.map_err(|error| refused = Some(error)).ok());
    let count = store::insert(conn, new, payloads)?;
    refused.map_or(Ok(count), Err)
}

/// Wakes the workers of this host, since something is due.
///
/// # Errors
/// The connection was lost.
pub(crate) fn wake(conn: &mut impl Queryable) -> mysql::Result<()> {
    notifier::notify(&store::identity(conn)?);
    Ok(())
}

fn inserted(conn: &mut impl Queryable, new: &New, payload: &str) -> std::result::Result<Enqueued, mysql::Error> {
    store::insert(conn, new, std::iter::once(payload))?;
    Ok(Enqueued { id: store::last_id(conn)?, inserted: true })
}

/// The unique key decides; looking first keeps this transaction from holding a lock that the living task's completion
/// would have to wait for.
fn deduplicated(conn: &mut impl Queryable, new: &New, key: &str, payload: &str) -> Result<Enqueued> {
    const TRIES_MAX: usize = 10;
    if let Some(id) = store::alive(conn, key)? {
        return Ok(Enqueued { id, inserted: false });
    }
    for _ in 0..TRIES_MAX {
        match inserted(conn, new, payload) {
            Err(error) if store::is_duplicate(&error) => {}
            done => return Ok(done?),
        }
        // It may have ended between the two statements.
        if let Some(id) = store::alive_now(conn, key)? {
            return Ok(Enqueued { id, inserted: false });
        }
    }
    Err(Error::failure(format!("tasks with the dedupe key `{key}` come and go too quickly; try again")))
}

fn check(new: &New) -> Result<()> {
    for (what, name) in [("kind", &new.kind), ("queue", &new.queue)] {
        if !is_plain(name) {
            return Err(Error::usage(format!("`{name}` can't be a {what}'s name; {PLAIN}")));
        }
    }
    match &new.dedupe_key {
        Some(key) if key.len() > DEDUPE_KEY_BYTES_MAX => Err(Error::usage(format!(
            "a dedupe key has at most {DEDUPE_KEY_BYTES_MAX} bytes; this one has {}: use its hash",
            key.len()
        ))),
        _ => Ok(()),
    }
}

/// What names are made of.
pub(crate) const PLAIN: &str = "use letters, digits, `_`, `-` and `.`, at most 64";

/// Whether `name` can name a kind, a queue or a periodic task.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}
