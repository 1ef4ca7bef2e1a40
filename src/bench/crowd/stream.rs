//! The packets of one stream at one student: which of them arrived, and which need a NACK.

use std::time::{Duration, Instant};

use rtc::rtcp::reception_report::ReceptionReport;

/// The interval and the maximum number of NACKs for a missing packet, as in `watch`.
const NACK_INTERVAL: Duration = Duration::from_millis(20);
const NACK_TRIES: u8 = 8;

/// The maximum number of missing packets remembered: a whole key frame. Older ones are given up.
const MAX_MISSING: usize = 256;

/// The kind of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first copy of this packet.
    New,
    /// A duplicate.
    Duplicate,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    number: u64,
    asked: Option<Instant>,
    tries: u8,
}

/// The sequence numbers of one SSRC. They are not encrypted, so a packet is counted without being opened.
#[derive(Debug, Default)]
pub(super) struct Stream {
    first: u64,
    highest: Option<u64>,
    received: u64,
    missing: Vec<Missing>,
    /// Packets expected and received at the last report.
    reported: (u64, u64),
}

impl Stream {
    /// Records the arrival of a packet with this sequence number.
    pub(super) fn take(&mut self, number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            // Leaves room below the first packet for packets that it has overtaken.
            self.first = u64::from(number) + (1 << 32);
            self.highest = Some(self.first);
            self.received = 1;
            return Arrival::New;
        };
        // The number with these low bits nearest to the highest one (RFC 3711, 3.3.1).
        let ahead = number.wrapping_sub(highest as u16).cast_signed();
        let extended = highest.wrapping_add_signed(i64::from(ahead));
        if ahead > 0 {
            let gap = (highest + 1)..extended;
            self.missing.extend(gap.map(|number| Missing { number, asked: None, tries: 0 }));
            let too_many = self.missing.len().saturating_sub(MAX_MISSING);
            self.missing.drain(..too_many);
            self.highest = Some(extended);
        } else if let Some(at) = self.missing.iter().position(|missing| missing.number == extended) {
            self.missing.remove(at);
        } else {
            return Arrival::Duplicate;
        }
        self.received += 1;
        Arrival::New
    }

    /// Records the arrival of a retransmission; a duplicate if the packet was not missing.
    pub(super) fn take_retransmission(&mut self, number: u16) -> Arrival {
        let Some(at) = self.missing.iter().position(|missing| missing.number as u16 == number) else {
            return Arrival::Duplicate;
        };
        self.missing.remove(at);
        self.received += 1;
        Arrival::New
    }

    /// The packets for which a NACK is due.
    pub(super) fn due_nacks(&mut self, now: Instant) -> Vec<u16> {
        self.missing.retain(|missing| missing.tries < NACK_TRIES);
        let due = self.missing.iter_mut().filter(|m| m.asked.is_none_or(|at| now - at >= NACK_INTERVAL));
        due.map(|missing| {
            missing.asked = Some(now);
            missing.tries += 1;
            missing.number as u16
        })
        .collect()
    }

    /// The report block of a receiver report (RFC 3550, 6.4.1); `None` before the first packet.
    pub(super) fn report(&mut self, ssrc: u32) -> Option<ReceptionReport> {
        let highest = self.highest?;
        let expected = highest - self.first + 1;
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, self.received));
        let (now_expected, now_received) = (expected - expected_before, self.received - received_before);
        let lost = now_expected.saturating_sub(now_received);
        let fraction_lost = (lost * 256).checked_div(now_expected).unwrap_or(0).min(255) as u8;
        let total_lost = expected.saturating_sub(self.received) as u32;
        Some(ReceptionReport {
            ssrc,
            fraction_lost,
            total_lost,
            last_sequence_number: (highest - (1 << 32)) as u32,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(numbers: impl IntoIterator<Item = u16>) -> Stream {
        let mut stream = Stream::default();
        for number in numbers {
            assert_eq!(stream.take(number), Arrival::New);
        }
        stream
    }

    #[test]
    fn a_gap_gets_nacks_until_it_is_filled() {
        let now = Instant::now();
        let mut stream = taken([65_534, 1]);
        assert_eq!(stream.due_nacks(now), [65_535, 0]);
        assert_eq!(stream.due_nacks(now), [0; 0], "not at once again");
        assert_eq!(stream.take(65_535), Arrival::New);
        assert_eq!(stream.take(65_535), Arrival::Duplicate);
        for n in 1..u32::from(NACK_TRIES) {
            assert_eq!(stream.due_nacks(now + n * NACK_INTERVAL), [0]);
        }
        assert_eq!(stream.due_nacks(now + Duration::from_secs(9)), [0; 0], "given up");
    }

    #[test]
    fn a_retransmission_fills_a_gap_once() {
        let mut stream = taken([65_534, 1]);
        assert_eq!(
            (stream.take_retransmission(65_535), stream.take_retransmission(65_535), stream.take_retransmission(1)),
            (Arrival::New, Arrival::Duplicate, Arrival::Duplicate)
        );
        assert_eq!(stream.due_nacks(Instant::now()), [0]);
        assert_eq!(stream.report(7).unwrap().total_lost, 1);
    }

    #[test]
    fn a_report_contains_the_loss_since_the_last_report() {
        let mut stream = taken([10, 11, 13]);
        let report = stream.report(7).unwrap();
        assert_eq!((report.ssrc, report.total_lost, report.fraction_lost, report.last_sequence_number), (7, 1, 64, 13));
        stream.take(14);
        assert_eq!(stream.report(7).unwrap().fraction_lost, 0);
        assert_eq!(Stream::default().report(1), None);
    }

    #[test]
    fn the_list_of_missing_packets_is_bounded() {
        let mut stream = taken([0, 30_000]);
        assert_eq!(stream.due_nacks(Instant::now()).len(), MAX_MISSING);
    }
}
