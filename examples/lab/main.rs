//! A worker whose tasks misbehave: the tests run it to see what becomes of them.
//!
//! `LAB` names the periodic tasks to register, separated by commas; `LAB_INTERVAL_MS` is their interval. With `LAB_QUEUE`
//! there are the database tasks of `tasks.rs` too.

mod tasks;

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use airun::Registry;
use airun::periodic::{PeriodicContext, PeriodicTask, TaskError};

/// What a task does when it runs.
enum Manner {
    /// Returns at once.
    Quick,
    /// Returns an error that has a cause.
    Fails,
    /// Panics.
    Panics,
    /// Takes three and a half intervals every time.
    Overruns,
    /// Runs until the worker wants to stop, and then for ever.
    HangsAtStop,
    /// Runs until the worker wants to stop, and then ends.
    EndsAtStop,
}

struct Periodic {
    name: String,
    manner: Manner,
    interval: Duration,
}

impl PeriodicTask for Periodic {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn execute(&mut self, context: &PeriodicContext<'_>) -> Result<(), TaskError> {
        log::info!("ran");
        match self.manner {
            Manner::Quick => Ok(()),
            Manner::Fails => Err("the lamp is broken\nERROR forged line".into()),
            Manner::Panics => panic!("out of paper"),
            Manner::Overruns => {
                context.wait(self.interval * 7 / 2);
                Ok(())
            }
            Manner::HangsAtStop => loop {
                thread::park();
            },
            Manner::EndsAtStop => {
                context.wait(Duration::MAX);
                log::info!("ended because the worker stops: {}", context.is_stopping());
                Ok(())
            }
        }
    }
}

fn main() -> ExitCode {
    let setting = |name: &str| env::var(name).unwrap_or_default();
    let interval = Duration::from_millis(setting("LAB_INTERVAL_MS").parse().unwrap_or(1000));
    let mut registry = Registry::new();
    for name in setting("LAB").split(',').filter(|name| !name.is_empty()) {
        let manner = match name {
            "fails" => Manner::Fails,
            "panics" => Manner::Panics,
            "overruns" => Manner::Overruns,
            "hangs" => Manner::HangsAtStop,
            "ends" => Manner::EndsAtStop,
            _ => Manner::Quick,
        };
        registry = registry.periodic(Periodic { name: name.to_owned(), manner, interval });
    }
    if env::var_os("LAB_QUEUE").is_some() {
        registry = tasks::register(registry);
    }
    airun::main(registry)
}
