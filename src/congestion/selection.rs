//! Selects the layers of one peer: fewer at once when its path is in trouble, more when there is room for some time.

use std::time::{Duration, Instant};

use super::collapse;
use super::common::CommonTrouble;
use super::estimate::{Estimate, Evidence, PathTrouble};
use super::layers::{LayerIndex, Layers, Offered, Rates};
use super::pacer::PathCapacity;
use super::probe::Probe;

/// A step down takes effect within this time: the other tier needs a key frame, and the queue must drain.
const SETTLES_WITHIN: Duration = Duration::from_millis(1500);

/// The share of the capacity that is used: frames differ in size, and the queue must drain.
const USED: f64 = 0.85;

/// The same for the smallest layer with video: a path that just carries it is tried before video stops.
const USED_BY_THE_LAST: f64 = 1.0;

/// The capacity that a step up needs, as a multiple of its cost: the rest is for key frames and errors.
const ROOM: f64 = 1.3;

/// The same for the first layer with video: its probes are measured on a nearly empty path.
const ROOM_FOR_THE_FIRST: f64 = 1.1;

/// Above this loss no video can be decoded, so none is sent. Below it video stays if there is no queue: then the loss
/// is not caused by the send rate, and sending less does not help.
const HOPELESS: f32 = 0.4;

/// A receiver that detects a growing queue reports 85 % of the received rate (REMB), so the path carries this much
/// more.
const REMB_IS_CAREFUL: f64 = 1.15;

/// A queue is attributed to a burst of our own, such as a key frame, if the layers cost less than this share of the
/// capacity.
const MATCH: f64 = 0.95;

/// The rate out of a saturated link and the capacity from probe clusters agree if their ratio is at least this.
const AGREED: f64 = 0.7;

/// A burst of our own packets may drain while the queue is shorter than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time without trouble before a step up.
const HOLD: Duration = Duration::from_secs(3);

/// Room for the next layer must exist for this long: a few clusters may be wrong.
const ROOM_HOLDS: Duration = Duration::from_secs(1);

/// Room, once found, is kept while the capacity is this multiple of the cost: clusters vary with jitter.
const ROOM_TO_KEEP: f64 = 1.05;

/// [`HOLD`] if a step up is a guess, because the capacity is unknown.
const HOLD_BEFORE_A_GUESS: Duration = Duration::from_secs(5);

/// The longest time a peer waits before another step up.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A step up followed by trouble within this time was wrong, and the next one waits twice as long.
const WRONG_WITHIN: Duration = Duration::from_secs(5);

/// The time without trouble after which wrong steps are forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The time between two steps up: the cost of the first one must become visible.
const BETWEEN_STEPS_UP: Duration = Duration::from_millis(1500);

/// [`HOLD`] if every packet is reported but no probe measured the capacity.
const PROBED_IN_VAIN: Duration = Duration::from_secs(10);

/// With a longer queue there is no step up.
const NO_QUEUE: Duration = Duration::from_millis(60);

/// A queue of our own packets leaves the link at its full capacity. If less than this share of the capacity arrives,
/// and that is everything sent, the path has become longer or other traffic fills the queue.
const NOT_OURS: f64 = 0.8;

/// The minimum time between two findings that a queue is not our own: our own slowly growing queue must not pass for
/// one.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// A capacity this many times that of a wrong step up belongs to another link.
const ANOTHER_LINK: u32 = 3;

/// The share that arrives when nothing is lost, as some packets are in flight.
const ALL: f64 = 0.85;

/// The time between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// The time between two probes after one that was far faster than before: three must agree.
const SECOND_PROBE: Duration = Duration::from_millis(400);

/// No probe is sent if the frames of this time were enough clusters.
const CLUSTERS_TELL_FOR: Duration = Duration::from_secs(2);

/// Trouble does not count for this long after a suspension of this process: delayed packets leave as a burst, and
/// delayed feedback is read at once.
const RECOVERS_WITHIN: Duration = Duration::from_secs(1);

/// A suspension this soon after another one is not excused: this computer is too slow for the class.
const BETWEEN_PAUSES: Duration = Duration::from_secs(5);

/// A peer that was silent and has then been without trouble for this long gets its previous layers back: its link was
/// interrupted or its computer was suspended, and neither means a narrow link.
const BACK_AFTER: Duration = Duration::from_millis(400);

/// Silence this soon after other trouble comes from an overloaded path.
const STRAINED_FOR: Duration = Duration::from_secs(3);

/// The time between two returns after silence: each costs the class a key frame.
const BETWEEN_RETURNS: Duration = Duration::from_secs(30);

/// Why a peer gets other layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Fewer, because of this trouble.
    Down(PathTrouble),
    /// More, because there is room.
    Up,
    /// Other encodings are offered.
    Offer,
}

/// The layers that a peer gets from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The layers.
    pub(crate) layers: Layers,
    /// Why.
    pub(crate) reason: Reason,
    /// The capacity of the path in kbit/s, if it is known and explains the change.
    pub(crate) estimate_kbps: Option<u32>,
}

/// The layers of one peer. It starts with the best.
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
    /// The number of consecutive wrong steps up.
    wrong: u32,
    /// Whether the last step up is known to be wrong.
    found_wrong: bool,
    /// The capacity assumed at the last step up.
    promised: Option<u32>,
    /// The rate that the path carried at the last step down.
    carried: Option<u32>,
    /// When a queue was last found not to be our own.
    believed: Option<Instant>,
    /// Since when there is room for the next layer.
    room: Option<Instant>,
    probed: Option<Instant>,
    /// Since when there is trouble.
    troubled_since: Option<Instant>,
    /// When the last excused suspension of this process ended.
    on_suspension: Option<Instant>,
    /// The layers before the peer fell silent, and when such layers were last restored.
    before_silence: Option<LayerIndex>,
    back: Option<Instant>,
    /// When there was last trouble other than silence.
    strained: Option<Instant>,
    /// Whether the layers never change.
    stays: bool,
}

impl LayerSelection {
    /// For a peer about which nothing is known: it gets the best of the offered layers.
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
            on_suspension: None,
            before_silence: None,
            back: None,
            strained: None,
            stays: false,
        }
    }

    /// The same, but the layers stay the best whatever the path carries. The capacity is still measured.
    #[must_use]
    pub(crate) fn staying(self) -> Self {
        Self { stays: true, ..self }
    }

    /// The bandwidth estimate; every sent packet and all feedback must be reported to it.
    pub(crate) fn estimate(&mut self) -> &mut Estimate {
        &mut self.estimate
    }

    /// The current layers.
    #[cfg(test)]
    pub(crate) fn layers(&self) -> Layers {
        self.layers
    }

    /// Whether the peer gets the best of the offered layers, which need not be the full tier.
    pub(crate) fn has_the_best(&self) -> bool {
        self.index.above(self.offered).is_none()
    }

    /// Other encodings are offered; [`decide`](Self::decide) takes them into account.
    pub(crate) fn offer(&mut self, offered: Offered) {
        self.offered = offered;
    }

    /// This process was suspended until now, which says nothing about the path.
    pub(crate) fn on_suspension(&mut self, now: Instant) {
        self.estimate.on_suspension(now);
        self.troubled_since = None;
        if since(self.on_suspension, now) >= BETWEEN_PAUSES {
            self.on_suspension = Some(now);
        }
    }

    /// Since when the peer is in trouble, if it is.
    pub(crate) fn troubled_since(&self) -> Option<Instant> {
        self.troubled_since
    }

    /// The new layers, if they change. Call this after each feedback packet and ten times a second.
    pub(crate) fn decide(&mut self, now: Instant, rates: &Rates, common: &CommonTrouble) -> Option<Decision> {
        let trouble = self.estimate.trouble(now).or_else(|| collapse::trouble(&self.estimate, self.cost(rates)));
        let trouble = trouble.filter(|trouble| *trouble != PathTrouble::Delay || !self.queue_will_pass(now, rates));
        self.troubled_since = trouble.map(|_| self.troubled_since.unwrap_or(now));
        let is_ours = since(self.on_suspension, now) < RECOVERS_WITHIN
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

    /// The pace of video on a link that seems to have collapsed.
    pub(crate) fn brake(&self, rates: &Rates) -> Option<PathCapacity> {
        collapse::brake(&self.estimate, self.cost(rates)).filter(|_| !self.stays)
    }

    /// The capacity in kbit/s for people. A peer with fewer layers is told only a capacity that explains them: no
    /// capacity that would carry the best, and none if packets are lost or the peer is silent.
    fn told_kbps(&self, now: Instant, rates: &Rates, reason: Reason) -> Option<u32> {
        let told = self.estimate.told_kbps(now)?;
        let best = rates.soon(LayerIndex::default().layers(self.offered)) as f64 / USED / 1000.0;
        let explains = self.has_the_best() || f64::from(told) < best;
        let is_of_the_line = !matches!(reason, Reason::Down(PathTrouble::Loss | PathTrouble::Silence));
        (explains && is_of_the_line).then_some(told)
    }

    /// The cost of the current layers, in bits per second.
    pub(crate) fn cost(&self, rates: &Rates) -> u32 {
        rates.present(self.layers).min(u32::MAX.into()) as u32
    }

    /// The rate that the encoders of the current layers are set to, in bits per second.
    pub(crate) fn nominal(&self, rates: &Rates) -> u32 {
        rates.nominal(self.layers).min(u32::MAX.into()) as u32
    }

    /// The capacity that the current layers need, in bits per second.
    pub(crate) fn needed(&self, rates: &Rates) -> u64 {
        (rates.present(self.layers) as f64 / USED) as u64
    }

    /// Video starts on a path of this capacity in bits per second: returns the layers if they are not the best.
    pub(crate) fn begin(&mut self, now: Instant, rates: &Rates, capacity: u32) -> Option<Decision> {
        let cost = |index: LayerIndex| rates.present(index.layers(self.offered)) as f64 / f64::from(capacity);
        if self.stays || cost(self.index) <= USED {
            return None;
        }
        let has_video = |index: &LayerIndex| !index.layers(self.offered).is_empty();
        let mut below = self.index.below(self.offered).filter(has_video).peekable();
        // Audio is never removed.
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
        let reason = Reason::Down(PathTrouble::Delay);
        Some(Decision { layers: self.layers, reason, estimate_kbps: Some(capacity / 1000) })
    }

    /// A probe to be sent now, because nothing else shows whether the peer could get more.
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
            // The last one did not arrive, so it was too large.
            None if probed.is_some() => Probe::SHORTEST,
            None => self.carried.map_or(Probe::UNKNOWN_CAPACITY, Probe::for_capacity),
        })
    }

    /// Removes layers if it is time to; returns whether it did.
    fn down(&mut self, now: Instant, rates: &Rates, trouble: PathTrouble) -> bool {
        self.troubled = Some(now);
        self.room = None;
        if trouble != PathTrouble::Silence {
            self.strained = Some(now);
        }
        if since(self.up, now) < WRONG_WITHIN && !self.found_wrong {
            self.found_wrong = true;
            self.wrong += 1;
        }
        if since(self.down, now) < SETTLES_WITHIN + self.estimate.report_interval() {
            return false;
        }
        if trouble == PathTrouble::Delay && self.believes_delay(now) {
            return false;
        }
        let knows_every_packet = self.estimate.evidence() == Evidence::EveryPacket;
        let capacity = match trouble {
            PathTrouble::Delay if knows_every_packet => self.estimate.bits_per_second(now),
            PathTrouble::Delay => {
                let careful = self.estimate.bits_per_second(now);
                careful.map(|bits| (f64::from(bits) * REMB_IS_CAREFUL) as u32)
            }
            PathTrouble::Loss if knows_every_packet => self.estimate.received(),
            PathTrouble::Loss | PathTrouble::Silence => None,
        };
        let spares_the_last =
            trouble == PathTrouble::Loss && self.estimate.full_link().is_none() && self.estimate.lost() < HOPELESS;
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
            PathTrouble::Silence if since(self.strained, now) >= STRAINED_FOR => {
                self.before_silence.or(Some(self.index))
            }
            PathTrouble::Silence | PathTrouble::Delay | PathTrouble::Loss => None,
        };
        self.index = index;
        self.down = Some(now);
        self.carried = self.estimate.link_rate().or(self.estimate.received());
        self.estimate.doubt_capacity(now);
        true
    }

    /// Adds layers if it is time to; returns whether it did.
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

    /// Whether the capacity is `room` times the cost of these layers, or unknown.
    fn has_room_for(&self, now: Instant, rates: &Rates, index: LayerIndex, room: f64) -> bool {
        let Some(capacity) = self.estimate.capacity(now) else { return true };
        let needed = rates.soon(index.layers(self.offered)) as f64 * room;
        // A REMB is not much higher than the received rate, so a REMB that covers the present rate suffices.
        let present = rates.present(self.layers) as f64 * room;
        let guesses = self.estimate.evidence() != Evidence::EveryPacket;
        f64::from(capacity) >= if guesses { present.min(needed) } else { needed }
    }

    /// Whether a queue is a burst of our own that drains: according to probe clusters the path carries the layers, and
    /// the present arrival rate does not contradict that.
    fn queue_will_pass(&self, now: Instant, rates: &Rates) -> bool {
        let (Some(capacity), Some(full)) = (self.estimate.capacity(now), self.estimate.full_link()) else {
            return false;
        };
        f64::from(full) >= f64::from(capacity) * AGREED
            && rates.present(self.layers) as f64 <= f64::from(capacity) * MATCH
            && self.estimate.queue() < PATIENCE
    }

    /// Whether packets are late although everything sent arrives and is less than the capacity. The present delay is
    /// then accepted as that of an empty path.
    fn believes_delay(&mut self, now: Instant) -> bool {
        if since(self.down, now) < SETTLES_WITHIN || since(self.believed, now) < BELIEVED_FOR {
            return false;
        }
        let capacity = self.carried.max(self.estimate.capacity(now));
        // The rate before the queue formed says nothing about the queue.
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
