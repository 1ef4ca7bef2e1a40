//! Feedback of peers without transport-wide feedback: the receivable rate (REMB), and loss and round-trip time
//! (receiver reports).
//!
//! Both arrive once a second or less often, so all decisions are slower.

/// Two consecutive reports with a higher loss are trouble: at 10 % loss this happens once a day.
const LOSSY: u8 = (0.15 * 256.0) as u8;

/// One report with a higher loss is trouble.
const VERY_LOSSY: u8 = (0.30 * 256.0) as u8;

/// A round trip that exceeds the shortest one by more than this in two reports is trouble, in microseconds.
const LATE: u32 = 250_000;

/// How long the shortest round trip is remembered (at most twice this), in microseconds.
const FLOOR_FOR: u64 = 30_000_000;

/// How long a report counts, in microseconds: the next one arrives within 5 s (RFC 3550, 6.2).
const TELLS_FOR: u64 = 6_000_000;

/// The longest report interval, in microseconds; a longer one is a pause.
const LONGEST_INTERVAL: u64 = 5_000_000;

/// Reports are ignored for this long after a suspension of this process, in microseconds: their round-trip times
/// include the suspension, and they report losses from before it or from the burst after it.
const DOUBTED_FOR: u64 = 2_000_000;

/// The reports of one peer.
#[derive(Debug, Default)]
pub(super) struct ReceiverReports {
    /// Reports that arrive before this are ignored.
    doubted_until: u64,
    /// The newest REMB in bits per second, and its time.
    received: Option<(u64, u32)>,
    /// The number of consecutive REMBs below the send rate.
    too_much: u8,
    reported: Option<u64>,
    interval: u64,
    lost: u8,
    lossy: u8,
    late: u8,
    /// The shortest round trip of the current span and of the previous one, and the start of the current span.
    floor: Option<(u32, u32, u64)>,
}

impl ReceiverReports {
    /// A REMB in bits per second; `sent` is the send rate.
    ///
    /// A receiver raises its estimate slowly, to at most 1.5 times the rate it receives. A low, rising estimate means
    /// that little was received so far; an estimate that falls below the send rate means that the queue grew.
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

    /// A receiver report: the fraction lost in 256ths, and the round-trip time in microseconds if known.
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

    /// This process was suspended until now.
    pub(super) fn on_suspension(&mut self, now: u64) {
        (self.too_much, self.lossy, self.late, self.lost) = (0, 0, 0, 0);
        self.doubted_until = now + DOUBTED_FOR;
    }

    /// Whether nothing was ever reported.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_none() && self.reported.is_none()
    }

    /// The newest REMB, in bits per second.
    pub(super) fn rate(&self, now: u64) -> Option<u32> {
        self.received.filter(|(at, _)| at + TELLS_FOR >= now).map(|(_, bits)| bits)
    }

    /// The fraction lost, 0 to 1.
    pub(super) fn lost(&self) -> f32 {
        f32::from(self.lost) / 256.0
    }

    /// The time that a report covers, in microseconds.
    pub(super) fn interval(&self) -> u64 {
        self.interval
    }

    /// Whether the queue grows, according to REMB or the round-trip time.
    pub(super) fn is_delayed(&self, now: u64) -> bool {
        self.rate(now).is_some() && self.too_much == 2 || self.is_fresh(now) && self.late == 2
    }

    /// Whether too much is lost.
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
    fn a_remb_falling_below_the_send_rate_is_trouble_and_a_rising_one_is_not() {
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
    fn loss_must_be_high_or_be_reported_twice() {
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
    fn reports_are_ignored_shortly_after_a_suspension() {
        let mut reports = ReceiverReports::default();
        reports.on_remb(0, 5_000_000, 2_500_000);
        reports.on_report(0, 0, Some(40_000));
        reports.on_report(SECOND, 50, Some(3_000_000));
        reports.on_suspension(4 * SECOND);
        for second in 4..6 {
            reports.on_report(second * SECOND, 200, Some(3_000_000));
            reports.on_remb(second * SECOND, 100_000, 2_500_000);
            assert!(!reports.is_lossy(second * SECOND) && !reports.is_delayed(second * SECOND));
        }
        reports.on_report(6 * SECOND, 200, None);
        assert!(reports.is_lossy(6 * SECOND), "it is believed again");
    }

    #[test]
    fn a_round_trip_that_is_long_twice_in_a_row_is_trouble() {
        let mut reports = ReceiverReports::default();
        let late = [40, 60, 400, 50, 400, 500].map(|millis| {
            reports.on_report(SECOND, 0, Some(millis * 1000));
            reports.is_delayed(SECOND)
        });
        assert_eq!(late, [false, false, false, false, false, true]);
    }
}
