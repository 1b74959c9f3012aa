//! The queue's invariants: conditions that must hold for every row.

use mysql::{Conn, Error};

use super::fleet::lock_is_free;
use super::literal::Fragment;
use super::rows;
use crate::queue::transition::CRASHES_MAX;

/// A rule that rows must follow.
pub struct Invariant {
    pub name: &'static str,
    /// Describes the tasks that violate it, after their number: `1 task …`.
    pub description: &'static str,
    pub advice: &'static str,
}

/// A row that violates an invariant.
pub struct Violation {
    pub invariant: &'static Invariant,
    pub task_id: u64,
}

impl Invariant {
    const fn new(name: &'static str, description: &'static str, advice: &'static str) -> Self {
        Self { name, description, advice }
    }
}

const EDITED: &str = "airun never writes this: find out which other program or person changes the table";
const RESCUE: &str = "a worker rescues such tasks within seconds: start one, or look for errors in the workers' logs";

/// The invariants of a single row, each with the SQL condition of the rows that violate it.
const ROW_INVARIANTS: [(Invariant, &str); 9] = [
    (Invariant::new("pending_with_worker", "pending with a worker", EDITED), "state = 'pending' AND worker_id <> 0"),
    (
        Invariant::new("running_without_worker", "running without a worker", RESCUE),
        "state = 'running' AND worker_id = 0",
    ),
    (
        Invariant::new("finished_with_worker", "finished with a worker", EDITED),
        "state IN ('succeeded', 'dead', 'cancelled') AND worker_id <> 0",
    ),
    (
        Invariant::new("finished_without_time", "finished without a finish time", EDITED),
        "state IN ('succeeded', 'dead', 'cancelled') AND finished_at = '1970-01-01'",
    ),
    (
        Invariant::new("unfinished_with_time", "pending or running with a finish time", EDITED),
        "state IN ('pending', 'running') AND finished_at <> '1970-01-01'",
    ),
    (
        Invariant::new("attempts_exceeded", "with more attempts than allowed", EDITED),
        "max_attempts > 0 AND failures >= max_attempts + (state IN ('succeeded', 'dead', 'cancelled'))",
    ),
    (
        Invariant::new("runs_exceed_claims", "with more runs than claims", EDITED),
        "CAST(failures AS SIGNED) + crashes + (state IN ('running', 'succeeded')) > claim_count",
    ),
    (
        Invariant::new(
            "unclaimable",
            "pending with a priority or payload version that no worker claims",
            "priorities are 0 to 2, versions start at 1: fix the program that enqueues them, and the rows",
        ),
        "state = 'pending' AND (priority > 2 OR payload_version = 0)",
    ),
    (
        Invariant::new("crashes_exceeded", "pending or running after too many crashes", EDITED),
        "crashes >= :crashes_max AND state IN ('pending', 'running')",
    ),
];

const LEASE_EXPIRED: Invariant = Invariant::new("lease_expired", "running with an expired lease", RESCUE);
const WORKER_UNKNOWN: Invariant =
    Invariant::new("worker_unknown", "running on a worker that is not registered", RESCUE);
const WORKER_DEAD: Invariant = Invariant::new("worker_dead", "running on a worker that is dead", RESCUE);
const DUPLICATE_KEY: Invariant = Invariant::new(
    "duplicate_dedupe_key",
    "pending or running with the dedupe key of another one",
    "the unique key `active_dedupe_key` is missing: cancel all but one task of each key, and create it again",
);
const CONCURRENCY: Invariant = Invariant::new(
    "concurrency_exceeded",
    "running beyond the concurrency limit of the kind",
    "this is temporary if the limit was just lowered; otherwise please report it",
);

/// Rows of one page: the server needs some tens of milliseconds for it.
const PAGE: u64 = 20_000;

/// The result of checking a page of rows.
pub struct CheckedPage {
    pub checked: u64,
    /// The last id of the page; `None` if there are no more rows.
    pub last: Option<u64>,
    pub violations: Vec<Violation>,
}

const PAGE_BOUNDS: &str = "SELECT MAX(id), COUNT(*) FROM \
    (SELECT id FROM ai_server_tasks WHERE id > :after ORDER BY id LIMIT :limit) AS page";
const SELECT_VIOLATIONS: &str = "SELECT id, CONCAT(:flags) FROM ai_server_tasks \
    WHERE id > :after AND id <= :last AND (:any)";

/// Checks the row invariants on the next page of rows, those whose id is greater than `after`.
pub fn check_page(conn: &mut Conn, after: u64) -> Result<CheckedPage, Error> {
    let bounds = rows::<(Option<u64>, u64)>(conn, &sql!(PAGE_BOUNDS, after = after, limit = PAGE))?;
    let Some(&(Some(last), checked)) = bounds.first() else {
        return Ok(CheckedPage { checked: 0, last: None, violations: Vec::new() });
    };
    let conditions = ROW_INVARIANTS.map(|(_, condition)| sql!(condition, crashes_max = CRASHES_MAX));
    let flags = conditions.each_ref().map(|condition| format!("IF({condition}, '1', '0')"));
    let any = conditions.map(|condition| format!("({condition})"));
    let select = sql!(
        SELECT_VIOLATIONS,
        flags = Fragment(flags.join(", ")),
        after = after,
        last = last,
        any = Fragment(any.join(" OR ")),
    );
    let mut violations = Vec::new();
    for (task_id, flags) in rows::<(u64, String)>(conn, &select)? {
        let violated = ROW_INVARIANTS.iter().zip(flags.bytes()).filter(|(_, flag)| *flag == b'1');
        violations.extend(violated.map(|((invariant, _), _)| Violation { invariant, task_id }));
    }
    Ok(CheckedPage { checked, last: Some(last), violations })
}

const SELECT_UNATTENDED: &str = "SELECT * FROM (\
    SELECT t.id, t.claim_count, t.next_action_at < UTC_TIMESTAMP(6) AS expired, \
    t.worker_id <> 0 AND w.id IS NULL AS unknown, w.id IS NOT NULL AND :lock_is_free AS dead \
    FROM ai_server_tasks t FORCE INDEX (by_class) LEFT JOIN ai_server_workers w ON w.id = t.worker_id \
    WHERE t.state = 'running') AS running WHERE expired OR unknown OR dead";

/// Running tasks without a live worker, each with the number of its claim. A violation may be temporary, because rows,
/// workers and locks are not read at the same moment: the caller checks twice.
pub fn find_unattended(conn: &mut Conn, locks_are_global: bool) -> Result<Vec<(Violation, u32)>, Error> {
    let select = sql!(SELECT_UNATTENDED, lock_is_free = lock_is_free("w.id", locks_are_global));
    let mut violations = Vec::new();
    for (task_id, claim_count, expired, unknown, dead) in rows::<(u64, u32, bool, bool, bool)>(conn, &select)? {
        let flags = [(expired, &LEASE_EXPIRED), (unknown, &WORKER_UNKNOWN), (dead, &WORKER_DEAD)];
        let violated = flags.into_iter().filter(|(is_violated, _)| *is_violated);
        violations.extend(violated.map(|(_, invariant)| (Violation { invariant, task_id }, claim_count)));
    }
    Ok(violations)
}

const SELECT_DUPLICATES: &str = "SELECT MIN(id) FROM ai_server_tasks WHERE active_dedupe_key IS NOT NULL \
    GROUP BY active_dedupe_key HAVING COUNT(*) > 1";

/// Returns the first task of each dedupe key that several pending or running tasks have.
pub fn find_duplicates(conn: &mut Conn) -> Result<Vec<Violation>, Error> {
    let found = rows::<(u64,)>(conn, SELECT_DUPLICATES)?;
    Ok(found.into_iter().map(|(task_id,)| Violation { invariant: &DUPLICATE_KEY, task_id }).collect())
}

const SELECT_RUNNING: &str =
    "SELECT id FROM ai_server_tasks FORCE INDEX (by_class) WHERE state = 'running' AND kind = :kind ORDER BY id";

/// Returns the running tasks of a kind beyond its concurrency limit.
pub fn find_excess(conn: &mut Conn, kind: &str, limit: u32) -> Result<Vec<Violation>, Error> {
    let found = rows::<(u64,)>(conn, &sql!(SELECT_RUNNING, kind = kind))?;
    let excess = found.into_iter().skip(limit as usize);
    Ok(excess.map(|(task_id,)| Violation { invariant: &CONCURRENCY, task_id }).collect())
}
