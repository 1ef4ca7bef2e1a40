//! The effects of a peer's feedback: retransmissions, key frames, and the tiers that the peer gets.

use super::{Peer, PeerState, offered};
use crate::congestion::{Actions, Change, CommonTrouble, PathTrouble, Rates};
use crate::protocol::channel::{PublisherMessage, SentTier, SentTiers, TierReason};
use crate::rtcp::Feedback;
use crate::rtp::{Codec, Encoding, PerCodec, Tier, Track};
use crate::sfu::limits::VideoLimits;
use crate::sfu::sender::{KeyFrameResponse, round_trip};
use crate::sfu::senders::RetransmissionRequest;
use crate::sfu::transport::SendContext;

/// The shared knowledge about all peers of a worker.
#[derive(Debug, Clone, Copy)]
pub(in crate::sfu) struct ClassNow<'a> {
    /// The bit rates of the encodings.
    pub(in crate::sfu) rates: &'a PerCodec<Rates>,
    /// Trouble that many peers have at the same time.
    pub(in crate::sfu) common: &'a CommonTrouble,
}

/// The outcome of a peer's feedback.
#[derive(Debug, Default)]
pub(in crate::sfu) struct FeedbackOutcome {
    /// The feedback reported how packets arrive, so that the peer can be adapted.
    pub(in crate::sfu) reported: bool,
    /// A track restarts with a key frame.
    pub(in crate::sfu) restarts: bool,
    /// The packets to retransmit.
    pub(in crate::sfu) retransmissions: Vec<RetransmissionRequest>,
}

impl Peer {
    /// Handles one message of an RTCP compound packet.
    pub(super) fn on_rtcp(&mut self, cx: &mut SendContext<'_>, feedback: Feedback<'_>, outcome: &mut FeedbackOutcome) {
        let now = cx.now;
        match feedback {
            Feedback::Nack(ssrc, numbers) => {
                for number in numbers {
                    self.stats.nacked += 1;
                    let find = || self.senders.on_nack(cx.rings, ssrc, number);
                    let allowed = self.adaptation.on_nack(now, (ssrc, number), cx.shared_rtx, find);
                    if let Some((request, copies)) = allowed {
                        self.stats.resent += copies as u64;
                        outcome.retransmissions.extend(std::iter::repeat_n(request, copies));
                    }
                }
            }
            Feedback::Pli(ssrc) => outcome.restarts |= self.on_key_frame_request(cx, ssrc),
            Feedback::ReceiverReport(blocks) => {
                let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max() else { return };
                let round_trip = blocks.iter().filter_map(|b| round_trip(b.last_sender_report, b.delay)).min();
                self.stats.fraction_lost = f32::from(worst) / 256.0;
                blocks.iter().for_each(|block| self.senders.on_total_lost(block.ssrc, block.total_lost));
                self.adaptation.on_report(now, worst, round_trip);
                outcome.reported = true;
            }
            Feedback::Transport(arrivals) => {
                let (base, reference) = (arrivals.base, arrivals.reference);
                self.adaptation.estimate().on_feedback(now, base, reference, arrivals.statuses());
                outcome.reported = true;
            }
            Feedback::Remb(bits_per_second) => {
                self.adaptation.estimate().on_remb(now, bits_per_second);
                outcome.reported = true;
            }
        }
    }

    /// Handles a request for a key frame of the video with this SSRC (PLI, FIR). Returns false if the request has no
    /// effect, because the peer asks too often or no video has that SSRC.
    fn on_key_frame_request(&mut self, cx: &mut SendContext<'_>, ssrc: u32) -> bool {
        let Some(tier) = self.senders.tier_of(ssrc) else { return false };
        let allows = self.adaptation.may_restart(cx.now, tier);
        let Some(response) = self.senders.on_key_frame_request(cx, ssrc, allows) else { return false };
        self.stats.picture_losses += 1;
        if response == KeyFrameResponse::Restarted {
            self.adaptation.restarted(cx.now, tier);
        }
        response != KeyFrameResponse::Limited
    }

    /// The peer is an edge that passes the media on to so many students.
    pub(in crate::sfu) fn serves(&mut self, students: u32) {
        self.adaptation.serves(students);
    }

    /// Adapts what is sent to the peer's path. To be called after feedback and ten times a second. Returns whether the
    /// data channel has a message to send.
    pub(in crate::sfu) fn adapt(&mut self, cx: &mut SendContext<'_>, class: ClassNow<'_>) -> bool {
        if self.state != PeerState::Live || self.is_publisher() {
            return false;
        }
        let video = self.senders.tracks().find(|(track, _)| track.is_video());
        let rates = &class.rates[video.map_or(Codec::H264, |(_, codec)| codec)];
        let Actions { change, starts_video, pace, probe } = self.adaptation.adapt(cx.now, rates, class.common);
        if let Some(change) = change {
            self.change_tiers(cx, change);
        }
        if starts_video {
            self.start_video(cx);
        }
        let awaiting = self.senders.awaiting_key_frame();
        self.adaptation.request_key_frames(cx.now, awaiting, &mut cx.requests.key_frames);
        self.senders.set_playout(self.adaptation.has_clean_path(cx.now));
        self.transport.set_pace(cx.now, pace);
        let estimate = self.adaptation.estimate();
        self.stats.queue_ms = estimate.queue().as_millis() as u32;
        self.stats.estimate_kbps = estimate.told_kbps(cx.now);
        if let Some(probe) = probe {
            self.probe(cx, probe);
        }
        change.is_some()
    }

    /// Starts video, each track with a key frame. If the user has started too often, key frames that are not in the
    /// ring count as requests, which [`Peer::send`] makes.
    pub(super) fn start_video(&mut self, cx: &mut SendContext<'_>) {
        let requested = cx.requests.key_frames.len();
        self.senders.start_video(cx);
        if cx.requests.key_frames.len() > requested && !self.adaptation.may_start(cx.now) {
            cx.requests.key_frames.truncate(requested);
            return;
        }
        self.adaptation.key_frames_requested(self.senders.awaiting_key_frame());
    }

    /// Changes the tiers, and enqueues a message that tells the student.
    fn change_tiers(&mut self, cx: &mut SendContext<'_>, change: Change) {
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
            PathTrouble::Loss => TierReason::Loss,
            PathTrouble::Silence => TierReason::Silence,
            PathTrouble::Delay => TierReason::Bandwidth,
        });
        self.channel.push(PublisherMessage::Tier { tiers, estimate_kbps, reason }.to_json().into());
    }

    /// Whether a track is sent to the peer in a codec that none of its encodings has. That never changes: the codecs of
    /// a connection were negotiated.
    pub(in crate::sfu) fn has_other_codec(&self, encodings: &[Encoding]) -> bool {
        self.senders.tracks().any(|(track, codec)| {
            let mut codecs = encodings.iter().filter(|e| e.track == track).map(|e| e.codec).peekable();
            codecs.peek().is_some() && codecs.all(|offered| offered != codec)
        })
    }

    /// Updates the available encodings.
    pub(in crate::sfu) fn offer(&mut self, encodings: &[Encoding]) {
        self.adaptation.offer(offered(&self.senders, &self.limits.of(encodings)));
    }

    /// The peer wants at most this of each video; `encodings` are those available.
    pub(in crate::sfu) fn limit(&mut self, limits: VideoLimits, encodings: &[Encoding]) {
        if std::mem::replace(&mut self.limits, limits) != limits {
            self.offer(encodings);
        }
    }
}
