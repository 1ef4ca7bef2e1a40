//! The media received from an emulated publisher.

use serde_json::{Value, json};

use crate::bench::emulator::PathCounts;
use crate::ingest::IngestStats;

/// The media received from an emulated publisher during the measurement, and the counts of its line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct IngestFound {
    /// Packets that the line lost since it began, and packets that its queue dropped.
    pub(super) line_lost: u64,
    pub(super) line_dropped: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Packets that were missing and came after a NACK, and packets that never came.
    pub(super) recovered: u64,
    pub(super) given_up: u64,
    pub(super) key_frame_requests: u64,
    /// CPU time of the SFU for each packet while no student was there, without that of an SFU without anybody; NaN if
    /// no packet came then.
    pub(super) cpu_us_per_packet: f64,
}

impl IngestFound {
    pub(super) fn new(before: &IngestStats, after: &IngestStats, line: PathCounts) -> Self {
        let sum = |stats: &IngestStats| {
            stats.encodings.iter().fold([0; 5], |sum, encoding| {
                let of = [
                    encoding.packets,
                    encoding.bytes,
                    encoding.recovered,
                    encoding.given_up,
                    encoding.key_frame_requests,
                ];
                std::array::from_fn(|n| sum[n] + of[n])
            })
        };
        let (before, after): ([u64; 5], [u64; 5]) = (sum(before), sum(after));
        let [packets, bytes, recovered, given_up, key_frame_requests] =
            std::array::from_fn(|n| after[n].saturating_sub(before[n]));
        Self {
            line_lost: line.lost,
            line_dropped: line.dropped,
            packets,
            bytes,
            recovered,
            given_up,
            key_frame_requests,
            cpu_us_per_packet: f64::NAN,
        }
    }

    pub(super) fn object(&self) -> Value {
        json!({
            "line_lost": self.line_lost,
            "line_dropped": self.line_dropped,
            "packets": self.packets,
            "bytes": self.bytes,
            "recovered": self.recovered,
            "given_up": self.given_up,
            "key_frame_requests": self.key_frame_requests,
            "cpu_us_per_packet": self.cpu_us_per_packet,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_arrived_during_the_measurement_counts() {
        let stats = IngestStats::default();
        let line = PathCounts { passed: 90, lost: 7, dropped: 3 };
        let found = IngestFound::new(&stats, &stats, line);
        assert_eq!((found.packets, found.recovered, found.line_lost, found.line_dropped), (0, 0, 7, 3));
        let object = found.object();
        assert!(object["cpu_us_per_packet"].is_null(), "not measured: {object}");
    }
}
