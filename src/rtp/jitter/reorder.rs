//! Restores the sending order of packets and finds the gaps between them.

use std::collections::BTreeMap;
use std::time::Duration;

/// The maximum number of packets that wait behind a gap: eight seconds of a usual screen. Then the gap is given up.
const MAX_WAITING: usize = 2048;

/// A sequence number that deviates by more than this belongs to a restarted stream.
const JUMP: i16 = 4096;

/// A packet that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) timestamp: u32,
    /// Whether it is the last of its frame.
    pub(super) marker: bool,
    /// Whether a decoder can start here.
    pub(super) starts_key: bool,
    /// When it arrived.
    pub(super) at: Duration,
}

/// The result of inserting a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insertion {
    /// It waits for its turn, which may be now.
    Buffered,
    /// It was already given up.
    Late,
    /// It has already arrived.
    Duplicate,
    /// The stream restarts with it.
    Reset,
}

/// The gap before the first waiting packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The number of missing packets.
    pub(super) missing: u64,
    /// The timestamp of the packet behind it.
    pub(super) timestamp: u32,
    /// When it was first detected.
    pub(super) since: Duration,
    /// Whether a key frame waits behind it.
    pub(super) before_key: bool,
}

/// The packets of one stream, kept until all earlier ones have arrived or are given up.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// The next sequence number, extended beyond 16 bits.
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    gap: Option<Gap>,
}

impl Reorder {
    /// Inserts a packet.
    pub(super) fn put(&mut self, sequence: u16, packet: Packet) -> Insertion {
        let next = *self.next.get_or_insert(first(sequence));
        let ahead = sequence.wrapping_sub(next as u16).cast_signed();
        if !(-JUMP..=JUMP).contains(&ahead) || self.waiting.len() >= MAX_WAITING {
            *self = Self { next: Some(first(sequence)), ..Self::default() };
            self.waiting.insert(first(sequence), packet);
            return Insertion::Reset;
        }
        if ahead < 0 {
            return Insertion::Late;
        }
        let place = next + u64::from(ahead.unsigned_abs());
        if self.waiting.contains_key(&place) {
            return Insertion::Duplicate;
        }
        let starts_key = packet.starts_key;
        self.waiting.insert(place, packet);
        if let Some(gap) = &mut self.gap {
            gap.before_key |= starts_key;
        }
        Insertion::Buffered
    }

    /// The next packet, if it has arrived.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        let next = self.next?;
        let first = self.waiting.first_entry().filter(|first| *first.key() == next)?;
        let packet = first.remove();
        (self.next, self.gap) = (Some(next + 1), None);
        Some(packet)
    }

    /// The gap that packets wait behind, if any.
    pub(super) fn gap(&mut self) -> Option<Gap> {
        let (head, packet) = self.waiting.first_key_value()?;
        let missing = head - self.next?;
        if missing == 0 {
            return None;
        }
        // Packets further behind may have arrived before the first waiting one.
        let gap = self.gap.get_or_insert_with(|| Gap {
            missing,
            timestamp: packet.timestamp,
            since: self.waiting.values().map(|packet| packet.at).min().unwrap_or(packet.at),
            before_key: self.waiting.values().any(|packet| packet.starts_key),
        });
        (gap.missing, gap.timestamp) = (missing, packet.timestamp);
        Some(*gap)
    }

    /// Gives up the next packet.
    pub(super) fn skip_one(&mut self) {
        (self.next, self.gap) = (self.next.map(|next| next + 1), None);
    }

    /// Gives up all packets before the first waiting one, and returns their number.
    pub(super) fn skip(&mut self) -> u64 {
        let Some((next, head)) = self.next.zip(self.waiting.keys().next().copied()) else { return 0 };
        (self.next, self.gap) = (Some(head), None);
        head - next
    }

    /// Gives up all packets before the first waiting key frame, and returns how many of them never arrived.
    pub(super) fn skip_to_key(&mut self) -> u64 {
        let key = self.waiting.iter().find(|(_, packet)| packet.starts_key).map(|(place, _)| *place);
        let Some((next, key)) = self.next.zip(key) else { return 0 };
        let kept = self.waiting.split_off(&key);
        let came = std::mem::replace(&mut self.waiting, kept).len() as u64;
        (self.next, self.gap) = (Some(key), None);
        key - next - came
    }
}

/// The first sequence number of a stream, with room for earlier ones.
fn first(sequence: u16) -> u64 {
    (1 << 32) + u64::from(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(n: u16, starts_key: bool) -> Packet {
        let at = Duration::from_millis(n.into());
        Packet { bytes: vec![n as u8], timestamp: u32::from(n) * 10, marker: true, starts_key, at }
    }

    fn put(reorder: &mut Reorder, n: u16) -> Insertion {
        reorder.put(n, packet(n, false))
    }

    fn popped(reorder: &mut Reorder) -> Vec<u8> {
        std::iter::from_fn(|| reorder.pop()).map(|packet| packet.bytes[0]).collect()
    }

    #[test]
    fn order_is_restored_across_the_wrap() {
        let mut reorder = Reorder::default();
        assert_eq!([65534, 0, 1, 65535].map(|n| put(&mut reorder, n)), [Insertion::Buffered; 4]);
        assert_eq!(popped(&mut reorder), [254, 255, 0, 1]);
        assert_eq!((put(&mut reorder, 0), put(&mut reorder, 65535)), (Insertion::Late, Insertion::Late));
        assert_eq!((put(&mut reorder, 3), put(&mut reorder, 3)), (Insertion::Buffered, Insertion::Duplicate));
    }

    #[test]
    fn a_gap_is_timed_from_the_earliest_packet_behind_it() {
        let mut reorder = Reorder::default();
        for n in [1, 5, 7, 4] {
            put(&mut reorder, n);
        }
        assert_eq!(popped(&mut reorder), [1]);
        let gap = reorder.gap().unwrap();
        assert_eq!((gap.missing, gap.timestamp, gap.since), (2, 40, Duration::from_millis(4)));
        put(&mut reorder, 2);
        put(&mut reorder, 3);
        assert_eq!(popped(&mut reorder), [2, 3, 4, 5]);
        assert_eq!(reorder.gap().map(|gap| (gap.missing, gap.since)), Some((1, Duration::from_millis(7))));
        assert_eq!((reorder.skip(), popped(&mut reorder)), (1, vec![7]));
        assert_eq!(reorder.gap(), None);
    }

    #[test]
    fn a_key_frame_ends_the_gap_before_it() {
        let mut reorder = Reorder::default();
        for n in [1, 4, 6] {
            put(&mut reorder, n);
        }
        assert_eq!(popped(&mut reorder), [1]);
        assert!(!reorder.gap().unwrap().before_key);
        reorder.put(9, packet(9, true));
        assert!(reorder.gap().unwrap().before_key);
        assert_eq!(reorder.skip_to_key(), 5, "2, 3, 5, 7, 8");
        assert_eq!(popped(&mut reorder), [9]);
        assert_eq!((reorder.skip_to_key(), reorder.skip()), (0, 0));
    }

    #[test]
    fn a_jump_resets_the_order_and_the_buffer_is_bounded() {
        let mut reorder = Reorder::default();
        for n in [1, 3] {
            put(&mut reorder, n);
        }
        assert_eq!(put(&mut reorder, 20_000), Insertion::Reset);
        assert_eq!((popped(&mut reorder), reorder.gap()), (vec![20_000u16 as u8], None));
        let waits =
            (20_002..).map(|n| put(&mut reorder, n)).take_while(|placed| *placed == Insertion::Buffered).count();
        assert_eq!(waits, MAX_WAITING);
        assert_eq!(popped(&mut reorder).len(), 1);
    }
}
