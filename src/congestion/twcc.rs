//! What was sent to one student lately, by transport-wide sequence number, so that its feedback finds it.

/// How many packets are remembered: a round trip and an interval of feedback of the largest lectures (0.5 s of 2,000
/// packets a second), 4 s of usual ones. Eight bytes each are 8 kB a student.
const PACKETS: usize = 1024;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Nothing was sent by this number.
    Unsent,
    /// No feedback told of it.
    InFlight,
    /// Feedback told that it has not come, yet.
    NotReceived,
    /// It came.
    Received,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    /// In microseconds, modulo 2^32: 71 minutes.
    sent: u32,
    bytes: u16,
    /// What the place in the ring does not tell of the sequence number.
    round: u8,
    status: Status,
}

/// A packet that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When it was sent, in microseconds of our clock.
    pub(super) sent: u64,
    /// When it came, in microseconds of the student's clock.
    pub(super) arrived: i64,
    pub(super) bytes: u32,
}

/// The newest packets that were sent to a student.
#[derive(Debug)]
pub(super) struct TwccHistory {
    packets: Box<[Packet]>,
    /// The number after the newest, and of the oldest whose fate is not decided.
    next: u16,
    undecided: u16,
}

impl TwccHistory {
    /// An empty one, whose first packet will have this number.
    pub(super) fn new(first: u16) -> Self {
        let unsent = Packet { sent: 0, bytes: 0, round: 0, status: Status::Unsent };
        Self { packets: vec![unsent; PACKETS].into_boxed_slice(), next: first, undecided: first }
    }

    /// Remembers a packet. Numbers are given in order; what is jumped over counts as never sent.
    pub(super) fn sent(&mut self, now: u64, sequence: u16, bytes: usize) {
        let (place, round) = place(sequence);
        let bytes = bytes.min(u16::MAX.into()) as u16;
        self.packets[place] = Packet { sent: now as u32, bytes, round, status: Status::InFlight };
        self.next = sequence.wrapping_add(1);
        if usize::from(self.next.wrapping_sub(self.undecided)) > PACKETS {
            self.undecided = self.next.wrapping_sub(PACKETS as u16);
        }
    }

    /// Takes feedback that begins with the packet `base`, and calls `each` for every packet that came and was not known
    /// to have come, in the order of sending. A status is the time since the packet before that came, in microseconds;
    /// of the first since `reference`.
    ///
    /// What was never sent is passed over. More statuses than packets are remembered are not read.
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

    /// Whatever becomes of the packets under way, it tells nothing: feedback of them is passed over.
    pub(super) fn forget_under_way(&mut self) {
        for packet in
            self.packets.iter_mut().filter(|packet| matches!(packet.status, Status::InFlight | Status::NotReceived))
        {
            packet.status = Status::Unsent;
        }
        self.undecided = self.next;
    }

    /// Decides on what was sent before `before`, late enough that reordering is no excuse: calls `each` with the time
    /// of sending and whether it was lost. Packets of which no feedback told are left out: there, feedback was lost.
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

/// The latest time that is not after `now` and ends in these bits.
fn full(now: u64, sent: u32) -> u64 {
    now.saturating_sub((now as u32).wrapping_sub(sent).into())
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
    fn feedback_finds_what_was_sent_across_the_wrap() {
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
    fn lost_is_what_feedback_told_of_and_what_is_old_enough() {
        let mut history = TwccHistory::new(10);
        for sequence in 10..20 {
            history.sent(u64::from(sequence) * 1_000, sequence, 1200);
        }
        // 15 is told of by no feedback, 12 is late.
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
    fn what_was_under_way_and_is_forgotten_is_neither_lost_nor_late() {
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
    fn what_was_never_sent_is_passed_over() {
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
        assert_eq!(decided, 0, "nobody told of them");
        assert_eq!(size_of::<Packet>(), 8);
    }
}
