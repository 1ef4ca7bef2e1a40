//! The packets sent to one peer, by transport-wide sequence number, and the send rate.

/// The number of packets remembered: a round trip and a feedback interval of the largest lectures (0.5 s at 2,000
/// packets per second), or 4 s of usual ones. At eight bytes each this is 8 kB per peer.
const PACKETS: usize = 1024;

/// The state of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// No packet with this number was sent.
    Unsent,
    /// No feedback covers it yet.
    InFlight,
    /// Feedback so far says that it was not received.
    NotReceived,
    /// Feedback says that it was received.
    Received,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    /// In microseconds, modulo 2^32: 71 minutes.
    sent: u32,
    bytes: u16,
    /// The bits of the sequence number that its place in the ring does not determine.
    round: u8,
    status: Status,
}

/// A packet that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When it was sent, in microseconds of our clock.
    pub(super) sent: u64,
    /// When it arrived, in microseconds of the peer's clock.
    pub(super) arrived: i64,
    pub(super) bytes: u32,
}

/// The newest packets that were sent to a peer.
#[derive(Debug)]
pub(super) struct TwccHistory {
    packets: Box<[Packet]>,
    /// The number after the newest, and that of the oldest undecided packet.
    next: u16,
    undecided: u16,
}

impl TwccHistory {
    /// An empty history; `first` is the number of the first packet.
    pub(super) fn new(first: u16) -> Self {
        let unsent = Packet { sent: 0, bytes: 0, round: 0, status: Status::Unsent };
        Self { packets: vec![unsent; PACKETS].into_boxed_slice(), next: first, undecided: first }
    }

    /// Remembers a packet. Numbers come in order; a skipped number counts as never sent.
    pub(super) fn sent(&mut self, now: u64, sequence: u16, bytes: usize) {
        let (place, round) = place(sequence);
        let bytes = bytes.min(u16::MAX.into()) as u16;
        self.packets[place] = Packet { sent: now as u32, bytes, round, status: Status::InFlight };
        self.next = sequence.wrapping_add(1);
        if usize::from(self.next.wrapping_sub(self.undecided)) > PACKETS {
            self.undecided = self.next.wrapping_sub(PACKETS as u16);
        }
    }

    /// Reads feedback that starts with packet `base`, and calls `each` in the order of sending for every packet first
    /// reported as received. A status is the receive delta in microseconds; the first is relative to `reference`.
    ///
    /// Packets never sent are ignored. At most as many statuses are read as packets are remembered.
    pub(super) fn acknowledge(
        &mut self,
        now: u64,
        base: u16,
        reference: i64,
        statuses: impl IntoIterator<Item = Option<i32>>,
        mut each: impl FnMut(Arrival),
    ) {
        let mut arrived = reference;
        for (n, status) in statuses.into_iter().take(PACKETS).enumerate() {
            let (place, round) = place(base.wrapping_add(n as u16));
            arrived = arrived.saturating_add(status.unwrap_or(0).into());
            let packet = &mut self.packets[place];
            if packet.round != round {
                continue;
            }
            match (packet.status, status) {
                (Status::InFlight, None) => packet.status = Status::NotReceived,
                (Status::InFlight | Status::NotReceived, Some(_)) => {
                    packet.status = Status::Received;
                    each(Arrival { sent: full(now, packet.sent), arrived, bytes: packet.bytes.into() });
                }
                (Status::Unsent | Status::Received | Status::NotReceived, _) => {}
            }
        }
    }

    /// The bytes sent after the newest packet that feedback covers.
    pub(super) fn in_flight(&self) -> u64 {
        let newest_first = (1..=PACKETS as u16).map(|n| self.next.wrapping_sub(n));
        let packets = newest_first.map(|sequence| (place(sequence), self.packets[place(sequence).0]));
        let in_flight =
            packets.take_while(|((_, round), packet)| packet.round == *round && packet.status == Status::InFlight);
        in_flight.map(|(_, packet)| u64::from(packet.bytes)).sum()
    }

    /// Later feedback on the packets in flight is ignored.
    pub(super) fn forget_under_way(&mut self) {
        for packet in
            self.packets.iter_mut().filter(|packet| matches!(packet.status, Status::InFlight | Status::NotReceived))
        {
            packet.status = Status::Unsent;
        }
        self.undecided = self.next;
    }

    /// Decides on packets sent before `before`, which must be long enough ago to rule out reordering: calls `each` with
    /// the send time and whether the packet was lost. Packets not covered by any feedback are skipped, because that
    /// feedback was lost.
    pub(super) fn decide(&mut self, now: u64, before: u64, mut each: impl FnMut(u64, bool)) {
        while self.undecided != self.next {
            let (place, round) = place(self.undecided);
            let packet = self.packets[place];
            let sent = full(now, packet.sent);
            if packet.round == round && packet.status != Status::Unsent {
                if sent >= before {
                    return;
                }
                match packet.status {
                    Status::NotReceived => each(sent, true),
                    Status::Received => each(sent, false),
                    Status::Unsent | Status::InFlight => {}
                }
            }
            self.undecided = self.undecided.wrapping_add(1);
        }
    }
}

fn place(sequence: u16) -> (usize, u8) {
    (usize::from(sequence) % PACKETS, (usize::from(sequence) / PACKETS) as u8)
}

/// The latest time not after `now` whose low bits are `sent`.
fn full(now: u64, sent: u32) -> u64 {
    now.saturating_sub((now as u32).wrapping_sub(sent).into())
}

/// Bytes are counted in spans of this length, in microseconds.
const SPAN: u64 = 250_000;

/// The number of whole spans remembered: 2 s, so that one key frame has little weight.
const SPANS: usize = 8;

/// Bytes by send time, for the rate.
#[derive(Debug, Default)]
pub(super) struct SendRate {
    /// One span more than the whole ones, for the span being filled.
    bytes: [u32; SPANS + 1],
    newest: u64,
}

impl SendRate {
    /// `bytes` bytes are sent now.
    pub(super) fn add(&mut self, now: u64, bytes: usize) {
        self.advance(now);
        let span = &mut self.bytes[self.newest as usize % (SPANS + 1)];
        *span = span.saturating_add(bytes.min(u16::MAX.into()) as u32);
    }

    /// Bits per second over the last 2 s, or since the start if that is less.
    pub(super) fn rate(&mut self, now: u64) -> u32 {
        self.rate_of(now, SPANS)
    }

    /// Bits per second over the last second.
    pub(super) fn rate_of_a_second(&mut self, now: u64) -> u32 {
        self.rate_of(now, SPANS / 2)
    }

    fn rate_of(&mut self, now: u64, spans: usize) -> u32 {
        self.advance(now);
        let spans = spans.min(self.newest as usize);
        let bytes = (1..=spans as u64).filter_map(|back| self.newest.checked_sub(back));
        let bytes: u64 = bytes.map(|number| u64::from(self.bytes[number as usize % (SPANS + 1)])).sum();
        let bits = (bytes * 8_000_000).checked_div(spans as u64 * SPAN);
        bits.map_or(0, |bits| bits.min(u32::MAX.into()) as u32)
    }

    fn advance(&mut self, now: u64) {
        let number = now / SPAN;
        for passed in (self.newest + 1..=number).take(SPANS + 1) {
            self.bytes[passed as usize % (SPANS + 1)] = 0;
        }
        if number > self.newest + SPANS as u64 {
            self.bytes = [0; SPANS + 1];
        }
        self.newest = self.newest.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(history: &mut TwccHistory, now: u64, base: u16, statuses: &[Option<i32>]) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        history.acknowledge(now, base, 1_000_000, statuses.iter().copied(), |arrival| arrivals.push(arrival));
        arrivals
    }

    #[test]
    fn what_no_feedback_covers_yet_is_in_flight() {
        let mut history = TwccHistory::new(65_530);
        let number = |n: u16| 65_530u16.wrapping_add(n);
        (0..10).for_each(|n| history.sent(u64::from(n), number(n), 1_000));
        assert_eq!(history.in_flight(), 10_000);
        history.acknowledge(20, number(0), 0, [Some(1), None, Some(1)], |_| {});
        assert_eq!(history.in_flight(), 7_000);
        (10..5_000).for_each(|n| history.sent(n.into(), number(n), 1));
        assert_eq!(history.in_flight(), PACKETS as u64);
        history.forget_under_way();
        assert_eq!(history.in_flight(), 0);
    }

    #[test]
    fn feedback_finds_packets_across_the_wrap() {
        let mut history = TwccHistory::new(65_534);
        for (n, sequence) in [65_534, 65_535, 0, 1].into_iter().enumerate() {
            history.sent(u64::from(u32::MAX) - 1 + n as u64, sequence, 100 + n);
        }
        let now = u64::from(u32::MAX) + 50_000;
        let arrivals = acknowledged(&mut history, now, 65_534, &[Some(250), None, Some(500), Some(-250)]);
        assert_eq!(
            arrivals,
            [
                Arrival { sent: u64::from(u32::MAX) - 1, arrived: 1_000_250, bytes: 100 },
                Arrival { sent: u64::from(u32::MAX) + 1, arrived: 1_000_750, bytes: 102 },
                Arrival { sent: u64::from(u32::MAX) + 2, arrived: 1_000_500, bytes: 103 },
            ]
        );
        assert_eq!(acknowledged(&mut history, now, 65_534, &[Some(0); 4]).len(), 1, "only the late one is new");
    }

    #[test]
    fn an_old_packet_reported_as_not_received_is_lost() {
        let mut history = TwccHistory::new(10);
        for sequence in 10..20 {
            history.sent(u64::from(sequence) * 1_000, sequence, 1200);
        }
        // No feedback covers 15, and 12 arrives late.
        acknowledged(&mut history, 30_000, 10, &[Some(0), None, None, Some(0), Some(0)]);
        acknowledged(&mut history, 30_000, 12, &[Some(0)]);
        acknowledged(&mut history, 30_000, 16, &[None, Some(0), None, Some(0)]);
        let mut decided = Vec::new();
        history.decide(30_000, 18_000, |sent, lost| decided.push((sent / 1_000, lost)));
        assert_eq!(decided, [(10, false), (11, true), (12, false), (13, false), (14, false), (16, true), (17, false)]);
        decided.clear();
        history.decide(30_000, 30_000, |sent, lost| decided.push((sent / 1_000, lost)));
        assert_eq!(decided, [(18, true), (19, false)], "each once");
    }

    #[test]
    fn forgotten_packets_in_flight_are_neither_lost_nor_late() {
        let mut history = TwccHistory::new(0);
        (0..10).for_each(|sequence| history.sent(u64::from(sequence) * 1_000, sequence, 1200));
        acknowledged(&mut history, 20_000, 0, &[Some(0), None, Some(0)]);
        history.forget_under_way();
        assert!(acknowledged(&mut history, 3_000_000, 1, &[Some(0), None, Some(0), None, Some(0)]).is_empty());
        history.sent(3_000_000, 10, 1200);
        history.sent(3_001_000, 11, 1200);
        assert_eq!(acknowledged(&mut history, 3_020_000, 10, &[None, Some(0)]).len(), 1);
        let mut decided = Vec::new();
        history.decide(3_020_000, 3_020_000, |sent, lost| decided.push((sent, lost)));
        assert_eq!(decided, [(3_000_000, true), (3_001_000, false)]);
    }

    #[test]
    fn feedback_on_packets_never_sent_is_ignored() {
        let mut history = TwccHistory::new(0);
        assert!(acknowledged(&mut history, 0, 0, &[Some(0); 3000]).is_empty());
        history.sent(5, 7, 100);
        assert!(acknowledged(&mut history, 9, 7 + PACKETS as u16, &[Some(0)]).is_empty(), "another round");
        assert_eq!(acknowledged(&mut history, 9, 0, &[Some(0); 3000]).len(), 1);
        for sequence in 8..5_000 {
            history.sent(10, sequence, 100);
        }
        let mut decided = 0;
        history.decide(20, 20, |_, _| decided += 1);
        assert_eq!(decided, 0, "no feedback covers them");
        assert_eq!(size_of::<Packet>(), 8);
    }

    #[test]
    fn the_rate_covers_the_last_seconds() {
        let mut send_rate = SendRate::default();
        assert_eq!(send_rate.rate(0), 0);
        for at in (0..4_000_000).step_by(10_000) {
            send_rate.add(at, 1250);
            assert!(at < 300_000 || (950_000..=1_000_000).contains(&send_rate.rate(at)));
        }
        assert_eq!((send_rate.rate(4_000_000), send_rate.rate_of_a_second(4_000_000)), (1_000_000, 1_000_000));
        assert_eq!((send_rate.rate(5_000_000), send_rate.rate_of_a_second(5_000_000)), (500_000, 0));
        assert_eq!(send_rate.rate(60_000_000), 0);
        send_rate.add(61_000_000, 250_000);
        assert_eq!(send_rate.rate(61_250_000), 262_140, "no packet has more than 64 kB");
    }
}
