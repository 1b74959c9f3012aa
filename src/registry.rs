//! The list of what a worker runs.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::periodic::PeriodicTask;

/// A task's name in logs, metrics and on the command line; bytes.
const NAME_LENGTH_MAX: usize = 64;

/// The tasks of a binary. Made in one place, and handed to [`crate::main`].
#[derive(Default)]
pub struct Registry {
    pub(crate) periodic: Vec<Box<dyn PeriodicTask>>,
}

impl Registry {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a periodic task.
    #[must_use]
    pub fn periodic(mut self, task: impl PeriodicTask + 'static) -> Self {
        self.periodic.push(Box::new(task));
        self
    }

    /// Whether every task can be run.
    ///
    /// # Errors
    /// Names the task that has no proper name, a name that another one has, or an interval of zero.
    pub(crate) fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for task in &self.periodic {
            let name = task.name();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(plain) {
                return Err(Error::usage(format!(
                    "`{name}` can't be a task's name; use letters, digits, `_`, `-` and `.`, at most {NAME_LENGTH_MAX}"
                )));
            }
            if !names.insert(name) {
                return Err(Error::usage(format!(
                    "two periodic tasks are named `{name}`; give one of them another name"
                )));
            }
            if task.interval().is_zero() {
                return Err(Error::usage(format!(
                    "the interval of the periodic task `{name}` is zero; make it longer"
                )));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.periodic.iter().map(|task| task.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::periodic::{PeriodicContext, TaskError};

    struct Task(&'static str, u64);

    impl PeriodicTask for Task {
        fn name(&self) -> &str {
            self.0
        }
        fn interval(&self) -> Duration {
            Duration::from_secs(self.1)
        }
        fn execute(&mut self, _: &PeriodicContext<'_>) -> Result<(), TaskError> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_run_is_refused_at_the_start() {
        assert!(Registry::new().periodic(Task("a", 1)).periodic(Task("b", 1)).check().is_ok());
        for (registry, part) in [
            (Registry::new().periodic(Task("a", 1)).periodic(Task("a", 2)), "two periodic tasks are named `a`"),
            (Registry::new().periodic(Task("a", 0)), "the interval of the periodic task `a` is zero"),
            (Registry::new().periodic(Task("", 1)), "`` can't be a task's name"),
            (Registry::new().periodic(Task("a b", 1)), "`a b` can't be a task's name"),
        ] {
            let message = registry.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
