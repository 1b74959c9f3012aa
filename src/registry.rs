//! The tasks of a program.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::periodic::PeriodicTask;
use crate::queue::{self, CommandTask, DatabaseTask, Kind};

/// The tasks that a program can run, for [`airun::main`](crate::main()).
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use airun::Registry;
/// use airun::queue::CommandTask;
///
/// fn main() -> ExitCode {
///     let registry = Registry::new()
///         .command(CommandTask::new("resize", "python3", ["resize.py"]))
///         .command(CommandTask::new("backup", "/usr/local/bin/backup", ["--all"]).concurrency(1));
///     airun::main(registry)
/// }
/// ```
///
/// The worker refuses to start if two tasks of one sort have the same name, if a name is invalid, or if an interval, a
/// timeout, a number of attempts, a payload version or a concurrency limit is zero.
#[derive(Default)]
#[must_use]
pub struct Registry {
    pub(crate) periodic: Vec<Box<dyn PeriodicTask>>,
    pub(crate) kinds: Vec<Arc<Kind>>,
}

impl Registry {
    /// Creates a registry without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a periodic task.
    pub fn periodic(mut self, task: impl PeriodicTask + 'static) -> Self {
        self.periodic.push(Box::new(task));
        self
    }

    /// Adds the handler of a kind of database task.
    pub fn task(mut self, task: impl DatabaseTask + 'static) -> Self {
        self.kinds.push(Arc::new(Kind::of_task(task)));
        self
    }

    /// Adds a kind of database task that runs a program.
    pub fn command(mut self, task: CommandTask) -> Self {
        self.kinds.push(Arc::new(Kind::of_command(task)));
        self
    }

    /// Checks names and numbers of all tasks. The error names the first task that can't be run, and why.
    pub(crate) fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for task in &self.periodic {
            let name = task.name();
            queue::check_name("periodic task", name)?;
            if !names.insert(name) {
                return Err(Error::usage(format!("two periodic tasks have the name `{name}`; rename one of them")));
            }
            if task.interval().is_zero() {
                return Err(Error::usage(format!(
                    "the interval of the periodic task `{name}` is zero; make it longer"
                )));
            }
        }
        let mut names = HashSet::new();
        for kind in &self.kinds {
            let name = &kind.name;
            queue::check_name("kind", name)?;
            queue::check_name("queue", &kind.queue)?;
            if !names.insert(name) {
                return Err(Error::usage(format!("two database tasks have the kind `{name}`; rename one of them")));
            }
            let numbers = [
                ("timeout", kind.timeout.is_zero()),
                ("number of attempts", kind.max_attempts == 0),
                ("payload version", kind.version == 0),
                ("concurrency limit", kind.concurrency == Some(0)),
            ];
            if let Some((what, _)) = numbers.iter().find(|(_, is_zero)| *is_zero) {
                return Err(Error::usage(format!(
                    "the {what} of the database task `{name}` is zero; set it to at least one"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let periodic = self.periodic.iter().map(|task| task.name());
        f.debug_list().entries(periodic).entries(self.kinds.iter().map(|kind| &kind.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::TaskError;
    use crate::periodic::PeriodicContext;

    struct Periodic(&'static str, u64);

    impl PeriodicTask for Periodic {
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

    fn command(kind: &str) -> CommandTask {
        CommandTask::new(kind, "true", [""; 0])
    }

    #[test]
    fn a_registry_with_a_task_that_cannot_run_is_refused() {
        let two = Registry::new().periodic(Periodic("a", 1)).periodic(Periodic("b", 1));
        assert!(two.command(command("a")).command(command("b")).check().is_ok());
        for (registry, expected) in [
            (
                Registry::new().periodic(Periodic("a", 1)).periodic(Periodic("a", 2)),
                "two periodic tasks have the name `a`",
            ),
            (Registry::new().periodic(Periodic("a", 0)), "the interval of the periodic task `a` is zero"),
            (Registry::new().periodic(Periodic("", 1)), "invalid periodic task name ``"),
            (Registry::new().periodic(Periodic("a b", 1)), "invalid periodic task name `a b`"),
            (Registry::new().command(command("a")).command(command("a")), "two database tasks have the kind `a`"),
            (Registry::new().command(command("a").queue("a b")), "invalid queue name `a b`"),
            (Registry::new().command(command("a").timeout(Duration::ZERO)), "the timeout of the database task `a`"),
            (Registry::new().command(command("a").max_attempts(0)), "the number of attempts of the database task `a`"),
            (Registry::new().command(command("a").concurrency(0)), "the concurrency limit of the database task `a`"),
        ] {
            let error = registry.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
