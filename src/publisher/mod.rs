//! A connection that publishes: it sends the frames of a capture to an SFU, on the async `webrtc` API.
//!
//! [`Publisher::offer`] makes the connection and its sendonly offer; signalling carries the offer to the host of the
//! media and returns the answer. [`FrameInput::push`] takes frames. The pure part, `uplink`, chooses the tiers that the
//! uplink carries, paces, and answers NACKs; the library does ICE, DTLS, SRTP and sender reports. The orders to the
//! encoders come as [`PublisherEvent`]s.

mod extensions;
mod interceptor;
mod layers;
mod offer;
mod orders;
mod sending;
mod stats;
mod stream;
mod tier_switch;
mod uplink;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::interceptor::Registry;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use tokio::sync::mpsc;
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::peer_connection::RTCIceCandidateInit;

use self::extensions::ExtensionIds;
pub use self::offer::Layering;
pub(crate) use self::offer::media_engine;
pub use self::sending::FrameInput;
pub(crate) use self::sending::SendingHalf;
pub use self::stats::PublisherStats;
pub(crate) use self::stream::PayloadTypes;
use crate::peer_connection::{Connection, ConnectionEvent, EVENT_QUEUE, Hooks, Setup};
use crate::protocol::OfferedTracks;
use crate::protocol::channel::{NeededEncoding, SentTier};
use crate::rtp::{Codec, Encoding, Tier, Track};
use crate::sdp::ice::IceServers;
use crate::sdp::{accepted, engine};

/// The setup of a publisher.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// The addresses to bind UDP sockets to; an unspecified address means one socket for each interface.
    pub bind: Vec<String>,
    /// STUN and TURN servers.
    pub ice_servers: IceServers,
    /// The encodings of the capture with their bit rates in bits per second, each track best first. The first codec of
    /// each video is offered.
    pub encodings: Vec<(Encoding, u32)>,
    /// How the tiers of a video are sent.
    pub layering: Layering,
    /// Who receives the media.
    pub receiver: MediaReceiver,
}

/// Who receives the media of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaReceiver {
    /// A server of this program, or a teacher. There is a data channel, and all that is offered is taken.
    Classroom,
    /// A server of somebody else: any WHIP server, or Janus. There is no data channel, and the answer says which codecs
    /// are taken, and whether retransmissions are (RFC 9725, 4.4).
    Foreign,
}

/// An event of a publisher's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum PublisherEvent {
    /// A local candidate, to be sent to the host.
    Candidate(RTCIceCandidateInit),
    /// Media may flow.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// A text message arrived over the data channel; it is not parsed yet.
    Heard(String),
    /// An encoder must produce a key frame.
    KeyFrameNeeded(Encoding),
    /// Exactly these encodings of videos are sent from now on.
    Encodings(Vec<Encoding>),
    /// Nothing has arrived for some seconds; the connection may recover.
    Disturbed,
    /// The connection is gone: lost, or closed by the host.
    Gone,
}

impl From<ConnectionEvent> for PublisherEvent {
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

/// A publisher's offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherOffer {
    /// The session description.
    pub sdp: String,
    /// The track of each section, by mid.
    pub tracks: OfferedTracks,
}

/// A connection that sends. It must be [closed](Self::close): the library keeps a dropped one alive.
pub struct Publisher {
    connection: Connection<PublisherEvent>,
    sending: SendingHalf,
    receiver: MediaReceiver,
}

impl Publisher {
    /// Makes a connection and its offer: a sendonly section for each track, and the data channel if the host has one.
    ///
    /// # Errors
    /// If no socket can be bound, the URL of a server is wrong, or there is nothing to send.
    pub async fn offer(
        config: PublisherConfig,
    ) -> Result<(Self, PublisherOffer, mpsc::Receiver<PublisherEvent>), Error> {
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let offered = offer::tracks(&config.encodings, config.layering);
        if offered.is_empty() {
            return Err(Error::Other("there is nothing to send".to_owned()));
        }
        let mut video: Vec<Codec> =
            offered.iter().flat_map(|track| &track.streams).map(|s| s.codec).filter(|c| *c != Codec::Opus).collect();
        video.dedup();
        let sending = SendingHalf::new(offered, config.encodings, events.clone());
        let hooks = Hooks { connected: Some(Box::new(sending.on_connected())), ..Hooks::default() };
        let setup = Setup {
            bind: config.bind,
            ice_servers: config.ice_servers,
            media_engine: media_engine(&video)?,
            settings: engine::settings().with_write_ssrc_attributes_for_simulcast(true).build(),
            registry: sending.register(Registry::new()),
            hooks,
        };
        let connection = Connection::new(setup, events).await?;
        for local in sending.locals() {
            connection.library().add_track(Arc::clone(local) as Arc<dyn TrackLocal>).await?;
        }
        for transceiver in connection.library().get_transceivers().await {
            transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly).await?;
        }
        if config.receiver == MediaReceiver::Classroom {
            connection.make_channel().await?;
        }
        let sdp = connection.offer().await?;
        let tracks = sending.uplink().lock().set_mids(&offer::mids(&sdp));
        let receiver = config.receiver;
        Ok((Self { connection, sending, receiver }, PublisherOffer { sdp, tracks }, event_queue))
    }

    /// The offer with all candidates of this side, or with those that are known after `within`.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn whole_offer(&self, within: Duration) -> Result<String, Error> {
        self.connection.gathered(within).await;
        self.connection.local_description().await
    }

    /// An offer that restarts ICE, with all candidates of this side as in [`whole_offer`](Self::whole_offer).
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn restart_ice(&self, within: Duration) -> Result<String, Error> {
        self.connection.restart_ice().await?;
        self.whole_offer(within).await
    }

    /// Applies the host's answer.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer.
    pub async fn answer(&self, sdp: String) -> Result<(), Error> {
        match self.receiver {
            MediaReceiver::Classroom => self.sending.uplink().lock().answered(ExtensionIds::of(&sdp)),
            MediaReceiver::Foreign => {
                let accepted = accepted_by(&sdp, &self.sending.uplink().lock().tracks());
                let of =
                    |(track, codec)| accepted.iter().find(|(of, _)| *of == (track, codec)).map(|(_, types)| *types);
                self.sending.agreed(&sdp, |track, codec| of((track, codec)));
            }
        }
        self.connection.answered(sdp).await
    }

    /// Whether the host takes this track. True before the answer.
    pub fn sends(&self, track: Track) -> bool {
        self.sending.uplink().lock().sends(track)
    }

    /// Adds a candidate of the host. A malformed one is ignored.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        self.connection.candidate(candidate).await;
    }

    /// The way of frames into this connection.
    pub fn input(&self) -> FrameInput {
        self.sending.input()
    }

    /// Somebody needs exactly these encodings of videos; the others are not sent.
    pub fn need(&self, needed: &[NeededEncoding]) {
        let tier = |sent: SentTier| match sent {
            SentTier::Full => Some(Tier::Full),
            SentTier::Low => Some(Tier::Low),
            SentTier::None | SentTier::Unknown => None,
        };
        let needed = needed.iter().filter_map(|encoding| Some((Track::from(encoding.track), tier(encoding.tier)?)));
        self.sending.need(needed.collect());
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub async fn say(&self, text: &str) -> bool {
        self.connection.say(text).await
    }

    /// The tier of a video that the uplink carries; `None` if it carries audio alone.
    pub fn carried(&self, track: Track) -> Option<Tier> {
        self.sending.uplink().lock().layers().of(track)
    }

    /// The capacity of the uplink in kbit/s, if it is known and not very high.
    pub fn estimate_kbps(&self) -> Option<u32> {
        self.sending.uplink().lock().estimate_kbps(Instant::now())
    }

    /// The current counters.
    pub fn stats(&self) -> PublisherStats {
        self.sending.uplink().lock().stats()
    }

    /// Closes the connection, and waits at most a second for that.
    pub async fn close(self) {
        self.sending.stop();
        self.connection.close().await;
    }
}

/// The payload types that an answer accepts for the tracks of the offer, which has a section for each.
fn accepted_by(answer: &str, tracks: &[(Track, Codec)]) -> Vec<((Track, Codec), PayloadTypes)> {
    let accepted = tracks.iter().zip(accepted::sections(answer)).filter_map(|((track, codec), section)| {
        let (media, rtx) = section.payload_types(engine::rtpmap(*codec))?;
        Some(((*track, *codec), PayloadTypes { media, rtx }))
    });
    accepted.collect()
}
