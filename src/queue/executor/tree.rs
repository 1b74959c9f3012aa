//! A run's processes: those of its group, and those that left the group and still carry its run_id.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::queue::store::ClaimToken;

/// In the environment of everything that a run starts: whatever leaves the process group is found by it.
pub const COOKIE: &str = "AIRUN_TASK_RUN";

/// What is started while the others are being killed is found in the next round.
const ROUNDS_MAX: usize = 10;

/// Of a run; no two are alike.
pub fn run_id(token: &ClaimToken) -> String {
    cookie_of(std::process::id(), token)
}

/// Of a run of the worker with this process id.
fn cookie_of(worker: u32, token: &ClaimToken) -> String {
    format!("{worker}-{}-{}-{}", token.worker_id, token.id, token.claim_count)
}

/// Asks the process itself to end, not what it has started for its work.
pub fn ask_leader(leader: Pid) {
    kill_process(leader, Signal::TERM).unwrap_or_default();
}

/// Asks the group to end.
pub fn ask(leader: Pid) {
    // It may have ended.
    kill_process_group(leader, Signal::TERM).unwrap_or_default();
}

/// Kills the group.
pub fn kill_group(leader: Pid) {
    kill_process_group(leader, Signal::KILL).unwrap_or_default();
}

/// Kills the group, and whatever left it.
pub fn kill(leader: Pid, run_id: &str) {
    kill_group(leader);
    // The leader isn't reaped yet.
    kill_strays(|pid, found| pid != leader && found == run_id);
}

/// Kills what the runs of a worker have left behind that had this process id on this host and has gone.
pub fn kill_left_behind(worker: u32, tokens: &[ClaimToken]) {
    let cookies: HashSet<String> = tokens.iter().map(|token| cookie_of(worker, token)).collect();
    kill_strays(|_, found| cookies.contains(found));
}

fn kill_strays(is_one: impl Fn(Pid, &str) -> bool) {
    for _ in 0..ROUNDS_MAX {
        let unacknowledged = with_cookie(&is_one);
        if unacknowledged.is_empty() {
            return;
        }
        for stray in unacknowledged {
            kill_process(stray, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Living processes whose run_id is such (proc_pid_environ(5)).
fn with_cookie(is_one: impl Fn(Pid, &str) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|pid| {
        // One that has ended has an empty environment.
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        let variables = environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok());
        let mut cookies = variables.filter_map(|variable| variable.strip_prefix(COOKIE)?.strip_prefix('='));
        cookies.any(|run_id| is_one(*pid, run_id))
    })
    .collect()
}
