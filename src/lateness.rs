//! How late runs start: a histogram of fixed size.

use std::time::Duration;

/// Steps within each doubling, so that a quantile is at most a sixteenth too high.
const STEPS: usize = 16;
/// Doublings from a microsecond to more than a century.
const DOUBLINGS: usize = 52;

/// Counts by lateness, in steps that grow with it.
#[derive(Debug, Clone)]
pub struct Lateness {
    counts: Vec<u32>,
    total: u64,
    max: Duration,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * DOUBLINGS], total: 0, max: Duration::ZERO }
    }
}

impl Lateness {
    /// Adds one run's.
    pub fn add(&mut self, lateness: Duration) {
        let count = &mut self.counts[step(micros(lateness))];
        *count = count.saturating_add(1);
        self.total += 1;
        self.max = self.max.max(lateness);
    }

    /// The lateness that a share of `share` runs didn't exceed; zero where there were none.
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

    /// The greatest, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn step(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doubling = micros.ilog2() as usize - STEPS.ilog2() as usize;
    let within = (micros >> doubling) as usize - STEPS;
    ((doubling + 1) * STEPS + within).min(STEPS * DOUBLINGS - 1)
}

/// The first microsecond behind a step.
fn end(step: usize) -> u64 {
    if step < STEPS {
        return step as u64 + 1;
    }
    let (doubling, within) = (step / STEPS - 1, step % STEPS);
    ((STEPS + within + 1) as u64) << doubling
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_hundred() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.quantile(0.5), Duration::ZERO);
        for micros in 1..=100 {
            lateness.add(Duration::from_micros(micros * 1000));
        }
        let p50 = lateness.quantile(0.5);
        assert!((Duration::from_millis(50)..Duration::from_micros(53_200)).contains(&p50), "{p50:?}");
        assert_eq!(lateness.quantile(1.0), Duration::from_millis(100));
        assert_eq!(lateness.max(), Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn a_step_holds_what_it_counts(micros in 0u64..1 << 50) {
            let index = step(micros);
            prop_assert!(micros < end(index));
            prop_assert!(index == 0 || end(index - 1) <= micros);
            prop_assert!(end(index) as f64 <= (micros as f64 * (1.0 + 1.0 / STEPS as f64)) + 1.0);
        }
    }
}
