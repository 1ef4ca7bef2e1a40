//! Reception statistics of one SSRC, for receiver reports (RFC 3550, 6.4.1, A.3 and A.8).

use std::time::Instant;

use crate::rtcp::{ReceptionReport, SenderReport};

/// A larger step of the packet index is a restart of the stream.
const RESTART: u64 = 10_000;

/// The statistics.
#[derive(Debug)]
pub(super) struct Reception {
    clock_rate: u64,
    /// The index of the first packet, and the highest one.
    range: Option<(u64, u64)>,
    received: u64,
    /// Expected and received packets at the last report.
    before: (u64, u64),
    /// Arrival minus timestamp of the last packet, in timestamp units, and the jitter in sixteenths of one.
    transit: u32,
    jitter: u32,
    /// The middle of the NTP time of the last sender report, and when it arrived.
    sender_report: Option<(u32, Instant)>,
    loss: f32,
}

impl Reception {
    /// Nothing has arrived.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.into(),
            range: None,
            received: 0,
            before: (0, 0),
            transit: 0,
            jitter: 0,
            sender_report: None,
            loss: 0.0,
        }
    }

    /// A packet arrived: `index` is its sequence number with all rollovers counted, `nanos` the time of any one clock.
    pub(super) fn arrived(&mut self, index: u64, timestamp: u32, nanos: u64) {
        // Both factors stay below 2^64 for a day of 90 kHz; afterwards the product wraps, which is one sample.
        let arrival = ((nanos / 1_000).wrapping_mul(self.clock_rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        match &mut self.range {
            Some((_, highest)) if index.abs_diff(*highest) < RESTART => {
                *highest = index.max(*highest);
                let difference = transit.wrapping_sub(self.transit).cast_signed().unsigned_abs();
                // A jump of the timestamps is not jitter of the network.
                if u64::from(difference) < self.clock_rate {
                    self.jitter = self.jitter.saturating_add(difference) - ((self.jitter + 8) >> 4);
                }
            }
            range => {
                *range = Some((index, index));
                (self.received, self.before, self.jitter) = (0, (0, 0), 0);
            }
        }
        self.transit = transit;
        self.received += 1;
    }

    /// A sender report of this SSRC arrived.
    pub(super) fn on_sender_report(&mut self, now: Instant, report: SenderReport) {
        self.sender_report = Some(((report.ntp_time >> 16) as u32, now));
    }

    /// The fraction lost before the last report, 0 to 1.
    pub(super) fn loss(&self) -> f32 {
        self.loss
    }

    /// The report block on the time since the last one; `None` before the first packet.
    pub(super) fn report(&mut self, now: Instant, ssrc: u32) -> Option<ReceptionReport> {
        let (first, highest) = self.range?;
        let expected = highest - first + 1;
        let (expected_before, received_before) = std::mem::replace(&mut self.before, (expected, self.received));
        let (expected_now, received_now) = (expected.saturating_sub(expected_before), self.received - received_before);
        let lost = expected_now.saturating_sub(received_now);
        let fraction_lost = (lost * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        self.loss = lost as f32 / expected_now.max(1) as f32;
        let (last_sender_report, delay) = self.sender_report.map_or((0, 0), |(report, at)| {
            let micros = now.saturating_duration_since(at).as_micros();
            (report, (micros * 65_536 / 1_000_000).min(u32::MAX.into()) as u32)
        });
        Some(ReceptionReport {
            ssrc,
            fraction_lost,
            total_lost: (expected.cast_signed() - self.received.cast_signed()).clamp(-0x80_0000, 0x7f_ffff) as i32,
            // The first packet has one rollover.
            highest: highest.saturating_sub(1 << 16) as u32,
            jitter: self.jitter >> 4,
            last_sender_report,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn losses_and_the_highest_number_are_reported() {
        let now = Instant::now();
        let mut reception = Reception::new(90_000);
        assert!(reception.report(now, 7).is_none());
        let first = (1 << 16) + 65_500;
        for n in (0..100).filter(|n| n % 10 != 3) {
            reception.arrived(first + n, n as u32 * 900, n * 10_000_000);
        }
        let report = reception.report(now, 7).unwrap();
        assert_eq!((report.ssrc, report.fraction_lost, report.total_lost), (7, 25, 10));
        assert_eq!((report.highest, report.jitter), ((1 << 16) + 63, 0));
        assert!((reception.loss() - 0.1).abs() < 0.001);
        let report = reception.report(now, 7).unwrap();
        assert_eq!((report.fraction_lost, report.total_lost), (0, 10));
        reception.arrived(first + 50_000_000, 0, 0);
        assert_eq!(reception.report(now, 7).map(|report| report.total_lost), Some(0), "the stream restarted");
    }

    #[test]
    fn jitter_is_that_of_the_arrivals() {
        let mut reception = Reception::new(90_000);
        for n in 0..200u64 {
            // Every other packet is 10 ms late: a difference of 900 ticks each time.
            reception.arrived((1 << 16) + n, n as u32 * 1_800, n * 20_000_000 + n % 2 * 10_000_000);
        }
        let jitter = reception.report(Instant::now(), 7).unwrap().jitter;
        assert!((850..=900).contains(&jitter), "{jitter}");
    }

    #[test]
    fn a_sender_report_gives_lsr_and_dlsr() {
        let now = Instant::now();
        let mut reception = Reception::new(48_000);
        reception.arrived(1 << 16, 0, 0);
        reception.on_sender_report(now, SenderReport { ssrc: 7, ntp_time: 0x1122_3344_5566_7788, rtp_time: 0 });
        let report = reception.report(now + Duration::from_millis(500), 7).unwrap();
        assert_eq!((report.last_sender_report, report.delay), (0x3344_5566, 32_768));
    }
}
