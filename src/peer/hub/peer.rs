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
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::Rings;
use super::agreed::Agreed;
use super::channel::{Channel, Opened};
use super::feedback;
use super::handshake::Handshake;
use super::keys::Found;
use super::lanes::{Lanes, Repair};
use super::open::{Opener, is_rtcp};
use super::opening::{Opening, Step};
use super::pace::Line;
use super::recovery::Recoveries;
use super::repair_stream::RepairStream;
use super::shard::Slot;
use super::socket::Outlet;
use super::{Advertised, PerCodec, Shared, keys, sdp, ssrc};
use crate::id::UserId;
use crate::peer::engine;
use crate::protocol::channel::{HubMessage, SentTier, SentTiers, TierReason};
use crate::rtp::control::{
    ClassRepairs, Controller, Decision, Offered, Probe, Rates, Reason, RepairBudget, Repaired, Trouble, Way,
};
use crate::rtp::{Codec, Encoding, MAX_FIRST_SEQUENCE_NUMBER, Subscription, Tier, Track};

mod hear;

pub(super) use self::hear::Heard;

/// A student that offered and never connected is forgotten after this: ICE gives up much sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Media begins this long after the connection stands. Packets that a receiver reads together with our last handshake
/// message come before its keys do, and are lost: with them would go the key frame, and half a second to ask for it.
const START_DELAY: Duration = Duration::from_millis(15);

/// Where packets wait this long in front of a student's line, repairs make it worse.
const LONG_QUEUE: Duration = Duration::from_millis(100);

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
    pub(super) said: Said,
    pub(super) heard: Heard,
}

/// What a student's feedback wants of the encoders.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Encodings that need a key frame.
    pub(super) key_frames: Vec<Encoding>,
    /// Some student gets other encodings than before.
    pub(super) others: bool,
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
    /// Times that it was given other tiers than before.
    pub changes: u64,
    /// How long packets wait in front of its line, in milliseconds.
    pub queue_ms: u32,
    /// What its line carries in kbit/s, where that is known.
    pub estimate_kbps: Option<u32>,
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
    found: Found,
    /// Opens the student's feedback, from its second packet on.
    opener: Option<Opener>,
    /// Far larger than all the rest, and not needed for media: out of the way of it.
    connection: Box<RTCPeerConnection>,
    /// What the student's way carries, and what it gets.
    control: Controller,
    /// It has sound and waits for its first picture.
    opening: Option<Opening>,
    /// Why it gets less than all.
    suffers: Option<TierReason>,
    /// Whether packets wait in front of the student's line, which repairs would make longer.
    is_delayed: bool,
    repairs: RepairBudget,
    repaired: Repaired,
    recoveries: Recoveries,
    disturbed: bool,
}

impl Peer {
    /// Answers an offer: gives the new peer and the answer's SDP, which carries all candidates.
    pub(super) fn answer(
        user: UserId,
        offer: String,
        tracks: &[(Track, Codec)],
        tiers: &[Encoding],
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
            .with_media_engine(engine::adaptive_media_engine(&codecs)?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Place::from(14_000), engine::Tap::delivering_rtcp()))
            .build(now)?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer)?)?;
        let mut added = Vec::new();
        let ssrcs = ssrc::distinct(tracks.len() * 2, rand::random);
        for (&(track, codec), ssrcs) in tracks.iter().zip(ssrcs.chunks_exact(2)) {
            let (ssrc, repairs) = (ssrcs[0], ssrcs[1]);
            added.push((
                track,
                codec,
                (ssrc, repairs),
                connection.add_track(media_track(track, codec, ssrc, repairs))?,
            ));
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
        let (mut lanes, mut transport) = (Vec::new(), None);
        for (track, codec, (ssrc, repairs), sender) in added {
            let agreed = Agreed::of(&mut connection, sender, codec).ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
            transport = agreed.transport.or(transport);
            let best = tiers.iter().find(|e| (e.track, e.codec) == (track, codec)).map_or(Tier::Full, |e| e.tier);
            let first = rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER;
            let subscription = Subscription::new(ssrc, agreed.payload_type, first, best);
            lanes.push(((track, codec), sender, subscription, agreed.repairs.map(|pt| RepairStream::new(repairs, pt))));
        }
        // Without retransmissions of their own kind packets go again as they were, and can't have another number.
        let all_repaired = lanes.iter().all(|((track, _), .., repairs)| !track.is_video() || repairs.is_some());
        let mut all = Lanes::new(found.clone(), transport.filter(|_| all_repaired));
        lanes.into_iter().for_each(|(track, sender, subscription, repairs)| {
            all.add(track, sender, subscription, repairs);
        });
        let lanes = all;
        let offered = offered(&lanes, tiers);
        let control = Controller::new(now, offered);
        let control = if shared.adapts { control } else { control.staying() };
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
            found,
            opener: None,
            connection: Box::new(connection),
            control,
            opening: None,
            suffers: None,
            is_delayed: false,
            repairs: RepairBudget::default(),
            repaired: Repaired::default(),
            recoveries: Recoveries::default(),
            disturbed: false,
        };
        Ok((peer, answer))
    }

    /// Adds a candidate of the student. One that can't be read or resolved is no harm: there are others.
    pub(super) fn add_candidate(&mut self, candidate: RTCIceCandidateInit) {
        let _ = self.connection.add_remote_candidate(candidate);
    }

    /// Takes a datagram of this student. Gives what came of it where it was feedback that we could open; all else is for
    /// the core, which must have a turn then.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        (at, from): (SocketAddr, SocketAddr),
        mut datagram: BytesMut,
        rings: &Rings,
        class: &mut ClassRepairs,
        wishes: &mut Wishes,
    ) -> Option<Heard> {
        if is_rtcp(&datagram)
            && let Some(opener) = &mut self.opener
        {
            let mut heard = Heard::default();
            // What can't be opened was forged, or came twice.
            let compound = opener.open(&mut datagram).unwrap_or_default();
            feedback::read(compound).for_each(|said| self.hear(now, said, rings, class, wishes, &mut heard));
            return Some(heard);
        }
        let transport =
            TransportContext { local_addr: at, peer_addr: from, ecn: None, transport_protocol: TransportProtocol::UDP };
        if Handshake::is_of_it(&datagram) {
            self.lanes.handshake.hears(now, &datagram);
        }
        // What the core can't read was not meant for it, or was forged: its state has not changed.
        let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: datagram });
        if self.opener.is_none() {
            // At once: what the core opened later than the packet that told the key would count twice.
            self.opener = self.found.opening().and_then(Opener::new);
        }
        None
    }

    /// Lets the core do what its timers ask for.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.deadline <= now {
            let _ = self.connection.handle_timeout(now);
        }
    }

    /// Reads what the core has to say after it was given something.
    pub(super) fn turn(&mut self, now: Instant, rings: &Rings, class: &mut ClassRepairs, wishes: &mut Wishes) -> Turn {
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
            self.lanes.start_sound(rings);
            if self.lanes.can_open() && !self.lanes.handshake.is_near() {
                self.opening = Some(Opening::new(now));
            } else {
                self.start_pictures(now, rings, wishes);
            }
        }
        if !self.connected && now.saturating_duration_since(self.created) > CONNECT_WITHIN {
            fate = Fate::Gone("never connected");
        }
        let mut heard = Heard::default();
        while let Some(message) = self.connection.poll_read() {
            match message.message {
                // The first of all, or all where we have no key.
                RTCMessage::RtcpPacket(_, packets) => {
                    let compound = rtc::rtcp::packet::marshal(&packets).unwrap_or_default();
                    feedback::read(&compound).for_each(|said| self.hear(now, said, rings, class, wishes, &mut heard));
                }
                RTCMessage::DataChannelMessage(id, message) => {
                    said.texts.extend(self.channel.read(now, id, &message));
                }
                _ => {}
            }
        }
        self.say(now);
        Turn { fate, said, heard }
    }

    /// Hands what waits in the student's channel to the core; a turn of sending moves it on.
    pub(super) fn say(&mut self, now: Instant) {
        self.channel.flush(now, &mut self.connection);
        self.stats.unread = self.channel.dropped;
    }

    /// Looks at what the student's way carries, and changes what it gets; to be called after feedback and ten times a
    /// second. Its channel has words to say then: gives whether there are some.
    pub(super) fn adapt(
        &mut self,
        now: Instant,
        rates: &PerCodec<Rates>,
        rings: &Rings,
        outlet: &mut Outlet,
        wishes: &mut Wishes,
    ) -> bool {
        if !self.connected || self.starts.is_some() {
            return false;
        }
        let picture = self.lanes.tracks().find(|(track, _)| track.is_video());
        let rates = &rates[picture.map_or(Codec::H264, |(_, codec)| codec)];
        if self.opening.is_some() {
            return self.open(now, rates, rings, outlet, wishes);
        }
        let decision = self.control.decide(now, rates);
        let estimate = self.control.estimate();
        self.is_delayed = estimate.queue() > LONG_QUEUE;
        self.stats.queue_ms = estimate.queue().as_millis() as u32;
        self.stats.estimate_kbps = estimate.bits_per_second(now).map(|bits| bits / 1000);
        if let Some(decision) = decision {
            self.follow(now, decision, rings, wishes);
        }
        self.recoveries.ask_for(now, self.lanes.awaited(), wishes);
        if self.suffers.is_some() {
            self.pace(now);
        } else {
            self.lanes.set_pace(now, None);
        }
        if let Some(probe) = self.control.probe(now) {
            self.lanes.probe(now, probe, self.control.estimate(), &mut self.connection, outlet);
        }
        decision.is_some()
    }

    fn start_pictures(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) {
        self.lanes.start_pictures(now, rings, wishes);
        self.recoveries.were_asked_for(self.lanes.awaited());
    }

    /// Begins with pictures, if it is known what the line carries, or has been waited for long enough. Its channel has words
    /// to say if that is not the best: gives whether there are some.
    fn open(&mut self, now: Instant, rates: &Rates, rings: &Rings, outlet: &mut Outlet, wishes: &mut Wishes) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        let (trains, line) = self.control.estimate().first_trains(now);
        match opening.step(now, trains, line, self.control.needed(rates)) {
            Step::Wait => false,
            Step::Probe => {
                self.lanes.probe(now, Probe::FIRST, self.control.estimate(), &mut self.connection, outlet);
                false
            }
            Step::Begin(line) => {
                self.opening = None;
                let less = line.and_then(|line| self.control.begin(now, rates, line));
                if let Some(decision) = less {
                    self.follow(now, decision, rings, wishes);
                }
                self.start_pictures(now, rings, wishes);
                less.is_some()
            }
        }
    }

    /// Who has less than all gets it no faster than its line carries it.
    fn pace(&mut self, now: Instant) {
        let estimate = self.control.estimate();
        let queue = estimate.queue();
        let line = estimate.bits_per_second(now).map(|bits_per_second| Line { bits_per_second, queue });
        self.lanes.set_pace(now, line);
    }

    fn follow(&mut self, now: Instant, decision: Decision, rings: &Rings, wishes: &mut Wishes) {
        let Decision { pictures, reason, estimate_kbps } = decision;
        let in_trouble = matches!(reason, Reason::Down(_));
        if in_trouble {
            self.pace(now);
        }
        let wished = wishes.key_frames.len();
        for track in [Track::Screen, Track::Camera] {
            self.lanes.give(now, track, pictures.of(track), in_trouble, rings, wishes);
        }
        wishes.others = true;
        self.stats.changes += 1;
        self.recoveries.were_asked_for(wishes.key_frames[wished..].iter().copied());
        self.recoveries.on_other_pictures();
        let sent = |track: Track| {
            let has = self.lanes.tracks().any(|(known, _)| known == track);
            has.then(|| match pictures.of(track) {
                Some(Tier::Full) => SentTier::Full,
                Some(Tier::Low) => SentTier::Low,
                None => SentTier::None,
            })
        };
        let tiers = SentTiers { screen: sent(Track::Screen), camera: sent(Track::Camera) };
        let less = !self.control.has_the_best();
        self.suffers = match reason {
            Reason::Down(Trouble::Loss) => Some(TierReason::Loss),
            Reason::Down(_) => Some(TierReason::Bandwidth),
            Reason::Up | Reason::Offer if less => self.suffers,
            Reason::Up | Reason::Offer => None,
        };
        let message = HubMessage::Tier { tiers, estimate_kbps, reason: self.suffers.filter(|_| less) };
        self.channel.push(message.to_json().into());
    }

    /// The source of a track has a gap, and the hub asks for a key frame for all.
    pub(super) fn on_gap(&mut self, track: Track) {
        self.lanes.on_gap(track);
        self.recoveries.were_asked_for(self.lanes.awaited().filter(|encoding| encoding.track == track));
    }

    /// Other encodings can be had than before.
    pub(super) fn offer(&mut self, encodings: &[Encoding]) {
        self.control.offer(offered(&self.lanes, encodings));
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
        let estimate = self.control.estimate();
        let sent = self.lanes.send(now, only, rings, estimate, &mut self.connection, outlet);
        self.recoveries.ask_for(now, self.lanes.awaited(), wishes);
        let way = Way { is_delayed: self.is_delayed, lost: self.control.estimate().lost() };
        self.repairs.sent(sent, way);
        if let Some(opening) = &mut self.opening
            && self.lanes.has_key()
            && opening.wants_first_train()
        {
            self.lanes.probe(now, Probe::FIRST, self.control.estimate(), &mut self.connection, outlet);
        }
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
            if !repairs.is_empty() {
                let estimate = self.control.estimate();
                self.lanes.resend(now, repairs, rings, estimate, &mut self.connection, outlet);
            }
            self.send(now, None, rings, outlet, wishes);
        }
        self.lanes.repeat_handshake(now, outlet);
        self.lanes.drain(&mut self.connection, outlet);
        self.set_deadline(now);
    }

    fn set_deadline(&mut self, now: Instant) {
        let timeout = self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        let ours = [self.starts, self.lanes.handshake.due()];
        self.deadline = ours.into_iter().flatten().fold(timeout, Instant::min);
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

/// The tiers of a student's tracks, in its codecs.
fn offered(lanes: &Lanes, encodings: &[Encoding]) -> Offered {
    let has = |encoding: &&Encoding| lanes.tracks().any(|lane| lane == (encoding.track, encoding.codec));
    encodings.iter().filter(has).fold(Offered::default(), |offered, e| offered.with(e.track, e.tier))
}

pub(super) fn media_track(track: Track, codec: Codec, ssrc: u32, repairs: u32) -> MediaStreamTrack {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: track.is_video().then_some(RTCRtpRtxParameters { ssrc: repairs }),
            ..Default::default()
        },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    };
    let name = track.name().to_owned();
    MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, vec![coding])
}
