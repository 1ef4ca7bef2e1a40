//! One student, as the SFU knows it: a connection of the sans-I/O core, and a subscription to each track.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::addresses::CONFIRM_EVERY;
use super::channel::{Channel, Opened};
use super::senders::{Lanes, Repair};
use super::udp::UdpSender;
use super::{PeerId, Rings};
use crate::congestion::Opening;
use crate::congestion::Recoveries;
use crate::congestion::{ClassRepairs, Controller, Probe, RepairBudget, Repaired, Way};
use crate::dtls::flights::Handshake;
use crate::dtls::records::Records;
use crate::dtls::sctp::Violation;
use crate::id::UserId;
use crate::protocol::channel::TierReason;
use crate::rtcp;
use crate::rtp::{Encoding, Track};
use crate::srtp::Found;
use crate::srtp::{Opener, is_rtcp};

mod adapt;
mod answer;
mod feedback;
mod totals;

pub(super) use self::adapt::ClassNow;
#[cfg(test)]
pub(super) use self::answer::media_track;
use self::answer::offered;
pub(super) use self::feedback::Heard;
pub use self::totals::{PeerTotals, SentPicture};

/// A student that offered and never connected is forgotten after this: ICE gives up much sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Media begins this long after the connection stands. Packets that a receiver reads together with our last handshake
/// message come before its keys do, and are lost: with them would go the key frame, and half a second to ask for it.
const START_DELAY: Duration = Duration::from_millis(15);

/// How long no timer of a connection counts after this process stood still: what the student said meanwhile waits in
/// the socket, and is read first.
const READ_FIRST: Duration = Duration::from_millis(500);

/// Why a student's connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The student closed the connection or left the room.
    Left,
    /// ICE consent expired (RFC 7675), or the worker had no room for the new connection.
    Lost,
    /// The student sent an offer but the connection was not established in time.
    NeverConnected,
    /// The student broke a limit that no browser breaks.
    Misbehaved,
    /// A bug in this program: the peer's code panicked.
    Failed,
}

impl Departure {
    /// The word for logs and JSON events.
    pub fn as_str(self) -> &'static str {
        match self {
            Departure::Left => "left",
            Departure::Lost => "lost",
            Departure::NeverConnected => "never connected",
            Departure::Misbehaved => "misbehaved",
            Departure::Failed => "failed",
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a student in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Alive,
    /// It is gone, for this reason.
    Gone(Departure),
    /// It broke the rules of SCTP, and is gone.
    Broke(Violation),
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
    /// Its packets that were not read, as no student needs to send them: of DTLS, SCTP and STUN.
    pub refused: u64,
    /// How long packets wait in front of its line, in milliseconds.
    pub queue_ms: u32,
    /// What its line carries in kbit/s, where that is known.
    pub estimate_kbps: Option<u32>,
    /// RTP packets that were sent to it, those included that were sent again.
    pub packets: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes: u64,
    /// Packets that it reported lost (RFC 3550, 6.4.1), before anything was sent again.
    pub lost: u64,
    /// What it gets of the picture now.
    pub picture: SentPicture,
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) user: UserId,
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The next time that the core wants to be woken.
    pub(super) deadline: Instant,
    /// Before this time it is not woken.
    rests_until: Option<Instant>,
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
    /// What may come of DTLS.
    records: Records,
    /// Datagrams that were too many, or not well made.
    not_read: u64,
    /// Opens the student's feedback, from its second packet on.
    opener: Option<Opener>,
    /// The address from which a packet was opened just now.
    opened_from: Option<SocketAddr>,
    /// When the router was told last where the student is.
    confirmed: Option<Instant>,
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
            let opened = opener.open(&mut datagram);
            if opened.is_some() {
                self.opened_from = Some(from);
            }
            // What can't be opened was forged, or came twice.
            let compound = opened.unwrap_or_default();
            rtcp::read(compound).for_each(|said| self.hear(now, said, rings, class, wishes, &mut heard));
            return Some(heard);
        }
        let transport =
            TransportContext { local_addr: at, peer_addr: from, ecn: None, transport_protocol: TransportProtocol::UDP };
        if Handshake::is_of_it(&datagram) {
            if !self.records.admit(now, self.connected, &datagram) {
                self.not_read += 1;
                return Some(Heard::default());
            }
            self.lanes.handshake.hears(now, &datagram);
        }
        let opened = self.found.opened();
        // What the core can't read was not meant for it, or was forged: its state has not changed.
        let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: datagram });
        if self.found.opened() > opened {
            self.opened_from = Some(from);
        }
        if self.opener.is_none() {
            // At once: what the core opened later than the packet that told the key would count twice.
            self.opener = self.found.opening().and_then(Opener::new);
        }
        None
    }

    /// Where the student is, if a packet from there was opened just now and its media goes there; once in a while.
    pub(super) fn confirmed_address(&mut self, now: Instant) -> Option<SocketAddr> {
        let from = self.opened_from.take().filter(|from| self.lanes.destination() == Some(*from))?;
        let is_due = self.confirmed.is_none_or(|at| now.saturating_duration_since(at) >= CONFIRM_EVERY);
        if is_due {
            self.confirmed = Some(now);
        }
        is_due.then_some(from)
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
                        Opened::TooMany => fate = Fate::Gone(Departure::Misbehaved),
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
                RTCPeerConnectionState::Failed => fate = Fate::Gone(Departure::Lost),
                RTCPeerConnectionState::Closed => fate = Fate::Gone(Departure::Left),
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
            fate = Fate::Gone(Departure::NeverConnected);
        }
        self.stats.refused = self.not_read + self.found.refused();
        if let Some(violation) = self.found.offence() {
            fate = Fate::Broke(violation);
        }
        let mut heard = Heard::default();
        while let Some(message) = self.connection.poll_read() {
            match message.message {
                // The first of all, or all where we have no key.
                RTCMessage::RtcpPacket(_, packets) => {
                    let compound = rtc::rtcp::packet::marshal(&packets).unwrap_or_default();
                    rtcp::read(&compound).for_each(|said| self.hear(now, said, rings, class, wishes, &mut heard));
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

    /// The source of a track has a gap, and the SFU asks for a key frame for all.
    pub(super) fn on_gap(&mut self, track: Track) {
        self.lanes.on_gap(track);
        self.recoveries.were_asked_for(self.lanes.awaited().filter(|encoding| encoding.track == track));
    }

    /// Sends what is due of one track, or of all: no more than the hot path.
    pub(super) fn send(
        &mut self,
        now: Instant,
        only: Option<Track>,
        rings: &Rings,
        outlet: &mut UdpSender,
        wishes: &mut Wishes,
    ) {
        if !self.connected {
            return;
        }
        let estimate = self.control.estimate();
        let sent = self.lanes.send(now, only, rings, estimate, &mut self.connection, outlet);
        self.recoveries.ask_for(now, self.lanes.awaited(), &mut wishes.key_frames);
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
        outlet: &mut UdpSender,
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
        let due = ours.into_iter().flatten().fold(timeout, Instant::min);
        self.deadline = self.rests_until.map_or(due, |rests_until| due.max(rests_until));
    }

    /// This process stood still until now: that is held against nobody.
    pub(super) fn stood_still(&mut self, now: Instant) {
        self.control.stood_still(now);
        self.rests_until = Some(now + READ_FIRST);
        self.deadline = self.deadline.max(now + READ_FIRST);
    }

    /// Since when it is in trouble, if it is; none where it gets no pictures yet.
    pub(super) fn troubled_since(&self) -> Option<Option<Instant>> {
        let gets_pictures = self.connected && self.starts.is_none() && self.opening.is_none();
        gets_pictures.then(|| self.control.troubled_since())
    }

    /// Whether the student has not been heard of lately.
    pub(super) fn disturbed(&self) -> bool {
        self.disturbed
    }

    /// Ends the connection politely: the student sees it close at once.
    pub(super) fn close(mut self, outlet: &mut UdpSender) {
        let _ = self.connection.close();
        self.lanes.drain(&mut self.connection, outlet);
    }
}
