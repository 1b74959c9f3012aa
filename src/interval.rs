//! Lengths of time as people write them: `30s`, `5m`, `1h 30m`, `500ms`.

use std::time::Duration;

use crate::error::{Error, Result};

/// From the longest to the shortest; nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `1h 30m`, `90s`, `1.5s`, or a bare number of seconds.
///
/// # Errors
/// Says what such a text looks like.
pub fn parse(text: &str) -> Result<Duration> {
    let wrong = || Error::usage(format!("`{text}` is no length of time; write it as in 500ms, 30s, 5m, 1h 30m"));
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total: u128 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = total.checked_add(times(number, *nanos).ok_or_else(wrong)?).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    from_nanos(total).ok_or_else(wrong)
}

/// `1h 30m`, with no unit that is zero; [`parse`] reads it back.
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    let mut parts = Vec::new();
    for (unit, nanos) in UNITS {
        if left >= nanos {
            parts.push(format!("{}{unit}", left / nanos));
            left %= nanos;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// About three digits, for a log line: `0.13ms`, `4.2s`, `2m 5s`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 0.01 => format!("{:.2}ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.1}s"),
        _ => format(Duration::from_secs(duration.as_secs())),
    }
}

/// `number`, which may have decimals, times `unit` nanoseconds.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let fraction = if decimals.is_empty() {
        0
    } else {
        let scale = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
        decimals.parse::<u128>().ok()?.checked_mul(unit)? / scale
    };
    whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(fraction)
}

/// The duration of so many nanoseconds, as far as there is one.
pub fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_write_it_in_many_ways() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("90", 90_000),
            (" 2d ", 172_800_000),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in ["", "s", "5 minutes", "-1s", "1x", "1.2.3s", "99999999999999999999d", "5m 3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_line_has_three_digits() {
        for (micros, text) in [(128, "0.13ms"), (45_000, "45ms"), (4_210_000, "4.2s"), (125_000_000, "2m 5s")] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0u64..=u64::MAX, nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
    }
}
