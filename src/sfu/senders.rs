//! All tracks of one peer: which packets are sent in a turn, and in what order.
//!
//! A packet passes from the shared ring through [`Sender`], which chooses the packet and its header, and [`Transport`],
//! which encrypts and addresses it, into the batch of the worker's socket.

use super::Rings;
use super::sender::{KeyFrameResponse, Sender, TierChange};
use super::transport::{SendContext, Transport};
use super::udp::Sent;
use crate::congestion::{Estimate, Probe};
use crate::rtp::{Codec, Encoding, OutgoingPacket, Tier, Track};

/// The payload after which a turn sends no further frame of a track; with a turn every 5 ms a peer that is behind gets
/// some 39 Mbit/s. The default receive buffer of a socket holds several turns, so a browser that is busy starting does
/// not lose its first frames.
const CATCH_UP_BYTES: usize = 24 << 10;

/// The most padding in a packet (RFC 3550, 5.1).
const MAX_PADDING: u32 = 255;

/// A packet that a peer has requested by NACK and may get.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetransmissionRequest {
    /// The index of its sender.
    sender: usize,
    sequence_number: u16,
}

/// A video frame that the pacer has allowed only in part: the packet indices that are left.
#[derive(Debug, Clone, Copy)]
struct PartialFrame {
    /// The index of its sender.
    sender: usize,
    first: u64,
    next: u64,
    end: u64,
}

/// All tracks of one peer.
#[derive(Default)]
pub(super) struct Senders {
    senders: Vec<Sender>,
    partial: Option<PartialFrame>,
    is_behind: bool,
}

impl Senders {
    /// Adds a track.
    pub(super) fn push(&mut self, sender: Sender) {
        self.senders.push(sender);
    }

    /// Whether the next turn has something to send: earlier frames, or the rest of a frame.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The tracks and their codecs.
    pub(super) fn tracks(&self) -> impl Iterator<Item = (Track, Codec)> {
        self.senders.iter().map(|sender| (sender.track, sender.codec))
    }

    /// The encodings that this peer needs.
    pub(super) fn active(&self) -> impl Iterator<Item = Encoding> {
        self.senders.iter().flat_map(Sender::active)
    }

    /// The encodings that the student watches, or will watch from the next key frame on.
    pub(super) fn watched(&self) -> impl Iterator<Item = Encoding> {
        self.senders.iter().filter_map(Sender::watched)
    }

    /// The video encodings that need a key frame to continue.
    pub(super) fn awaiting_key_frame(&self) -> impl Iterator<Item = Encoding> {
        let awaits = |sender: &&Sender| sender.track.is_video() && sender.subscription.awaits_key();
        self.senders.iter().filter(awaits).map(Sender::encoding)
    }

    /// Records the total number of packets of an SSRC that the peer reported lost.
    pub(super) fn on_total_lost(&mut self, ssrc: u32, lost: i32) {
        if let Some(sender) = self.senders.iter_mut().find(|sender| sender.subscription.ssrc() == ssrc) {
            sender.on_total_lost(lost);
        }
    }

    /// The number of packets that the peer has reported lost.
    pub(super) fn lost(&self) -> u64 {
        self.senders.iter().map(|sender| u64::from(sender.lost())).sum()
    }

    /// The number of frames that were dropped for this peer.
    pub(super) fn dropped(&self) -> u64 {
        self.senders.iter().map(|sender| sender.subscription.dropped()).sum()
    }

    /// Whether a track has sent more than its first packet.
    pub(super) fn have_sent(&self) -> bool {
        self.senders.iter().any(|sender| sender.subscription.counts().0 > 1)
    }

    /// Whether packets of a video were sent, which begins with a key frame.
    pub(super) fn have_sent_video(&self) -> bool {
        self.senders.iter().any(|sender| sender.track.is_video() && sender.subscription.counts().0 > 0)
    }

    /// Whether a probe can precede the first video frame: audio reveals the session key, and RTX carries the padding.
    pub(super) fn can_probe_first(&self) -> bool {
        self.senders.iter().any(|sender| !sender.track.is_video()) && self.senders.iter().any(|s| s.rtx.is_some())
    }

    /// Starts audio with the next packet.
    pub(super) fn start_audio(&mut self, rings: &Rings) {
        for sender in self.senders.iter_mut().filter(|sender| !sender.track.is_video()) {
            sender.subscription.start_live(&rings[sender.encoding()]);
        }
    }

    /// Starts the idle video tracks, each with a key frame.
    pub(super) fn start_video(&mut self, cx: &mut SendContext<'_>) {
        self.senders.iter_mut().filter(|sender| sender.track.is_video()).for_each(|sender| sender.start_video(cx));
    }

    /// Changes the tier of a video track, or pauses it, see [`Sender::set_tier`].
    pub(super) fn set_tier(&mut self, cx: &mut SendContext<'_>, track: Track, tier: Option<Tier>, is_urgent: bool) {
        let of_track = |sender: &Sender| sender.track == track && track.is_video();
        let Some(n) = self.senders.iter().position(of_track) else { return };
        if self.senders[n].set_tier(cx, tier, is_urgent) == TierChange::Cut {
            self.partial = self.partial.filter(|partial| partial.sender != n);
        }
    }

    /// Tells the peer to show video at once, or to decide by itself again, if that was negotiated.
    pub(super) fn set_playout(&mut self, at_once: bool) {
        self.senders.iter_mut().for_each(|sender| sender.set_playout(at_once));
    }

    /// The tier of the video with this SSRC.
    pub(super) fn tier_of(&self, ssrc: u32) -> Option<Tier> {
        let mut video = self.senders.iter().filter(|sender| sender.track.is_video());
        video.find(|sender| sender.subscription.ssrc() == ssrc).map(|sender| sender.subscription.tier())
    }

    /// Handles a request for a key frame of the video with this SSRC (PLI, FIR). None if no video has that SSRC.
    pub(super) fn on_key_frame_request(
        &mut self,
        cx: &mut SendContext<'_>,
        ssrc: u32,
        allows: bool,
    ) -> Option<KeyFrameResponse> {
        let mut video = self.senders.iter_mut().filter(|sender| sender.track.is_video());
        let sender = video.find(|sender| sender.subscription.ssrc() == ssrc)?;
        Some(sender.on_key_frame_request(cx, allows))
    }

    /// The packet that a NACK requests, if it was sent and its frame is still in the ring.
    pub(super) fn on_nack(&self, rings: &Rings, ssrc: u32, sequence_number: u16) -> Option<RetransmissionRequest> {
        let sender = self.senders.iter().position(|sender| sender.subscription.ssrc() == ssrc)?;
        self.senders[sender].sent_packet(rings, sequence_number)?;
        Some(RetransmissionRequest { sender, sequence_number })
    }

    /// Handles a frame at `index` in the ring of `encoding`. Returns whether this peer gets it.
    pub(super) fn on_frame(&mut self, encoding: Encoding, index: u64, key: bool) -> bool {
        self.senders.iter_mut().fold(false, |gets, sender| sender.on_frame(encoding, index, key) | gets)
    }

    /// Handles the loss of a frame at the source of a track, which can continue only with a key frame.
    pub(super) fn on_gap(&mut self, track: Track) {
        for sender in self.senders.iter_mut().filter(|sender| sender.track == track) {
            sender.subscription.drop_to_next_key();
        }
    }

    /// Sends the frames that are due, of one track or of all tracks, and returns their number of packets. If the turn
    /// can't send everything, the peer [`is_behind`](Self::is_behind).
    pub(super) fn send(
        &mut self,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
        only: Option<Track>,
    ) -> usize {
        if only.is_none() {
            self.is_behind = false;
        }
        if only.is_none_or(Track::is_video) {
            self.send_partial(cx, transport, estimate);
        }
        let mut packets = 0;
        for n in 0..self.senders.len() {
            if only.is_none_or(|track| track == self.senders[n].track) {
                packets += self.send_track(n, cx, transport, estimate);
            }
        }
        packets
    }

    fn send_track(
        &mut self,
        n: usize,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
    ) -> usize {
        let rings = cx.rings;
        let sender = &mut self.senders[n];
        let is_video = sender.track.is_video();
        let ring = &rings[sender.encoding()];
        let (mut count, mut bytes) = (0, 0);
        while let Some(due) = self.senders[n].subscription.due(ring) {
            let sender = &mut self.senders[n];
            if bytes > CATCH_UP_BYTES {
                self.is_behind = true;
                break;
            }
            if is_video && sender.subscription.is_late(ring) {
                sender.subscription.drop_to_next_key();
                break;
            }
            if is_video && self.partial.is_some() {
                self.is_behind = true;
                break;
            }
            let is_split = is_video
                && transport.is_paced()
                && !ring.get(due).is_some_and(|frame| transport.may_send_at_once(cx.now, frame.bytes()));
            let Some(mut packets) = sender.subscription.take(ring) else { break };
            if is_split {
                let Some(first) = packets.next().map(|packet| packet.index) else { continue };
                let end = first + 1 + packets.count() as u64;
                count += (end - first) as usize;
                self.partial = Some(PartialFrame { sender: n, first, next: first, end });
                self.send_partial(cx, transport, estimate);
                continue;
            }
            let mut sent = Sent::Yes;
            let mut playout = sender.take_playout(cx.now);
            for packet in packets {
                count += 1;
                bytes += packet.payload.len();
                sent = sent.and(sender.write(cx, transport, estimate, OutgoingPacket { playout, ..packet }));
                playout = None;
            }
            sent = sent.and(cx.udp.flush());
            if let Some(frame) = ring.get(due) {
                let (delay, packets) = (frame.arrived.unwrap_or(frame.captured).elapsed(), frame.len() as u64);
                cx.udp.delays.record(delay, packets);
                if !is_video {
                    cx.udp.sound_delays.record(delay, packets);
                }
            }
            if sent == Sent::Refused {
                if is_video {
                    sender.subscription.drop_to_next_key();
                }
                break;
            }
        }
        count
    }

    /// Sends as much of the partial frame as the pacer allows.
    fn send_partial(&mut self, cx: &mut SendContext<'_>, transport: &mut Transport, estimate: &mut Estimate) {
        while let Some(partial) = self.partial {
            if !transport.may_send_video(cx.now) {
                self.is_behind = true;
                break;
            }
            let next = partial.next + 1;
            self.partial = (next < partial.end).then_some(PartialFrame { next, ..partial });
            let Some(sender) = self.senders.get_mut(partial.sender) else { continue };
            // None if the tier was abandoned in the meantime.
            let Some(packet) = sender.sent_packet(cx.rings, partial.next as u16) else { continue };
            let is_first = partial.next == partial.first;
            let playout = is_first.then(|| sender.take_playout(cx.now)).flatten();
            sender.write(cx, transport, estimate, OutgoingPacket { playout, ..packet });
        }
        cx.udp.flush();
    }

    /// Retransmits packets that the peer has requested.
    pub(super) fn retransmit(
        &mut self,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
        requests: &[RetransmissionRequest],
    ) {
        for request in requests {
            if let Some(sender) = self.senders.get_mut(request.sender) {
                sender.retransmit(cx, transport, estimate, request.sequence_number);
            }
        }
        cx.udp.flush();
    }

    /// Sends a probe of padding, if a track has RTX to carry it and the SFU encrypts.
    pub(super) fn probe(
        &mut self,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
        probe: Probe,
    ) {
        let Some(rtx) = self.senders.iter_mut().find_map(|sender| sender.rtx.as_mut()) else { return };
        if !transport.seals_rtp() {
            return;
        }
        for _ in 0..(probe.packets * probe.bytes_each).div_ceil(MAX_PADDING) {
            let mut packet = rtx.padding(MAX_PADDING as u8, 0);
            packet.twcc = transport.take_number();
            transport.write_unpaced(cx, estimate, &packet);
        }
        cx.udp.flush();
    }

    /// Writes the sender reports that are due; returns whether there were any.
    pub(super) fn report(&mut self, cx: &mut SendContext<'_>, transport: &mut Transport) -> bool {
        self.senders.iter_mut().fold(false, |reported, sender| sender.report(cx, transport) | reported)
    }
}

#[cfg(test)]
mod tests;
