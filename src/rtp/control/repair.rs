//! How much one student may ask for again: what it asks beyond that is its own loss, and nobody else's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtp::Tier;

/// Repairs per packet that is sent: at 20 % of lost packets all of them, with some to spare.
const SHARE: f32 = 0.25;

/// The same while a queue grows in front of the student, which repairs would make longer.
const SHARE_WHEN_DELAYED: f32 = 0.05;

/// Repairs that are saved up: a key frame that was lost.
const BURST: f32 = 100.0;

/// Whether a packet may be sent again.
#[derive(Debug)]
pub struct RepairBudget {
    left: f32,
}

impl Default for RepairBudget {
    /// A full one.
    fn default() -> Self {
        Self { left: BURST }
    }
}

impl RepairBudget {
    /// So many packets are sent for the first time. `delayed` is [`Trouble::Delay`](super::Trouble::Delay).
    pub fn sent(&mut self, packets: usize, delayed: bool) {
        let share = if delayed { SHARE_WHEN_DELAYED } else { SHARE };
        self.left = (self.left + packets as f32 * share).min(BURST);
    }

    /// Whether one may be asked for again.
    pub fn has(&self) -> bool {
        self.left >= 1.0
    }

    /// One is asked for again.
    pub fn take(&mut self) -> bool {
        let passes = self.has();
        if passes {
            self.left -= 1.0;
        }
        passes
    }
}

/// A student gets so many recovery key frames at once: that of its start, and one more.
const KEYS_AT_ONCE: u32 = 2;

/// And then one in this time. A key frame is some ten pictures for all who watch the same, so one student that begs all
/// the time costs them 8 %.
const KEY_INTERVAL: Duration = Duration::from_secs(4);

/// The same of a low tier, which only those get who are in trouble.
const LOW_KEY_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a student's wish for a key frame is passed on to [`KeyRequests`](crate::rtp::KeyRequests), which join those of
/// the class.
#[derive(Debug, Default)]
pub struct KeyBudget {
    /// When all that was taken is earned again.
    earned: Option<Instant>,
}

impl KeyBudget {
    /// Whether one of this tier may be asked for.
    pub fn has(&self, now: Instant, tier: Tier) -> bool {
        self.earned.is_none_or(|at| at.saturating_duration_since(now) <= interval(tier) * (KEYS_AT_ONCE - 1))
    }

    /// One is asked for.
    pub fn take(&mut self, now: Instant, tier: Tier) -> bool {
        let passes = self.has(now, tier);
        if passes {
            self.earned = Some(self.earned.map_or(now, |at| at.max(now)) + interval(tier));
        }
        passes
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

/// What was sent again just now: a student asks again and again until the repair has come, which takes a round trip.
#[derive(Debug, Default)]
pub struct Repaired {
    packets: VecDeque<(u32, u16, Instant)>,
    round_trip: Option<Duration>,
}

impl Repaired {
    /// The way there and back takes this long.
    pub fn on_round_trip(&mut self, time: Duration) {
        self.round_trip = Some(time.min(Duration::from_millis(500)));
    }

    /// Whether this packet's repair may still be under way.
    pub fn is_under_way(&self, now: Instant, ssrc: u32, sequence_number: u16) -> bool {
        let within = self.round_trip.unwrap_or(USUAL_ROUND_TRIP);
        let newest_first = self.packets.iter().rev();
        newest_first
            .take_while(|(.., at)| now.saturating_duration_since(*at) < within)
            .any(|(known, number, _)| (*known, *number) == (ssrc, sequence_number))
    }

    /// This packet is sent again.
    pub fn note(&mut self, now: Instant, ssrc: u32, sequence_number: u16) {
        if self.packets.len() == REMEMBERED {
            self.packets.pop_front();
        }
        self.packets.push_back((ssrc, sequence_number, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a minute's packets are sent again to a student that wants all of them, all the time.
    fn repaired(delayed: bool) -> usize {
        let mut budget = RepairBudget::default();
        let mut repaired = 0;
        for _ in 0..60 * 30 {
            budget.sent(9, delayed);
            repaired += (0..100).filter(|_| budget.has() && budget.take()).count();
            assert!(!budget.has());
        }
        repaired
    }

    #[test]
    fn who_wants_everything_again_gets_a_quarter() {
        let sent = 60 * 30 * 9;
        assert!((sent / 4..=sent / 4 + 100).contains(&repaired(false)), "{}", repaired(false));
        assert!(repaired(true) <= sent / 20 + 100, "{}", repaired(true));
    }

    #[test]
    fn an_honest_student_gets_all() {
        let mut budget = RepairBudget::default();
        for n in 0..10_000 {
            budget.sent(1, false);
            assert!(n % 5 != 0 || budget.take());
        }
        assert!((0..90).all(|_| budget.take()), "a key frame, too");
    }

    #[test]
    fn who_begs_fifty_times_a_second_gets_a_key_frame_in_four() {
        let (mut budget, now) = (KeyBudget::default(), Instant::now());
        let given = (0..60 * 50).filter(|n| budget.take(now + Duration::from_millis(20 * n), Tier::Full)).count();
        assert_eq!(given, 2 + 14, "{given}");
        let later = now + Duration::from_secs(600);
        assert_eq!((0..50).filter(|_| budget.take(later, Tier::Full)).count(), 2);
    }

    #[test]
    fn a_repair_is_under_way_for_a_round_trip() {
        let (mut repaired, now) = (Repaired::default(), Instant::now());
        let ms = Duration::from_millis;
        repaired.on_round_trip(ms(80));
        repaired.note(now, 7, 1);
        assert!(repaired.is_under_way(now + ms(79), 7, 1));
        assert!(!repaired.is_under_way(now + ms(80), 7, 1), "it was lost, too");
        assert!(!repaired.is_under_way(now, 7, 2) && !repaired.is_under_way(now, 8, 1));
        (2..1_000).for_each(|number| repaired.note(now + ms(1), 7, number));
        assert_eq!(repaired.packets.len(), REMEMBERED);
    }
}
