//! Looking for tasks that are due, without a lock.
//!
//! The server throws the index entries of claimed tasks away only some time later; while a transaction is left open
//! somewhere, not at all. A read that names a source and no time ends with the source's own entries. One that names a
//! time as well, and finds less than it may, goes on through the dead entries of whatever source comes next until it
//! meets one that lives: a second for a million of them, and several where it locks. So a read from a place is for
//! where tasks are known to be.

use std::collections::BTreeMap;

use mysql::{Conn, Error};

use super::rows;
use crate::db::IS_READ_ONLY;
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
    pub(super) fn condition(&self) -> String {
        format!(
            "kind = '{}' AND payload_version = {} AND queue = '{}' AND lane = {}",
            self.kind, self.version, self.queue, self.lane as u8
        )
    }
}

/// A place in the order of the index, within a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As the server writes it.
    pub due_at: String,
    pub id: u64,
}

impl Place {
    /// The one behind it.
    pub fn next(&self) -> Self {
        Self { id: self.id + 1, ..self.clone() }
    }

    /// From here on. Tasks that were enqueued together are due at the same moment, so the time alone doesn't tell.
    pub(super) fn condition(&self) -> String {
        let Self { due_at, id } = self;
        format!("(due_at > '{due_at}' OR (due_at = '{due_at}' AND id >= {id}))")
    }
}

/// The first tasks of a source.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub source: usize,
    /// So many at most.
    pub limit: usize,
    /// From a place, or from the source's beginning.
    pub from: Option<Place>,
    /// But not the first of them, which others are likely to claim.
    pub skip: usize,
}

/// What to look at. Sources go by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    pub alone: Vec<Part>,
    /// Of these it is only asked whether one of them has something.
    pub together: Vec<usize>,
    /// What was enqueued behind this id, whatever its source.
    pub behind: Option<u64>,
}

/// Tasks that were enqueued behind an id and are looked at together, at most.
pub const BEHIND_MAX: usize = 1000;

/// The first tasks of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub source: usize,
    /// Those that are due, in order.
    pub due: Vec<Place>,
    /// How long the first of them has waited; microseconds.
    pub waited_micros: i64,
    /// The first that isn't due, and how long until it will be; microseconds.
    pub ahead: Option<(Place, i64)>,
}

/// What is pending, and which gates are shut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub heads: Vec<Head>,
    /// One of those that were looked at together that has something.
    pub woken: Option<usize>,
    /// Kinds and queues.
    pub paused: Vec<(String, String)>,
    /// The last id that was given away.
    pub newest: u64,
    /// The last of those behind the id, where there may be more.
    pub behind_end: Option<u64>,
    /// Nothing can be claimed on this server.
    pub read_only: bool,
}

type Row = (u8, String, u16, String, u8, String, u64, i64);

/// Looks at what is pending.
pub fn look(conn: &mut Conn, sources: &[Source], view: &View) -> Result<Found, Error> {
    const TASK: &str = "kind, payload_version, queue, lane, CAST(due_at AS CHAR), id, \
        COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due_at), 0) FROM ai_server_tasks";
    let mut sql = format!(
        "SELECT 0, '', 0, '', 0, '', (SELECT COALESCE(MAX(id), 0) FROM ai_server_tasks), {IS_READ_ONLY} \
         UNION ALL SELECT 1, CONCAT(scope), 0, name, 0, '', 0, 0 FROM ai_server_gates WHERE paused",
    );
    let pending = "FORCE INDEX (due) WHERE state = 'pending' AND";
    for Part { source, limit, from, skip } in &view.alone {
        let condition = sources[*source].condition();
        let from = from.as_ref().map(|from| format!(" AND {}", from.condition())).unwrap_or_default();
        sql.push_str(&format!(
            " UNION ALL (SELECT 2, {TASK} {pending} {condition}{from} ORDER BY due_at, id LIMIT {skip}, {limit})"
        ));
    }
    if !view.together.is_empty() {
        let sources: Vec<&Source> = view.together.iter().map(|number| &sources[*number]).collect();
        sql.push_str(&format!(" UNION ALL (SELECT 3, {TASK} {pending} {} LIMIT 1)", any_of(&sources)));
    }
    if let Some(behind) = view.behind {
        sql.push_str(&format!(
            " UNION ALL (SELECT 4, {TASK} FORCE INDEX (PRIMARY) WHERE id > {behind} AND state = 'pending' \
             AND due_at <= UTC_TIMESTAMP(6) AND {} ORDER BY id LIMIT {BEHIND_MAX})",
            any_of(&sources.iter().collect::<Vec<_>>())
        ));
    }
    let mut found = Found::default();
    let mut behind = Vec::new();
    let mut tasks: BTreeMap<usize, Vec<(Place, i64)>> = BTreeMap::new();
    for (what, first, version, second, lane, due_at, id, wait_micros) in rows::<Row>(conn, &sql)? {
        let is_it = |source: &Source| {
            source.kind == first && source.version == version && source.queue == second && source.lane as u8 == lane
        };
        match what {
            0 => (found.newest, found.read_only) = (id, wait_micros != 0),
            1 => found.paused.push((first, second)),
            3 => found.woken = sources.iter().position(is_it),
            _ => {
                behind.extend((what == 4).then_some(id));
                if let Some(source) = sources.iter().position(is_it) {
                    tasks.entry(source).or_default().push((Place { due_at, id }, wait_micros));
                }
            }
        }
    }
    if behind.len() == BEHIND_MAX {
        found.behind_end = behind.into_iter().max();
    }
    found.heads = tasks.into_iter().map(|(source, tasks)| head(source, tasks)).collect();
    Ok(found)
}

fn head(source: usize, mut tasks: Vec<(Place, i64)>) -> Head {
    tasks.sort_unstable();
    // What was enqueued just now may be seen by both ways.
    tasks.dedup_by(|a, b| a.0 == b.0);
    let waited_micros = tasks.first().map_or(0, |(_, wait)| -wait);
    let (due, ahead): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|(_, wait)| *wait <= 0);
    let due = due.into_iter().map(|(place, _)| place).collect();
    Head { source, due, waited_micros, ahead: ahead.into_iter().next() }
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
