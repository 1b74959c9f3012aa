//! What must be true of the rows, whatever happened: held against all of them.

use mysql::{Conn, Error};

use super::fleet::LOCK;
use super::rows;
use crate::db::quote_text;
use crate::queue::transition::CRASHES_MAX;

/// A promise about rows.
#[derive(Debug)]
pub struct Invariant {
    pub name: &'static str,
    /// What is so where it is broken.
    pub broken: &'static str,
    pub advice: &'static str,
}

const BY_HAND: &str = "airun never writes that: look for whoever changes the table by hand";
const RESCUE: &str = "a worker takes such tasks back within seconds: start one, or see why none does";

/// Of a single row; with the condition in SQL.
const OF_ROWS: [(Invariant, &str); 8] = [
    (
        Invariant { name: "pending_with_owner", broken: "pending with an worker_id", advice: BY_HAND },
        "state = 'pending' AND worker_id <> 0",
    ),
    (
        Invariant { name: "running_without_owner", broken: "running without an worker_id", advice: RESCUE },
        "state = 'running' AND worker_id = 0",
    ),
    (
        Invariant { name: "final_with_owner", broken: "final with an worker_id", advice: BY_HAND },
        "state IN ('succeeded', 'dead', 'cancelled') AND worker_id <> 0",
    ),
    (
        Invariant { name: "final_without_end", broken: "final without a time of the end", advice: BY_HAND },
        "state IN ('succeeded', 'dead', 'cancelled') AND finished_at = '1970-01-01'",
    ),
    (
        Invariant { name: "alive_with_end", broken: "alive with a time of the end", advice: BY_HAND },
        "state IN ('pending', 'running') AND finished_at <> '1970-01-01'",
    ),
    (
        Invariant { name: "attempts_exceeded", broken: "tried more often than allowed", advice: BY_HAND },
        "max_attempts > 0 AND failures >= max_attempts + (state IN ('succeeded', 'dead', 'cancelled'))",
    ),
    (
        Invariant { name: "runs_without_claim", broken: "run more often than claimed", advice: BY_HAND },
        "CAST(failures AS SIGNED) + crashes + (state IN ('running', 'succeeded')) > claim_count",
    ),
    (
        Invariant {
            name: "never_claimed",
            broken: "pending in a priority or with a payload version that no worker looks for",
            advice: "priorities are 0 to 2, versions begin at 1: mend who enqueues them, and these by UPDATE",
        },
        "state = 'pending' AND (priority > 2 OR payload_version = 0)",
    ),
];

/// Those that took more workers with them than they may.
const CRASHES: Invariant =
    Invariant { name: "crashes_exceeded", broken: "alive after crashes that make it dead", advice: BY_HAND };
const LEASE_EXPIRED: Invariant =
    Invariant { name: "lease_expired", broken: "running with a lease that has run out", advice: RESCUE };
const OWNER_UNKNOWN: Invariant =
    Invariant { name: "owner_unknown", broken: "running for a worker that there isn't", advice: RESCUE };
const OWNER_GONE: Invariant =
    Invariant { name: "owner_gone", broken: "running for a worker that has gone", advice: RESCUE };
const DUPLICATES: Invariant = Invariant {
    name: "dedupe_key_twice",
    broken: "alive with the dedupe key of another",
    advice: "the unique key `active_dedupe_key` is missing: cancel all but one of each, and make it anew",
};
const LIMIT: Invariant = Invariant {
    name: "concurrency_exceeded",
    broken: "running beyond what its kind may at once",
    advice: "right after the limit was lowered this passes by itself; otherwise please report it",
};

/// A row that breaks an invariant.
pub type Broken = (&'static Invariant, u64);

/// Rows of one page: some tens of milliseconds.
const PAGE: u64 = 20_000;

/// A page that was looked at.
#[derive(Debug)]
pub struct Page {
    pub checked: u64,
    /// The last id; `None` where nothing is left.
    pub last: Option<u64>,
    pub broken: Vec<Broken>,
}

/// Holds the rows of the next page behind the id `after` against what must be true of each.
pub fn page(conn: &mut Conn, after: u64) -> Result<Page, Error> {
    let bounds = rows::<(Option<u64>, u64)>(
        conn,
        &format!(
            "SELECT MAX(id), COUNT(*) FROM (SELECT id FROM ai_server_tasks WHERE id > {after} ORDER BY id LIMIT {PAGE}) AS page"
        ),
    )?;
    let Some(&(Some(last), checked)) = bounds.first() else {
        return Ok(Page { checked: 0, last: None, broken: Vec::new() });
    };
    let crashes = format!("crashes >= {CRASHES_MAX} AND state IN ('pending', 'running')");
    let conditions: Vec<(&'static Invariant, &str)> = OF_ROWS
        .iter()
        .map(|(invariant, condition)| (invariant, *condition))
        .chain([(&CRASHES, crashes.as_str())])
        .collect();
    let flags: Vec<String> = conditions.iter().map(|(_, condition)| format!("IF({condition}, '1', '0')")).collect();
    let any: Vec<String> = conditions.iter().map(|(_, condition)| format!("({condition})")).collect();
    let found = rows::<(u64, String)>(
        conn,
        &format!(
            "SELECT id, CONCAT({}) FROM ai_server_tasks WHERE id > {after} AND id <= {last} AND ({})",
            flags.join(", "),
            any.join(" OR ")
        ),
    )?;
    let mut broken = Vec::new();
    for (id, flags) in found {
        let marked = conditions.iter().zip(flags.bytes()).filter(|(_, flag)| *flag == b'1');
        broken.extend(marked.map(|((invariant, _), _)| (*invariant, id)));
    }
    Ok(Page { checked, last: Some(last), broken })
}

/// Running tasks that nobody runs, each with its claim. What is so for a moment only isn't broken: the caller looks twice.
pub fn running(conn: &mut Conn, locks_tell: bool) -> Result<Vec<(Broken, u32)>, Error> {
    let gone =
        if locks_tell { format!("w.id IS NOT NULL AND IS_FREE_LOCK({LOCK}w.id)) = 1") } else { "FALSE".to_owned() };
    let sql = format!(
        "SELECT * FROM (SELECT t.id, t.claim_count, t.next_action_at < UTC_TIMESTAMP(6) AS expired, \
         t.worker_id <> 0 AND w.id IS NULL AS unknown, {gone} AS gone FROM ai_server_tasks t FORCE INDEX (by_class) \
         LEFT JOIN ai_server_workers w ON w.id = t.worker_id WHERE t.state = 'running') AS running \
         WHERE expired OR unknown OR gone"
    );
    let mut broken = Vec::new();
    for (id, claim_count, expired, unknown, gone) in rows::<(u64, u32, bool, bool, bool)>(conn, &sql)? {
        let marked = [(expired, &LEASE_EXPIRED), (unknown, &OWNER_UNKNOWN), (gone, &OWNER_GONE)];
        broken.extend(
            marked.into_iter().filter(|(is_so, _)| *is_so).map(|(_, invariant)| ((invariant, id), claim_count)),
        );
    }
    Ok(broken)
}

/// Living tasks whose dedupe key another one has too; of each key the first.
pub fn duplicates(conn: &mut Conn) -> Result<Vec<Broken>, Error> {
    let found = rows::<(u64,)>(
        conn,
        "SELECT MIN(id) FROM ai_server_tasks WHERE active_dedupe_key IS NOT NULL \
         GROUP BY active_dedupe_key HAVING COUNT(*) > 1",
    )?;
    Ok(found.into_iter().map(|(id,)| (&DUPLICATES, id)).collect())
}

/// Running tasks of a kind beyond those that may run at once.
pub fn beyond(conn: &mut Conn, kind: &str, limit: u32) -> Result<Vec<Broken>, Error> {
    let found = rows::<(u64,)>(
        conn,
        &format!(
            "SELECT id FROM ai_server_tasks FORCE INDEX (by_class) WHERE state = 'running' AND kind = {} ORDER BY id",
            quote_text(kind)
        ),
    )?;
    Ok(found.into_iter().skip(limit as usize).map(|(id,)| (&LIMIT, id)).collect())
}
