//! A length of time as people type one: `10s`, `1m30s`, `500ms`.

use std::time::Duration;

/// Parses a length of time, at most a year. The error completes a sentence about the text.
///
/// jiff refuses units in the wrong order. humantime takes `1s30m` for half an hour and `10M` for ten months.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str = "is not a duration, for example 10s, 1m30s or 500ms";
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    if text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("has no unit, for example 10s, 1m30s or 500ms".into());
    }
    // jiff also parses spaces, signs and ISO 8601, which are more likely a slip here.
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'.');
    let parsed = is_plain.then(|| text.parse::<jiff::SignedDuration>().ok()).flatten().ok_or(EXAMPLE)?;
    match Duration::try_from(parsed) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("is longer than a year".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2min", 120_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "10", "s", "1s30m", "1s1s", "10 s", "-1s", "1y", "99999h", "1..5s", "PT10S", "1d", "1w"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("10").unwrap_err().contains("no unit"));
    }
}
