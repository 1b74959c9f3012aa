//! A claimed task on its way through the worker.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::kind::{Kind, Work};
use super::store::ClaimToken;
use super::store::claim::Claimed;
use super::task::Isolation;
use super::transition::{Outcome, Record};

/// One claim of a task.
pub struct Job {
    pub token: ClaimToken,
    pub kind: Arc<Kind>,
    pub version: u16,
    pub payload: String,
    pub record: Record,
    pub timeout: Duration,
    pub claimed: Instant,
    /// From when it was due until it was claimed.
    pub waited: Duration,
    /// How long its run takes, by those before it.
    pub estimate: Duration,
    pub interrupt: Interrupt,
    began: OnceLock<Instant>,
    phase: AtomicU8,
}

/// What goes to the completer.
pub struct Done {
    pub job: Arc<Job>,
    pub outcome: Outcome,
}

const CLAIMED: u8 = 0;
const BEGUN: u8 = 1;
/// Its outcome is told: by the run, or by whoever no longer waits for that.
const TOLD: u8 = 2;

impl Job {
    pub fn new(kind: &Arc<Kind>, version: u16, worker_id: u64, row: Claimed) -> Self {
        let or_kinds = |value: u32, kinds: u32| if value == 0 { kinds } else { value };
        let millis = match row.timeout_ms {
            // As much as a row can say, at most.
            0 => u32::try_from(kind.timeout.as_millis()).unwrap_or(u32::MAX).max(1),
            millis => millis,
        };
        let timeout = Duration::from_millis(millis.into());
        Self {
            token: ClaimToken { id: row.id, worker_id, claim_count: row.claim_count },
            kind: Arc::clone(kind),
            version,
            payload: row.payload,
            record: Record {
                failures: row.failures,
                crashes: row.crashes,
                max_attempts: or_kinds(row.max_attempts, kind.max_attempts),
                backoff: kind.backoff,
            },
            timeout,
            claimed: Instant::now(),
            waited: Duration::from_micros(u64::try_from(row.waited_micros).unwrap_or(0)),
            estimate: kind.average_duration().unwrap_or_default(),
            interrupt: Interrupt::default(),
            began: OnceLock::new(),
            phase: AtomicU8::new(CLAIMED),
        }
    }

    /// Which attempt its run is, from 1.
    pub fn attempt(&self) -> u32 {
        self.record.failures + self.record.crashes + 1
    }

    /// Whether it runs in a process of its own: since its kind says so, or since its worker died with it once.
    pub fn isolated(&self) -> bool {
        self.isolated_by_kind() || self.record.crashes > 0
    }

    /// Whether a crash of its process counts apart from failures: it is on trial for a worker's death. A kind that always
    /// runs in a process of its own can't have been to blame.
    pub fn on_trial(&self) -> bool {
        self.record.crashes > 0 && !self.isolated_by_kind()
    }

    fn isolated_by_kind(&self) -> bool {
        match &self.kind.work {
            Work::Handler { isolation, .. } => *isolation == Isolation::Process,
            Work::Command { .. } => true,
        }
    }

    /// Whether the caller may run it: nobody has taken it back.
    pub fn begin(&self) -> bool {
        let ours = self.phase.compare_exchange(CLAIMED, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if ours {
            self.began.get_or_init(Instant::now);
        }
        ours
    }

    /// When it began, if it has.
    pub fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Whether it has begun, and nobody has told its outcome yet.
    pub fn runs(&self) -> bool {
        self.phase.load(Ordering::Acquire) == BEGUN
    }

    /// Takes it back before it begins; whether that was in time.
    pub fn take_back(&self) -> bool {
        self.phase.compare_exchange(CLAIMED, TOLD, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the caller is the one to tell the outcome of the run.
    pub fn tell(&self) -> bool {
        self.phase.compare_exchange(BEGUN, TOLD, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
