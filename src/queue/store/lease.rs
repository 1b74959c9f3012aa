//! The leases of running tasks: extended while their worker lives, taken back when it has gone.

use mysql::{Conn, Error};

use super::complete::{Retention, finished, released};
use super::{ClaimToken, LEASE, among, execute, in_transaction, interval, rows};
use crate::fault;
use crate::queue::transition::ISOLATED_RUNS_MAX;

/// Rows of one statement, at most.
const BATCH_MAX: usize = 500;

/// Extends the leases of an owner's tasks, but for those that a handler's transaction has locked, which nobody can take
/// meanwhile. Which were extended, and for which of them cancelling was asked for.
pub fn extend(conn: &mut Conn, worker_id: u64, ids: &[u64]) -> Result<Vec<(ClaimToken, bool)>, Error> {
    let mut extended = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        extended.extend(in_transaction(conn, |conn| {
            let found = rows::<(u64, u32, bool)>(
                conn,
                &format!(
                    "SELECT id, claim_count, cancel_requested FROM ai_server_tasks FORCE INDEX (PRIMARY) \
                     WHERE {} AND state = 'running' AND worker_id = {worker_id} FOR UPDATE SKIP LOCKED",
                    among(ids.to_vec())
                ),
            )?;
            if !found.is_empty() {
                execute(
                    conn,
                    &format!(
                        "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET next_action_at = UTC_TIMESTAMP(6) + {} \
                         WHERE {}",
                        interval(LEASE),
                        among(found.iter().map(|(id, ..)| *id).collect())
                    ),
                )?;
            }
            fault::point("lease-locked");
            Ok(found
                .into_iter()
                .map(|(id, claim_count, cancelled)| (ClaimToken { id, worker_id, claim_count }, cancelled)))
        })?);
    }
    Ok(extended)
}

/// What others have done to tasks that run here.
#[derive(Debug, Default)]
pub struct News {
    /// Somebody wants them cancelled.
    pub cancelled: Vec<ClaimToken>,
    /// Their leases ran out, and they were taken back.
    pub lost: Vec<ClaimToken>,
}

/// Looks at what was done to tasks since they were claimed.
pub fn news(conn: &mut Conn, tokens: &[ClaimToken]) -> Result<News, Error> {
    let found = rows::<(u64, u32, bool, bool)>(
        conn,
        &format!(
            "SELECT id, claim_count, state = 'pending', cancel_requested FROM ai_server_tasks WHERE {}",
            among(tokens.iter().map(|token| token.id).collect())
        ),
    )?;
    let mut news = News::default();
    for token in tokens {
        match found.iter().find(|(id, ..)| *id == token.id) {
            Some((_, claim_count, pending, _)) if *pending || *claim_count != token.claim_count => {
                news.lost.push(*token)
            }
            Some((.., true)) => news.cancelled.push(*token),
            _ => {}
        }
    }
    Ok(news)
}

/// Everything that runs for `owner` as the database has it.
pub fn owned(conn: &mut Conn, worker_id: u64) -> Result<Vec<ClaimToken>, Error> {
    let found = rows::<(u64, u32)>(
        conn,
        &format!(
            "SELECT id, claim_count FROM ai_server_tasks FORCE INDEX (by_class) WHERE state = 'running' AND worker_id = {worker_id}"
        ),
    )?;
    Ok(found.into_iter().map(|(id, claim_count)| ClaimToken { id, worker_id, claim_count }).collect())
}

/// Running tasks that nobody runs: their lease has run out, or their owner is no worker any more.
pub fn find_orphaned(conn: &mut Conn) -> Result<Vec<ClaimToken>, Error> {
    let found = rows::<(u64, u64, u32)>(
        conn,
        "SELECT t.id, t.worker_id, t.claim_count FROM ai_server_tasks t FORCE INDEX (by_class) \
         LEFT JOIN ai_server_workers w ON w.id = t.worker_id \
         WHERE t.state = 'running' AND (w.id IS NULL OR t.next_action_at < UTC_TIMESTAMP(6))",
    )?;
    Ok(found.into_iter().map(|(id, worker_id, claim_count)| ClaimToken { id, worker_id, claim_count }).collect())
}

/// What became of tasks whose worker has gone.
#[derive(Debug, Default)]
pub struct Rescued {
    /// They are pending again, or cancelled where somebody wanted that.
    pub alive: u64,
    /// Too many workers have gone while they ran them.
    pub dead: u64,
}

/// Makes tasks pending again whose worker has gone. Each counts as having taken it with it once; from then on it runs
/// in a process of its own, which tells whether it was to blame. One that takes its worker down from there is told by
/// [`ISOLATED_RUNS_MAX`].
pub fn rescue(conn: &mut Conn, tokens: &[ClaimToken], retention: &Retention) -> Result<Rescued, Error> {
    let again = format!("crashes = GREATEST(crashes, 1), {}", released(retention));
    let dead = format!(
        "{}, last_error = 'worker_lost: {ISOLATED_RUNS_MAX} workers have gone while they ran it'",
        finished("dead", retention.dead)
    );
    let too_often = format!("isolated_runs >= {ISOLATED_RUNS_MAX} AND NOT cancel_requested");
    let [dead, alive] = take_back(conn, tokens, [(&dead, &too_often), (&again, "TRUE")])?;
    Ok(Rescued { alive, dead })
}

/// A run begins that nobody may live to tell the end of.
pub fn begin_trial(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    execute(conn, &format!("UPDATE ai_server_tasks SET isolated_runs = isolated_runs + 1 WHERE {}", token.condition()))
        .map(drop)
}

/// Makes tasks pending again that have not begun, as if they hadn't been claimed. How many.
pub fn release(conn: &mut Conn, tokens: &[ClaimToken], retention: &Retention) -> Result<u64, Error> {
    take_back(conn, tokens, [(&released(retention), "TRUE")]).map(|[changed]| changed)
}

/// Makes the first of the changes to each task whose condition is so; how many had which. One that a handler's
/// transaction has locked is left for the next time: it must not keep the others.
fn take_back<const N: usize>(
    conn: &mut Conn,
    tokens: &[ClaimToken],
    changes: [(&str, &str); N],
) -> Result<[u64; N], Error> {
    let mut changed = [0; N];
    let mut tokens = tokens.to_vec();
    tokens.sort_unstable_by_key(|token| (token.worker_id, token.claim_count, token.id));
    for alike in tokens.chunk_by(|a, b| (a.worker_id, a.claim_count) == (b.worker_id, b.claim_count)) {
        for batch in alike.chunks(BATCH_MAX) {
            let Some(first) = batch.first() else { continue };
            let counts = in_transaction(conn, |conn| {
                let mut counts = [0; N];
                let found = rows::<(u64,)>(
                    conn,
                    &format!(
                        "SELECT id FROM ai_server_tasks FORCE INDEX (PRIMARY) WHERE {} \
                         AND state = 'running' AND worker_id = {} AND claim_count = {} FOR UPDATE SKIP LOCKED",
                        among(batch.iter().map(|token| token.id).collect()),
                        first.worker_id,
                        first.claim_count
                    ),
                )?;
                fault::point("take-back-locked");
                if found.is_empty() {
                    return Ok(counts);
                }
                let found = among(found.iter().map(|(id,)| *id).collect());
                for (count, (change, condition)) in counts.iter_mut().zip(changes) {
                    *count = execute(
                        conn,
                        &format!(
                            "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET {change} \
                             WHERE {found} AND state = 'running' AND {condition}"
                        ),
                    )?;
                }
                Ok(counts)
            })?;
            for (sum, count) in changed.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }
    Ok(changed)
}
