//! Packets that were sent and have not arrived yet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::path::Path;

/// The maximum number of bytes held: 1.25 s at 100 Mbit/s. Further packets are dropped.
const MAX_BYTES: usize = 16_000_000;

/// The packets of one direction, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    packets: BinaryHeap<Reverse<Packet>>,
    bytes: usize,
    /// The number of packets so far. Packets with the same arrival time arrive in the order of sending.
    count: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Instant,
    number: u64,
    bytes: Box<[u8]>,
}

impl InFlight {
    /// Sends a packet over a path.
    pub(super) fn send(&mut self, path: &mut Path, now: Instant, bytes: &[u8]) {
        if self.bytes + bytes.len() > MAX_BYTES {
            path.count_dropped();
            return;
        }
        let Some(at) = path.offer(now, bytes.len()) else { return };
        self.packets.push(Reverse(Packet { at, number: self.count, bytes: bytes.into() }));
        self.bytes += bytes.len();
        self.count += 1;
    }

    /// When the next packet arrives.
    pub(super) fn due(&self) -> Option<Instant> {
        self.packets.peek().map(|Reverse(packet)| packet.at)
    }

    /// The next packet that has arrived at `now`.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Box<[u8]>> {
        self.due().filter(|due| *due <= now)?;
        let Reverse(packet) = self.packets.pop()?;
        self.bytes -= packet.bytes.len();
        Some(packet.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::path::PathConfig;
    use super::*;

    #[test]
    fn packets_arrive_in_order_of_time_then_of_sending() {
        let now = Instant::now();
        let delayed = |ms| Path::new(PathConfig { delay: Duration::from_millis(ms), ..Default::default() }, 1, now);
        let mut in_flight = InFlight::default();
        for (ms, byte) in [(30, 1), (10, 2), (10, 3)] {
            in_flight.send(&mut delayed(ms), now, &[byte]);
        }
        assert_eq!(in_flight.due(), Some(now + Duration::from_millis(10)));
        assert_eq!(in_flight.arrived(now), None);
        let later = now + Duration::from_millis(30);
        let arrived: Vec<u8> = std::iter::from_fn(|| in_flight.arrived(later)).map(|bytes| bytes[0]).collect();
        assert_eq!(arrived, [2, 3, 1]);
        assert_eq!((in_flight.bytes, in_flight.due()), (0, None));
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut path = Path::new(PathConfig { delay: Duration::from_secs(9), ..Default::default() }, 1, now);
        let mut in_flight = InFlight::default();
        for _ in 0..20 {
            in_flight.send(&mut path, now, &vec![0; MAX_BYTES / 10]);
        }
        assert_eq!((path.counts().passed, path.counts().dropped), (10, 10));
        assert_eq!(in_flight.bytes, MAX_BYTES);
    }
}
