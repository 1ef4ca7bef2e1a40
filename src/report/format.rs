//! The formats of numbers, times and texts, for people and for JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serializer;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `00:12:04`
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `40 s`, `3:05`, `1:03:05`
pub(super) fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// `2.5 Mbit/s`, `70 Mbit/s`: two digits are enough for people.
pub(super) fn rate(kbps: f64) -> String {
    let mbps = kbps / 1000.0;
    if mbps >= 9.95 {
        format!("{mbps:.0} Mbit/s")
    } else if mbps >= 0.095 || kbps == 0.0 {
        format!("{mbps:.1} Mbit/s")
    } else {
        format!("{mbps:.2} Mbit/s")
    }
}

/// `2.4 GB`, in powers of 1000 like file managers.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `1 student`, `2 students`
pub(super) fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Cuts a text to the columns of a terminal. A Chinese character takes two, and a cut text ends with `…`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns - 1;
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Rounds to one decimal. Nothing is measured more precisely, and 30.0 is easier to read than 29.969999313354492.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn one_decimal<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 10.0).round() / 10.0)
}

pub(super) fn one_decimal_or_null<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => one_decimal(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339, UTC, milliseconds: `2026-03-01T00:30:00.123Z`.
pub(super) fn timestamp(at: Timestamp) -> String {
    format!("{at:.3}")
}

pub(super) fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

pub(super) fn rfc3339_or_null<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn two_decimals_or_null<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_f64((value * 100.0).round() / 100.0),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 940, 9_949, 812_345_678, 999_600_000, 2_400_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0.0 kB", "0.9 kB", "9.9 kB", "812 MB", "1.0 GB", "2400 TB"]);
        assert_eq!([40.4, 185.0, 3785.0].map(time), ["40 s", "3:05", "1:03:05"]);
    }

    #[test]
    fn rates_are_short() {
        let rates = [0.0, 64.0, 400.0, 2500.0, 9960.0, 70_000.0].map(rate);
        assert_eq!(rates, ["0.0", "0.06", "0.4", "2.5", "10", "70"].map(|n| format!("{n} Mbit/s")));
    }
}
