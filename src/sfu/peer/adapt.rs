//! Carries out what [`Adaptation`](crate::congestion::Adaptation) decides about a peer.

use std::time::Instant;

use super::{Peer, Wishes, offered};
use crate::congestion::{Actions, Change, CommonTrouble, Rates, Trouble};
use crate::protocol::channel::{PublisherMessage, SentTier, SentTiers, TierReason};
use crate::rtp::{Codec, Encoding, PerCodec, Tier, Track};
use crate::sfu::Rings;
use crate::sfu::udp::UdpSender;

/// What is the same for all peers.
#[derive(Debug, Clone, Copy)]
pub(in crate::sfu) struct ClassNow<'a> {
    /// What each encoding costs, by the video codec of a peer.
    pub(in crate::sfu) rates: &'a PerCodec<Rates>,
    /// Trouble that many peers have at once.
    pub(in crate::sfu) common: &'a CommonTrouble,
}

impl Peer {
    /// Adapts what is sent to what the path carries. Call it after feedback and ten times a second. Gives whether the
    /// peer's data channel has something to send now.
    pub(in crate::sfu) fn adapt(
        &mut self,
        now: Instant,
        class: ClassNow<'_>,
        rings: &Rings,
        outlet: &mut UdpSender,
        wishes: &mut Wishes,
    ) -> bool {
        if !self.connected || self.starts.is_some() {
            return false;
        }
        let video = self.lanes.tracks().find(|(track, _)| track.is_video());
        let rates = &class.rates[video.map_or(Codec::H264, |(_, codec)| codec)];
        let Actions { change, starts_video, pace, probe } = self.adaptation.adapt(now, rates, class.common);
        if let Some(change) = change {
            self.follow(now, change, rings, wishes);
        }
        if starts_video {
            self.start_pictures(now, rings, wishes);
        }
        self.adaptation.request_key_frames(now, self.lanes.awaited(), &mut wishes.key_frames);
        self.lanes.set_pace(now, pace);
        let estimate = self.adaptation.estimate();
        self.stats.queue_ms = estimate.queue().as_millis() as u32;
        self.stats.estimate_kbps = estimate.told_kbps(now);
        if let Some(probe) = probe {
            self.lanes.probe(now, probe, estimate, &mut self.connection, outlet);
        }
        change.is_some()
    }

    pub(super) fn start_pictures(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) {
        self.lanes.start_pictures(now, rings, wishes);
        self.adaptation.key_frames_requested(self.lanes.awaited());
    }

    fn follow(&mut self, now: Instant, change: Change, rings: &Rings, wishes: &mut Wishes) {
        let Change { layers, is_urgent, reason, estimate_kbps } = change;
        let wished = wishes.key_frames.len();
        for track in [Track::Screen, Track::Camera] {
            self.lanes.give(now, track, layers.of(track), is_urgent, rings, wishes);
        }
        wishes.others = true;
        self.stats.changes += 1;
        self.adaptation.key_frames_requested(wishes.key_frames[wished..].iter().copied());
        let sent = |track: Track| {
            let has = self.lanes.tracks().any(|(known, _)| known == track);
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

    /// Other encodings are offered.
    pub(in crate::sfu) fn offer(&mut self, encodings: &[Encoding]) {
        self.adaptation.offer(offered(&self.lanes, encodings));
    }
}
