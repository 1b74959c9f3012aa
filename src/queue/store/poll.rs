//! Finding due tasks without locking them.
//!
//! The server removes the index entries of claimed tasks only later, and not at all while an old snapshot is open. A
//! query for a whole class stops at the end of the class. A query that starts at a time within the class and finds
//! fewer tasks than its limit does not stop there: it reads on through the dead entries of the following classes until
//! it finds a live one. A million dead entries take a second, or several if the query locks rows. So a query starts at
//! a [`Cursor`] only if tasks are known to exist there.

use std::collections::BTreeMap;

use mysql::{Conn, Error};

use super::literal::Fragment;
use super::{Cursor, from, rows};
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

const IN_CLASS: &str = "kind = :kind AND payload_version = :version AND queue = :queue AND priority = :priority";

impl TaskClass {
    /// True for the rows of the class.
    pub(super) fn condition(&self) -> Fragment {
        let Self { kind, version, queue, priority } = self;
        let priority = *priority as u8;
        Fragment(sql!(IN_CLASS, kind = *kind, version = *version, queue = *queue, priority = priority))
    }
}

/// A query for the first tasks of a class.
#[derive(Debug, PartialEq, Eq)]
pub struct ClassQuery {
    /// Index of the class.
    pub class: usize,
    pub limit: usize,
    /// Position of the first task; `None` is the beginning of the class.
    pub from: Option<Cursor>,
}

/// The tasks that a poll asks for. Classes are given by their index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    /// Classes whose first tasks are wanted.
    pub alone: Vec<ClassQuery>,
    /// Classes that share one query, which returns the first task that it finds in any of them.
    pub together: Vec<usize>,
    /// If set, the poll also finds the due tasks of all classes with a larger id.
    pub newer_than: Option<u64>,
}

/// Maximum number of tasks that a query for newer tasks returns.
pub const NEWER_MAX: usize = 1000;

/// The first tasks of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTasks {
    pub class: usize,
    /// The due tasks in order.
    pub due: Vec<Cursor>,
    /// How long the first of them has been due.
    pub waited_micros: i64,
    /// The first task that is not due yet, and the microseconds until it is.
    pub ahead: Option<(Cursor, i64)>,
}

/// The result of a poll.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PollResult {
    pub heads: Vec<DueTasks>,
    /// A class in [`PollRequest::together`] that has a task, if any.
    pub woken: Option<usize>,
    /// The paused kinds and queues, as scope and name.
    pub paused: Vec<(String, String)>,
    /// The largest id in the table.
    pub newest: u64,
    /// The last of the newer tasks that were read, if there may be more.
    pub newer_end: Option<u64>,
    /// True if the server is read-only, so nothing can be claimed.
    pub read_only: bool,
}

/// Which part of a poll's statement a row comes from.
mod part {
    pub const SERVER: u8 = 0;
    pub const PAUSED: u8 = 1;
    pub const CLASS: u8 = 2;
    pub const TOGETHER: u8 = 3;
    pub const NEWER: u8 = 4;
}

/// Part, kind (or scope), version, queue (or name), priority, `next_action_at`, id, microseconds until it is due.
type PollRow = (u8, String, u16, String, u8, String, u64, i64);

const SERVER_AND_PAUSED: &str = "SELECT 0, '', 0, '', 0, '', (SELECT COALESCE(MAX(id), 0) FROM ai_server_tasks), \
    :is_read_only \
    UNION ALL SELECT 1, CONCAT(scope), 0, name, 0, '', 0, 0 FROM ai_server_controls WHERE paused";
const CLASS: &str = " UNION ALL (SELECT 2, :columns FROM ai_server_tasks FORCE INDEX (by_class) \
    WHERE state = 'pending' AND :class AND :from ORDER BY next_action_at, id LIMIT :limit)";
const TOGETHER: &str = " UNION ALL (SELECT 3, :columns FROM ai_server_tasks FORCE INDEX (by_class) \
    WHERE state = 'pending' AND :classes LIMIT 1)";
const NEWER: &str = " UNION ALL (SELECT 4, :columns FROM ai_server_tasks FORCE INDEX (PRIMARY) \
    WHERE id > :newer_than AND state = 'pending' AND next_action_at <= UTC_TIMESTAMP(6) AND :classes \
    ORDER BY id LIMIT :limit)";
const COLUMNS: &str = "kind, payload_version, queue, priority, CAST(next_action_at AS CHAR), id, \
    COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), next_action_at), 0)";

/// Reads which tasks are pending and what is paused.
pub fn fetch_due(conn: &mut Conn, classes: &[TaskClass], request: &PollRequest) -> Result<PollResult, Error> {
    let mut found = PollResult::default();
    let mut newer = Vec::new();
    let mut tasks: BTreeMap<usize, Vec<(Cursor, i64)>> = BTreeMap::new();
    for row in rows::<PollRow>(conn, &statement(classes, request))? {
        let (part, kind, version, queue, priority, next_action_at, id, wait_micros) = row;
        let matches = |class: &TaskClass| {
            class.kind == kind && class.version == version && class.queue == queue && class.priority as u8 == priority
        };
        match part {
            part::SERVER => (found.newest, found.read_only) = (id, wait_micros != 0),
            part::PAUSED => found.paused.push((kind, queue)),
            part::TOGETHER => found.woken = classes.iter().position(matches),
            part::CLASS | part::NEWER => {
                newer.extend((part == part::NEWER).then_some(id));
                if let Some(class) = classes.iter().position(matches) {
                    tasks.entry(class).or_default().push((Cursor { next_action_at, id }, wait_micros));
                }
            }
            _ => unreachable!("a poll's statement has no part {part}"),
        }
    }
    if newer.len() == NEWER_MAX {
        found.newer_end = newer.into_iter().max();
    }
    found.heads = tasks.into_iter().map(|(class, tasks)| head(class, tasks)).collect();
    Ok(found)
}

/// Returns one statement for all parts of the poll.
fn statement(classes: &[TaskClass], request: &PollRequest) -> String {
    let columns = || Fragment(COLUMNS.to_owned());
    let mut sql = sql!(SERVER_AND_PAUSED, is_read_only = Fragment(IS_READ_ONLY.to_owned()));
    for ClassQuery { class, limit, from: start } in &request.alone {
        sql.push_str(&sql!(
            CLASS,
            columns = columns(),
            class = classes[*class].condition(),
            from = from(start.as_ref()),
            limit = *limit,
        ));
    }
    if !request.together.is_empty() {
        let classes = any_of(request.together.iter().map(|index| &classes[*index]));
        sql.push_str(&sql!(TOGETHER, columns = columns(), classes = classes));
    }
    if let Some(newer_than) = request.newer_than {
        let classes = any_of(classes.iter());
        sql.push_str(&sql!(NEWER, columns = columns(), newer_than = newer_than, classes = classes, limit = NEWER_MAX));
    }
    sql
}

fn head(class: usize, mut tasks: Vec<(Cursor, i64)>) -> DueTasks {
    tasks.sort_unstable();
    // The class's query and the query for newer tasks may have found the same task.
    tasks.dedup_by(|a, b| a.0 == b.0);
    let waited_micros = tasks.first().map_or(0, |(_, wait)| -wait);
    let (due, ahead): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|(_, wait)| *wait <= 0);
    let due = due.into_iter().map(|(cursor, _)| cursor).collect();
    DueTasks { class, due, waited_micros, ahead: ahead.into_iter().next() }
}

/// True for the tasks of any of the classes. Kinds that have the same versions, queues and priorities share one
/// condition, which keeps the statement short.
fn any_of<'c>(classes: impl Iterator<Item = &'c TaskClass>) -> Fragment {
    let mut by_kind: BTreeMap<&str, BTreeMap<(u16, &str), Vec<String>>> = BTreeMap::new();
    for class in classes {
        let priorities = by_kind.entry(&class.kind).or_default().entry((class.version, &class.queue)).or_default();
        priorities.push((class.priority as u8).to_string());
    }
    let mut kinds_by_condition: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (kind, queues) in by_kind {
        let conditions: Vec<String> = queues
            .into_iter()
            .map(|((version, queue), priorities)| {
                let priorities = priorities.join(", ");
                format!("(payload_version = {version} AND queue = '{queue}' AND priority IN ({priorities}))")
            })
            .collect();
        kinds_by_condition.entry(conditions.join(" OR ")).or_default().push(format!("'{kind}'"));
    }
    let any: Vec<String> = kinds_by_condition
        .into_iter()
        .map(|(condition, kinds)| format!("(kind IN ({}) AND ({condition}))", kinds.join(", ")))
        .collect();
    Fragment(format!("({})", any.join(" OR ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_with_the_same_queues_share_a_condition() {
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
            any_of(classes.iter()).0,
            "((kind IN ('b') AND ((payload_version = 1 AND queue = 'q' AND priority IN (0)))) OR \
             (kind IN ('a', 'c') AND ((payload_version = 1 AND queue = 'q' AND priority IN (0, 2)))))"
        );
    }
}
