//! A migration's version: the 14 digits of a UTC timestamp.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use serde::{Serialize, Serializer};

use crate::error::Error;

const FORMAT: &str = "%Y%m%d%H%M%S";

/// `YYYYMMDDHHMMSS`, an existing date and time. Versions are ordered as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a migration created at `now`. It is one second after `newest` if `newest` is not in the past, so
    /// that a new migration always sorts after the existing ones.
    pub fn next(now: DateTime<Utc>, newest: Option<Version>) -> Self {
        let now = now.naive_utc();
        let after_newest = newest.and_then(|newest| parse(newest.0)).map(|time| time + TimeDelta::seconds(1));
        let time = after_newest.map_or(now, |after| after.max(now));
        let parts = [time.month(), time.day(), time.hour(), time.minute(), time.second()];
        let year = u64::from(time.year().unsigned_abs());
        Self(parts.into_iter().fold(year, |number, part| number * 100 + u64::from(part)))
    }

    /// Converts the number from the database; `None` if it is not a date.
    pub fn from_number(number: u64) -> Option<Self> {
        parse(number).map(|_| Self(number))
    }

    /// Returns the 14 digits as a number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Returns the time that the 14 digits of a version stand for.
fn parse(number: u64) -> Option<NaiveDateTime> {
    let digits = format!("{number:014}");
    NaiveDateTime::parse_from_str(&digits, FORMAT).ok().filter(|_| digits.len() == 14)
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.and_then(Self::from_number).ok_or_else(|| {
            Error::usage(format!(
                "`{text}` is not a migration version; use the 14 digits YYYYMMDDHHMMSS of the file name"
            ))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}", self.0)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn only_existing_dates_are_versions() {
        assert_eq!(version("20260228235959").to_string(), "20260228235959");
        for bad in
            ["", "2026", "20260230000000", "20261301000000", "20260101240000", "2026010100000a", "+0260101000000"]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn new_version_sorts_after_all_others() {
        let now = version("20260101120000");
        let time = NaiveDateTime::parse_from_str("20260101120000", FORMAT).unwrap().and_utc();
        assert_eq!(Version::next(time, None), now);
        assert_eq!(Version::next(time, Some(version("20250101000000"))), now);
        assert_eq!(Version::next(time, Some(now)), version("20260101120001"));
        assert_eq!(Version::next(time, Some(version("20271231235959"))), version("20280101000000"));
    }
}
