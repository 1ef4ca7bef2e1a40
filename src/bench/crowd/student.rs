//! One student of a crowd: a socket, and a connection of the sans-I/O core.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::Packet as Rtcp;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::arrivals::{Arrivals, transport_number};
use super::stream::{Arrival, Stream};
use super::{Clock, Shared, Tally};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtp::{Codec, HEADER_BYTES};
use crate::sdp::{answer, engine};
use crate::viewer::{Answered, FEEDBACK_INTERVAL, answered_tracks};

/// What the kernel may hold for one student, where it allows that: a key frame that comes while all others get theirs.
const KERNEL_BUFFER: usize = 1 << 20;

/// Receiver reports go out this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Datagrams that are read before another student has its turn: a key frame.
const READ_AT_ONCE: usize = 128;

/// The largest datagram that is worth reading.
pub(super) const MAX_DATAGRAM: usize = 2048;

/// What became of a student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing new.
    Same,
    /// Its connection stands since now.
    Connected,
    /// It is gone.
    Gone,
}

/// One student.
pub(super) struct Student {
    pub(super) socket: UdpSocket,
    pub(super) connected: bool,
    /// The next time that the core wants to be woken.
    pub(super) deadline: Instant,
    local: SocketAddr,
    connection: RTCPeerConnection,
    streams: Vec<(Answered, Stream)>,
    /// The id of the header extension with transport-wide numbers, where the SFU writes them.
    numbered: Option<u8>,
    arrivals: Arrivals,
    began: Instant,
    first_picture: bool,
    reported: Instant,
    told: Instant,
}

/// What an RTP packet is by its header, which is not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rtp {
    /// Media, or of an SSRC that no answer named.
    Media(Arrival),
    /// A retransmission: what it repairs is encrypted.
    Repair,
    /// A retransmission of nothing, by which the SFU measures the way.
    Probe,
}

impl Student {
    /// A student and its offer, the same as that of `classroom watch`: sound, two pictures, a data channel.
    pub(super) fn offer(shared: &Shared, now: Instant) -> Result<(Self, String), Error> {
        let socket = receiving_socket()?;
        let local = socket.local_addr()?;
        let settings = engine::settings().with_crypto_provider(shared.crypto.clone()).build();
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![shared.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::H264, Codec::Vp8])?)
            .with_setting_engine(settings)
            // Reports and NACKs are ours: the core's would take the packets that we do not open for lost.
            .with_interceptor_registry(Registry::new())
            .build(now)?;
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video, RtpCodecKind::Video] {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            connection
                .add_transceiver_from_kind(kind, Some(RTCRtpTransceiverInit { direction, ..Default::default() }))?;
        }
        connection.create_data_channel(CHANNEL_LABEL, None)?;
        let offer = connection.create_offer(None)?;
        connection.set_local_description(now, offer)?;
        connection.add_local_candidate(answer::host_candidate(local)?)?;
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let offer = connection.local_description().ok_or(Error::ErrConnectionClosed)?.sdp;
        let student = Self {
            socket,
            connected: false,
            deadline: now,
            local,
            connection,
            streams: Vec::new(),
            numbered: None,
            arrivals: Arrivals::default(),
            began: now,
            first_picture: false,
            reported: now,
            told: now,
        };
        Ok((student, offer))
    }

    /// Takes the SFU's answer.
    pub(super) fn answer(&mut self, now: Instant, sdp: String) -> Result<(), Error> {
        let answered = answered_tracks(&sdp).map_err(|e| Error::Other(e.to_string()))?;
        self.streams = answered.into_iter().map(|answered| (answered, Stream::default())).collect();
        self.numbered = numbered(&sdp);
        self.connection.set_remote_description(now, RTCSessionDescription::answer(sdp)?)?;
        self.deadline = now;
        Ok(())
    }

    /// Reads what the socket has. RTP is always counted, and opened if `opens`; but not twice, as the core would refuse
    /// a replay and it would look like a packet that was sealed wrongly. Repairs are always opened: what they are of is
    /// encrypted.
    pub(super) fn read(&mut self, now: Instant, opens: bool, clock: &Clock, tally: &mut Tally) -> Fate {
        let wall = SystemTime::now();
        let mut bytes = [0; MAX_DATAGRAM];
        let (mut handed, mut other, mut fate) = (false, false, Fate::Same);
        for _ in 0..READ_AT_ONCE {
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else { break };
            let datagram = &bytes[..length];
            let rtp = is_rtp(datagram).then(|| self.count(datagram, now, wall, clock, tally));
            match rtp {
                Some(Rtp::Media(Arrival::Again) | Rtp::Probe) => continue,
                Some(Rtp::Media(Arrival::New)) if !opens => continue,
                Some(Rtp::Repair) => self.open(now, tally),
                Some(Rtp::Media(_)) | None => {}
            }
            let transport = TransportContext {
                local_addr: self.local,
                peer_addr: from,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            };
            let message = TaggedBytesMut { now, transport, message: BytesMut::from(datagram) };
            let understood = self.connection.handle_read(message).is_ok();
            if rtp == Some(Rtp::Repair) {
                self.repair(wall, clock, tally);
            }
            tally.handed += u64::from(rtp.is_some());
            tally.unreadable += u64::from(rtp.is_some() && !understood);
            handed |= rtp.is_some();
            other |= rtp.is_none();
            if rtp.is_none() && !self.connected {
                // Keys are there after a turn, and what comes in the same batch needs them.
                fate = self.turn(now, tally);
                if fate == Fate::Gone {
                    return fate;
                }
            }
        }
        if handed {
            self.open(now, tally);
        }
        let last = if other { self.turn(now, tally) } else { Fate::Same };
        if fate == Fate::Same { last } else { fate }
    }

    fn count(&mut self, packet: &[u8], now: Instant, wall: SystemTime, clock: &Clock, tally: &mut Tally) -> Rtp {
        let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let (ssrc, timestamp) = (word(8), word(4));
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some(number) = self.numbered.and_then(|id| transport_number(packet, id)) {
            self.arrivals.take(number, (now - self.began).as_micros() as i64);
        }
        if self.streams.iter().any(|(known, _)| known.rtx_ssrc == Some(ssrc)) {
            let is_padded = packet[0] & 0x20 != 0;
            return if is_padded { Rtp::Probe } else { Rtp::Repair };
        }
        let Some((answered, stream)) = self.streams.iter_mut().find(|(known, _)| known.ssrc == Some(ssrc)) else {
            tally.strange += 1;
            return Rtp::Media(Arrival::New);
        };
        if stream.take(number) == Arrival::Again {
            tally.again += 1;
            return Rtp::Media(Arrival::Again);
        }
        tally.received += 1;
        tally.late += u64::from(clock.age(answered.codec, timestamp, wall) > Clock::LATE);
        Rtp::Media(Arrival::New)
    }

    /// Takes what the core has opened.
    fn open(&mut self, now: Instant, tally: &mut Tally) {
        while let Some(message) = self.connection.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message.message else { continue };
            tally.opened += 1;
            if !self.first_picture && packet.header.marker {
                let mut pictures = self.streams.iter().filter(|(known, _)| known.track.is_video());
                if pictures.any(|(known, _)| known.ssrc == Some(packet.header.ssrc)) {
                    self.first_picture = true;
                    tally.first_pictures_ms.push((now - self.began).as_millis() as u32);
                }
            }
        }
    }

    /// Takes a repair that the core has opened, and given the name that the packet had first (RFC 4588).
    fn repair(&mut self, wall: SystemTime, clock: &Clock, tally: &mut Tally) {
        while let Some(message) = self.connection.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message.message else { continue };
            tally.opened += 1;
            let header = &packet.header;
            let stream = self.streams.iter_mut().find(|(known, _)| known.ssrc == Some(header.ssrc));
            let Some((answered, stream)) = stream else { continue };
            if stream.repair(header.sequence_number) == Arrival::Again {
                tally.again += 1;
                continue;
            }
            tally.received += 1;
            tally.late += u64::from(clock.age(answered.codec, header.timestamp, wall) > Clock::LATE);
        }
    }

    /// Wakes the core when it wants that.
    pub(super) fn tick(&mut self, now: Instant, tally: &mut Tally) -> Fate {
        if self.deadline > now {
            return Fate::Same;
        }
        let _ = self.connection.handle_timeout(now);
        self.turn(now, tally)
    }

    /// Asks again for what is missing, and reports.
    pub(super) fn feed_back(&mut self, now: Instant, tally: &mut Tally) -> Fate {
        if !self.connected {
            return Fate::Same;
        }
        let mut packets: Vec<Box<dyn Rtcp>> = Vec::new();
        // Sound is not asked for again: its next packet has a copy of it.
        for (answered, stream) in self.streams.iter_mut().filter(|(known, _)| known.track.is_video()) {
            let missing = stream.due_nacks(now);
            if let (Some(media_ssrc), false) = (answered.ssrc, missing.is_empty()) {
                tally.nacked += missing.len() as u64;
                let nacks = nack_pairs_from_sequence_numbers(&missing);
                packets.push(Box::new(TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks }));
            }
        }
        if now - self.reported >= REPORT_EVERY {
            self.reported = now;
            let blocks = self.streams.iter_mut().filter_map(|(known, stream)| stream.report(known.ssrc?));
            packets.push(Box::new(ReceiverReport { reports: blocks.collect(), ..Default::default() }));
        }
        if packets.is_empty() {
            return Fate::Same;
        }
        self.write(now, packets);
        self.turn(now, tally)
    }

    /// Tells when packets came, as often as `watch` does.
    pub(super) fn tell_arrivals(&mut self, now: Instant, tally: &mut Tally) -> Fate {
        if !self.connected || now - self.told < FEEDBACK_INTERVAL {
            return Fate::Same;
        }
        self.told = now;
        let media_ssrc = self.streams.iter().find_map(|(known, _)| known.ssrc);
        let Some(feedback) = media_ssrc.and_then(|ssrc| self.arrivals.feedback(ssrc)) else { return Fate::Same };
        tally.feedbacks += 1;
        self.write(now, vec![Box::new(feedback)]);
        self.turn(now, tally)
    }

    fn write(&mut self, now: Instant, packets: Vec<Box<dyn Rtcp>>) {
        let receiver = self.connection.get_receivers().next();
        if let Some(mut receiver) = receiver.and_then(|id| self.connection.rtp_receiver(id)) {
            // Fails only while the connection is not there.
            let _ = receiver.write_rtcp(now, packets);
        }
    }

    /// Lets the core speak.
    pub(super) fn turn(&mut self, now: Instant, tally: &mut Tally) -> Fate {
        let mut fate = Fate::Same;
        while let Some(event) = self.connection.poll_event() {
            let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event else { continue };
            match state {
                RTCPeerConnectionState::Connected if !self.connected => {
                    self.connected = true;
                    fate = Fate::Connected;
                }
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => fate = Fate::Gone,
                _ => {}
            }
        }
        self.open(now, tally);
        while let Some(out) = self.connection.poll_write() {
            // What the kernel does not take is lost, as on any network.
            let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
        }
        self.deadline = self.connection.poll_timeout().unwrap_or(now + REPORT_EVERY);
        fate
    }

    /// Ends the connection politely.
    pub(super) fn close(mut self, now: Instant) {
        let _ = self.connection.close();
        self.turn(now, &mut Tally::default());
    }
}

/// The id of the header extension with transport-wide numbers, by the answer (RFC 8285, 8).
fn numbered(sdp: &str) -> Option<u8> {
    let named = sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")?.split_once(' '));
    let id = named.filter(|(_, uri)| uri.trim() == engine::TRANSPORT_NUMBER_URI).map(|(id, _)| id).next()?;
    id.split('/').next()?.parse().ok()
}

/// Whether a datagram is RTP, and not STUN, DTLS or RTCP (RFC 7983; RFC 5761, 4).
fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1])
}

/// A socket of one's own: a publisher tells students by their addresses.
///
/// Not by `quinn-udp`, which would switch receive offload on: on loopback a whole GSO send would come in one piece, and
/// the sender be spared the cutting that no network spares it.
pub(crate) fn receiving_socket() -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Best effort: what the kernel grants is what there is.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_the_extension_with_numbers() {
        let uri = engine::TRANSPORT_NUMBER_URI;
        assert_eq!(numbered(&format!("a=extmap:1 urn:x\r\na=extmap:3/sendonly {uri}\r\n")), Some(3));
        assert_eq!(numbered(&format!("a=extmap:14 {uri}\r\n")), Some(14));
        assert_eq!(numbered("a=extmap:1 urn:x\r\n"), None);
    }

    #[test]
    fn what_is_counted_is_rtp() {
        let mut packet = [0; 40];
        (packet[0], packet[1]) = (0x80, 96 | 0x80);
        assert!(is_rtp(&packet));
        packet[1] = 200;
        assert!(!is_rtp(&packet), "a sender report");
        for first in [0, 1, 22, 64] {
            packet[0] = first;
            assert!(!is_rtp(&packet), "{first}");
        }
        assert!(!is_rtp(&[0x80; 11]));
    }
}
