//! Finding tasks that are due, and claiming them.

use std::collections::BTreeMap;

use mysql::{Conn, Error};

use super::{among, execute, interval, rows};
use crate::fault;
use crate::queue::LEASE;
use crate::queue::outlook::Outlook;
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

/// A place in the order of the index, within a source: no task before it is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As the server writes it.
    pub due_at: String,
    pub id: u64,
}

impl Place {
    /// From here on. Tasks that were enqueued together are due at the same moment, so the time alone doesn't tell.
    fn condition(&self) -> String {
        let Self { due_at, id } = self;
        format!("(due_at > '{due_at}' OR (due_at = '{due_at}' AND id >= {id}))")
    }
}

/// The first task of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Index of the source.
    pub source: usize,
    pub place: Place,
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

/// Looks at the first task of each busy source, and at the first of any quiet one, without a lock. With `floored`, a
/// busy source's tasks before its floor aren't seen.
pub fn look(conn: &mut Conn, sources: &[Source], outlook: &Outlook, floored: bool) -> Result<Found, Error> {
    const HEAD: &str = "kind, payload_version, queue, lane, CAST(due_at AS CHAR), id, \
        COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due_at), 0) FROM ai_server_tasks FORCE INDEX (due) \
        WHERE state = 'pending'";
    let mut sql = String::from(
        "SELECT 0, '', 0, '', 0, CAST(UTC_TIMESTAMP(6) AS CHAR), 0, 0 \
         UNION ALL SELECT 1, CONCAT(scope), 0, name, 0, '', 0, 0 FROM ai_server_gates WHERE paused",
    );
    for (number, floor) in outlook.busy() {
        let condition = sources[number].condition();
        let above = if floored { format!(" AND {}", floor.condition()) } else { String::new() };
        sql.push_str(&format!(" UNION ALL (SELECT 2, {HEAD} AND {condition}{above} ORDER BY due_at, id LIMIT 1)"));
    }
    let quiet: Vec<&Source> = outlook.quiet().map(|number| &sources[number]).collect();
    if !quiet.is_empty() {
        sql.push_str(&format!(" UNION ALL (SELECT 2, {HEAD} AND {} LIMIT 1)", any_of(&quiet)));
    }
    let mut found = Found::default();
    type Row = (u8, String, u16, String, u8, String, u64, i64);
    for (what, first, version, second, lane, due_at, id, wait_micros) in rows::<Row>(conn, &sql)? {
        let is_it = |source: &Source| {
            source.kind == first && source.version == version && source.queue == second && source.lane as u8 == lane
        };
        match what {
            0 => found.now = due_at,
            1 => found.paused.push((first, second)),
            _ => {
                let place = Place { due_at, id };
                found.heads.extend(sources.iter().position(is_it).map(|source| Head { source, place, wait_micros }));
            }
        }
    }
    Ok(found)
}

/// The tasks of any of the sources, in as few words as may be: kinds that have the same versions, queues and lanes among
/// them go together.
fn any_of(sources: &[&Source]) -> String {
    let mut of_kind: BTreeMap<&str, BTreeMap<(u16, &str), Vec<String>>> = BTreeMap::new();
    for source in sources {
        let lanes = of_kind.entry(&source.kind).or_default().entry((source.version, &source.queue)).or_default();
        lanes.push((source.lane as u8).to_string());
    }
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (kind, places) in of_kind {
        let places: Vec<String> = places
            .into_iter()
            .map(|((version, queue), lanes)| {
                format!("(payload_version = {version} AND queue = '{queue}' AND lane IN ({}))", lanes.join(", "))
            })
            .collect();
        alike.entry(places.join(" OR ")).or_default().push(format!("'{kind}'"));
    }
    let groups: Vec<String> =
        alike.into_iter().map(|(places, kinds)| format!("(kind IN ({}) AND ({places}))", kinds.join(", "))).collect();
    format!("({})", groups.join(" OR "))
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
    /// As the server writes it.
    pub due_at: String,
    /// Since then.
    pub waited_micros: i64,
}

type Row = (u64, String, u32, u32, u32, u32, u32, String, i64);

/// Claims the first tasks of a source, at most `limit`. They run from the commit on, which has succeeded when this
/// returns. `from` is where its first task was seen. `fleet_limit` is how many of the kind may run among all workers.
///
/// A lost connection leaves it open whether the claim was committed; what it has claimed then is found by its owner.
pub fn claim(
    conn: &mut Conn,
    source: &Source,
    from: &Place,
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
    from: &Place,
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
        let select = format!(
            "SELECT id, payload, claims, failures, crashes, max_attempts, timeout_ms, due_at, \
             COALESCE(TIMESTAMPDIFF(MICROSECOND, due_at, UTC_TIMESTAMP(6)), 0) FROM ai_server_tasks FORCE INDEX (due) \
             WHERE state = 'pending' AND {} AND {} AND due_at <= UTC_TIMESTAMP(6) \
             ORDER BY due_at, id LIMIT {limit} FOR UPDATE SKIP LOCKED",
            source.condition(),
            from.condition()
        );
        log::trace!("{select}");
        rows(conn, &format!("{begin}{select}"))?
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
             started_at = UTC_TIMESTAMP(6), due_at = UTC_TIMESTAMP(6) + {} WHERE {} AND state = 'pending'; COMMIT",
            interval(LEASE),
            among(found.iter().map(|row| row.0).collect())
        ),
    )?;
    fault::point("claim-committed");
    let claimed = found.into_iter().map(
        |(id, payload, claims, failures, crashes, max_attempts, timeout_ms, due_at, waited_micros)| Claimed {
            id,
            payload,
            claims: claims + 1,
            failures,
            crashes,
            max_attempts,
            timeout_ms,
            due_at,
            waited_micros,
        },
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_alike_go_together() {
        let source = |kind: &str, lane| Source { kind: kind.to_owned(), version: 1, queue: "q".to_owned(), lane };
        let sources = [
            source("a", Lane::Urgent),
            source("b", Lane::Urgent),
            source("c", Lane::Urgent),
            source("a", Lane::Bulk),
            source("c", Lane::Bulk),
        ];
        assert_eq!(
            any_of(&sources.iter().collect::<Vec<_>>()),
            "((kind IN ('b') AND ((payload_version = 1 AND queue = 'q' AND lane IN (0)))) OR \
             (kind IN ('a', 'c') AND ((payload_version = 1 AND queue = 'q' AND lane IN (0, 2)))))"
        );
    }
}
