//! The states of a task.

use mysql::prelude::FromValue;
use mysql::{FromValueError, Value};
use serde::Serialize;

/// The state of a task. Only an operator changes a final state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Running,
    Succeeded,
    Dead,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Succeeded, Self::Dead, Self::Cancelled];
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Dead, Self::Cancelled];

    /// Returns the column's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    pub fn is_final(self) -> bool {
        Self::FINAL.contains(&self)
    }
}

impl FromValue for State {
    type Intermediate = Self;
}

impl TryFrom<Value> for State {
    type Error = FromValueError;

    fn try_from(value: Value) -> Result<Self, FromValueError> {
        let Value::Bytes(name) = &value else { return Err(FromValueError(value)) };
        Self::ALL.into_iter().find(|state| state.name().as_bytes() == name).ok_or(FromValueError(value))
    }
}
