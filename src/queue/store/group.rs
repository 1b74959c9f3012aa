//! Groups of tasks, as the index `by_class` has them. It jumps from one to the next, so that to name them all costs little,
//! however many tasks there are; within one its order is that of `next_action_at`.

use mysql::{Conn, Error};

use super::rows;
use crate::db::quote_text;
use crate::queue::state::State;

/// Tasks that are alike in what the index has before `next_action_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub state: State,
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub priority: u8,
}

/// Which tasks are meant; no state is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub states: Vec<State>,
    pub kind: Option<String>,
    pub queue: Option<String>,
}

impl Filter {
    /// Tasks in these states.
    pub fn states(states: &[State]) -> Self {
        Self { states: states.to_vec(), ..Self::default() }
    }

    /// Whether every task is meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Group {
    /// The rows that it is about, in SQL.
    pub fn condition(&self) -> String {
        format!(
            "state = '{}' AND kind = {} AND payload_version = {} AND queue = {} AND priority = {}",
            self.state.name(),
            quote_text(&self.kind),
            self.version,
            quote_text(&self.queue),
            self.priority
        )
    }
}

/// The groups that have tasks, in the index's order.
pub fn groups(conn: &mut Conn, filter: &Filter) -> Result<Vec<Group>, Error> {
    let states: &[State] = if filter.states.is_empty() { &State::ALL } else { &filter.states };
    let names: Vec<String> = states.iter().map(|state| format!("'{}'", state.name())).collect();
    let and = |column: &str, value: &Option<String>| {
        value.as_deref().map(|value| format!(" AND {column} = {}", quote_text(value))).unwrap_or_default()
    };
    // The bare columns: with an expression among them every index entry would be read.
    let found = rows::<(String, String, u16, String, u8)>(
        conn,
        &format!(
            "SELECT DISTINCT state, kind, payload_version, queue, priority FROM ai_server_tasks FORCE INDEX (by_class) \
             WHERE state IN ({}){}{}",
            names.join(", "),
            and("kind", &filter.kind),
            and("queue", &filter.queue)
        ),
    )?;
    let group = |(state, kind, version, queue, priority): (String, _, _, _, _)| {
        Some(Group { state: State::named(&state)?, kind, version, queue, priority })
    };
    Ok(found.into_iter().filter_map(group).collect())
}
