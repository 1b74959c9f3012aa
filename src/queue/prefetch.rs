//! How many tasks to claim. Pure.
//!
//! Short tasks are claimed by the hundred, since a claim costs a commit. Long ones are claimed when there is a thread
//! to run them: an idle worker could have them otherwise.

use std::time::Duration;

/// What is claimed waits for so long at most, by the runs before it.
const HORIZON: Duration = Duration::from_millis(100);

/// Tasks of one claim, at most.
pub const CLAIM_MAX: usize = 500;

/// A worker's load.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Threads.
    pub slots: usize,
    /// Of each run that is going on: how long it will take in all, as far as that is known, and at least as long as it
    /// takes already.
    pub running: Vec<Duration>,
    /// Claimed and not begun.
    pub queued: usize,
    /// How long those take, together.
    pub queued_work: Duration,
}

/// So many tasks of a kind to claim, whose runs take `pace`, if one is known.
pub fn claim_limit(load: &Load, pace: Option<Duration>) -> usize {
    let idle = load.slots.saturating_sub(load.running.len());
    let at_once = idle.saturating_sub(load.queued);
    let free_soon = idle + load.running.iter().filter(|takes| **takes < HORIZON).count();
    let ahead = match pace {
        Some(pace) if pace < HORIZON => {
            let room = (HORIZON * u32::try_from(free_soon).unwrap_or(u32::MAX)).saturating_sub(load.queued_work);
            usize::try_from(room.as_nanos() / pace.as_nanos().max(1)).unwrap_or(usize::MAX)
        }
        _ => 0,
    };
    at_once.max(ahead).min(CLAIM_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn load(slots: usize, running: &[u32], queued: usize, queued_ms: u32) -> Load {
        let running = running.iter().map(|ms| MS * *ms).collect();
        Load { slots, running, queued, queued_work: MS * queued_ms }
    }

    #[test]
    fn an_unknown_kind_gets_the_idle_threads() {
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
    fn long_tasks_are_left_to_whoever_has_a_thread() {
        assert_eq!(claim_limit(&load(8, &[5000; 3], 0, 0), Some(MS * 5000)), 5);
        assert_eq!(claim_limit(&load(8, &[5000; 8], 0, 0), Some(MS * 5000)), 0);
    }

    #[test]
    fn short_tasks_do_not_queue_behind_long_ones() {
        assert_eq!(claim_limit(&load(4, &[5000; 4], 0, 0), Some(MS)), 0);
        assert_eq!(claim_limit(&load(4, &[5000, 5000, 5000], 0, 0), Some(MS)), 100);
    }

    proptest! {
        #[test]
        fn what_waits_never_exceeds_the_horizon(
            slots in 1usize..64, running in prop::collection::vec(0u32..10_000, 0..64), queued in 0usize..1000,
            pace_us in 1u64..1_000_000,
        ) {
            let pace = Duration::from_micros(pace_us);
            let running: Vec<_> = running.into_iter().take(slots).collect();
            let load = Load { queued_work: pace * queued as u32, ..load(slots, &running, queued, 0) };
            let more = claim_limit(&load, Some(pace));
            let idle = slots - load.running.len();
            let all = queued + more;
            prop_assert!(more <= CLAIM_MAX);
            prop_assert!(more == 0 || all <= idle || pace * all as u32 <= HORIZON * slots as u32);
        }
    }
}
