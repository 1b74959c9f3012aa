//! How many tasks to claim. Pure.
//!
//! Short tasks are claimed by the hundred, because each claim costs a commit. Long tasks are claimed only when an
//! executor is free for them; otherwise an idle worker could run them.

use std::time::Duration;

/// A claimed task should not wait longer than this for the runs before it.
const HORIZON: Duration = Duration::from_millis(100);

/// Maximum number of tasks claimed at once.
pub const CLAIM_MAX: usize = 500;

/// A worker's load.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Number of executors.
    pub executors: usize,
    /// Expected duration of each running task: the estimate, or the time since its start if that is longer.
    pub running: Vec<Duration>,
    /// Number of tasks that are claimed and have not started.
    pub queued: usize,
    /// Expected duration of these, added up.
    pub queued_work: Duration,
}

/// Returns the number of tasks to claim of a kind whose runs take `pace`, if that is known.
pub fn claim_limit(load: &Load, pace: Option<Duration>) -> usize {
    let idle = load.executors.saturating_sub(load.running.len());
    let for_idle = idle.saturating_sub(load.queued);
    let free_soon = idle + load.running.iter().filter(|takes| **takes < HORIZON).count();
    let ahead = match pace {
        Some(pace) if pace < HORIZON => {
            let room = (HORIZON * u32::try_from(free_soon).unwrap_or(u32::MAX)).saturating_sub(load.queued_work);
            usize::try_from(room.as_nanos() / pace.as_nanos().max(1)).unwrap_or(usize::MAX)
        }
        _ => 0,
    };
    for_idle.max(ahead).min(CLAIM_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn load(executors: usize, running: &[u32], queued: usize, queued_ms: u32) -> Load {
        let running = running.iter().map(|ms| MS * *ms).collect();
        Load { executors, running, queued, queued_work: MS * queued_ms }
    }

    #[test]
    fn an_unknown_kind_gets_the_idle_executors() {
        assert_eq!(claim_limit(&load(8, &[], 0, 0), None), 8);
        assert_eq!(claim_limit(&load(8, &[1, 1], 3, 0), None), 3);
        assert_eq!(claim_limit(&load(2, &[1, 1], 0, 0), None), 0);
    }

    #[test]
    fn short_tasks_are_claimed_ahead() {
        assert_eq!(claim_limit(&load(8, &[], 0, 0), Some(MS / 1000)), CLAIM_MAX);
        assert_eq!(claim_limit(&load(8, &[10; 8], 0, 0), Some(MS * 10)), 80);
        assert_eq!(claim_limit(&load(8, &[10; 8], 50, 500), Some(MS * 10)), 30);
        assert_eq!(claim_limit(&load(8, &[10; 8], 90, 900), Some(MS * 10)), 0);
    }

    #[test]
    fn long_tasks_are_claimed_only_for_idle_executors() {
        assert_eq!(claim_limit(&load(8, &[5000; 3], 0, 0), Some(MS * 5000)), 5);
        assert_eq!(claim_limit(&load(8, &[5000; 8], 0, 0), Some(MS * 5000)), 0);
    }

    #[test]
    fn short_tasks_do_not_wait_for_long_ones() {
        assert_eq!(claim_limit(&load(4, &[5000; 4], 0, 0), Some(MS)), 0);
        assert_eq!(claim_limit(&load(4, &[5000, 5000, 5000], 0, 0), Some(MS)), 100);
    }

    proptest! {
        #[test]
        fn queued_work_never_exceeds_the_horizon(
            executors in 1usize..64, running in prop::collection::vec(0u32..10_000, 0..64), queued in 0usize..1000,
            pace_us in 1u64..1_000_000,
        ) {
            let pace = Duration::from_micros(pace_us);
            let running: Vec<_> = running.into_iter().take(executors).collect();
            let load = Load { queued_work: pace * queued as u32, ..load(executors, &running, queued, 0) };
            let more = claim_limit(&load, Some(pace));
            let idle = executors - load.running.len();
            let all = queued + more;
            prop_assert!(more <= CLAIM_MAX);
            prop_assert!(more == 0 || all <= idle || pace * all as u32 <= HORIZON * executors as u32);
        }
    }
}
