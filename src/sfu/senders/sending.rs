//! How packets leave: by the core the first one, sealed by us all others, and no faster than the line carries them.

use std::time::Instant;

use bytes::Bytes;
use rtc::peer_connection::RTCPeerConnection;
use rtc::sansio::Protocol;

use super::{Handshake, Lanes, Rings, UnderWay};
use crate::congestion::Estimate;
use crate::rtp::{Encoding, OutgoingPacket, TwccSequenceNumber};
use crate::sfu::udp::{Sent, UdpSender};
use crate::srtp::{CoreWriter, Sealer, Side, TAG_BYTES};

impl Lanes {
    /// Sends more of the picture that is under way, as much as its pace allows.
    pub(super) fn go_on(
        &mut self,
        now: Instant,
        rings: &Rings,
        estimate: &mut Estimate,
        connection: &mut RTCPeerConnection,
        outlet: &mut UdpSender,
    ) {
        while let Some(rest) = self.under_way {
            if self.pace.as_mut().is_some_and(|pace| !pace.allows(now)) {
                self.catches_up = true;
                break;
            }
            self.under_way = (rest.next + 1 < rest.end).then_some(UnderWay { next: rest.next + 1, ..rest });
            let Some(lane) = self.lanes.get(rest.lane) else { continue };
            let (track, codec) = (lane.track, lane.codec);
            let ring = |tier| &rings[Encoding { track, tier, codec }];
            // Gone where the track was given up meanwhile.
            let Some(packet) = lane.subscription.resend(ring, rest.next as u16) else { continue };
            self.write(now, rest.lane, packet, estimate, connection, outlet);
        }
        outlet.flush();
    }

    pub(super) fn write(
        &mut self,
        now: Instant,
        lane: usize,
        mut packet: OutgoingPacket<'_>,
        estimate: &mut Estimate,
        connection: &mut RTCPeerConnection,
        outlet: &mut UdpSender,
    ) -> Sent {
        packet.transport = self.transport;
        if let Some(TwccSequenceNumber { number, .. }) = &mut self.transport {
            *number = number.wrapping_add(1);
        }
        estimate.sent(now, packet.transport.map(|transport| transport.number), packet.bytes());
        self.count(&packet);
        let lane = &mut self.lanes[lane];
        if let Side::Core(writer) = &lane.side {
            write_by_core(now, writer, &packet, connection);
            return self.drain(connection, outlet);
        }
        if !lane.track.is_video()
            && let Some(TwccSequenceNumber { number, .. }) = packet.transport
        {
            lane.numbers.note(packet.index, number);
        }
        self.seal(&packet, outlet)
    }

    pub(super) fn count(&mut self, packet: &OutgoingPacket<'_>) {
        self.sent.0 += 1;
        self.sent.1 += packet.bytes() as u64;
    }

    /// Sends a packet that is sealed by us, for the first time or as it was.
    pub(super) fn seal(&mut self, packet: &OutgoingPacket<'_>, outlet: &mut UdpSender) -> Sent {
        // Sound and repairs don't wait, pictures make room for them.
        if let Some(pace) = &mut self.pace {
            pace.sent(packet.bytes());
        }
        // Who seals has a key, and the packet that told it has told the path.
        let (Some(sealer), Some((from, to))) = (&self.sealer, self.path) else { return Sent::Yes };
        outlet.queue_with(from, to, packet.bytes() + TAG_BYTES, |batch| sealer.seal(packet, batch))
    }

    /// Says again what a student may have lost of the handshake.
    pub(in crate::sfu) fn repeat_handshake(&mut self, now: Instant, outlet: &mut UdpSender) {
        for (from, to, datagram) in self.handshake.repeats(now) {
            outlet.queue(*from, *to, datagram);
        }
    }

    /// Moves datagrams from the core to the socket, and sends them; learns key and path by the way.
    pub(in crate::sfu) fn drain(&mut self, connection: &mut RTCPeerConnection, outlet: &mut UdpSender) -> Sent {
        let mut sent = Sent::Yes;
        while let Some(out) = connection.poll_write() {
            let (from, to) = (out.transport.local_addr, out.transport.peer_addr);
            // SRTP and SRTCP go where media goes; STUN also looks at other ways (RFC 7983, 7).
            if out.message.first().is_some_and(|first| (128..=191).contains(first)) {
                self.path = Some((from, to));
            } else if Handshake::is_of_it(&out.message) && !self.handshake.says(Instant::now(), from, to, &out.message)
            {
                continue;
            }
            sent = sent.and(outlet.queue(from, to, &out.message));
        }
        if self.sealer.is_none()
            && self.path.is_some()
            && let Some(session) = self.found.sealing()
        {
            self.sealer = Sealer::new(session);
            if self.sealer.is_some() {
                self.lanes.iter_mut().for_each(|lane| lane.side = Side::Own);
            }
        }
        sent.and(outlet.flush())
    }
}

/// Writes one packet into the core, which seals it.
fn write_by_core(now: Instant, writer: &CoreWriter, packet: &OutgoingPacket<'_>, connection: &mut RTCPeerConnection) {
    let mut header = rtc::rtp::Header {
        version: 2,
        marker: packet.marker,
        payload_type: packet.payload_type,
        sequence_number: packet.sequence_number(),
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        ..Default::default()
    };
    if let Some(TwccSequenceNumber { id, number }) = packet.transport {
        // Refused for an id that no header can have, and none is offered.
        let _ = header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes()));
    }
    let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(packet.payload) };
    if let Some(mut sender) = connection.rtp_sender(writer.sender()) {
        // Fails only before DTLS is done; nothing is sent then.
        let _ = sender.write_rtp(now, packet);
    }
}
