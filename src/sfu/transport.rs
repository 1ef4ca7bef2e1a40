//! The BUNDLE transport of one peer (RFC 9143): the connection in the sans-I/O core, the ICE path, DTLS, SRTP, the
//! transport-wide sequence number and the pacer. [`super::senders`] decides which packets are sent.
//!
//! The core encrypts the first RTP packet, which reveals the session key ([`crate::srtp`]). All later packets are
//! encrypted here, directly from the shared ring into the batch of the socket. Outgoing RTCP is always written by the
//! core: SRTCP has its own key and index.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::rtcp::raw_packet::RawPacket;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::Rings;
use super::addresses::CONFIRM_EVERY;
use super::amplification::{AmplificationLimit, CheckBudget};
use super::encoders::EncoderRequests;
use super::nomination::Nomination;
use super::udp::{Sent, UdpSender};
use crate::congestion::{ClassRetransmissions, Estimate, Pacer, PathCapacity};
use crate::dtls::flights::Handshake;
use crate::dtls::records::Records;
use crate::dtls::sctp::Violation;
use crate::rtp::{OutgoingPacket, TwccSequenceNumber};
use crate::srtp::{Opener, RtpOpener, Sealing, SessionKeys, TAG_BYTES, is_rtcp};
use crate::token_bucket::SharedTokenBucket;

/// The outcome of decrypting a publisher's datagram.
pub(super) enum Opened<'a> {
    /// The datagram is an RTP packet now.
    Rtp,
    /// A compound RTCP packet.
    Rtcp(&'a [u8]),
    /// The datagram is SRTP, and forged or replayed.
    Nothing,
    /// The datagram is not SRTP, or its key is not known yet: pass the datagram to [`Transport::receive`].
    NotYet,
}

/// The resources that a worker lends to a peer for one turn.
pub(super) struct SendContext<'a> {
    /// The time of the turn.
    pub(super) now: Instant,
    /// The frames of the lecture, one ring per encoding.
    pub(super) rings: &'a Rings,
    /// The socket, with the batch into which packets are written.
    pub(super) udp: &'a mut UdpSender,
    /// The peer's requests to the encoders, passed on after the turn.
    pub(super) requests: &'a mut EncoderRequests,
    /// The budget for retransmissions that all peers share once their own budget is used up.
    pub(super) shared_rtx: &'a mut ClassRetransmissions,
}

/// One peer's transport. All senders of the peer share it.
pub(super) struct Transport {
    /// Boxed because it is far larger than the fields that a packet needs.
    pub(super) connection: Box<RTCPeerConnection>,
    keys: SessionKeys,
    sealing: Sealing,
    /// The local and the remote address of the selected ICE candidate pair, as the core's last SRTP or SRTCP packet
    /// used it.
    path: Option<(SocketAddr, SocketAddr)>,
    handshake: Handshake,
    nomination: Nomination,
    /// Limits what is sent to addresses that have not proved themselves.
    limit: AmplificationLimit,
    /// The transport-wide sequence number of the next packet, if the peer negotiated the header extension.
    next_number: Option<TwccSequenceNumber>,
    /// Limits the rate of video on a narrow path.
    pacer: Option<Pacer>,
    sent_packets: u64,
    sent_bytes: u64,
    /// Which DTLS records the core may read.
    records: Records,
    refused_datagrams: u64,
    /// Decrypts SRTCP, from the peer's second packet on.
    opener: Option<Opener>,
    /// Decrypts the SRTP of a publisher, from its second packet on.
    rtp_opener: Option<RtpOpener>,
    /// The source of a packet that has just been decrypted.
    opened_from: Option<SocketAddr>,
    /// When the peer's address was last reported as confirmed.
    confirmed: Option<Instant>,
}

impl Transport {
    /// A transport whose RTP is encrypted by the core, with a sender for each SSRC, until `keys` has the session key.
    /// With `twcc`, the id of the header extension, each packet carries a transport-wide sequence number.
    pub(super) fn new(
        connection: RTCPeerConnection,
        keys: SessionKeys,
        senders: Vec<(u32, RTCRtpSenderId)>,
        twcc: Option<u8>,
        limit: AmplificationLimit,
    ) -> Self {
        Self {
            connection: Box::new(connection),
            sealing: Sealing::by_core(keys.clone(), senders),
            keys,
            path: None,
            handshake: Handshake::default(),
            nomination: Nomination::default(),
            limit,
            next_number: twcc.map(|id| TwccSequenceNumber { id, number: 0 }),
            pacer: None,
            sent_packets: 0,
            sent_bytes: 0,
            records: Records::default(),
            refused_datagrams: 0,
            opener: None,
            rtp_opener: None,
            opened_from: None,
            confirmed: None,
        }
    }

    /// From now on these budgets of a user apply: for checks to addresses that have not proved themselves, and for
    /// DTLS.
    pub(super) fn share(&mut self, checks: &CheckBudget, records: &SharedTokenBucket) {
        self.limit.share(checks);
        self.records.share(records);
    }

    /// Whether the SFU has the session key and encrypts RTP.
    pub(super) fn seals_rtp(&self) -> bool {
        self.sealing.sealer().is_some()
    }

    /// Whether the peer sends feedback by transport-wide sequence numbers.
    pub(super) fn has_twcc(&self) -> bool {
        self.next_number.is_some()
    }

    /// Whether the round trip time of the DTLS handshake was that of a LAN.
    pub(super) fn is_near(&self) -> bool {
        self.handshake.is_near()
    }

    /// The number of packets sent, and their bytes before encryption.
    pub(super) fn sent(&self) -> (u64, u64) {
        (self.sent_packets, self.sent_bytes)
    }

    /// Limits video to the capacity of a path; None removes the limit.
    pub(super) fn set_pace(&mut self, now: Instant, capacity: Option<PathCapacity>) {
        match (&mut self.pacer, capacity) {
            (Some(pacer), Some(capacity)) => pacer.set(capacity),
            (pacer, capacity) => *pacer = capacity.map(|capacity| Pacer::new(now, capacity)),
        }
    }

    /// Whether video is sent at a limited rate.
    pub(super) fn is_paced(&self) -> bool {
        self.pacer.is_some()
    }

    /// Whether the pacer allows so many bytes of video now.
    pub(super) fn may_send_at_once(&mut self, now: Instant, bytes: usize) -> bool {
        self.pacer.as_mut().is_none_or(|pacer| pacer.allows_at_once(now, bytes))
    }

    /// Whether the pacer allows another packet of video now.
    pub(super) fn may_send_video(&mut self, now: Instant) -> bool {
        self.pacer.as_mut().is_none_or(|pacer| pacer.allows(now))
    }

    /// The transport-wide sequence number for the next packet of this peer.
    pub(super) fn take_number(&mut self) -> Option<TwccSequenceNumber> {
        let next = self.next_number.as_mut()?;
        let taken = *next;
        next.number = next.number.wrapping_add(1);
        Some(taken)
    }

    /// The header extension with a sequence number that was used before.
    pub(super) fn with_number(&self, number: u16) -> Option<TwccSequenceNumber> {
        self.next_number.map(|next| TwccSequenceNumber { number, ..next })
    }

    /// Sends a packet, whose `twcc` must come from [`take_number`](Self::take_number).
    pub(super) fn write(
        &mut self,
        cx: &mut SendContext<'_>,
        estimate: &mut Estimate,
        packet: &OutgoingPacket<'_>,
    ) -> Sent {
        estimate.sent(cx.now, packet.twcc.map(|transport| transport.number), packet.bytes());
        self.count(packet);
        if self.seals_rtp() {
            return self.seal(packet, cx.udp);
        }
        self.write_by_core(cx.now, packet);
        self.drain(cx.udp)
    }

    /// Sends a packet that the pacer does not count: video would be delayed for far longer than a probe occupies the
    /// path.
    pub(super) fn write_unpaced(
        &mut self,
        cx: &mut SendContext<'_>,
        estimate: &mut Estimate,
        packet: &OutgoingPacket<'_>,
    ) -> Sent {
        let pacer = self.pacer.take();
        let sent = self.write(cx, estimate, packet);
        self.pacer = pacer;
        sent
    }

    /// Sends a packet again under its earlier sequence number: it must be identical bit for bit. `estimate` already
    /// knows its transport-wide sequence number.
    pub(super) fn write_again(
        &mut self,
        cx: &mut SendContext<'_>,
        estimate: &mut Estimate,
        packet: &OutgoingPacket<'_>,
    ) -> Sent {
        estimate.sent(cx.now, None, packet.bytes());
        self.count(packet);
        self.seal(packet, cx.udp)
    }

    fn count(&mut self, packet: &OutgoingPacket<'_>) {
        self.sent_packets += 1;
        self.sent_bytes += packet.bytes() as u64;
    }

    /// Encrypts a packet into the batch of the socket.
    fn seal(&mut self, packet: &OutgoingPacket<'_>, udp: &mut UdpSender) -> Sent {
        // The pacer does not delay audio and retransmissions, but counts them against video.
        if let Some(pacer) = &mut self.pacer {
            pacer.sent(packet.bytes());
        }
        // A sealer exists only after the core's first packet, so the path is known.
        let (Some(sealer), Some((from, to))) = (self.sealing.sealer(), self.path) else { return Sent::Yes };
        udp.queue_with(from, to, packet.bytes() + TAG_BYTES, |batch| sealer.seal(packet, batch))
    }

    /// Passes an RTP packet to the core, which encrypts it; [`drain`](Self::drain) sends it.
    fn write_by_core(&mut self, now: Instant, packet: &OutgoingPacket<'_>) {
        let Some(sender) = self.sealing.core_sender(packet.ssrc) else { return };
        let mut header = rtc::rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number(),
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            ..Default::default()
        };
        if let Some(TwccSequenceNumber { id, number }) = packet.twcc {
            // This fails only for an id outside 1 to 14; no such id is negotiated.
            let _ = header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes()));
        }
        let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(packet.payload) };
        if let Some(mut sender) = self.connection.rtp_sender(sender) {
            // This fails only before DTLS has finished; nothing is sent then.
            let _ = sender.write_rtp(now, packet);
        }
    }

    /// Passes a compound RTCP packet of a sender to the core; [`drain`](Self::drain) sends it.
    pub(super) fn write_rtcp(
        &mut self,
        now: Instant,
        sender: RTCRtpSenderId,
        compound: Vec<Box<dyn rtc::rtcp::Packet>>,
    ) {
        if let Some(mut sender) = self.connection.rtp_sender(sender) {
            let _ = sender.write_rtcp(now, compound);
        }
    }

    /// Passes a compound RTCP packet to the core as it is; [`drain`](Self::drain) sends it.
    pub(super) fn write_compound(&mut self, now: Instant, compound: Vec<u8>) {
        let packets: Vec<Box<dyn rtc::rtcp::Packet>> = vec![Box::new(RawPacket(compound.into()))];
        let message = RTCMessage::RtcpPacket(String::new(), packets);
        // This fails only before DTLS has finished; nothing is written then.
        let _ = self.connection.handle_write(TaggedRTCMessage { now, message });
    }

    /// Moves datagrams from the core to the socket and flushes its batch, except those to addresses that must not get
    /// them ([`super::amplification`]). Learns the path and the session key from them.
    pub(super) fn drain(&mut self, udp: &mut UdpSender) -> Sent {
        let mut sent = Sent::Yes;
        while let Some(out) = self.connection.poll_write() {
            let (from, to) = (out.transport.local_addr, out.transport.peer_addr);
            if !self.limit.allows(Instant::now(), from, to, &out.message) {
                continue;
            }
            // SRTP and SRTCP (RFC 7983, 7) use the selected path; STUN checks use other paths too.
            if out.message.first().is_some_and(|first| (128..=191).contains(first)) {
                self.path = Some((from, to));
            } else if Handshake::is_dtls(&out.message)
                && !self.handshake.on_send(Instant::now(), from, to, &out.message)
            {
                continue;
            }
            sent = sent.and(udp.queue(from, to, &out.message));
        }
        if self.path.is_some() {
            self.sealing.take_over();
        }
        sent.and(udp.flush())
    }

    /// Retransmits the last DTLS flight if that is due.
    pub(super) fn retransmit_handshake(&mut self, now: Instant, udp: &mut UdpSender) {
        for (from, to, datagram) in self.handshake.retransmit(now) {
            udp.queue(*from, *to, datagram);
        }
    }

    /// Decrypts an SRTCP packet in place. None for every other datagram, and before the key is known; such a datagram
    /// belongs to [`receive`](Self::receive). An empty compound packet if the packet is forged or replayed.
    pub(super) fn open_rtcp<'d>(&mut self, from: SocketAddr, datagram: &'d mut BytesMut) -> Option<&'d [u8]> {
        let opener = self.opener.as_mut().filter(|_| is_rtcp(datagram))?;
        let opened = opener.open(datagram);
        if opened.is_some() {
            self.opened_from = Some(from);
        }
        Some(opened.unwrap_or_default())
    }

    /// Decrypts a publisher's RTP or RTCP in place.
    pub(super) fn open<'d>(&mut self, from: SocketAddr, datagram: &'d mut BytesMut) -> Opened<'d> {
        // SRTP and SRTCP (RFC 7983, 7).
        if !datagram.first().is_some_and(|first| (128..=191).contains(first)) {
            return Opened::NotYet;
        }
        let opened = if is_rtcp(datagram) {
            let Some(opener) = &mut self.opener else { return Opened::NotYet };
            opener.open(datagram).map(Opened::Rtcp)
        } else {
            let Some(opener) = &mut self.rtp_opener else { return Opened::NotYet };
            opener.open(datagram).map(<[u8]>::len).map(|length| {
                datagram.truncate(length);
                Opened::Rtp
            })
        };
        if opened.is_some() {
            self.opened_from = Some(from);
        }
        opened.unwrap_or(Opened::Nothing)
    }

    /// Passes a datagram, received at the first address of `path` from the second, to the core, which must be polled
    /// afterwards. Returns false for a DTLS datagram that no student needs to send, which the core does not get.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        is_connected: bool,
        datagram: BytesMut,
    ) -> bool {
        let (local_addr, peer_addr) = path;
        let transport =
            TransportContext { local_addr, peer_addr, ecn: None, transport_protocol: TransportProtocol::UDP };
        if Handshake::is_dtls(&datagram) {
            if !self.records.admit(now, is_connected, &datagram) {
                self.refused_datagrams += 1;
                return false;
            }
            self.handshake.on_receive(now, &datagram);
        }
        self.limit.on_receive(peer_addr, &datagram);
        let opened = self.keys.opened();
        let nomination = if is_connected {
            self.nomination.forget();
            None
        } else {
            self.nomination.on_receive(path, &datagram)
        };
        for message in [Some(datagram), nomination].into_iter().flatten() {
            // A datagram that the core can't read was forged or is not for us; the core's state is unchanged.
            let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message });
        }
        if self.keys.opened() > opened {
            self.opened_from = Some(peer_addr);
        }
        if self.opener.is_none() {
            // This must precede the next packet, because a packet that the core decrypts as well would count twice.
            self.opener = self.keys.rtcp().and_then(Opener::new);
        }
        if self.rtp_opener.is_none() {
            self.rtp_opener = self.keys.incoming_rtp().and_then(RtpOpener::new);
        }
        true
    }

    /// The core has decrypted a packet from this address with a cipher that is not observed ([`crate::srtp`]).
    pub(super) fn decrypted_from(&mut self, from: SocketAddr) {
        self.opened_from = Some(from);
    }

    /// The peer's address, if a packet from there has just been decrypted and media is sent there; at most once in
    /// [`CONFIRM_EVERY`].
    pub(super) fn confirmed_address(&mut self, now: Instant) -> Option<SocketAddr> {
        let destination = self.path.map(|(_, to)| to);
        let from = self.opened_from.take().filter(|from| destination == Some(*from))?;
        let is_due = self.confirmed.is_none_or(|at| now.saturating_duration_since(at) >= CONFIRM_EVERY);
        if is_due {
            self.confirmed = Some(now);
        }
        is_due.then_some(from)
    }

    /// When the core's timers or the retransmission of a DTLS flight are due.
    pub(super) fn deadline(&mut self, now: Instant) -> Instant {
        let core = self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        self.handshake.due().map_or(core, |due| due.min(core))
    }

    /// The number of datagrams and SCTP packets of the peer that were not read.
    pub(super) fn refused(&self) -> u64 {
        self.refused_datagrams + self.keys.refused_sctp()
    }

    /// The peer's last violation of SCTP, if there were too many.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.keys.violation()
    }

    /// Closes the connection, so that the student notices at once.
    pub(super) fn close(mut self, udp: &mut UdpSender) {
        let _ = self.connection.close();
        self.drain(udp);
    }

    /// Simulates that the core has sent its first packet over this path.
    #[cfg(test)]
    pub(super) fn seal_from_now_on(&mut self, from: SocketAddr, to: SocketAddr) {
        self.path = Some((from, to));
        self.sealing.take_over();
        assert!(self.seals_rtp());
    }
}
