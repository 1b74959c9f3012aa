//! The list of what a worker runs.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::periodic::PeriodicTask;
use crate::queue::{CommandTask, DatabaseTask, Kind, PLAIN, is_plain};

/// The tasks of a binary. Made in one place, and handed to [`crate::main`].
#[derive(Default)]
pub struct Registry {
    pub(crate) periodic: Vec<Box<dyn PeriodicTask>>,
    pub(crate) kinds: Vec<Arc<Kind>>,
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

    /// Adds a database task.
    #[must_use]
    pub fn task(mut self, task: impl DatabaseTask + 'static) -> Self {
        self.kinds.push(Arc::new(Kind::of_task(task)));
        self
    }

    /// Adds a database task that is any program.
    #[must_use]
    pub fn command(mut self, task: CommandTask) -> Self {
        self.kinds.push(Arc::new(Kind::of_command(task)));
        self
    }

    /// Whether every task can be run.
    ///
    /// # Errors
    /// Names the task that has no proper name, a name that another one has, or a number of zero where that means
    /// nothing.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_periodic()?;
        self.check_kinds()
    }

    fn check_kinds(&self) -> Result<()> {
        let mut names = HashSet::new();
        for kind in &self.kinds {
            let name = &kind.name;
            for (what, text) in [("kind", name), ("queue", &kind.queue)] {
                if !is_plain(text) {
                    return Err(Error::usage(format!("`{text}` can't be a {what}'s name; {PLAIN}")));
                }
            }
            if !names.insert(name) {
                return Err(Error::usage(format!(
                    "two database tasks are of the kind `{name}`; give one of them another kind"
                )));
            }
            let zero = [
                ("timeout", kind.timeout.is_zero()),
                ("number of attempts", kind.max_attempts == 0),
                ("payload version", kind.version == 0),
                ("concurrency limit", kind.concurrency == Some(0)),
            ];
            if let Some((what, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
                return Err(Error::usage(format!(
                    "the {what} of the database task `{name}` is zero; make it at least one"
                )));
            }
        }
        Ok(())
    }

    fn check_periodic(&self) -> Result<()> {
        let mut names = HashSet::new();
        for task in &self.periodic {
            let name = task.name();
            if !is_plain(name) {
                return Err(Error::usage(format!("`{name}` can't be a task's name; {PLAIN}")));
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
        let periodic = self.periodic.iter().map(|task| task.name());
        f.debug_list().entries(periodic).entries(self.kinds.iter().map(|kind| &kind.name)).finish()
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
