//! The key frames that one user may request: each one costs every viewer of the same encoding.

use std::time::{Duration, Instant};

use crate::rtp::Tier;

/// Key frames that a peer may request at once: the one it starts with, and one more.
const KEYS_AT_ONCE: u32 = 2;

/// After those, one per interval. A key frame is as large as about ten frames, so one every 4 s costs the class 8 %.
const KEY_INTERVAL: Duration = Duration::from_secs(4);

/// The same for a low tier, which only peers in trouble get.
const LOW_KEY_INTERVAL: Duration = Duration::from_secs(1);

/// A peer that keeps asking waits twice as long each time, up to this many intervals: one every 16 s costs the class 2
/// %.
const MAX_INTERVALS: u32 = 4;

/// The shortest interval of a peer that passes the media on to students of its own.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// After this long without a request the interval is the first one again.
const PEACE: Duration = Duration::from_secs(60);

/// The budget of one user. Requests it allows go to [`KeyFrameRequests`](crate::rtp::KeyFrameRequests), which merges
/// the requests of the class.
#[derive(Debug)]
pub(super) struct KeyFrameBudget {
    /// When everything taken is earned again.
    earned: Option<Instant>,
    /// How many intervals it takes to earn the next one.
    intervals: u32,
    /// When the peer last asked, whether or not it was granted.
    asked: Option<Instant>,
    /// The first request after a layer change is free.
    is_free: bool,
    /// The students to whom the peer passes the media on.
    students: u32,
}

impl Default for KeyFrameBudget {
    /// A full budget.
    fn default() -> Self {
        Self { earned: None, intervals: 1, asked: None, is_free: false, students: 0 }
    }
}

impl KeyFrameBudget {
    /// The peer needs a key frame of this tier: returns whether the budget allows it.
    pub(super) fn wants(&mut self, now: Instant, tier: Tier) -> bool {
        if self.asked.replace(now).is_none_or(|at| now.saturating_duration_since(at) >= PEACE) {
            self.intervals = 1;
        }
        self.has(now, tier)
    }

    /// Pays for a key frame; returns false if the budget does not allow it.
    pub(super) fn take(&mut self, now: Instant, tier: Tier) -> bool {
        let passes = self.has(now, tier);
        if passes && !std::mem::take(&mut self.is_free) {
            let before = self.earned.filter(|at| *at > now);
            self.earned = Some(before.unwrap_or(now) + self.interval(tier, self.intervals));
            if before.is_some() {
                self.intervals = (self.intervals * 2).min(MAX_INTERVALS);
            }
        }
        passes
    }

    /// The peer gets other layers and may lose the key frame they start with: one request is free.
    pub(super) fn on_layer_change(&mut self) {
        self.is_free = true;
    }

    /// Uses up the budget.
    pub(super) fn empty(&mut self, now: Instant) {
        self.earned = Some(now + KEY_INTERVAL * KEYS_AT_ONCE);
        self.is_free = false;
    }

    /// The peer passes the media on to so many students, and has the budget that they have together: each who comes has
    /// a free request, as each starts with a key frame at an SFU.
    pub(super) fn serves(&mut self, students: u32) {
        self.is_free |= students > self.students;
        self.students = students;
    }

    fn has(&self, now: Instant, tier: Tier) -> bool {
        let waits = self.earned.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        self.is_free || waits <= self.interval(tier, 1) * (KEYS_AT_ONCE - 1)
    }

    /// The time in which one key frame is earned, after so many intervals of a single peer.
    fn interval(&self, tier: Tier, intervals: u32) -> Duration {
        let of_one = interval(tier) * intervals;
        match self.students {
            0 => of_one,
            students => (of_one / students).max(SHORTEST_INTERVAL.min(of_one)),
        }
    }
}

fn interval(tier: Tier) -> Duration {
    match tier {
        Tier::Full => KEY_INTERVAL,
        Tier::Low => LOW_KEY_INTERVAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a peer that asks 50 times a second gets key frames.
    fn begged(budget: &mut KeyFrameBudget, start: Instant, seconds: u64, tier: Tier) -> Vec<f64> {
        let asks = (0..seconds * 50).map(|n| Duration::from_millis(20 * n));
        let given = asks.filter(|at| budget.wants(start + *at, tier) && budget.take(start + *at, tier));
        given.map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn a_peer_that_asks_constantly_waits_longer_each_time() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        assert_eq!(begged(&mut budget, now, 60, Tier::Full), [0.0, 0.02, 4.0, 12.0, 28.0, 44.0]);
        let later = now + Duration::from_secs(60) + PEACE;
        assert_eq!(begged(&mut budget, later, 8, Tier::Full), [0.0, 0.02, 4.0], "all is forgiven");
        assert_eq!(begged(&mut KeyFrameBudget::default(), now, 12, Tier::Low), [0.0, 0.02, 1.0, 3.0, 7.0, 11.0]);
    }

    #[test]
    fn a_media_server_that_asks_every_two_seconds_costs_no_more_than_other_peers() {
        let (mut budget, start) = (KeyFrameBudget::default(), Instant::now());
        let asks = (0..60).step_by(2).map(|second| (second, start + Duration::from_secs(second)));
        let given = asks.filter(|(_, at)| budget.wants(*at, Tier::Full) && budget.take(*at, Tier::Full));
        assert_eq!(given.map(|(second, _)| second).collect::<Vec<_>>(), [0, 2, 4, 12, 28, 44]);
    }

    #[test]
    fn a_peer_that_asks_rarely_gets_every_key_frame() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        for n in 0..100 {
            let at = now + KEY_INTERVAL * n;
            assert!(budget.wants(at, Tier::Full) && budget.take(at, Tier::Full), "{n}");
        }
    }

    #[test]
    fn an_edge_has_the_budget_of_its_students_together_and_a_newcomer_waits_for_nobody() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        begged(&mut budget, now, 60, Tier::Full);
        let later = now + Duration::from_secs(60);
        budget.serves(4);
        let given = begged(&mut budget, later, 60, Tier::Full);
        // One who comes, and then four times as many as one peer gets.
        assert!(given[0] == 0.0 && given[1] <= 4.0, "{given:?}");
        assert!(given.windows(2).skip(2).all(|pair| pair[1] - pair[0] <= 4.02) && given.len() >= 15, "{given:?}");
        budget.serves(1_000);
        let given = begged(&mut budget, later + Duration::from_secs(60), 60, Tier::Full);
        assert!((58..=63).contains(&given.len()), "one a second at most: {given:?}");
        budget.serves(999);
        assert!(!budget.is_free, "nobody has come");
    }

    #[test]
    fn a_layer_change_makes_one_key_frame_free() {
        let (mut budget, now) = (KeyFrameBudget::default(), Instant::now());
        begged(&mut budget, now, 1, Tier::Full);
        (0..5).for_each(|_| budget.on_layer_change());
        let later = now + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| budget.wants(later, Tier::Full) && budget.take(later, Tier::Full)).count(), 1);
    }
}
