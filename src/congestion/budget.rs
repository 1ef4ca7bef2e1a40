//! How much one student may ask for again: what it asks beyond that is its own loss, and nobody else's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtp::Tier;

/// Repairs per packet that is sent, which every student has of its own: twice what 5 % of lost packets need, and enough
/// for 12 %, where loss begins to be [`Trouble`](super::Trouble).
const SHARE: f32 = 0.15;

/// The same while a queue grows in front of the student, which repairs would make longer.
const SHARE_WHEN_DELAYED: f32 = 0.05;

/// Repairs that are saved up: a key frame that was lost; with the share itself also what 2 s of 20 % loss take at
/// 4 Mbit/s, repairs of repairs included (830 packets, 207 repairs, of which the share are 124).
const BURST: f32 = 100.0;

/// What one student may have of the class's repairs, per packet that is sent to it: with its own these are all that
/// 20 % of lost packets need. Only while it tells of [`MUCH_LOSS`].
const SHARE_OF_CLASS: f32 = 0.10;

/// Who needs more repairs than its own must also tell of so much loss, in its reports: then it is in trouble as well
/// where that lasts, and gets less. Its own are enough for somewhat more.
const MUCH_LOSS: f32 = 0.08;

/// The same, saved up.
const BURST_OF_CLASS: f32 = 50.0;

/// Repairs beyond their own that all students have together, per packet that is sent to any of them: so much more leaves
/// at the most, however many want everything again.
const CLASS_SHARE: f32 = 0.05;

/// The same, saved up: what four students may have at once.
const CLASS_BURST: f32 = 200.0;

/// The repairs that a class has in common, for those whose own are used up.
#[derive(Debug)]
pub(crate) struct ClassRetransmissions {
    left: f32,
    /// Packets that left so far.
    counted: u64,
}

impl Default for ClassRetransmissions {
    /// All that can be saved up.
    fn default() -> Self {
        Self { left: CLASS_BURST, counted: 0 }
    }
}

impl ClassRetransmissions {
    /// So many packets have left for the class since it began.
    pub(crate) fn have_left(&mut self, packets: u64) {
        let new = packets.saturating_sub(self.counted);
        self.counted = self.counted.max(packets);
        self.left = (self.left + new as f32 * CLASS_SHARE).min(CLASS_BURST);
    }
}

/// What is known of the way to a student: what it may ask for depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PathState {
    /// Whether packets wait in front of its line: [`Trouble::Delay`](super::Trouble::Delay).
    pub(crate) is_delayed: bool,
    /// The share of packets that is lost, as it reports: 0 to 1.
    pub(crate) lost: f32,
}

/// Whether a packet may be sent again to one student.
#[derive(Debug)]
pub(crate) struct RetransmissionBudget {
    own: f32,
    of_class: f32,
}

impl Default for RetransmissionBudget {
    /// All of its own that can be saved up, and nothing of the class's.
    fn default() -> Self {
        Self { own: BURST, of_class: 0.0 }
    }
}

impl RetransmissionBudget {
    /// So many packets are sent for the first time.
    pub(crate) fn sent(&mut self, packets: usize, path: PathState) {
        let (own, of_class) = match path {
            PathState { is_delayed: true, .. } => (SHARE_WHEN_DELAYED, 0.0),
            PathState { lost, .. } if lost < MUCH_LOSS => (SHARE, 0.0),
            PathState { .. } => (SHARE, SHARE_OF_CLASS),
        };
        self.own = (self.own + packets as f32 * own).min(BURST);
        self.of_class = (self.of_class + packets as f32 * of_class).min(BURST_OF_CLASS);
    }

    /// Whether one may be asked for again.
    pub(crate) fn has(&self, class: &ClassRetransmissions) -> bool {
        self.own >= 1.0 || self.of_class.min(class.left) >= 1.0
    }

    /// One is asked for again.
    pub(crate) fn take(&mut self, class: &mut ClassRetransmissions) -> bool {
        let passes = self.has(class);
        if self.own >= 1.0 {
            self.own -= 1.0;
        } else if passes {
            self.of_class -= 1.0;
            class.left -= 1.0;
        }
        passes
    }
}

/// A student gets so many recovery key frames at once: that of its start, and one more.
const KEYS_AT_ONCE: u32 = 2;

/// And then one in this time. A key frame is some ten pictures for all who watch the same, so one in 4 s costs them 8 %.
const KEY_INTERVAL: Duration = Duration::from_secs(4);

/// The same of a low tier, which only those get who are in trouble.
const LOW_KEY_INTERVAL: Duration = Duration::from_secs(1);

/// Who goes on asking waits twice as long each time, up to so many intervals: one in 16 s costs the class 2 %.
const MOST_INTERVALS: u32 = 4;

/// Who has not asked for so long begins anew.
const PEACE: Duration = Duration::from_secs(60);

/// Whether a student's wish for a key frame is passed on to [`KeyFrameRequests`](crate::rtp::KeyFrameRequests), which join those of
/// the class.
#[derive(Debug)]
pub(crate) struct KeyFrameBudget {
    /// When all that was taken is earned again.
    earned: Option<Instant>,
    /// How many intervals the next one takes to earn.
    intervals: u32,
    /// When it last asked, whatever came of it.
    asked: Option<Instant>,
    /// One is free: the first of another picture.
    is_free: bool,
}

impl Default for KeyFrameBudget {
    /// A full one.
    fn default() -> Self {
        Self { earned: None, intervals: 1, asked: None, is_free: false }
    }
}

impl KeyFrameBudget {
    /// The student wants one of this tier; gives whether it may be asked for.
    pub(crate) fn wants(&mut self, now: Instant, tier: Tier) -> bool {
        if self.asked.replace(now).is_none_or(|at| now.saturating_duration_since(at) >= PEACE) {
            self.intervals = 1;
        }
        self.has(now, tier)
    }

    /// One is asked for.
    pub(crate) fn take(&mut self, now: Instant, tier: Tier) -> bool {
        let passes = self.has(now, tier);
        if passes && !std::mem::take(&mut self.is_free) {
            let before = self.earned.filter(|at| *at > now);
            self.earned = Some(before.unwrap_or(now) + interval(tier) * self.intervals);
            if before.is_some() {
                self.intervals = (self.intervals * 2).min(MOST_INTERVALS);
            }
        }
        passes
    }

    /// The student gets another encoding, which it may have to recover, too: once.
    pub(crate) fn on_layer_change(&mut self) {
        self.is_free = true;
    }

    fn has(&self, now: Instant, tier: Tier) -> bool {
        let waits = self.earned.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        self.is_free || waits <= interval(tier) * (KEYS_AT_ONCE - 1)
    }
}

fn interval(tier: Tier) -> Duration {
    match tier {
        Tier::Full => KEY_INTERVAL,
        Tier::Low => LOW_KEY_INTERVAL,
    }
}

/// Repairs that are remembered: those of a second at 20 % loss, and some.
const REMEMBERED: usize = 128;

/// A packet is not sent again sooner than this after it was, where the round trip is not known.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(30);

/// What became of a packet's repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastRetransmission {
    /// There was none.
    None,
    /// It may still come.
    UnderWay,
    /// It was lost too. Time is short then, so that the next one is worth two.
    Lost,
}

/// What was sent again just now: a student asks again and again until the repair has come, which takes a round trip.
#[derive(Debug, Default)]
pub(crate) struct RecentRetransmissions {
    packets: VecDeque<(u32, u16, Instant)>,
    round_trip: Option<Duration>,
}

impl RecentRetransmissions {
    /// The way there and back takes this long.
    pub(crate) fn on_round_trip(&mut self, time: Duration) {
        self.round_trip = Some(time.min(Duration::from_millis(500)));
    }

    /// What became of this packet's last repair.
    pub(crate) fn last(&self, now: Instant, ssrc: u32, sequence_number: u16) -> LastRetransmission {
        let within = self.round_trip.unwrap_or(USUAL_ROUND_TRIP);
        let mut newest_first = self.packets.iter().rev();
        match newest_first.find(|(known, number, _)| (*known, *number) == (ssrc, sequence_number)) {
            None => LastRetransmission::None,
            Some((.., at)) if now.saturating_duration_since(*at) < within => LastRetransmission::UnderWay,
            Some(_) => LastRetransmission::Lost,
        }
    }

    /// This packet is sent again.
    pub(crate) fn note(&mut self, now: Instant, ssrc: u32, sequence_number: u16) {
        if self.packets.len() == REMEMBERED {
            self.packets.pop_front();
        }
        self.packets.push_back((ssrc, sequence_number, now));
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A class: each student is sent so many packets in each of 30 pictures a second, and asks for the share of them
    /// again that `lost` gives, and as much of the repairs; it reports that share a second later, or nothing. Gives for
    /// each how many packets it was sent, and how many it wanted again and got.
    fn class(seconds: usize, packets: usize, reports: bool, lost: &dyn Fn(usize, usize) -> f64) -> [Vec<usize>; 3] {
        const STUDENTS: usize = 10;
        let (mut rng, mut common) = (StdRng::seed_from_u64(7), ClassRetransmissions::default());
        let mut budgets: Vec<RetransmissionBudget> = (0..STUDENTS).map(|_| RetransmissionBudget::default()).collect();
        let [mut sent, mut asked, mut retransmitted] = [(); 3].map(|()| vec![0; STUDENTS]);
        for picture in 0..seconds * 30 {
            for (student, budget) in budgets.iter_mut().enumerate() {
                let share = lost(student, picture);
                let before = picture.checked_sub(30).filter(|_| reports).map_or(0.0, |then| lost(student, then));
                budget.sent(packets, PathState { is_delayed: false, lost: before as f32 });
                sent[student] += packets;
                let mut missing = packets;
                // A repair that is lost is asked for again; who wants everything asks for each once.
                while missing > 0 {
                    missing = (0..missing).filter(|_| rng.random_bool(share)).count();
                    asked[student] += missing;
                    let again = (0..missing).filter(|_| budget.has(&common) && budget.take(&mut common)).count();
                    retransmitted[student] += again;
                    missing = if share < 1.0 { again } else { 0 };
                }
            }
            common.have_left((sent.iter().sum::<usize>() + retransmitted.iter().sum::<usize>()) as u64);
        }
        [sent, asked, retransmitted]
    }

    #[test]
    fn who_wants_everything_again_gets_a_part() {
        let one = |student: usize, _: usize| if student == 0 { 1.0 } else { 0.0 };
        for (reports, share) in [(false, SHARE), (true, SHARE + SHARE_OF_CLASS)] {
            let [sent, _, retransmitted] = class(60, 9, reports, &one);
            let least = (sent[0] as f32 * share) as usize;
            assert!((least - 1..=least + 150).contains(&retransmitted[0]), "{retransmitted:?} of {}", sent[0]);
        }
        let mut budget = RetransmissionBudget::default();
        (0..10_000).for_each(|_| budget.sent(1, PathState { is_delayed: true, lost: 1.0 }));
        assert!(budget.own <= BURST && budget.of_class == 0.0);
    }

    #[test]
    fn all_together_get_no_more_than_a_fifth() {
        let [sent, _, retransmitted] = class(60, 9, true, &|_, _| 1.0);
        let (sent, retransmitted) = (sent.iter().sum::<usize>() as f32, retransmitted.iter().sum::<usize>() as f32);
        // What is sent again counts as sent, too.
        let most = sent * SHARE + (sent + retransmitted) * CLASS_SHARE + 10.0 * BURST + CLASS_BURST;
        assert!((sent * (SHARE + CLASS_SHARE)..=most).contains(&retransmitted), "{retransmitted} of {sent}");
    }

    #[test]
    fn the_honest_get_all() {
        // 2.2 Mbit/s, and 4.
        for packets in [8, 14] {
            let all_get_all = |reports: bool, lost: &dyn Fn(usize, usize) -> f64| {
                let [_, asked, retransmitted] = class(60, packets, reports, lost);
                assert!(asked == retransmitted && asked[0] > 0, "{asked:?} {retransmitted:?}");
            };
            // The whole class.
            all_get_all(false, &|_, _| 0.05);
            all_get_all(false, &|_, _| 0.10);
            let burst = |picture: usize| (300..360).contains(&picture);
            all_get_all(true, &|_, picture| if burst(picture) { 0.20 } else { 0.0 });
            all_get_all(true, &|_, picture| if burst(picture) { 0.20 } else { 0.05 });
            // A few may have a bad line for good.
            all_get_all(true, &|student, _| if student < 3 { 0.18 } else { 0.0 });
            let [_, asked, retransmitted] =
                class(60, packets, true, &|student, _| if student < 3 { 1.0 } else { 0.05 });
            assert_eq!(asked[3..], retransmitted[3..], "also where others want everything again");
        }
    }

    /// The seconds when a student gets key frames that asks for one 50 times a second.
    fn begged(budget: &mut KeyFrameBudget, start: Instant, seconds: u64, tier: Tier) -> Vec<f64> {
        let asks = (0..seconds * 50).map(|n| Duration::from_millis(20 * n));
        let given = asks.filter(|at| budget.wants(start + *at, tier) && budget.take(start + *at, tier));
        given.map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn who_begs_fifty_times_a_second_waits_longer_and_longer() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        assert_eq!(begged(&mut budget, now, 60, Tier::Full), [0.0, 0.02, 4.0, 12.0, 28.0, 44.0]);
        let later = now + Duration::from_secs(60) + PEACE;
        assert_eq!(begged(&mut budget, later, 8, Tier::Full), [0.0, 0.02, 4.0], "all is forgiven");
        assert_eq!(begged(&mut KeyFrameBudget::default(), now, 12, Tier::Low), [0.0, 0.02, 1.0, 3.0, 7.0, 11.0]);
    }

    #[test]
    fn who_asks_now_and_then_gets_a_key_frame_each_time() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        for n in 0..100 {
            let at = now + KEY_INTERVAL * n;
            assert!(budget.wants(at, Tier::Full) && budget.take(at, Tier::Full), "{n}");
        }
    }

    #[test]
    fn another_picture_may_be_recovered_once() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        begged(&mut budget, now, 1, Tier::Full);
        (0..5).for_each(|_| budget.on_layer_change());
        let later = now + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| budget.wants(later, Tier::Full) && budget.take(later, Tier::Full)).count(), 1);
    }

    #[test]
    fn a_repair_is_under_way_for_a_round_trip() {
        let (mut retransmitted, now) = (RecentRetransmissions::default(), Instant::now());
        let ms = Duration::from_millis;
        retransmitted.on_round_trip(ms(80));
        retransmitted.note(now, 7, 1);
        assert_eq!(retransmitted.last(now + ms(79), 7, 1), LastRetransmission::UnderWay);
        assert_eq!(retransmitted.last(now + ms(80), 7, 1), LastRetransmission::Lost);
        assert_eq!(
            (retransmitted.last(now, 7, 2), retransmitted.last(now, 8, 1)),
            (LastRetransmission::None, LastRetransmission::None)
        );
        (2..1_000).for_each(|number| retransmitted.note(now + ms(1), 7, number));
        assert_eq!(retransmitted.packets.len(), REMEMBERED);
    }
}
