//! Finding tasks that are due, and claiming them.

use mysql::{Conn, Error};

use super::{among, execute, interval, rows};
use crate::fault;
use crate::queue::LEASE;
use crate::queue::task::Lane;

/// Tasks that are claimed together, in the order of the index `due`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub lane: Lane,
}

impl Source {
    fn condition(&self) -> String {
        format!(
            "kind = '{}' AND payload_version = {} AND queue = '{}' AND lane = {}",
            self.kind, self.version, self.queue, self.lane as u8
        )
    }
}

/// The first task of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Index of the source.
    pub source: usize,
    /// As the server writes it.
    pub due_at: String,
    /// Until it is due; microseconds. Not above 0 is due.
    pub wait_micros: i64,
}

/// What is pending, and which gates are shut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// By the server's clock.
    pub now: String,
    pub heads: Vec<Head>,
    /// Kinds and queues.
    pub paused: Vec<(String, String)>,
}

/// Looks at the first task of each source, without a lock. A floor hides the tasks that are due before it: behind an
/// old snapshot the index still has the entries of all tasks since, and to pass them takes longer than all the rest.
pub fn look<'a>(
    conn: &mut Conn,
    sources: impl Iterator<Item = (usize, &'a Source, Option<&'a str>)>,
) -> Result<Found, Error> {
    let mut sql = String::from(
        "SELECT -1, CAST(UTC_TIMESTAMP(6) AS CHAR), 0 \
         UNION ALL SELECT -2, CONCAT(scope, ':', name), 0 FROM ai_server_gates WHERE paused",
    );
    for (number, source, floor) in sources {
        let floor = floor.map(|floor| format!(" AND due_at >= '{floor}'")).unwrap_or_default();
        sql.push_str(&format!(
            " UNION ALL (SELECT {number}, CAST(due_at AS CHAR), TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due_at) \
             FROM ai_server_tasks FORCE INDEX (due) WHERE state = 'pending' AND {}{floor} ORDER BY due_at LIMIT 1)",
            source.condition()
        ));
    }
    let mut found = Found::default();
    for (number, text, wait_micros) in rows::<(i64, String, i64)>(conn, &sql)? {
        match usize::try_from(number) {
            Ok(source) => found.heads.push(Head { source, due_at: text, wait_micros }),
            Err(_) if number == -1 => found.now = text,
            Err(_) => found.paused.extend(text.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))),
        }
    }
    Ok(found)
}

/// A row that was claimed.
#[derive(Debug)]
pub struct Claimed {
    pub id: u64,
    pub payload: String,
    /// This claim's number.
    pub claims: u32,
    pub failures: u32,
    pub crashes: u32,
    pub max_attempts: u32,
    pub timeout_ms: u32,
    /// From when it was due.
    pub waited_micros: i64,
}

type Row = (u64, String, u32, u32, u32, u32, u32, i64);

/// Claims the first tasks of a source, at most `limit`. They run from the commit on, which has succeeded when this
/// returns. `from` is where its first task was seen. `fleet_limit` is how many of the kind may run among all workers.
///
/// A lost connection leaves it open whether the claim was committed; what it has claimed then is found by its owner.
pub fn claim(
    conn: &mut Conn,
    source: &Source,
    from: &str,
    limit: usize,
    fleet_limit: Option<u32>,
    owner: u64,
) -> Result<Vec<Claimed>, Error> {
    let claimed = claim_open(conn, source, from, limit, fleet_limit, owner);
    if claimed.is_err() {
        // The next statement must not find a transaction; a connection that is lost has none.
        drop(execute(conn, "ROLLBACK"));
    }
    claimed
}

fn claim_open(
    conn: &mut Conn,
    source: &Source,
    from: &str,
    limit: usize,
    fleet_limit: Option<u32>,
    owner: u64,
) -> Result<Vec<Claimed>, Error> {
    let mut begin = "START TRANSACTION; ";
    let mut limit = limit;
    if let Some(most) = fleet_limit {
        begin = "";
        let room = u64::from(most).saturating_sub(count_behind_gate(conn, &source.kind)?);
        limit = limit.min(usize::try_from(room).unwrap_or(usize::MAX));
    }
    let found: Vec<Row> = if limit == 0 {
        Vec::new()
    } else {
        // The index gives the order: with a sort InnoDB would lock every row that it looks at.
        rows(
            conn,
            &format!(
                "{begin}SELECT id, payload, claims, failures, crashes, max_attempts, timeout_ms, \
                 TIMESTAMPDIFF(MICROSECOND, due_at, UTC_TIMESTAMP(6)) FROM ai_server_tasks FORCE INDEX (due) \
                 WHERE state = 'pending' AND {} AND due_at >= '{from}' AND due_at <= UTC_TIMESTAMP(6) \
                 ORDER BY due_at, id LIMIT {limit} FOR UPDATE SKIP LOCKED",
                source.condition()
            ),
        )?
    };
    fault::point("claim-locked");
    if found.is_empty() {
        execute(conn, "ROLLBACK")?;
        return Ok(Vec::new());
    }
    execute(
        conn,
        &format!(
            "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET state = 'running', owner = {owner}, claims = claims + 1, \
             started_at = UTC_TIMESTAMP(6), due_at = UTC_TIMESTAMP(6) + {} WHERE {}; COMMIT",
            interval(LEASE),
            among(found.iter().map(|row| row.0).collect())
        ),
    )?;
    fault::point("claim-committed");
    let claimed =
        found.into_iter().map(|(id, payload, claims, failures, crashes, max_attempts, timeout_ms, waited_micros)| {
            Claimed { id, payload, claims: claims + 1, failures, crashes, max_attempts, timeout_ms, waited_micros }
        });
    Ok(claimed.collect())
}

/// Begins the transaction, lets no other claim of this kind pass until its end, and counts those that run.
fn count_behind_gate(conn: &mut Conn, kind: &str) -> Result<u64, Error> {
    execute(
        conn,
        &format!(
            "START TRANSACTION; SELECT 1 FROM ai_server_gates WHERE scope = 'kind' AND name = '{kind}' FOR UPDATE"
        ),
    )?;
    let counted = rows::<(u64,)>(
        conn,
        &format!("SELECT COUNT(*) FROM ai_server_tasks FORCE INDEX (due) WHERE state = 'running' AND kind = '{kind}'"),
    )?;
    Ok(counted.first().map_or(0, |(count,)| *count))
}

/// Makes sure that a kind with a limit has a gate for its claims to pass through.
pub fn ensure_gate(conn: &mut Conn, kind: &str) -> Result<(), Error> {
    execute(conn, &format!("INSERT IGNORE INTO ai_server_gates (scope, name) VALUES ('kind', '{kind}')")).map(drop)
}
