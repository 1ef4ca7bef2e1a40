//! A student gets what its way carries.

use std::time::{Duration, Instant};

use super::{Peer, Phase, offered};
use crate::congestion::Line;
use crate::congestion::Step;
use crate::congestion::{CommonTrouble, Decision, Probe, Rates, Reason, Trouble};
use crate::protocol::channel::{PublisherMessage, SentTier, SentTiers, TierReason};
use crate::rtp::{Codec, Encoding, PerCodec, Tier, Track};
use crate::sfu::transport::SendContext;

/// Where packets wait this long in front of a student's line, repairs make it worse.
const LONG_QUEUE: Duration = Duration::from_millis(100);

/// What is known of the class.
#[derive(Debug, Clone, Copy)]
pub(in crate::sfu) struct ClassNow<'a> {
    /// What everything costs.
    pub(in crate::sfu) rates: &'a PerCodec<Rates>,
    /// The trouble that many have.
    pub(in crate::sfu) common: &'a CommonTrouble,
}

impl Peer {
    /// Looks at what the student's way carries, and changes what it gets; to be called after feedback and ten times a
    /// second. Its channel has words to say then: gives whether there are some.
    pub(in crate::sfu) fn adapt(&mut self, cx: &mut SendContext<'_>, class: ClassNow<'_>) -> bool {
        if self.phase != Phase::Live {
            return false;
        }
        let now = cx.now;
        let picture = self.senders.tracks().find(|(track, _)| track.is_video());
        let rates = &class.rates[picture.map_or(Codec::H264, |(_, codec)| codec)];
        if self.opening.is_some() {
            return self.open(cx, rates);
        }
        let decision = self.control.decide(now, rates, class.common);
        let estimate = self.control.estimate();
        self.is_delayed = estimate.queue() > LONG_QUEUE;
        self.stats.queue_ms = estimate.queue().as_millis() as u32;
        self.stats.estimate_kbps = estimate.told_kbps(now);
        if let Some(decision) = decision {
            self.follow(cx, decision);
        }
        self.recoveries.ask_for(now, self.senders.awaiting_key_frame(), &mut cx.requests.key_frames);
        if self.suffers.is_some() {
            self.pace(now);
        } else {
            self.transport.set_pace(now, None);
        }
        if let Some(probe) = self.control.probe(now) {
            self.probe(cx, probe);
        }
        decision.is_some()
    }

    pub(super) fn start_video(&mut self, cx: &mut SendContext<'_>) {
        self.senders.start_video(cx);
        self.recoveries.were_asked_for(self.senders.awaiting_key_frame());
    }

    /// Begins with pictures, if it is known what the line carries, or has been waited for long enough. Its channel has
    /// words to say if that is not the best: gives whether there are some.
    fn open(&mut self, cx: &mut SendContext<'_>, rates: &Rates) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        let now = cx.now;
        let (trains, line) = self.control.estimate().first_trains(now);
        match opening.step(now, trains, line, self.control.needed(rates)) {
            Step::Wait => false,
            Step::Probe => {
                self.probe(cx, Probe::FIRST);
                false
            }
            Step::Begin(line) => {
                self.opening = None;
                let less = line.and_then(|line| self.control.begin(now, rates, line));
                if let Some(decision) = less {
                    self.follow(cx, decision);
                }
                self.start_video(cx);
                less.is_some()
            }
        }
    }

    /// Who has less than all gets it no faster than its line carries it.
    fn pace(&mut self, now: Instant) {
        let estimate = self.control.estimate();
        let queue = estimate.queue();
        let line = estimate.bits_per_second(now).map(|bits_per_second| Line { bits_per_second, queue });
        self.transport.set_pace(now, line);
    }

    fn follow(&mut self, cx: &mut SendContext<'_>, decision: Decision) {
        let Decision { pictures, reason, estimate_kbps } = decision;
        let in_trouble = matches!(reason, Reason::Down(_));
        if in_trouble {
            self.pace(cx.now);
        }
        let requested = cx.requests.key_frames.len();
        for track in [Track::Screen, Track::Camera] {
            self.senders.set_tier(cx, track, pictures.of(track), in_trouble);
        }
        cx.requests.encodings_changed = true;
        self.stats.changes += 1;
        self.recoveries.were_asked_for(cx.requests.key_frames[requested..].iter().copied());
        self.recoveries.on_other_pictures();
        let sent = |track: Track| {
            let has = self.senders.tracks().any(|(known, _)| known == track);
            has.then(|| match pictures.of(track) {
                Some(Tier::Full) => SentTier::Full,
                Some(Tier::Low) => SentTier::Low,
                None => SentTier::None,
            })
        };
        let tiers = SentTiers { screen: sent(Track::Screen), camera: sent(Track::Camera) };
        let less = !self.control.has_the_best();
        self.suffers = match reason {
            Reason::Down(Trouble::Loss) => Some(TierReason::Loss),
            Reason::Down(Trouble::Silence) => Some(TierReason::Silence),
            Reason::Down(Trouble::Delay) => Some(TierReason::Bandwidth),
            Reason::Up | Reason::Offer if less => self.suffers,
            Reason::Up | Reason::Offer => None,
        };
        let message = PublisherMessage::Tier { tiers, estimate_kbps, reason: self.suffers.filter(|_| less) };
        self.channel.push(message.to_json().into());
    }

    /// Other encodings can be had than before.
    pub(in crate::sfu) fn offer(&mut self, encodings: &[Encoding]) {
        self.control.offer(offered(&self.senders, encodings));
    }
}
