//! Carries out what the adaptation of a peer decides.

use super::{Peer, Phase, offered};
use crate::congestion::{Actions, Change, CommonTrouble, Rates, Trouble};
use crate::protocol::channel::{PublisherMessage, SentTier, SentTiers, TierReason};
use crate::rtp::{Codec, Encoding, PerCodec, Tier, Track};
use crate::sfu::transport::SendContext;

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
        let Actions { change, starts_video, pace, probe } = self.adaptation.adapt(now, rates, class.common);
        if let Some(change) = change {
            self.follow(cx, change);
        }
        if starts_video {
            self.start_video(cx);
        }
        let awaiting = self.senders.awaiting_key_frame();
        self.adaptation.request_key_frames(now, awaiting, &mut cx.requests.key_frames);
        self.transport.set_pace(now, pace);
        let estimate = self.adaptation.estimate();
        self.stats.queue_ms = estimate.queue().as_millis() as u32;
        self.stats.estimate_kbps = estimate.told_kbps(now);
        if let Some(probe) = probe {
            self.probe(cx, probe);
        }
        change.is_some()
    }

    pub(super) fn start_video(&mut self, cx: &mut SendContext<'_>) {
        self.senders.start_video(cx);
        self.adaptation.key_frames_requested(self.senders.awaiting_key_frame());
    }

    /// Sends other tiers from now on, and tells the student which and why.
    fn follow(&mut self, cx: &mut SendContext<'_>, change: Change) {
        let Change { layers, is_urgent, reason, estimate_kbps } = change;
        let requested = cx.requests.key_frames.len();
        for track in [Track::Screen, Track::Camera] {
            self.senders.set_tier(cx, track, layers.of(track), is_urgent);
        }
        cx.requests.encodings_changed = true;
        self.stats.changes += 1;
        self.adaptation.key_frames_requested(cx.requests.key_frames[requested..].iter().copied());
        let sent = |track: Track| {
            let has = self.senders.tracks().any(|(known, _)| known == track);
            has.then(|| match layers.of(track) {
                Some(Tier::Full) => SentTier::Full,
                Some(Tier::Low) => SentTier::Low,
                None => SentTier::None,
            })
        };
        let tiers = SentTiers { screen: sent(Track::Screen), camera: sent(Track::Camera) };
        let reason = reason.map(|trouble| match trouble {
            Trouble::Loss => TierReason::Loss,
            Trouble::Silence => TierReason::Silence,
            Trouble::Delay => TierReason::Bandwidth,
        });
        self.channel.push(PublisherMessage::Tier { tiers, estimate_kbps, reason }.to_json().into());
    }

    /// Other encodings can be had than before.
    pub(in crate::sfu) fn offer(&mut self, encodings: &[Encoding]) {
        self.adaptation.offer(offered(&self.senders, encodings));
    }
}
