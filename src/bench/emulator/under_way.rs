//! Packets that have been sent and have not arrived.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::path::Path;

/// What is held at the most: a second and a quarter of 100 Mbit/s. What is more is dropped.
const MOST_BYTES: usize = 16_000_000;

/// One direction's packets, by their arrival.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    packets: BinaryHeap<Reverse<Packet>>,
    bytes: usize,
    /// How many there were: of those that arrive at the same instant the one that was sent first is the first.
    count: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Instant,
    number: u64,
    bytes: Box<[u8]>,
}

impl UnderWay {
    /// A packet is sent over a path.
    pub(super) fn take(&mut self, path: &mut Path, now: Instant, bytes: &[u8]) {
        if self.bytes + bytes.len() > MOST_BYTES {
            path.refuse();
            return;
        }
        let Some(at) = path.offer(now, bytes.len()) else { return };
        self.packets.push(Reverse(Packet { at, number: self.count, bytes: bytes.into() }));
        self.bytes += bytes.len();
        self.count += 1;
    }

    /// When the next one arrives.
    pub(super) fn due(&self) -> Option<Instant> {
        self.packets.peek().map(|Reverse(packet)| packet.at)
    }

    /// The next one that has arrived by now.
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
    fn packets_arrive_in_order_of_their_time_and_of_their_sending() {
        let now = Instant::now();
        let delayed = |ms| Path::new(PathConfig { delay: Duration::from_millis(ms), ..Default::default() }, 1, now);
        let mut under_way = UnderWay::default();
        for (ms, byte) in [(30, 1), (10, 2), (10, 3)] {
            under_way.take(&mut delayed(ms), now, &[byte]);
        }
        assert_eq!(under_way.due(), Some(now + Duration::from_millis(10)));
        assert_eq!(under_way.arrived(now), None);
        let later = now + Duration::from_millis(30);
        let arrived: Vec<u8> = std::iter::from_fn(|| under_way.arrived(later)).map(|bytes| bytes[0]).collect();
        assert_eq!(arrived, [2, 3, 1]);
        assert_eq!((under_way.bytes, under_way.due()), (0, None));
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut path = Path::new(PathConfig { delay: Duration::from_secs(9), ..Default::default() }, 1, now);
        let mut under_way = UnderWay::default();
        for _ in 0..20 {
            under_way.take(&mut path, now, &vec![0; MOST_BYTES / 10]);
        }
        assert_eq!((path.counts().passed, path.counts().dropped), (10, 10));
        assert_eq!(under_way.bytes, MOST_BYTES);
    }
}
