//! A run's processes: those of its group, and those that left the group and still carry its cookie.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::queue::store::Fence;

/// In the environment of everything that a run starts: whatever leaves the process group is found by it.
pub const COOKIE: &str = "AIRUN_TASK_RUN";

/// What is started while the others are being killed is found in the next round.
const ROUNDS_MAX: usize = 10;

/// Of a run; no two are alike.
pub fn cookie(fence: &Fence) -> String {
    format!("{}-{}-{}-{}", std::process::id(), fence.owner, fence.id, fence.claims)
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
pub fn kill(leader: Pid, cookie: &str) {
    kill_group(leader);
    for _ in 0..ROUNDS_MAX {
        let strays = strays(leader, cookie);
        if strays.is_empty() {
            return;
        }
        for stray in strays {
            kill_process(stray, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Living processes with the cookie, but for the leader, which is not reaped yet (proc_pid_environ(5)).
fn strays(leader: Pid, cookie: &str) -> Vec<Pid> {
    let wanted = format!("{COOKIE}={cookie}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|pid| *pid != leader)
        .filter(|pid| {
            // One that has ended has an empty environment.
            fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
                .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
        })
        .collect()
}
