//! The threads of the periodic tasks.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::interval;
use crate::periodic::{self, Grid, Ledger, PeriodicTask};
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

/// One thread a task.
pub struct Tasks {
    pub ledgers: Vec<Arc<Ledger>>,
    threads: Vec<Thread>,
}

impl Tasks {
    /// Starts them; their grids begin at `anchor`.
    pub fn start(
        tasks: Vec<Box<dyn PeriodicTask>>,
        lock_scope: &str,
        anchor: Instant,
        stop: &Shutdown,
    ) -> Result<Self> {
        let mut all = Self { ledgers: Vec::new(), threads: Vec::new() };
        for mut task in tasks {
            log::info!("{} {} every {}", task.emoji(), task.name(), interval::format(task.interval()));
            let ledger = Arc::new(Ledger::new(task.name(), task.time_limit()));
            all.ledgers.push(Arc::clone(&ledger));
            let grid = Grid::new(anchor, task.interval());
            let lock_name = periodic::lock::name(lock_scope, task.name());
            let stop = stop.clone();
            let name = task.name().to_owned();
            all.threads.push(threads::spawn(&name, move || {
                periodic::obey(task.as_mut(), &grid, &lock_name, &ledger, &stop);
            })?);
        }
        Ok(all)
    }

    /// Waits for the threads until `deadline`; returns the names of the tasks that still run.
    pub fn join(self, deadline: Instant) -> Vec<String> {
        let named = self.threads.into_iter().zip(&self.ledgers);
        named
            .filter_map(|(thread, ledger)| thread.join(deadline).is_err().then(|| format!("`{}`", ledger.name)))
            .collect()
    }
}
