//! A claimed task on its way through the worker. What changes on that way is in [`InFlight`](super::in_flight::InFlight).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::interrupt::{Interrupt, Interrupted};
use super::kind::{Kind, Work};
use super::store::ClaimToken;
use super::store::claim::ClaimedTask;
use super::task::Isolation;
use super::transition::Record;
use crate::db::{self, Database};

/// One claim of a task.
pub struct Job {
    pub token: ClaimToken,
    pub kind: Arc<Kind>,
    /// The payload's version.
    pub version: u16,
    pub row: ClaimedTask,
    pub record: Record,
    pub timeout: Duration,
    pub claimed_at: Instant,
    /// Time from when the task was due until it was claimed.
    pub waited: Duration,
    /// How long the run will take, judging by earlier runs of its kind.
    pub estimate: Duration,
    pub interrupt: Interrupt,
}

impl Job {
    pub fn new(kind: &Arc<Kind>, version: u16, worker_id: u64, row: ClaimedTask) -> Self {
        // In the row, 0 stands for the kind's own setting.
        let or_kinds = |value: u32, kinds: u32| if value == 0 { kinds } else { value };
        let kinds_timeout_ms = u32::try_from(kind.timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        Self {
            token: ClaimToken { id: row.id, worker_id, claim_count: row.claim_count },
            kind: Arc::clone(kind),
            version,
            record: Record {
                failures: row.failures,
                crashes: row.crashes,
                max_attempts: or_kinds(row.max_attempts, kind.max_attempts),
                backoff: kind.backoff,
            },
            timeout: Duration::from_millis(or_kinds(row.timeout_ms, kinds_timeout_ms).into()),
            claimed_at: Instant::now(),
            waited: Duration::from_micros(u64::try_from(row.waited_micros).unwrap_or(0)),
            estimate: kind.average_duration().unwrap_or_default(),
            interrupt: Interrupt::default(),
            row,
        }
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.record.failures + self.record.crashes + 1
    }

    /// True if the task runs in a process of its own, because its kind requires it or because a worker died running it.
    pub fn is_isolated(&self) -> bool {
        self.is_isolated_by_kind() || self.record.crashes > 0
    }

    /// True if a crash of the task's process counts as a crash and not as a failure. The process then tests whether the
    /// task killed its last worker. A kind that always runs in a process of its own can't have done that.
    pub fn is_crash_suspect(&self) -> bool {
        self.record.crashes > 0 && !self.is_isolated_by_kind()
    }

    fn is_isolated_by_kind(&self) -> bool {
        match &self.kind.work {
            Work::Handler { isolation, .. } => *isolation == Isolation::Process,
            Work::Command { .. } => true,
        }
    }

    /// Interrupts the run, and kills the statement that it waits for.
    pub fn interrupt(&self, reason: Interrupted, database: &Database) {
        self.interrupt.raise(reason, |connection| {
            if let Err(error) = db::kill_query(database, connection) {
                log::warn!("failed to kill the statement of task {}: {error}", self.token.id);
            }
        });
    }
}
