//! The raised hands, and when students get the list.

use std::time::{Duration, Instant};

use super::shares::{RecentUse, SharedBudget};
use crate::id::{Nickname, UserId};
use crate::protocol::channel::{MAX_LISTED_HANDS, RaisedHand};

/// Hands that go up in the whole room: a class of 500 may answer a question within seconds.
const PER_SECOND: u32 = 20;
const BURST: u32 = 600;

/// A student who raised the hand this often within [`MEMORY`](super::shares::MEMORY) has to wait.
const MOST_OF_ONE: u32 = 5;

/// The most raised hands: twice the class that can answer at once.
const MAX_HANDS: usize = 1_000;

/// How long changes are collected at least: a class answers a question within seconds.
pub(super) const INTERVAL: Duration = Duration::from_millis(150);

/// The rate at which lists are sent to each student, in bytes per second. A list of 200 long names that changed every
/// 150 ms would take more than the sound of the lecture.
const BYTES_PER_SECOND: usize = 32 * 1024;

/// The most bytes of a list: 200 usual names.
const MAX_LIST_BYTES: usize = 16 * 1024;

/// The raised hands, in the order in which they went up.
#[derive(Debug)]
pub(super) struct Hands {
    raised: Vec<RaisedHand>,
    budget: SharedBudget,
    /// When to send the list, if it has changed.
    due: Option<Instant>,
    /// The earliest time of the next list.
    rests_until: Option<Instant>,
}

/// Why a hand does not go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRaised {
    /// It is up.
    IsUp,
    /// This student, or the room, raises hands too often.
    TooFast,
    /// [`MAX_HANDS`] are up.
    Full,
}

impl Hands {
    pub(super) fn new() -> Self {
        Self {
            raised: Vec::new(),
            budget: SharedBudget::new(PER_SECOND, BURST, MOST_OF_ONE),
            due: None,
            rests_until: None,
        }
    }

    pub(super) fn raised(&self) -> &[RaisedHand] {
        &self.raised
    }

    /// The part of the list that students get: the hands that went up first.
    pub(super) fn listed(&self) -> Vec<RaisedHand> {
        let mut left = MAX_LIST_BYTES;
        let fits = |hand: &&RaisedHand| {
            let size = size(hand);
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        self.raised.iter().take(MAX_LISTED_HANDS).take_while(fits).cloned().collect()
    }

    /// The hands behind the first `listed`, with their places, from 1.
    pub(super) fn unlisted(&self, listed: usize) -> impl Iterator<Item = (usize, &RaisedHand)> {
        (1..).zip(&self.raised).skip(listed)
    }

    pub(super) fn raise(&mut self, now: Instant, hand: RaisedHand, used: &mut RecentUse) -> Result<(), NotRaised> {
        if self.position(&hand.user_id).is_some() {
            return Err(NotRaised::IsUp);
        }
        if self.raised.len() == MAX_HANDS {
            return Err(NotRaised::Full);
        }
        self.budget.take(now, used).map_err(|_| NotRaised::TooFast)?;
        self.raised.push(hand);
        self.change(now);
        Ok(())
    }

    /// Lowers a hand. `None` if it is down.
    pub(super) fn lower(&mut self, now: Instant, user: &UserId) -> Option<RaisedHand> {
        let hand = self.raised.remove(self.position(user)?);
        self.change(now);
        Some(hand)
    }

    pub(super) fn rename(&mut self, user: &UserId, nickname: &Nickname) {
        if let Some(at) = self.position(user) {
            self.raised[at].nickname = nickname.clone();
        }
    }

    /// When [`Hands::tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The list for all students, if it changed and is due.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Vec<RaisedHand>> {
        self.due.take_if(|due| *due <= now)?;
        let list = self.listed();
        let bytes: usize = list.iter().map(size).sum();
        self.rests_until = Some(now + Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64));
        Some(list)
    }

    fn change(&mut self, now: Instant) {
        let soon = now + INTERVAL;
        self.due.get_or_insert(self.rests_until.map_or(soon, |rest| rest.max(soon)));
    }

    fn position(&self, user: &UserId) -> Option<usize> {
        self.raised.iter().position(|hand| hand.user_id == *user)
    }
}

/// The bytes of a hand in the list: the longest form that JSON gives its name, and the rest.
fn size(hand: &RaisedHand) -> usize {
    const FIELDS: usize = r#"{"userId":"","nickname":"","at":1795228801000},"#.len();
    let escapes = hand.nickname.as_str().bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    hand.user_id.as_str().len() + hand.nickname.as_str().len() + escapes + FIELDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::channel::PublisherMessage;

    fn hand(user: usize, nickname: &str) -> RaisedHand {
        RaisedHand { user_id: format!("s{user}").parse().unwrap(), nickname: nickname.into(), at: 1_795_228_801_000 }
    }

    #[test]
    fn a_class_of_five_hundred_answers_at_once() {
        let (mut hands, now) = (Hands::new(), Instant::now());
        for n in 0..500 {
            hands.raise(now, hand(n, "S"), &mut RecentUse::default()).unwrap();
        }
        assert_eq!((hands.raised().len(), hands.listed().len()), (500, MAX_LISTED_HANDS));
    }

    #[test]
    fn the_list_is_bounded_in_entries_and_in_bytes() {
        let (mut hands, mut now) = (Hands::new(), Instant::now());
        let long = "\"".repeat(40);
        for n in 0..MAX_HANDS {
            now += Duration::from_secs(1);
            hands.raise(now, hand(n, &long), &mut RecentUse::default()).unwrap();
        }
        assert_eq!(hands.raise(now, hand(MAX_HANDS, ""), &mut RecentUse::default()), Err(NotRaised::Full));
        let json = PublisherMessage::Hands { hands: hands.listed() }.to_json().len();
        assert!((MAX_LIST_BYTES * 9 / 10..=MAX_LIST_BYTES + 100).contains(&json), "{json}");
    }

    #[test]
    fn the_lists_of_hands_that_flap_take_a_bounded_rate() {
        let (mut hands, start) = (Hands::new(), Instant::now());
        let name = "x".repeat(40);
        for n in 0..200 {
            hands.raise(start, hand(n, &name), &mut RecentUse::default()).unwrap();
        }
        let mut used: Vec<RecentUse> = (0..50).map(|_| RecentUse::default()).collect();
        let (mut bytes, mut raised, mut lists) = (0, 0, 0);
        for ms in (0..10_000).step_by(5) {
            let now = start + Duration::from_millis(ms);
            let n = (ms / 5) as usize % used.len();
            if hands.raise(now, hand(1_000 + n, &name), &mut used[n]).is_ok() {
                raised += 1;
            }
            hands.lower(now, &hand(1_000 + n, "").user_id);
            if let Some(list) = hands.tick(now) {
                lists += 1;
                bytes += PublisherMessage::Hands { hands: list }.to_json().len();
            }
        }
        assert!(bytes <= 11 * BYTES_PER_SECOND && lists > 10, "{bytes} bytes in {lists} lists");
        // Five times at once, and then about once in two seconds.
        assert!((50 * 5..=50 * 11).contains(&raised), "{raised} times in 10 s");
    }
}
