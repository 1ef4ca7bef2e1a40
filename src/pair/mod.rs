//! A connection of two participants, which sends and receives, on the async `webrtc` API.
//!
//! It has the sending half of a [`publisher`](crate::publisher) and the receiving half of a [`viewer`](crate::viewer).
//! The sections are audio, screen and camera, in this order, each sendrecv from the start, so that a participant starts
//! and stops sending without a negotiation. Offers follow the rules of perfect negotiation.

mod negotiation;
mod sections;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use rtc::interceptor::Registry;
use rtc::peer_connection::sdp::RTCSdpType;
use tokio::sync::mpsc;
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCSessionDescription};

use self::negotiation::{Negotiation, OnOffer};
use self::sections::{Agreed, fingerprint, is_of_pair, received};
use crate::peer_connection::{Connection, ConnectionEvent, EVENT_QUEUE, Hooks, Setup};
pub use crate::peer_connection::{FileChannel, FileChannelEvent, FileDigest};
use crate::protocol::PairFileId;
use crate::publisher::{FrameInput, PublisherEvent, SendingHalf, media_engine};
use crate::rtp::{Codec, Encoding, Track};
use crate::sdp::engine;
use crate::viewer::{Incoming, PacketSink, ReceivingHalf, ViewerConfig, ViewerEvent, ViewerStats};

/// The setup of a connection.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The addresses to bind, and the ICE servers.
    pub network: ViewerConfig,
    /// The encodings of the capture with their bits per second, each track best first. Each video is sent in the codec
    /// of its first encoding.
    pub encodings: Vec<(Encoding, u32)>,
    /// Whether this side gives way when both offer.
    pub is_polite: bool,
}

/// The most channels of files that wait to be taken; more are closed.
const FILE_CHANNELS: usize = 16;

/// An event of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// A local candidate, to be sent to the other side.
    Candidate(RTCIceCandidateInit),
    /// Media may flow.
    Connected,
    /// A track arrives in this codec, with this payload type, and not in the one that [`Peer::formats`] has told.
    Format(Track, Codec, u8),
    /// The first packet of a track did not start a key frame: request one.
    BeginningMissed(Track),
    /// The data channel is open.
    ChannelOpen,
    /// A text message arrived over the data channel; it is not parsed yet.
    Heard(String),
    /// An encoder must produce a key frame.
    KeyFrameNeeded(Encoding),
    /// Exactly these encodings of videos are sent from now on.
    Encodings(Vec<Encoding>),
    /// The other side has made a data channel for a file.
    File(FileChannel),
    /// Nothing has arrived for some seconds; the connection may recover.
    Disturbed,
    /// The connection is gone: lost, or closed by the other side.
    Gone,
}

impl From<ConnectionEvent> for PeerEvent {
    fn from(event: ConnectionEvent) -> Self {
        match event {
            ConnectionEvent::Candidate(candidate) => Self::Candidate(candidate),
            ConnectionEvent::Connected => Self::Connected,
            ConnectionEvent::ChannelOpen => Self::ChannelOpen,
            ConnectionEvent::Heard(text) => Self::Heard(text),
            ConnectionEvent::Disturbed => Self::Disturbed,
            ConnectionEvent::Gone => Self::Gone,
        }
    }
}

/// The events of a connection.
pub struct PeerEvents {
    of_connection: mpsc::Receiver<PeerEvent>,
    of_receiving: mpsc::Receiver<ViewerEvent>,
    of_sending: mpsc::Receiver<PublisherEvent>,
    formats: mpsc::Receiver<(Track, Codec, u8)>,
    files: mpsc::Receiver<FileChannel>,
}

impl PeerEvents {
    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> PeerEvent {
        loop {
            return tokio::select! {
                Some((track, codec, payload_type)) = self.formats.recv() => {
                    PeerEvent::Format(track, codec, payload_type)
                }
                Some(event) = self.of_connection.recv() => event,
                Some(channel) = self.files.recv() => PeerEvent::File(channel),
                Some(event) = self.of_receiving.recv() => match event {
                    ViewerEvent::BeginningMissed(track) => PeerEvent::BeginningMissed(track),
                    // The halves do not have the connection.
                    _ => continue,
                },
                Some(event) = self.of_sending.recv() => match event {
                    PublisherEvent::KeyFrameNeeded(encoding) => PeerEvent::KeyFrameNeeded(encoding),
                    PublisherEvent::Encodings(encodings) => PeerEvent::Encodings(encodings),
                    _ => continue,
                },
                else => PeerEvent::Gone,
            };
        }
    }
}

/// A connection of two participants. It must be [closed](Self::close): the library keeps a dropped one alive.
pub struct Peer {
    connection: Connection<PeerEvent>,
    sending: SendingHalf,
    receiving: ReceivingHalf,
    negotiation: Negotiation,
    formats: Arc<RwLock<Formats>>,
    /// The codec of each track that this side sends.
    sends: Vec<(Track, Codec)>,
    /// The fingerprint of the other side.
    other: Option<String>,
}

/// The formats of the tracks that arrive.
#[derive(Debug, Default)]
struct Formats {
    agreed: Agreed,
    arriving: Vec<(Track, Codec, u8)>,
}

impl Peer {
    /// Makes a connection. Nothing is negotiated yet.
    ///
    /// # Errors
    /// If no socket can be bound or the URL of a server is wrong.
    pub async fn new(config: PeerConfig, sink: PacketSink) -> Result<(Self, PeerEvents), Error> {
        let PeerConfig { network, encodings, is_polite } = config;
        let (events, of_connection) = mpsc::channel(EVENT_QUEUE);
        let (missed, of_receiving) = mpsc::channel(EVENT_QUEUE);
        let (orders, of_sending) = mpsc::channel(EVENT_QUEUE);
        let (changed_formats, format_queue) = mpsc::channel(EVENT_QUEUE);
        let (files, file_queue) = mpsc::channel(FILE_CHANNELS);
        let sends = codecs(&encodings);
        let video = sends.iter().find(|(track, _)| track.is_video()).map_or(Codec::H264, |(_, codec)| *codec);
        let other = if video == Codec::Vp8 { Codec::H264 } else { Codec::Vp8 };
        let (sending, receiving) = (SendingHalf::of_pair(encodings, orders), ReceivingHalf::new(missed));
        let formats: Arc<RwLock<Formats>> = Arc::default();
        let sink = noting_formats(Arc::clone(&formats), changed_formats, sink);
        let hooks = Hooks {
            connected: Some(Box::new(sending.on_connected())),
            track: Some(receiving.on_track_hook()),
            takes_channel: true,
            files: Some(files),
        };
        let setup = Setup {
            bind: network.bind,
            ice_servers: network.ice_servers,
            media_engine: media_engine(&[video, other])?,
            settings: engine::settings().build(),
            registry: sending.register(receiving.register(Registry::new(), sink)),
            hooks,
        };
        let connection = Connection::new(setup, events).await?;
        for local in sending.locals() {
            connection.library().add_track(Arc::clone(local) as Arc<dyn TrackLocal>).await?;
        }
        let negotiation = Negotiation::new(is_polite);
        let peer = Self { connection, sending, receiving, negotiation, formats, sends, other: None };
        Ok((peer, PeerEvents { of_connection, of_receiving, of_sending, formats: format_queue, files: file_queue }))
    }

    /// The first offer.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn offer(&mut self) -> Result<String, Error> {
        self.connection.make_channel().await?;
        self.negotiation.offers();
        self.connection.offer().await
    }

    /// An offer with an ICE restart; `None` if one follows the answer to the current offer.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn restart(&mut self) -> Result<Option<String>, Error> {
        if !self.negotiation.offers() {
            return Ok(None);
        }
        self.connection.restart_ice().await.map(Some)
    }

    /// Whether a description comes from another connection of the other side than the one that this one knows.
    pub fn is_foreign(&self, sdp: &str) -> bool {
        let is_known = |known: &str| fingerprint(sdp).is_some_and(|other| other.eq_ignore_ascii_case(known));
        self.other.as_deref().is_some_and(|known| !is_known(known))
    }

    /// An offer of the other side. Returns the answer; `None` if the own offer counts, or if this is no offer of a
    /// pair.
    ///
    /// # Errors
    /// If `sdp` is not an offer, or the connection has ended.
    pub async fn offered(&mut self, sdp: String) -> Result<Option<String>, Error> {
        if !is_of_pair(&sdp) {
            return Ok(None);
        }
        match self.negotiation.on_offer() {
            OnOffer::Ignore => return Ok(None),
            OnOffer::RollBackAndAnswer => {
                let mut rollback = RTCSessionDescription::default();
                rollback.sdp_type = RTCSdpType::Rollback;
                self.connection.library().set_local_description(rollback).await?;
            }
            OnOffer::Answer => {}
        }
        let answer = self.connection.answer_to(sdp.clone()).await?;
        // The answer has the codecs. Media may arrive as soon as it is applied.
        self.agree(&answer.sdp, &sdp)?;
        self.connection.apply_answer(answer).await.map(Some)
    }

    /// An answer of the other side. Returns another offer, if one is wanted.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer, or the connection has ended.
    pub async fn answered(&mut self, sdp: String) -> Result<Option<String>, Error> {
        if !self.negotiation.on_answer() {
            return Ok(None);
        }
        self.agree(&sdp, &sdp)?;
        self.connection.answered(sdp).await?;
        if self.negotiation.wants_another() { self.restart().await } else { Ok(None) }
    }

    /// Adds a candidate of the other side. A malformed one, and one of an offer that was ignored, is ignored.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        if self.negotiation.takes_candidates() {
            self.connection.candidate(candidate).await;
        }
    }

    /// The track, the codec and the payload type of each section in which the other side may send.
    pub fn formats(&self) -> Vec<(Track, Codec, u8)> {
        self.formats.read().unwrap_or_else(PoisonError::into_inner).arriving.clone()
    }

    /// The codecs of this side that the other side can't decode, after a negotiation.
    pub fn undecodable(&self) -> Vec<(Track, Codec)> {
        let formats = self.formats.read().unwrap_or_else(PoisonError::into_inner);
        let lacks = |(track, codec): &&(Track, Codec)| formats.agreed.payload_types(*track, *codec).is_none();
        self.sends.iter().filter(lacks).copied().collect()
    }

    /// The way of frames into this connection.
    pub fn input(&self) -> FrameInput {
        self.sending.input()
    }

    /// Whether the path carries less than the best tier of each video that is sent.
    pub fn is_narrow(&self) -> bool {
        self.sending.is_narrow()
    }

    /// Requests a key frame of a track from the other side.
    pub async fn request_key_frame(&self, track: Track) {
        self.receiving.request_key_frame(track).await;
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub async fn say(&self, text: &str) -> bool {
        self.connection.say(text).await
    }

    /// Makes a data channel for a file.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn open_file(&self, id: PairFileId) -> Result<FileChannel, Error> {
        self.connection.open_file(id).await
    }

    /// The current counters of what arrives.
    pub fn stats(&self) -> ViewerStats {
        self.receiving.stats()
    }

    /// The address at a TURN server from which media is relayed; `None` if media flows directly, or not at all.
    pub async fn relayed_address(&self) -> Option<SocketAddr> {
        self.connection.relayed_address().await
    }

    /// Closes the connection, and waits at most a second for that.
    pub async fn close(self) {
        self.sending.stop();
        self.connection.close().await;
    }

    /// Takes over what was agreed on: `answer` has the codecs, `other` is the description of the other side.
    fn agree(&mut self, answer: &str, other: &str) -> Result<(), Error> {
        let agreed = Agreed::of(answer)?;
        let received = received(other, &agreed)?;
        self.other = fingerprint(other).map(str::to_owned);
        self.receiving.learn_rtx(agreed.originals());
        self.receiving.learn(&received);
        self.sending.agreed(answer, |track, codec| agreed.payload_types(track, codec));
        let mut formats = self.formats.write().unwrap_or_else(PoisonError::into_inner);
        let arriving = received.iter().map(|known| (known.track, known.codec, known.payload_type)).collect();
        *formats = Formats { agreed, arriving };
        Ok(())
    }
}

/// The codec of the first encoding of each track.
fn codecs(encodings: &[(Encoding, u32)]) -> Vec<(Track, Codec)> {
    let first = |track| encodings.iter().find(|(encoding, _)| encoding.track == track);
    Track::ALL.into_iter().filter_map(|track| Some((track, first(track)?.0.codec))).collect()
}

/// Tells when a track arrives in another codec than before, and passes all packets on.
fn noting_formats(
    formats: Arc<RwLock<Formats>>,
    changed: mpsc::Sender<(Track, Codec, u8)>,
    sink: PacketSink,
) -> PacketSink {
    Arc::new(move |incoming: Incoming<'_>| {
        if let Incoming::Rtp(track, packet) = incoming
            && let Some(payload_type) = packet.get(1).map(|byte| byte & 0x7f)
            && let Some(format) = formats.read().ok().and_then(|formats| formats.other_format(track, payload_type))
            && let Ok(mut formats) = formats.write()
        {
            formats.arriving.retain(|(known, ..)| *known != track);
            formats.arriving.push(format);
            // If the queue is full, the next packet of another codec tells it.
            let _ = changed.try_send(format);
        }
        sink(incoming);
    })
}

impl Formats {
    /// The format of a track whose packets have this payload type, if it arrives in another one so far.
    fn other_format(&self, track: Track, payload_type: u8) -> Option<(Track, Codec, u8)> {
        let is_known = self.arriving.iter().any(|(known, _, usual)| (*known, *usual) == (track, payload_type));
        let codec = self.agreed.codec(track, payload_type).filter(|_| !is_known)?;
        Some((track, codec, payload_type))
    }
}
