//! Durations as people write them: `30s`, `5m`, `1h 30m`, `500ms`.

use std::time::Duration;

use crate::error::{Error, Result};

/// In nanoseconds, from the longest to the shortest. humantime's own formatter writes 90d as `2months 29days …`.
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
/// Shows how to write a duration.
pub fn parse(text: &str) -> Result<Duration> {
    let invalid = || Error::usage(format!("invalid duration `{text}`; use for example 30s, 5m or 1h 30m"));
    if let Ok(seconds) = text.trim().parse() {
        return Ok(Duration::from_secs(seconds));
    }
    // humantime reads `5M` as five months, which is rather a mistyped `5m`.
    Some(text).filter(|text| !text.contains('M')).and_then(sum).ok_or_else(invalid)
}

/// Adds up the parts of `1h 30m`. humantime reads them one by one, because it panics if a sum overflows.
fn sum(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text.trim());
    while !rest.is_empty() {
        let unit = rest.find(char::is_alphabetic)?;
        let end = rest[unit..].find(|c: char| !c.is_alphabetic()).map_or(rest.len(), |length| unit + length);
        total = total.checked_add(humantime::parse_duration(&rest[..end]).ok()?)?;
        rest = &rest[end..];
    }
    (!text.trim().is_empty()).then_some(total)
}

/// Writes `1h 30m`, without units that are zero. [`parse`] reads it back.
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

/// Writes about three digits, for a log line: `0.13ms`, `4.2s`, `2m 5s`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 0.01 => format!("{:.2}ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.1}s"),
        _ => format(Duration::from_secs(duration.as_secs())),
    }
}

/// Milliseconds with the microseconds as decimals, for a log field whose name ends in `_ms`.
pub fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_ways_to_write_a_duration_are_read() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("90", 90_000),
            (" 2d ", 172_800_000),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in [
            "",
            "s",
            "5 parsecs",
            "5M",
            "-1s",
            "1x",
            "1.2.3s",
            "99999999999999999999d",
            "5m 3",
            "18446744073709551615s 1000ms",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_has_about_three_digits() {
        for (micros, text) in [(128, "0.13ms"), (45_000, "45ms"), (4_210_000, "4.2s"), (125_000_000, "2m 5s")] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }

    proptest! {
        #[test]
        fn parse_reads_what_format_writes(seconds in 0u64..=u64::MAX, nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
    }
}
