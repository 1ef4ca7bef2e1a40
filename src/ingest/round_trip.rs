//! The time from a NACK to its retransmission, smoothed as in RFC 6298, 2.

use std::time::Duration;

/// The assumed time before the first retransmission.
const FIRST: Duration = Duration::from_millis(100);

/// The least and the most time that is added for variation: a publisher sends packets in turns, and a packet that is
/// given up after half a second has had time for three NACKs.
const LEAST_VARIATION: Duration = Duration::from_millis(15);
const MOST_VARIATION: Duration = Duration::from_millis(100);

/// The time and its mean deviation.
#[derive(Debug, Default)]
pub(super) struct RoundTrip(Option<(Duration, Duration)>);

impl RoundTrip {
    /// The smoothed time; `None` before the first retransmission.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.0.map(|(smoothed, _)| smoothed)
    }

    /// The smoothed time, or an assumption before the first retransmission.
    pub(super) fn or_first(&self) -> Duration {
        self.smoothed().unwrap_or(FIRST)
    }

    /// The time after which a NACK, or its retransmission, is probably lost.
    pub(super) fn timeout(&self) -> Duration {
        let variation = self.0.map_or(Duration::ZERO, |(_, deviation)| deviation * 4);
        self.or_first() + variation.clamp(LEAST_VARIATION, MOST_VARIATION)
    }

    /// A retransmission has come: the times since the first NACK and since the last one. An answer to the last of
    /// several NACKs tells nothing certain (Karn's algorithm), but a packet that follows it far too soon answers an
    /// earlier one: a queue has grown, and without that sample it would be filled with copies.
    pub(super) fn answered(&mut self, first: Duration, last: Duration) {
        if first == last || last * 2 < self.or_first() {
            self.add(first);
        }
    }

    /// A time that was measured.
    pub(super) fn add(&mut self, sample: Duration) {
        self.0 = Some(match self.0 {
            None => (sample, sample / 2),
            Some((smoothed, deviation)) => {
                ((smoothed * 7 + sample) / 8, (deviation * 3 + smoothed.abs_diff(sample)) / 4)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_round_trip_is_followed_closely_and_a_queue_that_grows_is_noticed() {
        let mut round_trip = RoundTrip::default();
        assert_eq!((round_trip.smoothed(), round_trip.timeout()), (None, 115 * MS));
        (0..50).for_each(|_| round_trip.answered(50 * MS, 50 * MS));
        assert_eq!(round_trip.smoothed(), Some(50 * MS));
        assert!((64 * MS..67 * MS).contains(&round_trip.timeout()), "{:?}", round_trip.timeout());
        // An answer to the second NACK, or to the first one: nobody knows.
        round_trip.answered(120 * MS, 55 * MS);
        assert_eq!(round_trip.smoothed(), Some(50 * MS));
        // Nothing comes back within 10 ms here: this is the answer to the first NACK.
        round_trip.answered(250 * MS, 10 * MS);
        assert!(round_trip.timeout() > 170 * MS, "{:?}", round_trip.timeout());
    }
}
