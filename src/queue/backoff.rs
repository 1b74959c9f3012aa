//! How long a failed task waits for its next attempt. Pure.

use std::time::Duration;

/// Waits that grow from one failure to the next, each a little random, so that what failed together doesn't come back
/// together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// From each to the next.
    pub factor: f64,
    /// At most.
    pub max: Duration,
    /// The part of a wait that is random, from 0 to 1: with 0.2 a wait of 10 s is one of 8 s to 10 s.
    pub jitter: f64,
}

impl Backoff {
    /// 1 s, doubling up to 1 h, a fifth of it random: ten attempts take a quarter of an hour.
    pub const DEFAULT: Self =
        Self { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(3600), jitter: 0.2 };

    /// The same wait each time.
    pub const fn constant(wait: Duration) -> Self {
        Self { first: wait, factor: 1.0, max: wait, jitter: 0.0 }
    }

    /// The wait after failure number `failures`, which begins at 1; `random` is from 0 to 1.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let grown = self.first.as_secs_f64() * self.factor.powf(f64::from(failures.max(1) - 1));
        let limited = grown.min(self.max.as_secs_f64());
        let seconds = limited * (1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let seconds = |failures| Backoff::DEFAULT.delay(failures, 0.0).as_secs();
        assert_eq!([1, 2, 3, 4, 12, 13, 14, u32::MAX].map(seconds), [1, 2, 4, 8, 2048, 3600, 3600, 3600]);
        assert_eq!(Backoff::constant(Duration::from_secs(7)).delay(9, 1.0), Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn a_wait_is_random_only_within_its_jitter(failures in 0u32.., random in 0.0f64..=1.0) {
            let wait = Backoff::DEFAULT.delay(failures, random);
            let longest = Backoff::DEFAULT.delay(failures, 0.0);
            prop_assert!(wait <= longest && wait >= longest.mul_f64(0.799), "{wait:?} of {longest:?}");
        }
    }
}
