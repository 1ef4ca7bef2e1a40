//! One track of one peer: its tier, its next packet and its sender reports. [`super::transport`] sends the packets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc::rtp_transceiver::RTCRtpSenderId;

use super::Rings;
use super::transport::{SendContext, Transport};
use super::udp::Sent;
use crate::congestion::Estimate;
use crate::rtp::{
    Codec, Encoding, OutgoingPacket, PlayoutDelay, PlayoutLimits, REPLAY_BYTES, RtxStream, SentTwccNumbers, Start,
    Subscription, Tier, Track, timestamp_at,
};

/// The interval at which a peer is told its playout delay again, because the packet may be lost. A packet with that
/// header extension is longer than the others, and costs a system call of its own.
const PLAYOUT_INTERVAL: Duration = Duration::from_secs(1);

/// The interval of sender reports, by which a receiver synchronises audio and video.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The canonical name (CNAME) in sender reports: the same for all tracks, because they share a clock (RFC 8834, 4.9).
const CNAME: &[u8] = b"classroom";

/// The most bytes of a smaller tier that are replayed when a peer with a narrow path switches to it. More would take
/// longer than waiting for the next key frame, which has some 20 kB.
const NARROW_REPLAY_BYTES: usize = 24 << 10;

/// The outcome of a peer's request for a key frame (PLI or FIR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFrameResponse {
    /// The track restarts: from the ring, or with a key frame that was requested.
    Restarted,
    /// The track already waits for a key frame.
    Pending,
    /// The peer requests key frames too often.
    Limited,
}

/// The outcome of a change of tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TierChange {
    /// Frames of the old tier continue: the tier has not changed, the new tier starts from the ring, or its key frame
    /// is awaited.
    Seamless,
    /// The old tier ends at once, even within a frame.
    Cut,
}

/// One track of one peer.
pub(super) struct Sender {
    pub(super) track: Track,
    pub(super) codec: Codec,
    /// The core's sender, which writes the sender reports.
    id: RTCRtpSenderId,
    pub(super) subscription: Subscription,
    /// The tier to which the next key frame switches; until then the current tier is sent.
    next_tier: Option<Tier>,
    pub(super) rtx: Option<RtxStream>,
    sent_numbers: SentTwccNumbers,
    reported: Option<Instant>,
    /// The number of packets that the peer has reported lost.
    lost: u32,
    /// The id of the header extension for the playout delay.
    playout_id: Option<u8>,
    /// The playout delay, and when the peer was last told it; none for a peer that was never told one.
    playout: Option<(PlayoutDelay, Option<Instant>)>,
}

impl Sender {
    /// A sender that sends nothing until its subscription starts.
    pub(super) fn new(
        (track, codec): (Track, Codec),
        id: RTCRtpSenderId,
        subscription: Subscription,
        rtx: Option<RtxStream>,
    ) -> Self {
        Self {
            track,
            codec,
            id,
            subscription,
            next_tier: None,
            rtx,
            sent_numbers: SentTwccNumbers::default(),
            reported: None,
            lost: 0,
            playout_id: None,
            playout: None,
        }
    }

    /// With the id of the header extension for the playout delay, if that was negotiated. Without RTX a packet is
    /// retransmitted under its own nonce, and must not get another header.
    pub(super) fn with_playout(self, id: Option<u8>) -> Self {
        Self { playout_id: id.filter(|_| self.rtx.is_some()), ..self }
    }

    /// Tells the peer to show frames at once, or to decide by itself again.
    pub(super) fn set_playout(&mut self, at_once: bool) {
        let Some(id) = self.playout_id.filter(|_| at_once || self.playout.is_some()) else { return };
        let limits = if at_once { PlayoutLimits::Short } else { PlayoutLimits::Free };
        let playout = PlayoutDelay { id, limits };
        if self.playout.is_none_or(|(told, _)| told != playout) {
            self.playout = Some((playout, None));
        }
    }

    /// The playout delay for the first packet of a frame, if the peer is to be told now.
    pub(super) fn take_playout(&mut self, now: Instant) -> Option<PlayoutDelay> {
        let (playout, told) = self.playout.as_mut()?;
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= PLAYOUT_INTERVAL);
        is_due.then(|| {
            *told = Some(now);
            *playout
        })
    }

    /// The encoding of the current tier.
    pub(super) fn encoding(&self) -> Encoding {
        self.in_tier(self.subscription.tier())
    }

    fn in_tier(&self, tier: Tier) -> Encoding {
        Encoding { track: self.track, tier, codec: self.codec }
    }

    /// The encodings that this sender needs: the one that it sends and the one for which it waits.
    pub(super) fn active(&self) -> impl Iterator<Item = Encoding> {
        let now = (!self.subscription.is_paused()).then(|| self.encoding());
        now.into_iter().chain(self.next_tier.map(|tier| self.in_tier(tier)))
    }

    /// The encoding that the student watches, or will watch from the next key frame on.
    pub(super) fn watched(&self) -> Option<Encoding> {
        match self.next_tier {
            Some(tier) => Some(self.in_tier(tier)),
            None => (!self.subscription.is_paused()).then(|| self.encoding()),
        }
    }

    /// Records the total number of lost packets that the peer reported; it can't exceed the number of packets sent.
    pub(super) fn on_total_lost(&mut self, lost: i32) {
        self.lost = u32::try_from(lost).unwrap_or(0).min(self.subscription.counts().0);
    }

    /// The number of packets that the peer has reported lost.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// Starts the video track with a key frame, from the ring or a new one, if the track is idle.
    pub(super) fn start_video(&mut self, cx: &mut SendContext<'_>) {
        let encoding = self.encoding();
        if self.subscription.is_idle() && self.subscription.start(&cx.rings[encoding], cx.now) == Start::NeedsKey {
            cx.requests.key_frames.push(encoding);
        }
    }

    /// Changes the tier, or pauses the track. If the change is urgent, the old tier ends at once, so that the queue of
    /// the path can drain; otherwise the old tier continues until there is a key frame of the new one.
    pub(super) fn set_tier(&mut self, cx: &mut SendContext<'_>, tier: Option<Tier>, is_urgent: bool) -> TierChange {
        self.next_tier = None;
        let is_sent = !self.subscription.is_paused();
        let Some(tier) = tier else {
            self.subscription.pause();
            return TierChange::Cut;
        };
        if is_sent && self.subscription.tier() == tier {
            return TierChange::Seamless;
        }
        let wanted = self.in_tier(tier);
        let replay = if is_urgent || !is_sent { NARROW_REPLAY_BYTES } else { REPLAY_BYTES };
        if self.subscription.switch(tier, &cx.rings[wanted], cx.now, replay) != Start::NeedsKey {
            return TierChange::Seamless;
        }
        cx.requests.key_frames.push(wanted);
        if is_urgent {
            self.subscription.give_up_for(tier);
            return TierChange::Cut;
        }
        self.next_tier = Some(tier);
        TierChange::Seamless
    }

    /// Handles a request for a key frame (PLI, FIR): restarts the track if the peer's budget `allows` that.
    pub(super) fn on_key_frame_request(&mut self, cx: &mut SendContext<'_>, allows: bool) -> KeyFrameResponse {
        if self.subscription.awaits_key() {
            return KeyFrameResponse::Pending;
        }
        if !allows {
            return KeyFrameResponse::Limited;
        }
        let encoding = self.encoding();
        match self.subscription.start(&cx.rings[encoding], cx.now) {
            Start::TooSoon => return KeyFrameResponse::Limited,
            Start::FromRing => {}
            Start::NeedsKey => cx.requests.key_frames.push(encoding),
        }
        KeyFrameResponse::Restarted
    }

    /// Handles a frame at `index` in the ring of `encoding`. Returns whether this sender sends it.
    pub(super) fn on_frame(&mut self, encoding: Encoding, index: u64, key: bool) -> bool {
        if (self.track, self.codec) != (encoding.track, encoding.codec) {
            return false;
        }
        if key && self.next_tier == Some(encoding.tier) {
            self.next_tier = None;
            self.subscription.switch_at(encoding.tier, index);
            return true;
        }
        let is_sent = self.subscription.tier() == encoding.tier;
        if is_sent {
            self.subscription.on_frame(index, key);
        }
        is_sent
    }

    /// The packet with this sequence number, if it was sent and its frame is still in the ring.
    pub(super) fn sent_packet<'a>(&self, rings: &'a Rings, sequence_number: u16) -> Option<OutgoingPacket<'a>> {
        self.subscription.resend(|tier| &rings[self.in_tier(tier)], sequence_number)
    }

    /// Sends a packet with the next transport-wide sequence number.
    pub(super) fn write(
        &mut self,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
        mut packet: OutgoingPacket<'_>,
    ) -> Sent {
        packet.twcc = transport.take_number();
        if !self.track.is_video()
            && transport.seals_rtp()
            && let Some(number) = packet.twcc
        {
            self.sent_numbers.push(packet.index, number.number);
        }
        transport.write(cx, estimate, &packet)
    }

    /// Answers a NACK by a retransmission: over RTX if that was negotiated and the SFU encrypts, otherwise by the
    /// unchanged packet.
    pub(super) fn retransmit(
        &mut self,
        cx: &mut SendContext<'_>,
        transport: &mut Transport,
        estimate: &mut Estimate,
        sequence_number: u16,
    ) {
        let Some(packet) = self.sent_packet(cx.rings, sequence_number) else { return };
        match &mut self.rtx {
            Some(rtx) if transport.seals_rtp() => {
                let packet = rtx.retransmission(&packet);
                self.write(cx, transport, estimate, packet);
            }
            _ if !transport.has_twcc() => {
                self.write(cx, transport, estimate, packet);
            }
            // A nonce may be reused only for the identical packet, with the same transport-wide sequence number.
            _ => {
                let number = self.sent_numbers.get(packet.index).and_then(|number| transport.with_number(number));
                if number.is_some() {
                    transport.write_again(cx, estimate, &OutgoingPacket { twcc: number, ..packet });
                }
            }
        }
    }

    /// Writes a sender report if one is due and packets have been sent; returns whether it did. The report carries the
    /// time of capture: the time of sending would shift audio against video by the delay of the encoder.
    pub(super) fn report(&mut self, cx: &mut SendContext<'_>, transport: &mut Transport) -> bool {
        let (packet_count, octet_count) = self.subscription.counts();
        let is_due = self.reported.is_none_or(|at| cx.now.saturating_duration_since(at) >= REPORT_EVERY);
        let newest = cx.rings[self.encoding()].newest().filter(|_| is_due && packet_count > 0);
        let Some(newest) = newest else { return false };
        self.reported = Some(cx.now);
        let ssrc = self.subscription.ssrc();
        let report = SenderReport {
            ssrc,
            ntp_time: ntp_now(),
            rtp_time: timestamp_at(newest, cx.now),
            packet_count,
            octet_count,
            ..Default::default()
        };
        let item = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(CNAME) };
        let name = SourceDescription { chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![item] }] };
        transport.write_rtcp(cx.now, self.id, vec![Box::new(report), Box::new(name)]);
        true
    }
}

/// The round trip time from a report block (RFC 3550, 6.4.1): the time since our last sender report, less the time for
/// which the peer held it. None if the peer has received no report, or if the result exceeds 10 s.
pub(super) fn round_trip(last_sender_report: u32, delay: u32) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(10);
    if last_sender_report == 0 {
        return None;
    }
    let now = (ntp_now() >> 16) as u32;
    let units = now.wrapping_sub(last_sender_report).wrapping_sub(delay);
    let time = Duration::from_nanos(u64::from(units) * 1_000_000_000 / (1 << 16));
    (time <= MOST).then_some(time)
}

/// The wall clock as an NTP timestamp: seconds since 1900 and their fraction (RFC 3550, 4).
fn ntp_now() -> u64 {
    const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + UNIX_EPOCH_IN_NTP) << 32) | fraction
}
