//! One student, as the hub knows it: a connection of the sans-I/O core, and a subscription to each track.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rtc::interceptor::{Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverDirection};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::Rings;
use super::channel::{Channel, Opened};
use super::socket::{Sent, Socket};
use super::{Advertised, Shared, sdp};
use crate::id::UserId;
use crate::peer::engine;
use crate::rtp::{Codec, OutPacket, Start, Subscription, Track, timestamp_at};

/// A student that offered and never connected is forgotten after this: ICE gives up much sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Media begins this long after the connection stands. Packets that a receiver reads together with our last handshake
/// message come before its keys do, and are lost: with them would go the key frame, and half a second to ask for it.
const START_DELAY: Duration = Duration::from_millis(15);

/// Sender reports go out this often; each lets a receiver put sound and picture together.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The canonical name in our reports: one for all tracks, since they share a clock (RFC 8834, 4.9).
const CNAME: &[u8] = b"classroom";

/// Bytes that a student who catches up may get in one turn; at a turn every 5 ms these are 38 Mbit/s. What a receiver's
/// kernel holds by default is ten times that, so that a student that is busy starting does not lose its first picture.
const CATCH_UP_BYTES: usize = 24 << 10;

/// Repairs a student gets in a second, in packets: at 270 packets a second more than all of them once.
const REPAIRS_PER_SECOND: u32 = 400;

/// What a student may have under way to us over its data channel: two of the largest messages that the core allows. It
/// has one limit for both directions, so it can't be that of [`crate::protocol::channel`] for students.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;

/// Source addresses that may belong to one student: its interfaces, behind as many NAT bindings.
const MAX_ADDRESSES: usize = 16;

/// One track of one student.
struct Lane {
    track: Track,
    sender: RTCRtpSenderId,
    subscription: Subscription,
    reported: Option<Instant>,
}

/// What became of a student in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Alive,
    /// It is gone, for this reason.
    Gone(&'static str),
}

/// What a student said over its channel in a turn.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The channel stands since this turn.
    pub(super) opened: bool,
    /// Messages, oldest first.
    pub(super) texts: Vec<String>,
}

/// What came of a turn.
pub(super) struct Turn {
    pub(super) fate: Fate,
    pub(super) repairs: Vec<OutgoingRepair>,
    pub(super) said: Said,
}

/// What a student's feedback wants of the encoders.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Tracks that need a key frame.
    pub(super) key_frames: Vec<Track>,
}

/// Numbers of one student.
#[derive(Debug, Default, Clone, Copy)]
pub struct PeerStats {
    /// Packets that it said it missed.
    pub nacked: u64,
    /// Packets that were sent to it again.
    pub resent: u64,
    /// Times that it said it can't decode.
    pub picture_losses: u64,
    /// Frames that were left out for it.
    pub dropped: u64,
    /// The worst share of packets that it reported lost lately, 0 to 1.
    pub fraction_lost: f32,
    /// Chat and the like that was left out because it did not read.
    pub unread: u64,
}

pub(super) struct Peer {
    pub(super) user: UserId,
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The next time that the core wants to be woken.
    pub(super) deadline: Instant,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) created: Instant,
    pub(super) connected: bool,
    starts: Option<Instant>,
    /// Whether it has frames to send that are older than the newest.
    pub(super) catches_up: bool,
    pub(super) stats: PeerStats,
    pub(super) channel: Channel,
    /// Whether it stands in the queue of those who are to be told something.
    pub(super) is_to_be_told: bool,
    connection: RTCPeerConnection,
    lanes: Vec<Lane>,
    repairs: (Instant, u32),
    disturbed: bool,
}

impl Peer {
    /// Answers an offer: gives the new peer and the answer's SDP, which carries all candidates.
    pub(super) fn answer(
        user: UserId,
        offer: String,
        tracks: &[(Track, Codec)],
        shared: &Shared,
        addresses: &Advertised,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        // Opus is known always: a section that gets no track shall be inactive, not rejected.
        let mut codecs = vec![Codec::Opus];
        codecs.extend(tracks.iter().map(|(_, codec)| *codec).filter(|codec| *codec != Codec::Opus));
        codecs.dedup();
        let settings = engine::settings()
            .with_crypto_provider(shared.crypto.clone())
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .build();
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![shared.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::media_engine(&codecs)?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Slot::from(14_000), engine::Tap::delivering_rtcp()))
            .build(now)?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer)?)?;
        let mut added = Vec::new();
        for &(track, codec) in tracks {
            let ssrc: u32 = rand::random();
            added.push((track, codec, ssrc, connection.add_track(media_track(track, codec, ssrc))?));
        }
        for id in connection.get_transceivers().collect::<Vec<_>>() {
            if let Some(mut transceiver) = connection.rtp_transceiver(id).filter(|t| t.sender().is_none()) {
                transceiver.set_direction(RTCRtpTransceiverDirection::Inactive);
            }
        }
        for candidate in addresses.candidates() {
            connection.add_local_candidate(candidate)?;
        }
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer)?;
        let answer = connection.local_description().ok_or(Error::ErrNoRemoteDescription)?.sdp;
        let answer = sdp::with_candidates_where_they_are_looked_for(&answer);
        let attribute =
            |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let mut lanes = Vec::new();
        for (track, codec, ssrc, sender) in added {
            let mime = engine::rtp_codec(codec).mime_type;
            let payload_type = connection
                .rtp_sender(sender)
                .and_then(|mut sender| {
                    let codecs = &sender.get_parameters().rtp_parameters.codecs;
                    codecs.iter().find(|c| c.rtp_codec.mime_type.eq_ignore_ascii_case(&mime)).map(|c| c.payload_type)
                })
                .ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
            // In the lower half: who loses the packets before a roll-over, and there are some that come before the keys
            // do, would count one roll-over less than we and never open a packet (RFC 3711, 3.3.1).
            let subscription = Subscription::new(ssrc, payload_type, rand::random::<u16>() >> 1);
            lanes.push(Lane { track, sender, subscription, reported: None });
        }
        let peer = Self {
            user,
            ufrag: attribute("a=ice-ufrag:"),
            password: attribute("a=ice-pwd:"),
            deadline: now,
            addresses: Vec::new(),
            created: now,
            connected: false,
            starts: None,
            catches_up: false,
            stats: PeerStats::default(),
            channel: Channel::default(),
            is_to_be_told: false,
            connection,
            lanes,
            repairs: (now, 0),
            disturbed: false,
        };
        Ok((peer, answer))
    }

    /// Adds a candidate of the student. One that can't be read or resolved is no harm: there are others.
    pub(super) fn add_candidate(&mut self, candidate: RTCIceCandidateInit) {
        let _ = self.connection.add_remote_candidate(candidate);
    }

    /// Takes a datagram of this student.
    pub(super) fn receive(&mut self, now: Instant, at: SocketAddr, from: SocketAddr, datagram: BytesMut) {
        let transport =
            TransportContext { local_addr: at, peer_addr: from, ecn: None, transport_protocol: TransportProtocol::UDP };
        // What the core can't read was not meant for it, or was forged: its state has not changed.
        let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: datagram });
    }

    /// Remembers a source address, and says whether there was room.
    pub(super) fn remember(&mut self, address: SocketAddr) -> bool {
        let room = self.addresses.len() < MAX_ADDRESSES;
        if room {
            self.addresses.push(address);
        }
        room
    }

    /// Lets the core do what its timers ask for.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.deadline <= now {
            let _ = self.connection.handle_timeout(now);
        }
    }

    /// Reads what the core has to say after it was given something.
    pub(super) fn turn(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) -> Turn {
        let mut fate = Fate::Alive;
        let mut said = Said::default();
        while let Some(event) = self.connection.poll_event() {
            let state = match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => state,
                RTCPeerConnectionEvent::OnDataChannel(event) => {
                    match self.channel.on_event(&mut self.connection, event) {
                        Opened::No => {}
                        Opened::Yes => said.opened = true,
                        Opened::TooMany => fate = Fate::Gone("misbehaved"),
                    }
                    continue;
                }
                _ => continue,
            };
            match state {
                RTCPeerConnectionState::Connected if !self.connected => {
                    self.connected = true;
                    self.starts = Some(now + START_DELAY);
                }
                RTCPeerConnectionState::Connected => self.disturbed = false,
                RTCPeerConnectionState::Disconnected => self.disturbed = true,
                RTCPeerConnectionState::Failed => fate = Fate::Gone("lost"),
                RTCPeerConnectionState::Closed => fate = Fate::Gone("left"),
                _ => {}
            }
        }
        if self.starts.is_some_and(|at| at <= now) {
            self.starts = None;
            self.start(now, rings, wishes);
        }
        if !self.connected && now.saturating_duration_since(self.created) > CONNECT_WITHIN {
            fate = Fate::Gone("never connected");
        }
        let mut repairs = Vec::new();
        while let Some(message) = self.connection.poll_read() {
            match message.message {
                RTCMessage::RtcpPacket(_, packets) => {
                    for packet in packets {
                        self.feedback(now, packet.as_any(), rings, wishes, &mut repairs);
                    }
                }
                RTCMessage::DataChannelMessage(id, message) => {
                    said.texts.extend(self.channel.read(now, id, &message));
                }
                _ => {}
            }
        }
        self.say(now);
        Turn { fate, repairs, said }
    }

    /// Hands what waits in the student's channel to the core; a turn of sending moves it on.
    pub(super) fn say(&mut self, now: Instant) {
        self.channel.flush(now, &mut self.connection);
        self.stats.unread = self.channel.dropped;
    }

    fn start(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) {
        for lane in &mut self.lanes {
            let ring = &rings[lane.track];
            if !lane.track.is_video() {
                lane.subscription.start_live(ring);
            } else if lane.subscription.start(ring, now) == Start::NeedsKey {
                wishes.key_frames.push(lane.track);
            }
        }
    }

    fn feedback(
        &mut self,
        now: Instant,
        packet: &dyn std::any::Any,
        rings: &Rings,
        wishes: &mut Wishes,
        repairs: &mut Vec<OutgoingRepair>,
    ) {
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let lane = self.lanes.iter().position(|lane| lane.subscription.ssrc() == nack.media_ssrc);
            let Some(lane) = lane else { return };
            for number in nack.nacks.iter().flat_map(NackPair::packet_list) {
                self.stats.nacked += 1;
                if !self.may_repair(now) {
                    continue;
                }
                let l = &self.lanes[lane];
                if let Some(packet) = l.subscription.resend(&rings[l.track], number) {
                    self.stats.resent += 1;
                    repairs.push(OutgoingRepair { lane, packet });
                }
            }
        } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            self.picture_lost(now, pli.media_ssrc, rings, wishes);
        } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
            for entry in fir.fir.iter().take(self.lanes.len()) {
                self.picture_lost(now, entry.ssrc, rings, wishes);
            }
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            let worst = report.reports.iter().map(|r| r.fraction_lost).max().unwrap_or(0);
            self.stats.fraction_lost = f32::from(worst) / 256.0;
        }
    }

    fn picture_lost(&mut self, now: Instant, ssrc: u32, rings: &Rings, wishes: &mut Wishes) {
        let Some(lane) = self.lanes.iter_mut().find(|l| l.subscription.ssrc() == ssrc && l.track.is_video()) else {
            return;
        };
        self.stats.picture_losses += 1;
        if lane.subscription.start(&rings[lane.track], now) == Start::NeedsKey {
            wishes.key_frames.push(lane.track);
        }
    }

    fn may_repair(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.repairs;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= REPAIRS_PER_SECOND
    }

    /// A frame was put into the ring of `track` as `index`.
    pub(super) fn on_frame(&mut self, track: Track, index: u64, key: bool) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track == track) {
            lane.subscription.on_frame(index, key);
        }
    }

    /// The source of `track` has a gap: only a key frame will do.
    pub(super) fn on_gap(&mut self, track: Track) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track == track) {
            lane.subscription.drop_to_next_key();
        }
    }

    /// Sends the student what is due: the frames that were not sent yet, repairs and reports.
    ///
    /// Sets [`Self::catches_up`] when there is more, for the next turn.
    pub(super) fn send(
        &mut self,
        now: Instant,
        rings: &Rings,
        socket: &mut Socket,
        repairs: Vec<OutgoingRepair>,
        wishes: &mut Wishes,
    ) {
        self.catches_up = false;
        if self.connected {
            for repair in repairs {
                self.write(now, repair.lane, repair.packet);
            }
            for lane in 0..self.lanes.len() {
                let mut bytes = 0;
                loop {
                    let ring = &rings[self.lanes[lane].track];
                    let Some(due) = self.lanes[lane].subscription.due(ring) else { break };
                    if bytes > CATCH_UP_BYTES {
                        self.catches_up = true;
                        break;
                    }
                    let Some(packets) = self.lanes[lane].subscription.take(ring) else { break };
                    for packet in packets {
                        bytes += packet.payload.len();
                        self.write(now, lane, packet);
                    }
                    let drained = self.drain(socket);
                    if let Some(frame) = ring.get(due) {
                        socket.delays.record(frame.captured.elapsed(), frame.len() as u64);
                    }
                    if drained == Sent::Refused {
                        let l = &mut self.lanes[lane];
                        if l.track.is_video() {
                            l.subscription.drop_to_next_key();
                            wishes.key_frames.push(l.track);
                        }
                        break;
                    }
                }
            }
            self.report(now, rings);
            self.stats.dropped = self.lanes.iter().map(|lane| lane.subscription.dropped()).sum();
        }
        self.drain(socket);
        let timeout = self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        self.deadline = self.starts.map_or(timeout, |at| at.min(timeout));
    }

    /// Writes one packet into the core, which seals it.
    fn write(&mut self, now: Instant, lane: usize, packet: OutPacket) {
        let header = rtc::rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            ..Default::default()
        };
        let packet = rtc::rtp::Packet { header, payload: packet.payload };
        if let Some(mut sender) = self.connection.rtp_sender(self.lanes[lane].sender) {
            // Fails only before DTLS is done; nothing is sent then.
            let _ = sender.write_rtp(now, packet);
        }
    }

    /// Moves sealed datagrams from the core to the socket, and sends them. A refusal in between shows in the result.
    fn drain(&mut self, socket: &mut Socket) -> Sent {
        let mut sent = Sent::Yes;
        while let Some(out) = self.connection.poll_write() {
            if socket.queue(out.transport.local_addr, out.transport.peer_addr, &out.message) == Sent::Refused {
                sent = Sent::Refused;
            }
        }
        if socket.flush() == Sent::Refused { Sent::Refused } else { sent }
    }

    /// Writes a sender report for each track that has sent something and is due for one. It carries the time of
    /// capture: with the time of sending, the delay of the encoder would put sound and picture apart.
    fn report(&mut self, now: Instant, rings: &Rings) {
        for lane in &mut self.lanes {
            let (packets, octets) = lane.subscription.counts();
            let due = lane.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
            let Some(newest) = rings[lane.track].newest().filter(|_| due && packets > 0) else { continue };
            lane.reported = Some(now);
            let ssrc = lane.subscription.ssrc();
            let report = SenderReport {
                ssrc,
                ntp_time: ntp_now(),
                rtp_time: timestamp_at(newest, now),
                packet_count: packets,
                octet_count: octets,
                ..Default::default()
            };
            let item = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(CNAME) };
            let name = SourceDescription { chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![item] }] };
            if let Some(mut sender) = self.connection.rtp_sender(lane.sender) {
                let _ = sender.write_rtcp(now, vec![Box::new(report), Box::new(name)]);
            }
        }
    }

    /// Whether the student has not been heard of lately.
    pub(super) fn disturbed(&self) -> bool {
        self.disturbed
    }

    /// Ends the connection politely: the student sees it close at once.
    pub(super) fn close(mut self, socket: &mut Socket) {
        let _ = self.connection.close();
        self.drain(socket);
    }
}

/// A packet that is sent again.
pub(super) struct OutgoingRepair {
    lane: usize,
    packet: OutPacket,
}

fn media_track(track: Track, codec: Codec, ssrc: u32) -> MediaStreamTrack {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    };
    let name = track.name().to_owned();
    MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, vec![coding])
}

/// The wall clock as an NTP timestamp: seconds since 1900 and their fraction (RFC 3550, 4).
fn ntp_now() -> u64 {
    const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + UNIX_EPOCH_IN_NTP) << 32) | fraction
}
