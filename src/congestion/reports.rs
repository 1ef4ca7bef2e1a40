//! What students say that have no transport-wide feedback: the rate they can receive (REMB), and the share of packets
//! that they lost with the round trip (receiver reports).
//!
//! Both come once in a second or less, so all that they lead to is slower.

/// Two reports in a row with more than this share of lost packets are trouble: at 10 % that is once in a day.
const LOSSY: u8 = (0.15 * 256.0) as u8;

/// One report with more than this is trouble.
const VERY_LOSSY: u8 = (0.30 * 256.0) as u8;

/// A round trip that is longer than the shortest by more than this, in two reports, is trouble, in microseconds.
const LATE: u32 = 250_000;

/// How long the shortest round trip is remembered, twice this at most, in microseconds.
const FLOOR_FOR: u64 = 30_000_000;

/// How long a report tells something, in microseconds: they come after 5 s at most (RFC 3550, 6.2).
const TELLS_FOR: u64 = 6_000_000;

/// An interval of reports that is longer is a pause, in microseconds.
const LONGEST_INTERVAL: u64 = 5_000_000;

/// Reports are not believed for so long after this process stood still, in microseconds: round trips have the pause in
/// them, and the shares tell of what was sent before it, or all at once after it.
const DOUBTED_FOR: u64 = 2_000_000;

/// What a student said of itself.
#[derive(Debug, Default)]
pub(super) struct ReceiverReports {
    /// Reports that come before this tell nothing.
    doubted_until: u64,
    /// The rate in bits a second that the student can receive, and when it said so.
    received: Option<(u64, u32)>,
    /// How many times in a row it said that this is less than is sent.
    too_much: u8,
    reported: Option<u64>,
    interval: u64,
    lost: u8,
    lossy: u8,
    late: u8,
    /// The shortest round trip of the current span and of the one before, and when the current began.
    floor: Option<(u32, u32, u64)>,
}

impl ReceiverReports {
    /// A REMB of so many bits a second; `sent` is what is sent to it.
    ///
    /// A receiver raises its estimate by at most half of what it gets, and slowly. One that is low and rises has heard
    /// little up to now; one that falls below what is sent has seen its queue grow.
    pub(super) fn on_remb(&mut self, now: u64, bits: u32, sent: u32) {
        if now < self.doubted_until {
            self.received = Some((now, bits));
            return;
        }
        let before = self.received.map_or(bits, |(_, bits)| bits);
        let too_low = u64::from(bits) * 10 < u64::from(sent) * 9;
        self.too_much = match too_low {
            false => 0,
            true if u64::from(bits) * 10 < u64::from(before) * 9 => 2,
            true if u64::from(bits) * 20 > u64::from(before) * 21 => 0,
            true => (self.too_much + 1).min(2),
        };
        self.interval = self.received.map_or(0, |(at, _)| now.saturating_sub(at)).min(LONGEST_INTERVAL);
        self.received = Some((now, bits));
    }

    /// A receiver report: the share of lost packets in 256ths, and the round trip in microseconds where it is known.
    pub(super) fn on_report(&mut self, now: u64, lost: u8, round_trip: Option<u32>) {
        if now < self.doubted_until {
            self.reported = Some(now);
            return;
        }
        let counted = |before: u8, bad: bool| if bad { (before + 1).min(2) } else { 0 };
        self.lossy = counted(self.lossy, lost > LOSSY);
        self.lost = lost;
        self.interval = self.reported.map_or(0, |at| now.saturating_sub(at)).min(LONGEST_INTERVAL);
        self.reported = Some(now);
        let Some(round_trip) = round_trip else { return };
        let (current, before, since) = match self.floor {
            None => (round_trip, round_trip, now),
            Some((current, _, since)) if now > since + FLOOR_FOR => (round_trip, current, now),
            Some((current, before, since)) => (current.min(round_trip), before, since),
        };
        self.floor = Some((current, before, since));
        self.late = counted(self.late, round_trip > current.min(before).saturating_add(LATE));
    }

    /// This process stood still until now.
    pub(super) fn stood_still(&mut self, now: u64) {
        (self.too_much, self.lossy, self.late, self.lost) = (0, 0, 0, 0);
        self.doubted_until = now + DOUBTED_FOR;
    }

    /// Whether it said anything, ever.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_none() && self.reported.is_none()
    }

    /// The rate that it said it can receive.
    pub(super) fn rate(&self, now: u64) -> Option<u32> {
        self.received.filter(|(at, _)| at + TELLS_FOR >= now).map(|(_, bits)| bits)
    }

    /// The share that is lost, 0 to 1.
    pub(super) fn lost(&self) -> f32 {
        f32::from(self.lost) / 256.0
    }

    /// The time of which a report tells, in microseconds.
    pub(super) fn interval(&self) -> u64 {
        self.interval
    }

    /// Whether the queue grows, by what it said.
    pub(super) fn is_delayed(&self, now: u64) -> bool {
        self.rate(now).is_some() && self.too_much == 2 || self.is_fresh(now) && self.late == 2
    }

    /// Whether it loses more than can be borne.
    pub(super) fn is_lossy(&self, now: u64) -> bool {
        self.is_fresh(now) && (self.lossy == 2 || self.lost > VERY_LOSSY)
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.reported.is_some_and(|at| at + TELLS_FOR >= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn an_estimate_that_falls_below_what_is_sent_is_trouble_and_one_that_rises_is_none() {
        let mut reports = ReceiverReports::default();
        for (second, kbit) in [300, 330, 400, 500, 900, 1_800, 3_600].into_iter().enumerate() {
            reports.on_remb(second as u64 * SECOND, kbit * 1000, 2_500_000);
            assert!(!reports.is_delayed(second as u64 * SECOND));
        }
        reports.on_remb(7 * SECOND, 510_000, 2_500_000);
        assert!(reports.is_delayed(7 * SECOND));
        assert_eq!(reports.rate(7 * SECOND), Some(510_000));
        assert!(!reports.is_delayed(20 * SECOND), "long ago");
        reports.on_remb(21 * SECOND, 500_000, 450_000);
        assert!(!reports.is_delayed(21 * SECOND), "less is sent now");
    }

    #[test]
    fn losses_must_be_many_or_come_again() {
        let mut reports = ReceiverReports::default();
        let mut lossy = |second: u64, share: f32| {
            reports.on_report(second * SECOND, (share * 256.0) as u8, None);
            reports.is_lossy(second * SECOND)
        };
        assert!(!lossy(1, 0.20));
        assert!(!lossy(2, 0.10));
        assert!(!lossy(3, 0.20));
        assert!(lossy(4, 0.20));
        assert!(!lossy(5, 0.05));
        assert!(lossy(6, 0.40));
    }

    #[test]
    fn what_is_reported_of_a_pause_of_our_own_is_no_trouble() {
        let mut reports = ReceiverReports::default();
        reports.on_remb(0, 5_000_000, 2_500_000);
        reports.on_report(0, 0, Some(40_000));
        reports.on_report(SECOND, 50, Some(3_000_000));
        reports.stood_still(4 * SECOND);
        for second in 4..6 {
            reports.on_report(second * SECOND, 200, Some(3_000_000));
            reports.on_remb(second * SECOND, 100_000, 2_500_000);
            assert!(!reports.is_lossy(second * SECOND) && !reports.is_delayed(second * SECOND));
        }
        reports.on_report(6 * SECOND, 200, None);
        assert!(reports.is_lossy(6 * SECOND), "it is believed again");
    }

    #[test]
    fn a_round_trip_that_stays_longer_is_trouble() {
        let mut reports = ReceiverReports::default();
        let late = [40, 60, 400, 50, 400, 500].map(|millis| {
            reports.on_report(SECOND, 0, Some(millis * 1000));
            reports.is_delayed(SECOND)
        });
        assert_eq!(late, [false, false, false, false, false, true]);
    }
}
