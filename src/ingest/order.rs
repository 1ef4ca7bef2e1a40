//! Extended sequence numbers, the order of packets, and the missing packets to NACK.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most packets that wait behind a gap: half a second of 20 Mbit/s. Then the gap is given up.
pub(super) const MAX_WAITING: usize = 1_024;

/// More missing packets in a row are given up at once: retransmissions of all of them would fill the line again.
const MAX_MISSING: u64 = 256;

/// A sequence number further ahead, or further behind, belongs to a stream that restarted, if its successor comes next
/// (RFC 3550, A.1). Retransmissions on the SSRC of the media may be half a second behind.
const MAX_AHEAD: i16 = 3_000;
const MAX_BEHIND: i16 = -1_500;

/// The number of given up packets that are remembered, to recognise late answers to NACKs.
const REMEMBERED: usize = 32;

/// The second and the third NACK for a packet are repeated after this: its frame is late already, and another round
/// trip would be a freeze. Browsers send a packet again once in a round trip, so that the repetition makes no copies.
const REPEAT: Duration = Duration::from_millis(10);

/// The times after which a missing packet is NACKed and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NackPolicy {
    /// From the gap to the first NACK.
    pub(super) first: Duration,
    /// From the first NACK to the second one, and from there to the third one, both of which are repeated after
    /// [`REPEAT`]. Each further one waits half as long again as the one before it, so that a queue that grows is not
    /// filled with copies.
    pub(super) again: Duration,
    /// The most NACKs for one packet.
    pub(super) most: u8,
    /// From the gap until the packet is given up.
    pub(super) limit: Duration,
}

/// A packet that has not come.
#[derive(Debug, Clone, Copy)]
struct Missing {
    index: u64,
    since: Instant,
    /// The times of the first NACK and of the last one.
    asked: Option<(Instant, Instant)>,
    nacks: u8,
}

impl Missing {
    /// The time of the next NACK for the packet, if there may be another one.
    fn due(&self, policy: NackPolicy) -> Option<Instant> {
        let wait = match self.nacks {
            2 | 4 => REPEAT,
            nacks => (4..nacks).fold(policy.again, |wait, _| wait * 3 / 2),
        };
        let due = self.asked.map_or(self.since + policy.first, |(_, last)| last + wait);
        (self.nacks < policy.most).then_some(due)
    }
}

/// The place of an arrived packet in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The next packet. Take the packets that wait behind it afterwards.
    Next { index: u64 },
    /// The next packet, because all packets before it are given up.
    AfterGap { index: u64 },
    /// A packet behind a gap: keep it with [`Order::wait`].
    Waits { index: u64 },
    /// A duplicate, or a packet that was given up. `answered` is the time since the NACK of the latter.
    Late { answered: Option<Duration> },
}

/// The delays of a missing packet that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recovered {
    /// The time since the gap was found.
    pub(super) late: Duration,
    /// The times since the first NACK and since the last one; `None` without a NACK.
    pub(super) asked: Option<(Duration, Duration)>,
}

/// The order of one stream; `T` is a packet that waits.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The index of the packet that is awaited next: its sequence number with all rollovers counted.
    next: Option<u64>,
    highest: u64,
    /// The packets behind the gap; the first entry is that of `next`.
    waiting: VecDeque<Option<T>>,
    missing: VecDeque<Missing>,
    /// The sequence number that would confirm a restart.
    restart: Option<u16>,
    /// The latest packets given up, with the time of their last NACK.
    given_up: VecDeque<(u64, Option<Instant>)>,
    /// Whether packets are given up since the last [`take`](Self::take).
    has_gap: bool,
    counts: LossCounts,
}

/// The counts of lost packets, recovered or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LossCounts {
    /// NACKed, or given up without a NACK.
    pub(super) lost: u64,
    pub(super) recovered: u64,
    pub(super) given_up: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self {
            next: None,
            highest: 0,
            waiting: VecDeque::new(),
            missing: VecDeque::new(),
            restart: None,
            given_up: VecDeque::new(),
            has_gap: false,
            counts: LossCounts::default(),
        }
    }
}

impl<T> Order<T> {
    /// The counts so far.
    pub(super) fn counts(&self) -> LossCounts {
        self.counts
    }

    /// A packet arrives on the SSRC of the media. Returns its index if it is the next one and nothing is missing, as of
    /// almost every packet. Pass every other packet to [`arrive`](Self::arrive).
    pub(super) fn advance(&mut self, sequence_number: u16) -> Option<u64> {
        let index = self.next.filter(|next| *next == self.highest + 1 && *next as u16 == sequence_number)?;
        if self.has_gap {
            return None;
        }
        self.restart = None;
        (self.next, self.highest) = (Some(index + 1), index);
        Some(index)
    }

    /// A packet arrives on the SSRC of the media.
    pub(super) fn arrive(&mut self, now: Instant, sequence_number: u16) -> (Place, Option<Recovered>) {
        if self.next.is_none() {
            // One rollover, so that packets before the first one have an index, too.
            let index = (1 << 16) + u64::from(sequence_number);
            (self.next, self.highest) = (Some(index + 1), index);
            return (Place::Next { index }, None);
        }
        let ahead = sequence_number.wrapping_sub(self.highest as u16).cast_signed();
        if (MAX_BEHIND..=MAX_AHEAD).contains(&ahead) {
            self.restart = None;
            return self.place(now, self.highest.saturating_add_signed(ahead.into()));
        }
        if self.restart.replace(sequence_number.wrapping_add(1)) != Some(sequence_number) {
            return (Place::Late { answered: None }, None);
        }
        self.restart = None;
        // The new numbers continue beyond all old ones.
        let index = (((self.highest >> 16) + 1) << 16) + u64::from(sequence_number);
        (self.go_on_with(index, 0), None)
    }

    /// A retransmission arrives on an RTX stream. It neither starts nor confirms a restart.
    pub(super) fn arrive_by_rtx(&mut self, now: Instant, sequence_number: u16) -> (Place, Option<Recovered>) {
        let ahead = sequence_number.wrapping_sub(self.highest as u16).cast_signed();
        if self.next.is_none() || !(MAX_BEHIND..=MAX_WAITING as i16).contains(&ahead) {
            return (Place::Late { answered: None }, None);
        }
        self.place(now, self.highest.saturating_add_signed(ahead.into()))
    }

    fn place(&mut self, now: Instant, index: u64) -> (Place, Option<Recovered>) {
        let next = self.next.unwrap_or(index);
        if index < next {
            let found = self.given_up.iter_mut().find(|(given_up, _)| *given_up == index);
            let answered = found.and_then(|(_, asked)| Some(now.saturating_duration_since(asked.take()?)));
            return (Place::Late { answered }, None);
        }
        let missing = index.saturating_sub(self.highest + 1);
        if missing > MAX_MISSING || index - next >= MAX_WAITING as u64 {
            return (self.go_on_with(index, missing), None);
        }
        for index in self.highest + 1..index {
            self.missing.push_back(Missing { index, since: now, asked: None, nacks: 0 });
        }
        let recovered = if index < self.highest { self.found(now, index) } else { None };
        self.highest = self.highest.max(index);
        if index > next {
            let is_duplicate = self.waiting.get((index - next) as usize).is_some_and(Option::is_some);
            let place = if is_duplicate { Place::Late { answered: None } } else { Place::Waits { index } };
            return (place, recovered);
        }
        self.waiting.pop_front();
        self.next = Some(index + 1);
        let gap = std::mem::take(&mut self.has_gap);
        (if gap { Place::AfterGap { index } } else { Place::Next { index } }, recovered)
    }

    /// A packet that was thought missing has come.
    fn found(&mut self, now: Instant, index: u64) -> Option<Recovered> {
        let at = self.missing.binary_search_by_key(&index, |missing| missing.index).ok()?;
        let missing = self.missing.remove(at)?;
        let late = now.saturating_duration_since(missing.since);
        self.counts.recovered += u64::from(missing.asked.is_some());
        let since = |at| now.saturating_duration_since(at);
        Some(Recovered { late, asked: missing.asked.map(|(first, last)| (since(first), since(last))) })
    }

    /// Keeps a packet that has to wait.
    pub(super) fn wait(&mut self, index: u64, packet: T) {
        let at = index.saturating_sub(self.next.unwrap_or(index)) as usize;
        while self.waiting.len() <= at.min(MAX_WAITING) {
            self.waiting.push_back(None);
        }
        if let Some(place) = self.waiting.get_mut(at) {
            *place = Some(packet);
        }
    }

    /// Takes the next packet in order that waits, with its index and whether packets before it were given up.
    pub(super) fn take(&mut self) -> Option<(u64, T, bool)> {
        let packet = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        let index = self.next?;
        self.next = Some(index + 1);
        Some((index, packet, std::mem::take(&mut self.has_gap)))
    }

    /// Whether [`take`](Self::take) has a packet.
    pub(super) fn has_turn(&self) -> bool {
        self.waiting.front().is_some_and(Option::is_some)
    }

    /// Gives up the packet that is awaited next, if it is missing for too long, and returns whether. Packets behind it
    /// may have their turn afterwards: take them before the next call.
    pub(super) fn give_up_late(&mut self, now: Instant, policy: NackPolicy) -> bool {
        let is_late = |missing: &mut Missing| now.saturating_duration_since(missing.since) >= policy.limit;
        let Some(missing) = self.missing.pop_front_if(is_late) else { return false };
        self.waiting.pop_front();
        self.next = Some(missing.index + 1);
        self.count_given_up(missing);
        true
    }

    /// Skips to the first packet that waits and fits, if there is one; all before it is given up.
    pub(super) fn skip_to(&mut self, fits: impl Fn(&mut T) -> bool) {
        let found = self.waiting.iter_mut().position(|packet| packet.as_mut().is_some_and(&fits));
        let (Some(at @ 1..), Some(next)) = (found, self.next) else { return };
        let next = next + at as u64;
        self.next = Some(next);
        self.waiting.drain(..at);
        while let Some(missing) = self.missing.pop_front_if(|missing| missing.index < next) {
            self.count_given_up(missing);
        }
    }

    fn count_given_up(&mut self, missing: Missing) {
        self.has_gap = true;
        self.counts.given_up += 1;
        if self.given_up.len() == REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back((missing.index, missing.asked.map(|(_, last)| last)));
        if missing.asked.is_none() {
            self.counts.lost += 1;
        }
    }

    /// The stream goes on with `index`: everything before it is given up.
    fn go_on_with(&mut self, index: u64, never_seen: u64) -> Place {
        while let Some(missing) = self.missing.pop_front() {
            self.count_given_up(missing);
        }
        self.counts.lost += never_seen;
        self.counts.given_up += never_seen;
        self.waiting.clear();
        (self.highest, self.next, self.has_gap) = (index, Some(index + 1), false);
        Place::AfterGap { index }
    }

    /// The sequence numbers to be asked for now, in ascending order; at most `most`.
    pub(super) fn nacks(&mut self, now: Instant, policy: NackPolicy, most: usize) -> Vec<u16> {
        let counts = &mut self.counts;
        let due = self.missing.iter_mut().filter(|missing| missing.due(policy).is_some_and(|due| due <= now));
        let ask = |missing: &mut Missing| {
            counts.lost += u64::from(missing.nacks == 0);
            missing.asked = Some((missing.asked.map_or(now, |(first, _)| first), now));
            missing.nacks += 1;
            missing.index as u16
        };
        due.take(most).map(ask).collect()
    }

    /// Whether packets are missing, without which there is no [`deadline`](Self::deadline).
    pub(super) fn is_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The time of the next NACK, or at which the next packet is given up.
    pub(super) fn deadline(&self, policy: NackPolicy) -> Option<Instant> {
        let given_up = self.missing.front().map(|missing| missing.since + policy.limit);
        let nack = self.missing.iter().filter_map(|missing| missing.due(policy)).min();
        given_up.into_iter().chain(nack).min()
    }
}

#[cfg(test)]
mod tests;
