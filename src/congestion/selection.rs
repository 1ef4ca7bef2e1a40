//! What one student gets: down at once when its way is in trouble, up again when that holds.

use std::time::{Duration, Instant};

use super::common::CommonTrouble;
use super::estimate::{Estimate, Evidence, Trouble};
use super::layers::{LayerIndex, Layers, Offered, Rates};
use super::probe::Probe;

/// A step down takes effect within this: the other tier needs a key frame, and then the queue must drain.
const SETTLES_WITHIN: Duration = Duration::from_millis(1500);

/// Of what a line carries, so much is used: pictures differ, and the queue must drain.
const USED: f64 = 0.85;

/// The last rung with a picture is tried on a line that just carries it, before there is none.
const USED_BY_THE_LAST: f64 = 1.0;

/// A rung up must fit this often into what the line carries: the rest is for key frames, and for being wrong.
const ROOM: f64 = 1.3;

/// The same for the first rung with a picture, whose probes are measured on a line that is nearly empty.
const ROOM_FOR_THE_FIRST: f64 = 1.1;

/// Where more than this is lost no picture can be decoded, so none is sent. What is lost without a queue is not lost
/// because too much is sent, and sending less does not help.
const HOPELESS: f32 = 0.4;

/// A receiver that sees its queue grow says that it can receive 85 % of what just came (REMB), so the line carries this
/// much more.
const REMB_IS_CAREFUL: f64 = 1.15;

/// A queue is a burst of ours, a key frame or the like, if this share of the line suffices for what is sent for long.
const MATCH: f64 = 0.95;

/// What comes through a full line, and what trains say that it carries, are the same if they differ by less.
const AGREED: f64 = 0.7;

/// A burst of ours is waited for as long as the queue is shorter than this: a stall that nobody calls one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Peace that must hold before a step up.
const HOLD: Duration = Duration::from_secs(3);

/// Room for the next rung must be there for so long: a few trains may be wrong.
const ROOM_HOLDS: Duration = Duration::from_secs(1);

/// Room that was found is there as long as the rung fits this often: trains differ where there is jitter.
const ROOM_TO_KEEP: f64 = 1.05;

/// The same where a step up is a guess, because nothing tells what the line carries.
const HOLD_BEFORE_A_GUESS: Duration = Duration::from_secs(5);

/// No student waits longer than this for another try.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A step up that leads to trouble within this was wrong, and the next one waits twice as long.
const WRONG_WITHIN: Duration = Duration::from_secs(5);

/// Peace after which former wrong steps are forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Between two steps up: what the first one costs must be seen.
const BETWEEN_STEPS_UP: Duration = Duration::from_millis(1500);

/// A way on which every packet is reported, but none of the probes told anything, gets a guess after this.
const PROBED_IN_VAIN: Duration = Duration::from_secs(10);

/// A longer queue is no peace.
const NO_QUEUE: Duration = Duration::from_millis(60);

/// A line that brings less than this share of what it can, and all that is sent, has no queue of ours, which would come
/// out of it at its full rate: the way has become longer, or somebody else fills it.
const NOT_OURS: f64 = 0.8;

/// Between two times that a queue is found not to be ours, lest one that grows slowly is taken for that.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// A line that carries so many times what it was thought to carry at a wrong step up is another line.
const ANOTHER_LINK: u32 = 3;

/// All that is sent comes, give or take what is on its way.
const ALL: f64 = 0.85;

/// Between two probes where nothing is new.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// Between two probes after one that told of far more than before: three of one opinion are needed.
const SECOND_PROBE: Duration = Duration::from_millis(400);

/// Pictures of this time tell the capacity as well as a probe does.
const CLUSTERS_TELL_FOR: Duration = Duration::from_secs(2);

/// Trouble counts for nothing so long after this process stood still: what waited leaves as a burst, and the feedback
/// that waited is read all at once.
const RECOVERS_WITHIN: Duration = Duration::from_secs(1);

/// How long after that a pause is not excused again: a computer that stands still again and again is too slow for the
/// class.
const BETWEEN_PAUSES: Duration = Duration::from_secs(5);

/// A student that was silent and is heard again without trouble for so long gets what it had before: its line was cut,
/// or its computer stood still, and neither tells of a narrow line.
const BACK_AFTER: Duration = Duration::from_millis(400);

/// Silence this soon after other trouble is that of an overloaded line.
const STRAINED_FOR: Duration = Duration::from_secs(3);

/// A student that falls silent again and again comes back slowly: each change costs the class a key frame.
const BETWEEN_RETURNS: Duration = Duration::from_secs(30);

/// Why a student gets something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Less, because of this.
    Down(Trouble),
    /// More, because there is room.
    Up,
    /// What is offered has changed.
    Offer,
}

/// What a student gets from now on.
///
/// What it gets no more ends at once, also where the other tier must wait for its key frame: the queue drains meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The pictures.
    pub(crate) layers: Layers,
    /// Why.
    pub(crate) reason: Reason,
    /// What its way carries in kbit/s, where that is known.
    pub(crate) estimate_kbps: Option<u32>,
}

/// One student's place on the ladder. It begins on the best rung.
#[derive(Debug)]
pub(crate) struct LayerSelection {
    estimate: Estimate,
    offered: Offered,
    index: LayerIndex,
    layers: Layers,
    began: Instant,
    up: Option<Instant>,
    down: Option<Instant>,
    troubled: Option<Instant>,
    /// How often in a row a step up was wrong.
    wrong: u32,
    /// Whether the last step up was found wrong already.
    found_wrong: bool,
    /// What the line was thought to carry at the last step up.
    promised: Option<u32>,
    /// What the line carried at the last step down, when it was full.
    carried: Option<u32>,
    /// When a queue was found not to be ours.
    believed: Option<Instant>,
    /// Since when there is room for the next rung.
    room: Option<Instant>,
    probed: Option<Instant>,
    /// Since when there is trouble.
    troubled_since: Option<Instant>,
    /// When this process stood still last.
    stood_still: Option<Instant>,
    /// Where it was before it fell silent, and when it came back there last.
    before_silence: Option<LayerIndex>,
    back: Option<Instant>,
    /// When it was last in trouble that was not silence.
    strained: Option<Instant>,
    /// Whether it stays where it is.
    stays: bool,
}

impl LayerSelection {
    /// Of a student that gets the best of what is offered, and of whom nothing is known.
    pub(crate) fn new(now: Instant, offered: Offered) -> Self {
        Self {
            estimate: Estimate::new(now),
            offered,
            index: LayerIndex::default(),
            layers: LayerIndex::default().layers(offered),
            began: now,
            up: None,
            down: None,
            troubled: None,
            wrong: 0,
            found_wrong: false,
            promised: None,
            carried: None,
            believed: None,
            room: None,
            probed: None,
            troubled_since: None,
            stood_still: None,
            before_silence: None,
            back: None,
            strained: None,
            stays: false,
        }
    }

    /// The same, which gets the best whatever its way carries; that is found out all the same.
    #[must_use]
    pub(crate) fn staying(self) -> Self {
        Self { stays: true, ..self }
    }

    /// What is known of the student's way, to be told of what is sent and what comes back.
    pub(crate) fn estimate(&mut self) -> &mut Estimate {
        &mut self.estimate
    }

    /// What the student gets.
    #[cfg(test)]
    pub(crate) fn layers(&self) -> Layers {
        self.layers
    }

    /// Whether it gets the best of what is offered, which need not be the full tier.
    pub(crate) fn has_the_best(&self) -> bool {
        self.index.above(self.offered).is_none()
    }

    /// Other tiers can be had; [`decide`](Self::decide) tells what comes of it.
    pub(crate) fn offer(&mut self, offered: Offered) {
        self.offered = offered;
    }

    /// This process stood still until now: that is no trouble of the student's line.
    pub(crate) fn stood_still(&mut self, now: Instant) {
        self.estimate.stood_still(now);
        self.troubled_since = None;
        if since(self.stood_still, now) >= BETWEEN_PAUSES {
            self.stood_still = Some(now);
        }
    }

    /// Since when the student is in trouble, if it is.
    pub(crate) fn troubled_since(&self) -> Option<Instant> {
        self.troubled_since
    }

    /// What the student gets from now on, where that is something else than before. To be asked after feedback, and ten
    /// times a second or so.
    pub(crate) fn decide(&mut self, now: Instant, rates: &Rates, common: &CommonTrouble) -> Option<Decision> {
        let trouble = self.estimate.trouble(now);
        let trouble = trouble.filter(|trouble| *trouble != Trouble::Delay || !self.queue_will_pass(now, rates));
        self.troubled_since = trouble.map(|_| self.troubled_since.unwrap_or(now));
        let is_ours = since(self.stood_still, now) < RECOVERS_WITHIN
            || self.troubled_since.is_some_and(|since| common.excuses(now, since));
        let reason = match trouble {
            _ if self.stays => None,
            Some(_) if is_ours => None,
            Some(trouble) => self.down(now, rates, trouble).then_some(Reason::Down(trouble)),
            None => self.up(now, rates).then_some(Reason::Up),
        };
        let layers = self.index.layers(self.offered);
        if layers == self.layers {
            return None;
        }
        self.layers = layers;
        let reason = reason.unwrap_or(Reason::Offer);
        let estimate_kbps = self.told_kbps(now, rates, reason);
        Some(Decision { layers, reason, estimate_kbps })
    }

    /// What is told of the line, in kbit/s. A student that gets less is told only what explains that: a line that
    /// carries the best is no reason, and lost packets or silence tell nothing of what a line carries.
    fn told_kbps(&self, now: Instant, rates: &Rates, reason: Reason) -> Option<u32> {
        let told = self.estimate.told_kbps(now)?;
        let best = rates.soon(LayerIndex::default().layers(self.offered)) as f64 / USED / 1000.0;
        let explains = self.has_the_best() || f64::from(told) < best;
        let is_of_the_line = !matches!(reason, Reason::Down(Trouble::Loss | Trouble::Silence));
        (explains && is_of_the_line).then_some(told)
    }

    /// What the layers of now cost, in bits a second.
    pub(crate) fn cost(&self, rates: &Rates) -> u32 {
        rates.present(self.layers).min(u32::MAX.into()) as u32
    }

    /// What the best of what is offered needs of a line, in bits a second.
    pub(crate) fn needed(&self, rates: &Rates) -> u64 {
        (rates.present(self.layers) as f64 / USED) as u64
    }

    /// The student has had no picture yet, and its line carries so many bits a second: gives what it begins with, where
    /// that is not the best.
    pub(crate) fn begin(&mut self, now: Instant, rates: &Rates, capacity: u32) -> Option<Decision> {
        let cost = |index: LayerIndex| rates.present(index.layers(self.offered)) as f64 / f64::from(capacity);
        if self.stays || cost(self.index) <= USED {
            return None;
        }
        let has_video = |index: &LayerIndex| !index.layers(self.offered).is_empty();
        let mut below = self.index.below(self.offered).filter(has_video).peekable();
        // Sound alone is what is left, and is never taken.
        let mut index = LayerIndex::LAST;
        while let Some(next) = below.next() {
            let used = if below.peek().is_none() { USED_BY_THE_LAST } else { USED };
            if cost(next) <= used {
                index = next;
                break;
            }
        }
        self.index = index;
        self.layers = self.index.layers(self.offered);
        self.down = Some(now);
        self.carried = Some(capacity);
        let reason = Reason::Down(Trouble::Delay);
        Some(Decision { layers: self.layers, reason, estimate_kbps: Some(capacity / 1000) })
    }

    /// A train of padding that is to be sent now, because nothing else tells whether the student could get more.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Probe> {
        let above = self.index.above(self.offered);
        let knows_every_packet = self.estimate.evidence() == Evidence::EveryPacket;
        let is_calm = since(self.down, now) >= SETTLES_WITHIN
            && since(self.troubled, now) >= SETTLES_WITHIN / 2
            && self.estimate.queue() < NO_QUEUE;
        let interval = if self.estimate.contradicts_itself(now) { SECOND_PROBE } else { PROBE_INTERVAL };
        let is_due = since(self.probed, now) >= interval && !self.estimate.is_sure(now, CLUSTERS_TELL_FOR);
        if above.is_none() || !knows_every_packet || !is_calm || !is_due {
            return None;
        }
        let probed = self.probed.replace(now);
        Some(match self.estimate.bits_per_second(now) {
            Some(bits) => Probe::for_capacity(bits),
            // The last one did not come through, so it was too long.
            None if probed.is_some() => Probe::SHORTEST,
            None => self.carried.map_or(Probe::UNKNOWN_CAPACITY, Probe::for_capacity),
        })
    }

    /// Goes down if it is time to; whether it did.
    fn down(&mut self, now: Instant, rates: &Rates, trouble: Trouble) -> bool {
        self.troubled = Some(now);
        self.room = None;
        if trouble != Trouble::Silence {
            self.strained = Some(now);
        }
        if since(self.up, now) < WRONG_WITHIN && !self.found_wrong {
            self.found_wrong = true;
            self.wrong += 1;
        }
        if since(self.down, now) < SETTLES_WITHIN + self.estimate.report_interval() {
            return false;
        }
        if trouble == Trouble::Delay && self.believes_delay(now) {
            return false;
        }
        let knows_every_packet = self.estimate.evidence() == Evidence::EveryPacket;
        let capacity = match trouble {
            Trouble::Delay if knows_every_packet => self.estimate.bits_per_second(now),
            Trouble::Delay => {
                let careful = self.estimate.bits_per_second(now);
                careful.map(|bits| (f64::from(bits) * REMB_IS_CAREFUL) as u32)
            }
            Trouble::Loss if knows_every_packet => self.estimate.received(),
            Trouble::Loss | Trouble::Silence => None,
        };
        let spares_the_last =
            trouble == Trouble::Loss && self.estimate.full_link().is_none() && self.estimate.lost() < HOPELESS;
        let mut below = self.index.below(self.offered).peekable();
        let mut index = None;
        while let Some(next) = below.next() {
            let is_the_last = below.peek().is_some_and(|index| index.layers(self.offered).is_empty());
            if next.layers(self.offered).is_empty() && spares_the_last {
                break;
            }
            index = Some(next);
            let used = if is_the_last { USED_BY_THE_LAST } else { USED };
            let cost = rates.present(next.layers(self.offered)) as f64;
            if capacity.is_none_or(|capacity| cost <= used * f64::from(capacity)) {
                break;
            }
        }
        let Some(index) = index else { return false };
        self.before_silence = match trouble {
            Trouble::Silence if since(self.strained, now) >= STRAINED_FOR => self.before_silence.or(Some(self.index)),
            Trouble::Silence | Trouble::Delay | Trouble::Loss => None,
        };
        self.index = index;
        self.down = Some(now);
        self.carried = self.estimate.full_link().or(self.estimate.received());
        self.estimate.doubt_capacity(now);
        true
    }

    /// Goes up if it is time to; whether it did.
    fn up(&mut self, now: Instant, rates: &Rates) -> bool {
        if since(self.troubled, now) >= FORGIVEN_AFTER && since(self.up, now) >= FORGIVEN_AFTER {
            self.wrong = 0;
        }
        let Some(index) = self.index.above(self.offered) else { return false };
        if self.estimate.queue() >= NO_QUEUE && !self.believes_delay(now) {
            return false;
        }
        let capacity = self.estimate.capacity(now);
        if let Some(before) = self.before_silence
            && since(self.troubled, now) >= BACK_AFTER
            && since(self.back, now) >= BETWEEN_RETURNS
            && self.has_room_for(now, rates, before, ROOM_TO_KEEP)
        {
            self.back = Some(now);
            self.step_up(now, before, capacity);
            return true;
        }
        if capacity.zip(self.promised).is_some_and(|(capacity, promised)| capacity / ANOTHER_LINK >= promised) {
            self.wrong = 0;
        }
        let room = match self.room {
            Some(_) => ROOM_TO_KEEP,
            None if self.layers.is_empty() => ROOM_FOR_THE_FIRST,
            None => ROOM,
        };
        let has_room = self.has_room_for(now, rates, index, room);
        self.room = has_room.then(|| self.room.unwrap_or(now));
        if self.room.is_none_or(|room| now.saturating_duration_since(room) < ROOM_HOLDS) {
            return false;
        }
        let peace = since(self.troubled, now).min(since(self.down, now)).min(now.saturating_duration_since(self.began));
        if since(self.up, now) < BETWEEN_STEPS_UP {
            return false;
        }
        let hold = |base: Duration| (base * 2u32.saturating_pow(self.wrong.min(5))).min(LONGEST_HOLD);
        let goes = match (self.estimate.evidence(), capacity) {
            (Evidence::EveryPacket, Some(_)) => peace >= hold(HOLD),
            (Evidence::EveryPacket, None) => peace >= hold(PROBED_IN_VAIN),
            _ => peace >= hold(HOLD_BEFORE_A_GUESS),
        };
        if goes {
            self.step_up(now, index, capacity);
        }
        goes
    }

    fn step_up(&mut self, now: Instant, index: LayerIndex, capacity: Option<u32>) {
        self.index = index;
        self.up = Some(now);
        self.promised = capacity;
        self.room = None;
        self.found_wrong = false;
        self.before_silence = None;
    }

    /// Whether a rung fits `room` times, or nothing tells that it does not.
    fn has_room_for(&self, now: Instant, rates: &Rates, index: LayerIndex, room: f64) -> bool {
        let Some(capacity) = self.estimate.capacity(now) else { return true };
        let needed = rates.soon(index.layers(self.offered)) as f64 * room;
        // What a receiver says it can receive is not much more than what it gets: that it is as much as that suffices.
        let present = rates.present(self.layers) as f64 * room;
        let guesses = self.estimate.evidence() != Evidence::EveryPacket;
        f64::from(capacity) >= if guesses { present.min(needed) } else { needed }
    }

    /// Whether a queue is that of a key frame or the like, and drains: the line carries what the student gets, as trains
    /// say, and what comes out of it now does not speak against that.
    fn queue_will_pass(&self, now: Instant, rates: &Rates) -> bool {
        let (Some(capacity), Some(full)) = (self.estimate.capacity(now), self.estimate.full_link()) else {
            return false;
        };
        f64::from(full) >= f64::from(capacity) * AGREED
            && rates.present(self.layers) as f64 <= f64::from(capacity) * MATCH
            && self.estimate.queue() < PATIENCE
    }

    /// Packets are late although the line brings all that is sent, which is less than it can: then that is what an empty
    /// line is like now. Whether it is so.
    fn believes_delay(&mut self, now: Instant) -> bool {
        if since(self.down, now) < SETTLES_WITHIN || since(self.believed, now) < BELIEVED_FOR {
            return false;
        }
        let capacity = self.carried.max(self.estimate.capacity(now));
        // What came before there was a queue tells nothing of it.
        let (Some(capacity), Some(received)) = (capacity, self.estimate.full_link()) else { return false };
        let sent = f64::from(self.estimate.sent_of_a_second(now));
        let received = f64::from(received);
        let believes = received < f64::from(capacity) * NOT_OURS && received > sent * ALL;
        if believes {
            self.believed = Some(now);
            self.estimate.believe_delay();
        }
        believes
    }
}

fn since(past: Option<Instant>, now: Instant) -> Duration {
    past.map_or(Duration::MAX, |past| now.saturating_duration_since(past))
}
