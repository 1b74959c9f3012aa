//! An example of a periodic task: logs every 30 seconds that the worker is alive and how much memory it uses.

use std::fs;
use std::time::Duration;

use airun::TaskError;
use airun::periodic::{PeriodicContext, PeriodicTask};

/// A task may keep state, because only one thread runs it.
#[derive(Debug, Default)]
pub struct Pulse {
    last_kb: Option<u64>,
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

    fn execute(&mut self, _: &PeriodicContext<'_>) -> Result<(), TaskError> {
        let kb = resident_kb()?;
        let growth_kb = self.last_kb.map_or(0, |last_kb| kb.saturating_sub(last_kb));
        self.last_kb = Some(kb);
        log::info!("💓 alive: {kb} kB of memory, {growth_kb} kB more than in the last run");
        Ok(())
    }
}

/// Resident memory of this process in kB, as Linux reports it in `VmRSS` (see proc_pid_status(5)).
fn resident_kb() -> Result<u64, TaskError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
