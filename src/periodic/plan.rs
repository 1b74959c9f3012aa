//! Decides when a periodic task runs.
//!
//! Ticks are on a fixed grid of the monotonic clock, `anchor + k · interval`, so they do not drift. A thread that is late,
//! because a run took long or the process was stopped, runs once for the newest due tick and skips those before it. So
//! two runs never overlap, and there are no bursts.

use std::time::{Duration, Instant};

/// The times at which a task is due.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    anchor: Instant,
    interval: Duration,
}

/// The next step of a task's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is due before `until`.
    Wait { until: Instant },
    /// The tick of number `tick`, from 0, has been due since `due`; `skipped` ticks before it are skipped.
    Run { tick: u64, due: Instant, skipped: u64 },
}

impl Grid {
    /// Creates a grid whose tick 0 is due at `anchor`. The registry has refused an interval of zero.
    pub fn new(anchor: Instant, interval: Duration) -> Self {
        Self { anchor, interval }
    }

    /// Returns when `tick` is due. A time that the clock can't represent is a century away.
    pub fn due(&self, tick: u64) -> Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(tick)).min(Duration::MAX.as_nanos());
        self.anchor.checked_add(Duration::from_nanos_u128(nanos)).unwrap_or(self.anchor + CENTURY)
    }

    /// Returns the newest tick that is due at `now`, if any.
    fn newest(&self, now: Instant) -> Option<u64> {
        let passed = now.checked_duration_since(self.anchor)?;
        u64::try_from(passed.as_nanos() / self.interval.as_nanos()).ok()
    }
}

/// Decides what to do at `now`. `next` is the first tick that was neither run nor skipped.
pub fn plan(grid: &Grid, next: u64, now: Instant) -> Plan {
    match grid.newest(now) {
        Some(tick) if tick >= next => Plan::Run { tick, due: grid.due(tick), skipped: tick - next },
        _ => Plan::Wait { until: grid.due(next) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_tick_is_due_at_once() {
        let now = Instant::now();
        let grid = Grid::new(now, Duration::from_secs(30));
        assert_eq!(plan(&grid, 0, now), Plan::Run { tick: 0, due: now, skipped: 0 });
        assert_eq!(plan(&grid, 1, now), Plan::Wait { until: now + Duration::from_secs(30) });
    }

    #[test]
    fn an_overrun_of_three_intervals_runs_once_late_and_skips_the_rest() {
        let start = Instant::now();
        let grid = Grid::new(start, Duration::from_secs(10));
        let after = start + Duration::from_secs(35);
        assert_eq!(plan(&grid, 1, after), Plan::Run { tick: 3, due: start + Duration::from_secs(30), skipped: 2 });
        assert_eq!(plan(&grid, 4, after), Plan::Wait { until: start + Duration::from_secs(40) });
    }

    #[test]
    fn the_longest_interval_is_waited_for() {
        let now = Instant::now();
        let grid = Grid::new(now, Duration::MAX);
        assert!(matches!(plan(&grid, 1, now), Plan::Wait { until } if until > now));
    }

    proptest! {
        /// For any durations of runs and any delays of the thread, each tick is run or skipped once, in order and never
        /// early, and a late run is for the newest tick.
        #[test]
        fn each_tick_is_run_or_skipped_exactly_once(
            interval in 1u64..5_000,
            steps in prop::collection::vec((0u64..20_000, 0u64..300), 1..60),
        ) {
            let anchor = Instant::now();
            let interval = Duration::from_micros(interval);
            let grid = Grid::new(anchor, interval);
            let (mut now, mut next, mut run, mut skipped_in_all) = (anchor, 0u64, 0u64, 0u64);
            for (takes, oversleeps) in steps {
                match plan(&grid, next, now) {
                    Plan::Wait { until } => {
                        prop_assert!(until > now);
                        now = until + Duration::from_micros(oversleeps);
                    }
                    Plan::Run { tick, due, skipped } => {
                        prop_assert_eq!(tick, next + skipped);
                        prop_assert!(due <= now && now - due < interval);
                        prop_assert_eq!(due, anchor + interval * u32::try_from(tick).unwrap());
                        run += 1;
                        skipped_in_all += skipped;
                        next = tick + 1;
                        now += Duration::from_micros(takes);
                    }
                }
                prop_assert_eq!(run + skipped_in_all, next);
            }
        }
    }
}
