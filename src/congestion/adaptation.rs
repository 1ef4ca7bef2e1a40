//! All decisions about one peer: its layers, its send rate, its probes and its retransmissions.
//!
//! [`Adaptation`] does no I/O and reads no clock. `sfu::Peer` reports sent packets and RTCP feedback to it and carries
//! out its decisions; the scenario tests do the same in virtual time.

use std::time::{Duration, Instant};

use super::budgets::RequestBudgets;
use super::common::CommonTrouble;
use super::estimate::{Estimate, PathTrouble};
use super::key_frame_recovery::KeyFrameRecovery;
use super::layers::{Layers, Offered, Rates};
use super::pacer::{BestPace, PathCapacity};
use super::playout::CleanPath;
use super::probe::Probe;
use super::retransmission::{
    ClassRetransmissions, LastRetransmission, PathState, RecentRetransmissions, RetransmissionBudget,
};
use super::selection::{Decision, LayerSelection, Reason};
use super::startup::{StartupProbe, StartupStep};
use crate::rtp::{Encoding, Tier};

/// If packets wait longer than this in front of the narrowest link, fewer retransmissions are allowed.
const LONG_QUEUE: Duration = Duration::from_millis(100);

/// Video is paced for this long after a step up: the key frame it starts with is larger than many queues, and its loss
/// would look like a path that does not carry the layer.
const PACED_AFTER_MORE: Duration = Duration::from_secs(2);

/// The actions that the sender must take after [`Adaptation::adapt`].
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Actions {
    /// Other layers are sent from now on.
    pub(crate) change: Option<Change>,
    /// Video starts, after the startup probe. Any `change` is made first.
    pub(crate) starts_video: bool,
    /// The capacity that video is paced to; `None` if video is not paced: the path is unknown.
    pub(crate) pace: Option<PathCapacity>,
    /// Padding to be sent at once.
    pub(crate) probe: Option<Probe>,
}

/// Other layers than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The layers.
    pub(crate) layers: Layers,
    /// Whether the old layers stop at once. Otherwise they are sent until the new ones have a key frame.
    pub(crate) is_urgent: bool,
    /// Why the peer gets less than the best that is offered; `None` if it gets the best.
    pub(crate) reason: Option<PathTrouble>,
    /// The capacity of the path in kbit/s, as shown to people.
    pub(crate) estimate_kbps: Option<u32>,
}

/// The decisions about one peer.
#[derive(Debug)]
pub(crate) struct Adaptation {
    selection: LayerSelection,
    /// Present while only audio is sent and video waits for the startup probe.
    startup: Option<StartupProbe>,
    /// The last trouble that removed layers, until the peer has the best again.
    reason: Option<PathTrouble>,
    /// Video is paced until then, even if the peer has the best.
    paced_until: Option<Instant>,
    best_pace: BestPace,
    is_delayed: bool,
    budgets: RequestBudgets,
    /// What the budget of retransmissions has earned since the last NACK.
    earned: RetransmissionBudget,
    retransmitted: RecentRetransmissions,
    key_frames: KeyFrameRecovery,
    clean: CleanPath,
}

impl Adaptation {
    /// For a new peer. Without `adapts` it always gets the best layers, whatever it reports.
    pub(crate) fn new(now: Instant, offered: Offered, adapts: bool) -> Self {
        let selection = LayerSelection::new(now, offered);
        Self {
            selection: if adapts { selection } else { selection.staying() },
            startup: None,
            reason: None,
            paced_until: None,
            best_pace: BestPace::default(),
            is_delayed: false,
            budgets: RequestBudgets::default(),
            earned: RetransmissionBudget::empty(),
            retransmitted: RecentRetransmissions::default(),
            key_frames: KeyFrameRecovery::default(),
            clean: CleanPath::new(now),
        }
    }

    /// From now on requests count for these budgets of a user.
    pub(crate) fn share(&mut self, budgets: &RequestBudgets) {
        self.budgets = budgets.clone();
        self.key_frames.share(budgets);
    }

    /// The peer is connected. Returns whether video starts at once; with `probes_first` video waits for a startup
    /// probe.
    pub(crate) fn start(&mut self, now: Instant, probes_first: bool) -> bool {
        self.startup = probes_first.then(|| StartupProbe::new(now));
        !probes_first
    }

    /// The bandwidth estimate; every sent packet must be reported to it.
    pub(crate) fn estimate(&mut self) -> &mut Estimate {
        self.selection.estimate()
    }

    /// Media packets were sent for the first time.
    pub(crate) fn on_media_sent(&mut self, packets: usize) {
        let path = PathState { is_delayed: self.is_delayed, lost: self.selection.estimate().lost() };
        self.earned.sent(packets, path);
    }

    /// The first startup probe, returned once. Call this as soon as padding can be sent.
    pub(crate) fn first_probe(&mut self) -> Option<Probe> {
        self.startup.as_mut()?.wants_first_probe().then_some(Probe::FIRST)
    }

    /// Other encodings are available now; [`adapt`](Self::adapt) takes them into account.
    pub(crate) fn offer(&mut self, offered: Offered) {
        self.selection.offer(offered);
    }

    /// This process was suspended until now, which says nothing about the path.
    pub(crate) fn on_suspension(&mut self, now: Instant) {
        self.selection.on_suspension(now);
    }

    /// Whether the path is so clean that the peer's jitter buffer may be short.
    pub(crate) fn has_clean_path(&self, now: Instant) -> bool {
        self.clean.is_clean(now)
    }

    /// `None` if video has not started; otherwise the time since which the peer is in trouble, if it is.
    pub(crate) fn troubled_since(&self) -> Option<Option<Instant>> {
        self.startup.is_none().then(|| self.selection.troubled_since())
    }

    /// Decides what is sent from now on. Call this after each feedback packet and ten times a second.
    pub(crate) fn adapt(&mut self, now: Instant, rates: &Rates, common: &CommonTrouble) -> Actions {
        let mut actions = Actions::default();
        let decision = if let Some(startup) = &mut self.startup {
            let (clusters, line) = self.selection.estimate().first_clusters(now);
            match startup.step(now, clusters, line, self.selection.needed(rates)) {
                StartupStep::Wait => None,
                StartupStep::Probe => {
                    actions.probe = Some(Probe::FIRST);
                    None
                }
                StartupStep::Begin(line) => {
                    self.startup = None;
                    actions.starts_video = true;
                    line.and_then(|line| self.selection.begin(now, rates, line))
                }
            }
        } else {
            let decision = self.selection.decide(now, rates, common);
            self.is_delayed = self.selection.estimate().queue() > LONG_QUEUE;
            actions.probe = self.selection.probe(now);
            decision
        };
        actions.change = decision.map(|decision| self.change(now, decision));
        let is_paced = self.reason.is_some() || self.paced_until.is_some_and(|until| now < until);
        let nominal = self.selection.nominal(rates);
        let best = self.best_pace.update(now, self.selection.estimate(), nominal);
        let pace = if is_paced { self.pace(now, rates) } else { best };
        actions.pace = self.selection.brake(rates).or(pace);
        actions
    }

    fn pace(&mut self, now: Instant, rates: &Rates) -> Option<PathCapacity> {
        // A REMB is at most 1.5 times the received rate: video paced to it could stay below it forever.
        let least = if self.selection.estimate().knows_every_packet() { 0 } else { self.selection.cost(rates) };
        let estimate = self.selection.estimate();
        // The newest packet tells more about the queue than a whole window.
        let queue = estimate.backlog(Duration::ZERO).map_or(estimate.queue(), |(_, queue)| queue);
        estimate.bits_per_second(now).map(|bits| PathCapacity { bits_per_second: bits.max(least), queue })
    }

    fn change(&mut self, now: Instant, Decision { layers, reason, estimate_kbps }: Decision) -> Change {
        let has_less = !self.selection.has_the_best();
        self.paced_until = (reason == Reason::Up).then_some(now + PACED_AFTER_MORE);
        let is_urgent = matches!(reason, Reason::Down(_));
        self.reason = match reason {
            Reason::Down(trouble) => Some(trouble),
            Reason::Up | Reason::Offer => self.reason.filter(|_| has_less),
        };
        self.key_frames.on_layer_change(now);
        Change { layers, is_urgent, reason: self.reason.filter(|_| has_less), estimate_kbps }
    }

    /// The peer reports a missing packet (NACK). Returns the result of `find` and the number of copies to send; `None`
    /// if the budget is exhausted or a copy may still be in flight.
    ///
    /// `find` looks up the packet and is called only within the budget: one datagram may ask for thousands of packets.
    pub(crate) fn on_nack<T>(
        &mut self,
        now: Instant,
        (ssrc, sequence_number): (u32, u16),
        class: &mut ClassRetransmissions,
        find: impl FnOnce() -> Option<T>,
    ) -> Option<(T, usize)> {
        self.clean.on_nack(now);
        let mut budgets = self.budgets.lock();
        let budget = &mut budgets.retransmissions;
        budget.collect(&mut self.earned);
        if !budget.has(class) {
            return None;
        }
        let found = find()?;
        let copies = match self.retransmitted.last(now, ssrc, sequence_number) {
            LastRetransmission::UnderWay => return None,
            LastRetransmission::None => 1,
            LastRetransmission::Lost => 2,
        };
        self.retransmitted.note(now, ssrc, sequence_number);
        Some((found, (0..copies).filter(|_| budget.take(class)).count()))
    }

    /// A receiver report: the highest fraction lost in 256ths, and the round-trip time if known.
    pub(crate) fn on_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        if let Some(time) = round_trip {
            self.retransmitted.on_round_trip(time);
            self.clean.on_round_trip(time);
        }
        self.selection.estimate().on_report(now, fraction_lost, round_trip);
    }

    /// Whether video may start with a new key frame that does not count for the peer's budget of requests.
    pub(crate) fn may_start(&mut self, now: Instant) -> bool {
        self.budgets.lock().may_start(now)
    }

    /// The peer passes the media on to so many students, and has the budget of key frames that they have together.
    pub(crate) fn serves(&mut self, students: u32) {
        self.key_frames.serves(students);
    }

    /// The peer cannot decode this tier of a track (PLI, FIR). Returns whether its budget allows a restart from a key
    /// frame.
    pub(crate) fn may_restart(&mut self, now: Instant, tier: Tier) -> bool {
        self.key_frames.may_restart(now, tier)
    }

    /// The track restarted after [`may_restart`](Self::may_restart).
    pub(crate) fn restarted(&mut self, now: Instant, tier: Tier) {
        self.key_frames.restarted(now, tier);
    }

    /// Key frames of these encodings were already requested for a reason that does not charge the peer's budget.
    pub(crate) fn key_frames_requested(&mut self, encodings: impl IntoIterator<Item = Encoding>) {
        self.key_frames.requested(encodings);
    }

    /// Adds to `requests` the key frames that the peer's tracks await and its budget now allows.
    pub(crate) fn request_key_frames(
        &mut self,
        now: Instant,
        awaited: impl Iterator<Item = Encoding>,
        requests: &mut Vec<Encoding>,
    ) {
        self.key_frames.request(now, awaited, requests);
    }
}
