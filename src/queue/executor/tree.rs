//! A run's processes: those of its group, and those that left the group but still carry its run id.

use std::collections::HashSet;
use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::queue::store::ClaimToken;

/// Environment variable of every process that a run starts. It identifies processes that left the process group.
pub const RUN_ID_VARIABLE: &str = "AIRUN_TASK_RUN";

/// Maximum number of searches. Processes started during one are found by the next.
const ROUNDS_MAX: usize = 10;

/// Returns a unique id of a run of a worker.
pub fn run_id(worker_pid: u32, token: &ClaimToken) -> String {
    format!("{worker_pid}-{}-{}-{}", token.worker_id, token.id, token.claim_count)
}

/// Sends SIGTERM to the leader only, not to processes that it needs for its work.
pub fn terminate(leader: Pid) {
    warn_unless_ended(leader, kill_process(leader, Signal::TERM));
}

pub fn signal_group(leader: Pid, signal: Signal) {
    warn_unless_ended(leader, kill_process_group(leader, signal));
}

/// Kills the group, and processes of the run that left it.
pub fn kill(leader: Pid, run_id: &str) {
    signal_group(leader, Signal::KILL);
    // The leader is not reaped yet, so it would be found again and again.
    kill_by_run_id(|pid, found| pid != leader && found == run_id);
}

/// Kills the surviving processes of a dead worker of this host, which are found by its process id and its claims.
pub fn kill_survivors(worker_pid: u32, tokens: &[ClaimToken]) {
    let run_ids: HashSet<String> = tokens.iter().map(|token| run_id(worker_pid, token)).collect();
    kill_by_run_id(|_, found| run_ids.contains(found));
}

fn kill_by_run_id(matches: impl Fn(Pid, &str) -> bool) {
    for _ in 0..ROUNDS_MAX {
        let pids = find_by_run_id(&matches);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            warn_unless_ended(pid, kill_process(pid, Signal::KILL));
        }
    }
}

fn warn_unless_ended(pid: Pid, result: rustix::io::Result<()>) {
    match result {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => log::warn!("failed to send a signal to process {}: {error}", pid.as_raw_nonzero()),
    }
}

/// Running processes with a matching run id (proc_pid_environ(5)).
fn find_by_run_id(matches: impl Fn(Pid, &str) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|pid| {
        // The file can't be read if the process has ended, or belongs to another user and so is not part of this run.
        let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else { return false };
        let variables = environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok());
        let mut run_ids = variables.filter_map(|variable| variable.strip_prefix(RUN_ID_VARIABLE)?.strip_prefix('='));
        run_ids.any(|run_id| matches(*pid, run_id))
    })
    .collect()
}
