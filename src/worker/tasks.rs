//! The threads of the periodic tasks, one for each task.

use std::sync::Arc;
use std::time::Instant;

use crate::duration;
use crate::error::Result;
use crate::periodic::{self, Grid, PeriodicTask, TaskStats};
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

pub struct Tasks {
    pub periodic_stats: Vec<Arc<TaskStats>>,
    threads: Vec<Thread>,
}

impl Tasks {
    /// Starts the tasks. Their intervals are counted from `anchor`.
    pub fn start(
        tasks: Vec<Box<dyn PeriodicTask>>,
        lock_scope: &str,
        anchor: Instant,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let mut all = Self { periodic_stats: Vec::new(), threads: Vec::new() };
        for mut task in tasks {
            log::info!("{} {} every {}", task.emoji(), task.name(), duration::format(task.interval()));
            let stats = Arc::new(TaskStats::new(task.name(), task.time_limit()));
            all.periodic_stats.push(Arc::clone(&stats));
            let grid = Grid::new(anchor, task.interval());
            let lock_name = periodic::lock::name(lock_scope, task.name());
            let shutdown = shutdown.clone();
            let name = task.name().to_owned();
            all.threads.push(threads::spawn(&name, move || {
                periodic::run_loop(task.as_mut(), &grid, &lock_name, &stats, &shutdown);
            })?);
        }
        Ok(all)
    }

    /// Waits for the threads until `deadline`. Returns the names of tasks that still run.
    pub fn join(self, deadline: Instant) -> Vec<String> {
        let named = self.threads.into_iter().zip(&self.periodic_stats);
        named
            .filter_map(|(thread, stats)| thread.join(deadline).is_err().then(|| format!("`{}`", stats.name)))
            .collect()
    }
}
