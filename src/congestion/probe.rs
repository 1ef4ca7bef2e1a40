//! A train of padding, for where pictures tell too little of a line.

use std::ops::RangeInclusive;

/// A line is blocked for no longer than this by a probe, in milliseconds, unless it is a very slow one.
const MILLIS: u64 = 50;

/// As few packets as make a sure train, as many as a picture has.
const PACKETS: RangeInclusive<u32> = 5..=10;

/// Bytes of a packet.
const BYTES: RangeInclusive<u32> = 250..=1000;

/// Padding to be sent at once, as a train that tells what the line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// So many packets.
    pub(crate) packets: u32,
    /// Of so many bytes each, with the RTP header.
    pub(crate) bytes_each: u32,
}

impl Probe {
    /// Before the first picture: 85 ms of a line of 120 kbit/s, less than sound is waited for at first.
    pub(crate) const FIRST: Self = Self { packets: 4, bytes_each: 255 };

    /// What tells anything at all: 100 ms of a line of 100 kbit/s.
    pub(super) const SHORTEST: Self = Self { packets: *PACKETS.start(), bytes_each: *BYTES.start() };

    /// For a line of which nothing is known: 50 ms of 500 kbit/s.
    pub(super) const UNKNOWN_CAPACITY: Self = Self { packets: *PACKETS.end(), bytes_each: 312 };

    /// For a line of so many bits a second.
    pub(super) fn for_capacity(bits: u32) -> Self {
        let bytes = (u64::from(bits) / 8 * MILLIS / 1000).min(u32::MAX.into()) as u32;
        let packets = (bytes / BYTES.start()).clamp(*PACKETS.start(), *PACKETS.end());
        Self { packets, bytes_each: (bytes / packets).clamp(*BYTES.start(), *BYTES.end()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_blocks_no_line_for_long() {
        for bits in [0, 50_000, 120_000, 300_000, 600_000, 10_000_000, u32::MAX] {
            let probe = Probe::for_capacity(bits);
            assert!(PACKETS.contains(&probe.packets) && BYTES.contains(&probe.bytes_each));
            let millis = probe.packets * probe.bytes_each * 8 / (bits / 1000).max(1);
            assert!(bits < 210_000 || millis <= 50, "{bits}: {millis}");
        }
        assert_eq!(Probe::for_capacity(0), Probe::SHORTEST);
        assert_eq!(Probe::for_capacity(500_000), Probe::UNKNOWN_CAPACITY);
        assert_eq!(Probe::for_capacity(u32::MAX), Probe { packets: 10, bytes_each: 1000 });
    }
}
