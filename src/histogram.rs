//! A histogram of durations with a fixed size.

use std::time::Duration;

/// Buckets for each doubling, so a quantile is at most a sixteenth too high.
const BUCKETS: usize = 16;
/// Doublings, which reach from a microsecond to more than a century.
const DOUBLINGS: usize = 52;

/// Counts of durations, in buckets that grow with the duration.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS * DOUBLINGS], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, duration: Duration) {
        let count = &mut self.counts[bucket(micros(duration))];
        *count = count.saturating_add(1);
        self.total += 1;
        self.max = self.max.max(duration);
    }

    /// Returns the duration that a share of `share` of them did not exceed; zero if there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Duration::from_micros(end(index)).min(self.max);
            }
        }
        self.max
    }

    /// Returns the exact maximum.
    pub fn max(&self) -> Duration {
        self.max
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bucket(micros: u64) -> usize {
    if micros < BUCKETS as u64 {
        return micros as usize;
    }
    let doubling = micros.ilog2() as usize - BUCKETS.ilog2() as usize;
    let within = (micros >> doubling) as usize - BUCKETS;
    ((doubling + 1) * BUCKETS + within).min(BUCKETS * DOUBLINGS - 1)
}

/// Returns the first microsecond after a bucket.
fn end(bucket: usize) -> u64 {
    if bucket < BUCKETS {
        return bucket as u64 + 1;
    }
    let (doubling, within) = (bucket / BUCKETS - 1, bucket % BUCKETS);
    ((BUCKETS + within + 1) as u64) << doubling
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_hundred() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for micros in 1..=100 {
            histogram.add(Duration::from_micros(micros * 1000));
        }
        let p50 = histogram.quantile(0.5);
        assert!((Duration::from_millis(50)..Duration::from_micros(53_200)).contains(&p50), "{p50:?}");
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(100));
        assert_eq!(histogram.max(), Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn a_duration_is_within_its_bucket(micros in 0u64..1 << 50) {
            let index = bucket(micros);
            prop_assert!(micros < end(index));
            prop_assert!(index == 0 || end(index - 1) <= micros);
            prop_assert!(end(index) as f64 <= (micros as f64 * (1.0 + 1.0 / BUCKETS as f64)) + 1.0);
        }
    }
}
