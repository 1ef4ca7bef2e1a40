use super::*;

const POLICY: NackPolicy = NackPolicy {
    first: Duration::from_millis(3),
    again: Duration::from_millis(60),
    most: 6,
    limit: Duration::from_millis(450),
};

/// An order whose packets are their own numbers, and the packets that it has released.
struct Sequence {
    order: Order<u16>,
    begin: Instant,
    now: Instant,
    out: Vec<(u16, bool)>,
}

impl Sequence {
    fn new() -> Self {
        let begin = Instant::now();
        Self { order: Order::default(), begin, now: begin, out: Vec::new() }
    }

    fn at(&mut self, ms: u64) {
        self.now = self.begin + Duration::from_millis(ms);
        while self.order.give_up_late(self.now, POLICY) {
            self.take();
        }
    }

    fn put(&mut self, number: u16) -> Place {
        let (place, _) = self.order.arrive(self.now, number);
        self.placed(number, place);
        place
    }

    fn placed(&mut self, number: u16, place: Place) {
        match place {
            Place::Next { index } => self.out.push((index as u16, false)),
            Place::AfterGap { index } => self.out.push((index as u16, true)),
            Place::Waits { index } => self.order.wait(index, number),
            Place::Late { .. } => {}
        }
        self.take();
    }

    fn take(&mut self) {
        while let Some((index, number, gap)) = self.order.take() {
            assert_eq!(index as u16, number);
            self.out.push((number, gap));
        }
    }

    fn out(&mut self) -> Vec<(u16, bool)> {
        std::mem::take(&mut self.out)
    }

    fn nacks(&mut self) -> Vec<u16> {
        self.order.nacks(self.now, POLICY, 250)
    }
}

fn whole(numbers: &[u16]) -> Vec<(u16, bool)> {
    numbers.iter().map(|number| (*number, false)).collect()
}

#[test]
fn reordered_packets_come_out_in_order_and_once_across_the_wrap() {
    let mut sequence = Sequence::new();
    for number in [65_533, 65_535, 65_534, 1, 1, 0, 0, 65_535, 2] {
        sequence.put(number);
    }
    assert_eq!(sequence.out(), whole(&[65_533, 65_534, 65_535, 0, 1, 2]));
    assert_eq!(sequence.order.counts(), LossCounts::default(), "nothing was lost");
    assert_eq!(sequence.order.deadline(POLICY), None);
}

#[test]
fn missing_packets_are_asked_for_soon_then_after_a_round_trip_and_given_up_after_the_limit() {
    let mut sequence = Sequence::new();
    for number in [10, 13] {
        sequence.put(number);
    }
    assert!(sequence.nacks().is_empty(), "they may only be late");
    let mut asked = Vec::new();
    for ms in 0..449 {
        sequence.at(ms);
        asked.extend(sequence.nacks().into_iter().map(|number| (ms, number)));
    }
    let at = |ms| [(ms, 11), (ms, 12)];
    assert_eq!(asked, [at(3), at(63), at(73), at(133), at(143), at(233)].concat());
    assert_eq!(sequence.order.deadline(POLICY), Some(sequence.begin + POLICY.limit));
    assert_eq!(sequence.out(), whole(&[10]));
    sequence.at(450);
    assert_eq!(sequence.out(), [(13, true)]);
    assert_eq!(sequence.order.counts(), LossCounts { lost: 2, recovered: 0, given_up: 2 });
    sequence.at(460);
    let late = sequence.order.arrive(sequence.now, 11).0;
    assert_eq!(late, Place::Late { answered: Some(Duration::from_millis(460 - 233)) });
    assert_eq!(sequence.put(11), Place::Late { answered: None }, "a duplicate says nothing");
}

#[test]
fn a_retransmission_fills_the_gap_and_tells_the_round_trip() {
    let mut sequence = Sequence::new();
    for number in [10, 12] {
        sequence.put(number);
    }
    sequence.at(3);
    assert_eq!(sequence.nacks(), [11]);
    sequence.at(53);
    let (place, recovered) = sequence.order.arrive_by_rtx(sequence.now, 11);
    sequence.placed(11, place);
    assert_eq!(
        recovered,
        Some(Recovered {
            late: Duration::from_millis(53),
            asked: Some((Duration::from_millis(50), Duration::from_millis(50)))
        })
    );
    assert_eq!(sequence.out(), whole(&[10, 11, 12]));
    assert_eq!(sequence.order.counts(), LossCounts { lost: 1, recovered: 1, given_up: 0 });
    assert!(matches!(sequence.order.arrive_by_rtx(sequence.now, 11).0, Place::Late { .. }));
    let before = Order::<u16>::default().arrive_by_rtx(sequence.now, 11).0;
    assert_eq!(before, Place::Late { answered: None }, "nothing came before");
}

#[test]
fn a_long_loss_and_a_full_buffer_are_given_up_at_once() {
    let mut sequence = Sequence::new();
    sequence.put(0);
    assert!(matches!(sequence.put(300), Place::AfterGap { .. }));
    assert_eq!((sequence.out(), sequence.order.counts().given_up), (vec![(0, false), (300, true)], 299));
    let numbers: Vec<u16> = (302..302 + MAX_WAITING as u16).collect();
    let places: Vec<Place> = numbers.iter().map(|number| sequence.put(*number)).collect();
    let full = places.iter().position(|place| matches!(place, Place::AfterGap { .. }));
    assert_eq!(full, Some(MAX_WAITING - 1), "the packet 301 has a place, too");
    sequence.put(302 + MAX_WAITING as u16);
    assert_eq!(sequence.out().len(), 2, "what waited is dropped");
}

#[test]
fn a_restart_needs_two_packets_in_a_row() {
    let mut sequence = Sequence::new();
    for number in [100, 101, 30_000, 102, 30_000, 50_000, 103] {
        sequence.put(number);
    }
    assert_eq!(sequence.out(), whole(&[100, 101, 102, 103]), "stray numbers change nothing");
    for number in [30_000, 30_001, 30_002] {
        sequence.put(number);
    }
    assert_eq!(sequence.out(), [(30_001, true), (30_002, false)]);
    for number in [40, 41, 42] {
        sequence.put(number);
    }
    assert_eq!(sequence.out(), [(41, true), (42, false)], "also backwards");
}

#[test]
fn a_skip_gives_up_everything_before_a_packet_that_fits() {
    let mut sequence = Sequence::new();
    for number in [1, 3, 5, 6] {
        sequence.put(number);
    }
    sequence.order.skip_to(|number| *number == 9);
    assert!(sequence.order.counts().given_up == 0 && !sequence.order.has_turn());
    sequence.order.skip_to(|number| *number == 5);
    assert_eq!(sequence.order.counts().given_up, 2);
    sequence.take();
    assert_eq!(sequence.out(), [(1, false), (5, true), (6, false)]);
    assert_eq!(sequence.order.deadline(POLICY), None);
}
