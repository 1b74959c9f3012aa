//! Groups of tasks that have the same values in the columns of the index `by_class` before `next_action_at`. The server
//! can skip from one group to the next in the index, so listing groups is cheap, however many tasks there are.

use mysql::{Conn, Error};

use super::literal::Fragment;
use super::rows;
use crate::queue::state::State;

/// Tasks with the same values in these columns. Within a group the index orders them by `next_action_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskGroup {
    pub state: State,
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub priority: u8,
}

read_columns!(TaskGroup: state, kind, version, queue, priority);

/// Which tasks to list. An empty list of states means all states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    pub states: Vec<State>,
    pub kind: Option<String>,
    pub queue: Option<String>,
}

impl TaskFilter {
    /// Selects the tasks in any of these states.
    pub fn states(states: &[State]) -> Self {
        Self { states: states.to_vec(), ..Self::default() }
    }

    /// True if the filter selects all tasks.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

const IN_GROUP: &str = "state = :state AND kind = :kind AND payload_version = :version AND queue = :queue \
    AND priority = :priority";

impl TaskGroup {
    /// True for the rows of the group.
    pub(super) fn condition(&self) -> Fragment {
        let Self { state, kind, version, queue, priority } = self;
        let state = state.name();
        Fragment(sql!(IN_GROUP, state = state, kind = *kind, version = *version, queue = *queue, priority = *priority))
    }
}

/// Only columns are selected: with an expression among them the server would read every index entry.
const SELECT_GROUPS: &str = "SELECT DISTINCT state, kind, payload_version, queue, priority \
    FROM ai_server_tasks FORCE INDEX (by_class) WHERE state IN (:states):and_kind:and_queue";

/// Returns the groups that have tasks, in the order of the index.
pub fn groups(conn: &mut Conn, filter: &TaskFilter) -> Result<Vec<TaskGroup>, Error> {
    let states: &[State] = if filter.states.is_empty() { &State::ALL } else { &filter.states };
    let names: Vec<String> = states.iter().map(|state| format!("'{}'", state.name())).collect();
    let and = |condition: &str, value: &Option<String>| {
        Fragment(value.as_ref().map_or_else(String::new, |value| sql!(condition, value = *value)))
    };
    let select = sql!(
        SELECT_GROUPS,
        states = Fragment(names.join(", ")),
        and_kind = and(" AND kind = :value", &filter.kind),
        and_queue = and(" AND queue = :value", &filter.queue),
    );
    rows(conn, &select)
}
