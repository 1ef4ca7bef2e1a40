//! One student, as the hub knows it: a connection of the sans-I/O core, and a subscription to each track.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::interceptor::{Registry, Slot as Place};
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
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::Rings;
use super::channel::{Channel, Opened};
use super::lanes::{Lanes, Repair};
use super::shard::Slot;
use super::socket::Outlet;
use super::{Advertised, Shared, keys, sdp};
use crate::id::UserId;
use crate::peer::engine;
use crate::rtp::{Codec, MAX_FIRST_SEQUENCE_NUMBER, Subscription, Track};

/// A student that offered and never connected is forgotten after this: ICE gives up much sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Media begins this long after the connection stands. Packets that a receiver reads together with our last handshake
/// message come before its keys do, and are lost: with them would go the key frame, and half a second to ask for it.
const START_DELAY: Duration = Duration::from_millis(15);

/// Repairs a student gets in a second, in packets: at 270 packets a second more than all of them once.
const REPAIRS_PER_SECOND: u32 = 400;

/// What a student may have under way to us over its data channel: two of the largest messages that the core allows. It
/// has one limit for both directions, so it can't be that of [`crate::protocol::channel`] for students.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;

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
    pub(super) repairs: Vec<Repair>,
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
    pub(super) slot: Slot,
    pub(super) user: UserId,
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The next time that the core wants to be woken.
    pub(super) deadline: Instant,
    created: Instant,
    pub(super) connected: bool,
    starts: Option<Instant>,
    pub(super) lanes: Lanes,
    pub(super) stats: PeerStats,
    pub(super) channel: Channel,
    /// Whether it stands in the queue of those who are to be told something.
    pub(super) is_to_be_told: bool,
    /// Whether it stands in the queue of those who get the newest pictures.
    pub(super) is_to_be_served: bool,
    /// Whether it stands in the queue of those who catch up.
    pub(super) has_turns: bool,
    /// Whether it panicked, and is good for nothing any more.
    pub(super) failed: bool,
    #[cfg(test)]
    pub(super) panics: bool,
    /// Far larger than all the rest, and not needed for media: out of the way of it.
    connection: Box<RTCPeerConnection>,
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
        let (crypto, found) = keys::listening(shared.crypto.clone());
        let settings = engine::settings()
            .with_crypto_provider(crypto)
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .build();
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![shared.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::media_engine(&codecs)?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Place::from(14_000), engine::Tap::delivering_rtcp()))
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
        let mut lanes = Lanes::new(found);
        for (track, codec, ssrc, sender) in added {
            let mime = engine::rtp_codec(codec).mime_type;
            let payload_type = connection
                .rtp_sender(sender)
                .and_then(|mut sender| {
                    let codecs = &sender.get_parameters().rtp_parameters.codecs;
                    codecs.iter().find(|c| c.rtp_codec.mime_type.eq_ignore_ascii_case(&mime)).map(|c| c.payload_type)
                })
                .ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
            let first = rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER;
            lanes.add(track, sender, Subscription::new(ssrc, payload_type, first));
        }
        let peer = Self {
            slot: 0,
            user,
            ufrag: attribute("a=ice-ufrag:"),
            password: attribute("a=ice-pwd:"),
            deadline: now,
            created: now,
            connected: false,
            starts: None,
            lanes,
            stats: PeerStats::default(),
            channel: Channel::default(),
            is_to_be_told: false,
            is_to_be_served: false,
            has_turns: false,
            failed: false,
            #[cfg(test)]
            panics: false,
            connection: Box::new(connection),
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

    /// Lets the core do what its timers ask for.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.deadline <= now {
            let _ = self.connection.handle_timeout(now);
        }
    }

    /// Reads what the core has to say after it was given something.
    pub(super) fn turn(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) -> Turn {
        #[cfg(test)]
        assert!(!self.panics, "on purpose");
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
            self.lanes.start(now, rings, wishes);
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

    fn feedback(
        &mut self,
        now: Instant,
        packet: &dyn std::any::Any,
        rings: &Rings,
        wishes: &mut Wishes,
        repairs: &mut Vec<Repair>,
    ) {
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            for number in nack.nacks.iter().flat_map(NackPair::packet_list) {
                self.stats.nacked += 1;
                if !self.may_repair(now) {
                    continue;
                }
                if let Some(repair) = self.lanes.repair(nack.media_ssrc, number, rings) {
                    self.stats.resent += 1;
                    repairs.push(repair);
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
        self.stats.picture_losses += u64::from(self.lanes.picture_lost(now, ssrc, rings, wishes));
    }

    fn may_repair(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.repairs;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= REPAIRS_PER_SECOND
    }

    /// Sends what is due of one track, or of all: no more than the hot path.
    pub(super) fn send(
        &mut self,
        now: Instant,
        only: Option<Track>,
        rings: &Rings,
        outlet: &mut Outlet,
        wishes: &mut Wishes,
    ) {
        if !self.connected {
            return;
        }
        self.lanes.send(now, only, rings, &mut self.connection, outlet, wishes);
        if self.lanes.report(now, rings, &mut self.connection) {
            self.lanes.drain(&mut self.connection, outlet);
            self.stats.dropped = self.lanes.dropped();
            self.set_deadline(now);
        }
    }

    /// Sends all that is due, after the core was given something: repairs, what the core has to say, and frames.
    pub(super) fn send_all(
        &mut self,
        now: Instant,
        repairs: &[Repair],
        rings: &Rings,
        outlet: &mut Outlet,
        wishes: &mut Wishes,
    ) {
        if self.connected {
            self.lanes.resend(now, repairs, rings, &mut self.connection, outlet);
            self.send(now, None, rings, outlet, wishes);
        }
        self.lanes.drain(&mut self.connection, outlet);
        self.set_deadline(now);
    }

    fn set_deadline(&mut self, now: Instant) {
        let timeout = self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        self.deadline = self.starts.map_or(timeout, |at| at.min(timeout));
    }

    /// Whether the student has not been heard of lately.
    pub(super) fn disturbed(&self) -> bool {
        self.disturbed
    }

    /// Ends the connection politely: the student sees it close at once.
    pub(super) fn close(mut self, outlet: &mut Outlet) {
        let _ = self.connection.close();
        self.lanes.drain(&mut self.connection, outlet);
    }
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
