//! Looking for tasks that are due, without a lock.
//!
//! The server throws the index entries of claimed tasks away only some time later; while a transaction is left open
//! somewhere, not at all. A read that names a class and no time ends with the class's own entries. One that names a
//! time as well, and finds less than it may, goes on through the dead entries of whatever class comes next until it
//! meets one that lives: a second for a million of them, and several where it locks. So a read from a place is for
//! where tasks are known to be.

use std::collections::BTreeMap;

use mysql::{Conn, Error};

use super::rows;
use crate::db::IS_READ_ONLY;
use crate::queue::payload::Priority;

/// Tasks that are claimed together, in the order of the index `by_class`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskClass {
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub priority: Priority,
}

impl TaskClass {
    pub(super) fn condition(&self) -> String {
        format!(
            "kind = '{}' AND payload_version = {} AND queue = '{}' AND priority = {}",
            self.kind, self.version, self.queue, self.priority as u8
        )
    }
}

/// A place in the order of the index, within a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// As the server writes it.
    pub next_action_at: String,
    pub id: u64,
}

impl Cursor {
    /// The one behind it.
    pub fn next(&self) -> Self {
        Self { id: self.id + 1, ..self.clone() }
    }

    /// From here on. Tasks that were enqueued together are due at the same moment, so the time alone doesn't tell.
    pub(super) fn condition(&self) -> String {
        let Self { next_action_at, id } = self;
        format!("(next_action_at > '{next_action_at}' OR (next_action_at = '{next_action_at}' AND id >= {id}))")
    }
}

/// The first tasks of a class.
#[derive(Debug, PartialEq, Eq)]
pub struct ClassQuery {
    pub class: usize,
    /// So many at most.
    pub limit: usize,
    /// From a place, or from the class's beginning.
    pub from: Option<Cursor>,
}

/// What to look at. Sources go by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    pub alone: Vec<ClassQuery>,
    /// Of these it is only asked whether one of them has something.
    pub together: Vec<usize>,
    /// What was enqueued behind this id, whatever its class.
    pub newer_than: Option<u64>,
}

/// Tasks that were enqueued behind an id and are looked at together, at most.
pub const NEWER_MAX: usize = 1000;

/// The first tasks of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTasks {
    pub class: usize,
    /// Those that are due, in order.
    pub due: Vec<Cursor>,
    /// How long the first of them has waited; microseconds.
    pub waited_micros: i64,
    /// The first that isn't due, and how long until it will be; microseconds.
    pub ahead: Option<(Cursor, i64)>,
}

/// What is pending, and which gates are shut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PollResult {
    pub heads: Vec<DueTasks>,
    /// One of those that were looked at together that has something.
    pub woken: Option<usize>,
    /// Kinds and queues.
    pub paused: Vec<(String, String)>,
    /// The last id that was given away.
    pub newest: u64,
    /// The last of those behind the id, where there may be more.
    pub newer_end: Option<u64>,
    /// Nothing can be claimed on this server.
    pub read_only: bool,
}

type Row = (u8, String, u16, String, u8, String, u64, i64);

/// Looks at what is pending.
pub fn fetch_due(conn: &mut Conn, classes: &[TaskClass], request: &PollRequest) -> Result<PollResult, Error> {
    const TASK: &str = "kind, payload_version, queue, priority, CAST(next_action_at AS CHAR), id, \
        COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), next_action_at), 0) FROM ai_server_tasks";
    let mut sql = format!(
        "SELECT 0, '', 0, '', 0, '', (SELECT COALESCE(MAX(id), 0) FROM ai_server_tasks), {IS_READ_ONLY} \
         UNION ALL SELECT 1, CONCAT(scope), 0, name, 0, '', 0, 0 FROM ai_server_controls WHERE paused",
    );
    let pending = "FORCE INDEX (by_class) WHERE state = 'pending' AND";
    for ClassQuery { class, limit, from } in &request.alone {
        let condition = classes[*class].condition();
        let from = from.as_ref().map(|from| format!(" AND {}", from.condition())).unwrap_or_default();
        sql.push_str(&format!(
            " UNION ALL (SELECT 2, {TASK} {pending} {condition}{from} ORDER BY next_action_at, id LIMIT {limit})"
        ));
    }
    if !request.together.is_empty() {
        let classes: Vec<&TaskClass> = request.together.iter().map(|number| &classes[*number]).collect();
        sql.push_str(&format!(" UNION ALL (SELECT 3, {TASK} {pending} {} LIMIT 1)", any_of(&classes)));
    }
    if let Some(newer_than) = request.newer_than {
        sql.push_str(&format!(
            " UNION ALL (SELECT 4, {TASK} FORCE INDEX (PRIMARY) WHERE id > {newer_than} AND state = 'pending' \
             AND next_action_at <= UTC_TIMESTAMP(6) AND {} ORDER BY id LIMIT {NEWER_MAX})",
            any_of(&classes.iter().collect::<Vec<_>>())
        ));
    }
    let mut found = PollResult::default();
    let mut newer_than = Vec::new();
    let mut tasks: BTreeMap<usize, Vec<(Cursor, i64)>> = BTreeMap::new();
    for (what, first, version, second, priority, next_action_at, id, wait_micros) in rows::<Row>(conn, &sql)? {
        let is_it = |class: &TaskClass| {
            class.kind == first && class.version == version && class.queue == second && class.priority as u8 == priority
        };
        match what {
            0 => (found.newest, found.read_only) = (id, wait_micros != 0),
            1 => found.paused.push((first, second)),
            3 => found.woken = classes.iter().position(is_it),
            _ => {
                newer_than.extend((what == 4).then_some(id));
                if let Some(class) = classes.iter().position(is_it) {
                    tasks.entry(class).or_default().push((Cursor { next_action_at, id }, wait_micros));
                }
            }
        }
    }
    if newer_than.len() == NEWER_MAX {
        found.newer_end = newer_than.into_iter().max();
    }
    found.heads = tasks.into_iter().map(|(class, tasks)| head(class, tasks)).collect();
    Ok(found)
}

fn head(class: usize, mut tasks: Vec<(Cursor, i64)>) -> DueTasks {
    tasks.sort_unstable();
    // What was enqueued just now may be seen by both ways.
    tasks.dedup_by(|a, b| a.0 == b.0);
    let waited_micros = tasks.first().map_or(0, |(_, wait)| -wait);
    let (due, ahead): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|(_, wait)| *wait <= 0);
    let due = due.into_iter().map(|(place, _)| place).collect();
    DueTasks { class, due, waited_micros, ahead: ahead.into_iter().next() }
}

/// The tasks of any of the classes, in as few words as may be: kinds that have the same versions, queues and priorities among
/// them go together.
fn any_of(classes: &[&TaskClass]) -> String {
    let mut of_kind: BTreeMap<&str, BTreeMap<(u16, &str), Vec<String>>> = BTreeMap::new();
    for class in classes {
        let priorities = of_kind.entry(&class.kind).or_default().entry((class.version, &class.queue)).or_default();
        priorities.push((class.priority as u8).to_string());
    }
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (kind, places) in of_kind {
        let places: Vec<String> = places
            .into_iter()
            .map(|((version, queue), priorities)| {
                format!(
                    "(payload_version = {version} AND queue = '{queue}' AND priority IN ({}))",
                    priorities.join(", ")
                )
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
        let class =
            |kind: &str, priority| TaskClass { kind: kind.to_owned(), version: 1, queue: "q".to_owned(), priority };
        let classes = [
            class("a", Priority::Urgent),
            class("b", Priority::Urgent),
            class("c", Priority::Urgent),
            class("a", Priority::Bulk),
            class("c", Priority::Bulk),
        ];
        assert_eq!(
            any_of(&classes.iter().collect::<Vec<_>>()),
            "((kind IN ('b') AND ((payload_version = 1 AND queue = 'q' AND priority IN (0)))) OR \
             (kind IN ('a', 'c') AND ((payload_version = 1 AND queue = 'q' AND priority IN (0, 2)))))"
        );
    }
}
