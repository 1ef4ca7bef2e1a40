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
use super::{Clock, Credentials, Tally};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtp::{Codec, HEADER_BYTES};
use crate::sdp::{answer, engine};
use crate::viewer::{Answered, FEEDBACK_INTERVAL, answered_tracks};

/// The size of a student's receive buffer, if the kernel allows it: a key frame that arrives while other students are
/// read.
const KERNEL_BUFFER: usize = 1 << 20;

/// The interval of receiver reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The maximum number of datagrams read in one turn: a key frame.
const READ_AT_ONCE: usize = 128;

/// The largest datagram that is read completely.
const MAX_DATAGRAM: usize = 2048;

/// The state change of a student in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The student is now connected.
    Connected,
    /// Its connection is gone.
    Gone,
}

/// One student.
pub(super) struct Student {
    pub(super) socket: UdpSocket,
    pub(super) connected: bool,
    /// When the next timer of the core is due.
    pub(super) deadline: Instant,
    local: SocketAddr,
    connection: RTCPeerConnection,
    streams: Vec<(Answered, Stream)>,
    /// The id of the header extension for transport-wide sequence numbers, if negotiated.
    transport_number_id: Option<u8>,
    arrivals: Arrivals,
    began: Instant,
    has_first_frame: bool,
    reported: Instant,
    fed_back: Instant,
}

/// The kind of an RTP packet according to its header, which is not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rtp {
    /// Media, or an SSRC that no answer contains.
    Media(Arrival),
    /// A retransmission; its original sequence number is encrypted.
    Retransmission,
    /// RTX padding, with which the SFU probes the path.
    Probe,
}

impl Student {
    /// A student and its offer, identical to that of `classroom watch`: audio, two video tracks, a data channel.
    pub(super) fn offer(credentials: &Credentials, now: Instant) -> Result<(Self, String), Error> {
        let socket = receiving_socket(credentials.address)?;
        let local = socket.local_addr()?;
        let settings = engine::settings().with_crypto_provider(credentials.crypto.clone()).build();
        let configuration =
            RTCConfigurationBuilder::new().with_certificates(vec![credentials.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::H264, Codec::Vp8])?)
            .with_setting_engine(settings)
            // The student itself sends reports and NACKs: the core would count unopened packets as lost.
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
            transport_number_id: None,
            arrivals: Arrivals::default(),
            began: now,
            has_first_frame: false,
            reported: now,
            fed_back: now,
        };
        Ok((student, offer))
    }

    /// Applies the SFU's answer.
    pub(super) fn answer(&mut self, now: Instant, sdp: String) -> Result<(), Error> {
        let answered = answered_tracks(&sdp).map_err(|e| Error::Other(e.to_string()))?;
        self.streams = answered.into_iter().map(|answered| (answered, Stream::default())).collect();
        self.transport_number_id = transport_number_id(&sdp);
        self.connection.set_remote_description(now, RTCSessionDescription::answer(sdp)?)?;
        self.deadline = now;
        Ok(())
    }

    /// Reads the datagrams in the socket. RTP is always counted, and opened if `opens`. Duplicates are not opened: the
    /// core rejects a replay, which would look like a badly sealed packet. Retransmissions are always opened, since
    /// their original sequence number is encrypted.
    pub(super) fn read(&mut self, now: Instant, opens: bool, clock: &Clock, tally: &mut Tally) -> Change {
        let wall = SystemTime::now();
        let mut bytes = [0; MAX_DATAGRAM];
        let (mut handed, mut other, mut change) = (false, false, Change::None);
        for _ in 0..READ_AT_ONCE {
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else { break };
            let datagram = &bytes[..length];
            let rtp = is_rtp(datagram).then(|| self.count(datagram, now, wall, clock, tally));
            match rtp {
                Some(Rtp::Media(Arrival::Duplicate) | Rtp::Probe) => continue,
                Some(Rtp::Media(Arrival::New)) if !opens => continue,
                Some(Rtp::Retransmission) => self.open(now, tally),
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
            if rtp == Some(Rtp::Retransmission) {
                self.take_retransmission(wall, clock, tally);
            }
            tally.handed += u64::from(rtp.is_some());
            tally.unreadable += u64::from(rtp.is_some() && !understood);
            handed |= rtp.is_some();
            other |= rtp.is_none();
            if rtp.is_none() && !self.connected {
                // The turn derives the keys that later packets of the same batch need.
                change = self.turn(now, tally);
                if change == Change::Gone {
                    return change;
                }
            }
        }
        if handed {
            self.open(now, tally);
        }
        let last = if other { self.turn(now, tally) } else { Change::None };
        if change == Change::None { last } else { change }
    }

    fn count(&mut self, packet: &[u8], now: Instant, wall: SystemTime, clock: &Clock, tally: &mut Tally) -> Rtp {
        let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let (ssrc, timestamp) = (word(8), word(4));
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some(number) = self.transport_number_id.and_then(|id| transport_number(packet, id)) {
            self.arrivals.take(number, (now - self.began).as_micros() as i64);
        }
        if self.streams.iter().any(|(known, _)| known.rtx_ssrc == Some(ssrc)) {
            let is_padded = packet[0] & 0x20 != 0;
            return if is_padded { Rtp::Probe } else { Rtp::Retransmission };
        }
        let Some((answered, stream)) = self.streams.iter_mut().find(|(known, _)| known.ssrc == Some(ssrc)) else {
            tally.unknown_ssrc += 1;
            return Rtp::Media(Arrival::New);
        };
        if stream.take(number) == Arrival::Duplicate {
            tally.duplicates += 1;
            return Rtp::Media(Arrival::Duplicate);
        }
        tally.received += 1;
        tally.late += u64::from(clock.age(answered.codec, timestamp, wall) > Clock::LATE);
        Rtp::Media(Arrival::New)
    }

    /// Takes the packets that the core has opened.
    fn open(&mut self, now: Instant, tally: &mut Tally) {
        while let Some(message) = self.connection.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message.message else { continue };
            tally.opened += 1;
            if !self.has_first_frame && packet.header.marker {
                let mut videos = self.streams.iter().filter(|(known, _)| known.track.is_video());
                if videos.any(|(known, _)| known.ssrc == Some(packet.header.ssrc)) {
                    self.has_first_frame = true;
                    tally.first_frames_ms.push((now - self.began).as_millis() as u32);
                }
            }
        }
    }

    /// Takes a retransmission that the core has opened and restored to its original header (RFC 4588).
    fn take_retransmission(&mut self, wall: SystemTime, clock: &Clock, tally: &mut Tally) {
        while let Some(message) = self.connection.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message.message else { continue };
            tally.opened += 1;
            let header = &packet.header;
            let stream = self.streams.iter_mut().find(|(known, _)| known.ssrc == Some(header.ssrc));
            let Some((answered, stream)) = stream else { continue };
            if stream.take_retransmission(header.sequence_number) == Arrival::Duplicate {
                tally.duplicates += 1;
                continue;
            }
            tally.received += 1;
            tally.late += u64::from(clock.age(answered.codec, header.timestamp, wall) > Clock::LATE);
        }
    }

    /// Handles the timers of the core.
    pub(super) fn tick(&mut self, now: Instant, tally: &mut Tally) -> Change {
        if self.deadline > now {
            return Change::None;
        }
        let _ = self.connection.handle_timeout(now);
        self.turn(now, tally)
    }

    /// Sends NACKs, and once a second a receiver report.
    pub(super) fn send_reports(&mut self, now: Instant, tally: &mut Tally) -> Change {
        if !self.connected {
            return Change::None;
        }
        let mut packets: Vec<Box<dyn Rtcp>> = Vec::new();
        // No NACKs for audio: the next packet carries a copy.
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
            return Change::None;
        }
        self.write(now, packets);
        self.turn(now, tally)
    }

    /// Sends transport-wide feedback, as often as `watch` does.
    pub(super) fn send_transport_feedback(&mut self, now: Instant, tally: &mut Tally) -> Change {
        if !self.connected || now - self.fed_back < FEEDBACK_INTERVAL {
            return Change::None;
        }
        self.fed_back = now;
        let media_ssrc = self.streams.iter().find_map(|(known, _)| known.ssrc);
        let Some(feedback) = media_ssrc.and_then(|ssrc| self.arrivals.feedback(ssrc)) else { return Change::None };
        tally.feedbacks += 1;
        self.write(now, vec![Box::new(feedback)]);
        self.turn(now, tally)
    }

    fn write(&mut self, now: Instant, packets: Vec<Box<dyn Rtcp>>) {
        let receiver = self.connection.get_receivers().next();
        if let Some(mut receiver) = receiver.and_then(|id| self.connection.rtp_receiver(id)) {
            // Fails only while there is no connection.
            let _ = receiver.write_rtcp(now, packets);
        }
    }

    /// Takes events and datagrams from the core.
    pub(super) fn turn(&mut self, now: Instant, tally: &mut Tally) -> Change {
        let mut change = Change::None;
        while let Some(event) = self.connection.poll_event() {
            let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event else { continue };
            match state {
                RTCPeerConnectionState::Connected if !self.connected => {
                    self.connected = true;
                    change = Change::Connected;
                }
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => change = Change::Gone,
                _ => {}
            }
        }
        self.open(now, tally);
        while let Some(out) = self.connection.poll_write() {
            // A datagram rejected by the kernel is lost, as on any network.
            let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
        }
        self.deadline = self.connection.poll_timeout().unwrap_or(now + REPORT_EVERY);
        change
    }

    /// Closes the connection and notifies the peer.
    pub(super) fn close(mut self, now: Instant) {
        let _ = self.connection.close();
        self.turn(now, &mut Tally::default());
    }
}

/// The id of the header extension for transport-wide sequence numbers in an answer (RFC 8285, 8).
fn transport_number_id(sdp: &str) -> Option<u8> {
    let named = sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")?.split_once(' '));
    let id = named.filter(|(_, uri)| uri.trim() == engine::TRANSPORT_NUMBER_URI).map(|(id, _)| id).next()?;
    id.split('/').next()?.parse().ok()
}

/// Whether a datagram is RTP and not STUN, DTLS or RTCP (RFC 7983; RFC 5761, 4).
fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1])
}

/// The socket of one student: an SFU distinguishes students by their addresses.
///
/// `quinn-udp` is not used because it enables GRO: on loopback a whole GSO send would then arrive in one piece, and the
/// sender would avoid the cost of segmentation, which it has on any other network.
pub(crate) fn receiving_socket(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Best effort: the kernel limits the size.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transport_wide_extension_is_found_in_the_answer() {
        let uri = engine::TRANSPORT_NUMBER_URI;
        assert_eq!(transport_number_id(&format!("a=extmap:1 urn:x\r\na=extmap:3/sendonly {uri}\r\n")), Some(3));
        assert_eq!(transport_number_id(&format!("a=extmap:14 {uri}\r\n")), Some(14));
        assert_eq!(transport_number_id("a=extmap:1 urn:x\r\n"), None);
    }

    #[test]
    fn only_rtp_is_counted() {
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
