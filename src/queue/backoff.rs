//! How long a failed task waits for its next attempt. Pure.

use std::time::Duration;

/// The waits between the attempts of a task. They grow from one failure to the next, and a part of each is random, so that
/// tasks that failed together don't all come back together.
///
/// ```
/// use std::time::Duration;
///
/// use airun::queue::Backoff;
///
/// /// 10 s, 20 s, 40 s and so on up to 10 minutes, each up to a fifth shorter.
/// const GENTLE: Backoff = Backoff::exponential(Duration::from_secs(10), Duration::from_secs(600));
/// /// Every 5 s.
/// const STEADY: Backoff = Backoff::constant(Duration::from_secs(5));
/// /// 1 s, 3 s, 9 s and so on up to 1 minute, without a random part.
/// const STEEP: Backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)).factor(3.0).jitter(0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

impl Backoff {
    /// 1 s, doubling up to 1 h, up to a fifth of it random: ten attempts take about a quarter of an hour.
    pub const DEFAULT: Self = Self::exponential(Duration::from_secs(1), Duration::from_secs(3600));

    /// Waits `first` after the first failure and twice as long after each further one, but at most `max`. Up to a fifth of
    /// each wait is random.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self { first, factor: 2.0, max, jitter: 0.2 }
    }

    /// Waits equally long after each failure.
    pub const fn constant(wait: Duration) -> Self {
        Self { first: wait, factor: 1.0, max: wait, jitter: 0.0 }
    }

    /// Multiplies each wait by `factor` to get the next one.
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// The largest part of a wait that is taken off at random, from 0 to 1: with 0.2 a wait of 10 s becomes 8 s to 10 s.
    #[must_use]
    pub const fn jitter(self, part: f64) -> Self {
        Self { jitter: part, ..self }
    }

    /// Returns the wait after failure number `failures`, which counts from 1; `random` is from 0 to 1.
    pub(crate) fn delay(&self, failures: u32, random: f64) -> Duration {
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
