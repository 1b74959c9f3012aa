//! A program with tasks that misbehave in known ways. The tests run it and check how the worker copes.
//!
//! `LAB` names the periodic tasks to register, separated by commas, and `LAB_INTERVAL_MS` is their interval (1000 by
//! default). If `LAB_QUEUE` is set, the database tasks of `tasks.rs` are registered, too.

mod tasks;

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use airun::periodic::{PeriodicContext, PeriodicTask};
use airun::{Registry, TaskError};

/// The way in which a periodic task behaves.
enum Behavior {
    /// Returns at once.
    Quick,
    /// Returns an error whose text looks like two log lines.
    Fails,
    /// Panics.
    Panics,
    /// Takes three and a half intervals.
    Overruns,
    /// Never returns.
    Hangs,
    /// Returns when the worker shuts down.
    EndsAtStop,
}

struct Periodic {
    name: String,
    behavior: Behavior,
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
        match self.behavior {
            Behavior::Quick => Ok(()),
            Behavior::Fails => Err("the lamp is broken\nERROR forged line".into()),
            Behavior::Panics => panic!("out of paper"),
            Behavior::Overruns => {
                context.wait(self.interval * 7 / 2);
                Ok(())
            }
            Behavior::Hangs => loop {
                thread::park();
            },
            Behavior::EndsAtStop => {
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
        let behavior = match name {
            "fails" => Behavior::Fails,
            "panics" => Behavior::Panics,
            "overruns" => Behavior::Overruns,
            "hangs" => Behavior::Hangs,
            "ends" => Behavior::EndsAtStop,
            _ => Behavior::Quick,
        };
        registry = registry.periodic(Periodic { name: name.to_owned(), behavior, interval });
    }
    if env::var_os("LAB_QUEUE").is_some() {
        registry = tasks::register(registry);
    }
    airun::main(registry)
}
