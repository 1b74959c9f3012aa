//! The example: says every 30 seconds that the server is alive, and how much memory it takes.

use std::fs;
use std::time::Duration;

use airun::periodic::{PeriodicContext, PeriodicTask, TaskError};

/// Keeps what it saw last, as a task may: it is run by one thread.
#[derive(Debug, Default)]
pub struct Pulse {
    kilobytes_before: Option<u64>,
}

impl PeriodicTask for Pulse {
    fn name(&self) -> &str {
        "pulse"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn emoji(&self) -> &str {
        "💓"
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    fn execute(&mut self, context: &PeriodicContext<'_>) -> Result<(), TaskError> {
        let kilobytes = resident_kilobytes()?;
        let grown = self.kilobytes_before.map_or(0, |before| kilobytes.saturating_sub(before));
        self.kilobytes_before = Some(kilobytes);
        log::info!("💓 alive, run {}: {kilobytes} kB in memory, {grown} kB more than before", context.tick());
        Ok(())
    }
}

/// The memory that this process has in RAM, as Linux tells it (proc_pid_status(5)).
fn resident_kilobytes() -> Result<u64, TaskError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
