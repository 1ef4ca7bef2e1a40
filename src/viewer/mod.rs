//! A student's connection to the publisher, on the async `webrtc` API.
//!
//! [`Viewer::offer`] makes the connection and its recvonly offer; signalling carries the offer to the publisher and
//! returns the answer. An SFU of somebody else may offer by itself, which [`Viewer::answer_to`] answers. Decrypted
//! packets go to a sink; changes of state are [`ViewerEvent`]s.

pub(crate) mod answer;
mod offered;
mod receive;
mod receiving;
mod tcp_path;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rtc::interceptor::Registry;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::mpsc;
use webrtc::error::Error;
use webrtc::peer_connection::RTCIceCandidateInit;

pub(crate) use self::answer::{Answered, answered_tracks, ssrcs};
use self::offered::offered_tracks;
pub(crate) use self::receiving::{FEEDBACK_INTERVAL, ReceivingHalf};
use self::tcp_path::{TcpPath, with_tcp_paths};
use crate::peer_connection::{Connection, ConnectionEvent, EVENT_QUEUE, Hooks, Setup};
use crate::rtp::{Codec, Track};
use crate::sdp::engine;
pub use crate::sdp::ice::{IceServer, IceServers};

/// The addresses that a viewer binds, and its ICE servers.
#[derive(Debug, Clone)]
pub struct ViewerConfig {
    /// The addresses to bind UDP sockets to; an unspecified address means one socket for each interface.
    pub bind: Vec<String>,
    /// STUN and TURN servers.
    pub ice_servers: IceServers,
}

/// A packet that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// An RTP packet of this track.
    Rtp(Track, &'a [u8]),
    /// A compound RTCP packet about this track, with a sender report and a source description.
    Rtcp(Track, &'a [u8]),
}

/// A function that receives packets. It is called on the tasks of the connection, so it must not block.
pub type PacketSink = Arc<dyn Fn(Incoming<'_>) + Send + Sync>;

/// An event of a viewer's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewerEvent {
    /// A local candidate, to be sent to the publisher.
    Candidate(RTCIceCandidateInit),
    /// Media may flow.
    Connected,
    /// The first packet of a track did not start a key frame: request one.
    BeginningMissed(Track),
    /// The data channel is open.
    ChannelOpen,
    /// A text message arrived over the data channel; it is not parsed yet.
    Heard(String),
    /// Nothing has arrived for some seconds; the connection may recover.
    Disturbed,
    /// The connection is gone: lost, or closed by the publisher.
    Gone,
}

impl From<ConnectionEvent> for ViewerEvent {
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

/// The answer to an offer of the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerAnswer {
    /// The session description.
    pub sdp: String,
    /// The track, codec and payload type of each section that sends.
    pub tracks: Vec<(Track, Codec, u8)>,
}

/// Counters of a viewer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ViewerStats {
    /// Packets that were requested by NACK.
    pub nacks: u64,
    /// Requests for a key frame (PLI).
    pub plis: u64,
}

/// A connection to the publisher. It must be [closed](Self::close): the library keeps a dropped one alive.
pub struct Viewer {
    connection: Connection<ViewerEvent>,
    receiving: ReceivingHalf,
    /// The ways to the TCP candidates of the answer.
    tcp_paths: Mutex<Vec<TcpPath>>,
    relay_only: bool,
}

impl Viewer {
    /// Makes a connection and its offer: audio, two video sections, all recvonly, and the data channel.
    ///
    /// # Errors
    /// If no socket can be bound or the URL of a server is wrong.
    pub async fn offer(
        config: ViewerConfig,
        sink: PacketSink,
    ) -> Result<(Self, String, mpsc::Receiver<ViewerEvent>), Error> {
        Self::offer_sections(config, sink, &[RtpCodecKind::Audio, RtpCodecKind::Video, RtpCodecKind::Video]).await
    }

    /// The same without audio.
    ///
    /// # Errors
    /// As [`Viewer::offer`].
    pub async fn offer_videos(
        config: ViewerConfig,
        sink: PacketSink,
    ) -> Result<(Self, String, mpsc::Receiver<ViewerEvent>), Error> {
        Self::offer_sections(config, sink, &[RtpCodecKind::Video, RtpCodecKind::Video]).await
    }

    async fn offer_sections(
        config: ViewerConfig,
        sink: PacketSink,
        sections: &[RtpCodecKind],
    ) -> Result<(Self, String, mpsc::Receiver<ViewerEvent>), Error> {
        let (viewer, event_queue) = Self::new(config, sink).await?;
        let connection = &viewer.connection;
        for kind in sections.iter().copied() {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit { direction, ..Default::default() };
            connection.library().add_transceiver_from_kind(kind, Some(init)).await?;
        }
        connection.make_channel().await?;
        let sdp = connection.offer().await?;
        Ok((viewer, sdp, event_queue))
    }

    /// Makes a connection for an offer of the sender. `tracks` names the sections by mid; others are not received.
    /// Returns the answer as well, and the track, codec and payload type of each section that sends.
    ///
    /// # Errors
    /// If no socket can be bound, the URL of a server is wrong, or `sdp` is not an offer.
    pub async fn answer_to(
        (sdp, tracks): (String, &[(String, Track)]),
        config: ViewerConfig,
        sink: PacketSink,
    ) -> Result<(Self, ViewerAnswer, mpsc::Receiver<ViewerEvent>), Error> {
        let (viewer, event_queue) = Self::new(config, sink).await?;
        let answered = viewer.take_offer(sdp, tracks).await;
        match answered {
            Ok(answer) => Ok((viewer, answer, event_queue)),
            Err(error) => {
                viewer.close().await;
                Err(error)
            }
        }
    }

    async fn take_offer(&self, sdp: String, tracks: &[(String, Track)]) -> Result<ViewerAnswer, Error> {
        let answer = self.connection.answer_to(sdp.clone()).await?;
        let offered = offered_tracks(&sdp, &answer.sdp, tracks)?;
        // Media may arrive as soon as the answer is applied.
        self.receiving.learn(&offered);
        // Our own SFU answers, and makes no offers.
        self.receiving.set_foreign();
        let sdp = self.connection.apply_answer(answer).await?;
        Ok(ViewerAnswer { sdp, tracks: offered.into_iter().map(|a| (a.track, a.codec, a.payload_type)).collect() })
    }

    /// A connection without any description.
    async fn new(config: ViewerConfig, sink: PacketSink) -> Result<(Self, mpsc::Receiver<ViewerEvent>), Error> {
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let receiving = ReceivingHalf::new(events.clone());
        let relay_only = config.ice_servers.relay_only;
        let hooks = Hooks { track: Some(receiving.on_track_hook()), ..Hooks::default() };
        let setup = Setup {
            bind: config.bind,
            ice_servers: config.ice_servers,
            media_engine: engine::adaptive_media_engine(&[Codec::Opus, Codec::H264, Codec::Vp8])?,
            settings: engine::settings().build(),
            registry: receiving.register(Registry::new(), sink),
            hooks,
        };
        let connection = Connection::new(setup, events).await?;
        Ok((Self { connection, receiving, tcp_paths: Mutex::default(), relay_only }, event_queue))
    }

    /// Handles the publisher's answer, and returns the track, codec and payload type of each section that sends.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer.
    pub async fn answer(&self, sdp: String) -> Result<Vec<(Track, Codec, u8)>, Error> {
        let answered = answered_tracks(&sdp)?;
        self.receiving.learn(&answered);
        let (sdp, paths) = with_tcp_paths(&sdp, !self.relay_only);
        *self.tcp_paths.lock().unwrap_or_else(PoisonError::into_inner) = paths;
        self.connection.answered(sdp).await?;
        Ok(answered.into_iter().map(|a| (a.track, a.codec, a.payload_type)).collect())
    }

    /// Adds a candidate of the publisher. A malformed one is ignored.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        self.connection.candidate(candidate).await;
    }

    /// Requests a key frame of a track from the publisher.
    pub async fn request_key_frame(&self, track: Track) {
        self.receiving.request_key_frame(track).await;
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub async fn say(&self, text: &str) -> bool {
        self.connection.say(text).await
    }

    /// The current counters.
    pub fn stats(&self) -> ViewerStats {
        self.receiving.stats()
    }

    /// The relayed address by which media comes, if it comes through a TURN server.
    pub async fn relayed_address(&self) -> Option<SocketAddr> {
        self.connection.relayed_address().await
    }

    /// Whether media comes by TCP, directly from the publisher.
    pub async fn uses_tcp(&self) -> bool {
        let Some((_, remote)) = self.connection.selected_pair().await else { return false };
        let paths = self.tcp_paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().any(|path| Some(path.address()) == remote.address)
    }

    /// Closes the connection, and waits at most a second for that.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

/// Whether this machine has an IPv6 address by which others can reach it. Without one the library would bind `[::]`
/// itself and offer that as a candidate.
pub fn has_ipv6() -> bool {
    let is_real = |ip| matches!(ip, IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local());
    if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| is_real(interface.ip()))
}
