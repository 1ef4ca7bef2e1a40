//! A student's connection to the publisher, on the async `webrtc` API.
//!
//! [`Viewer::offer`] makes the connection and its recvonly offer; signalling carries the offer to the publisher and
//! returns the answer. Decrypted packets go to a sink; changes of state are [`ViewerEvent`]s.

pub(crate) mod answer;
mod receive;
mod receiving;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::Registry;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

pub(crate) use self::answer::{Answered, answered_tracks, ssrcs};
pub(crate) use self::receiving::{FEEDBACK_INTERVAL, ReceivingHalf};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtp::{Codec, Track};
use crate::sdp::engine;
pub use crate::sdp::ice::IceServer;

/// The most events that may wait: a few states and a candidate for each address of this machine.
const EVENT_QUEUE: usize = 256;

/// The most bytes that may be in flight to the publisher over the data channel.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The time limit of [`Viewer::close`].
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The addresses that a viewer binds, and its ICE servers.
#[derive(Debug, Clone)]
pub struct ViewerConfig {
    /// The addresses to bind UDP sockets to; an unspecified address means one socket for each interface.
    pub bind: Vec<String>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
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
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    receiving: ReceivingHalf,
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
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let receiving = ReceivingHalf::new(events.clone());
        let registry = receiving.register(Registry::new(), sink);
        let servers = config.ice_servers.into_iter().map(RTCIceServer::from);
        let handler = Handler { events: events.clone(), receiving: receiving.clone() };
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers.collect()).build())
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::H264, Codec::Vp8])?)
            .with_setting_engine(engine::settings().build())
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(config.bind)
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .build();
        // Boxed, because the library's future has 20 kB.
        let connection = Box::pin(building).await?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video, RtpCodecKind::Video] {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit { direction, ..Default::default() };
            connection.add_transceiver_from_kind(kind, Some(init)).await?;
        }
        let channel = connection.create_data_channel(CHANNEL_LABEL, None).await?;
        tokio::spawn(receive_messages(Arc::clone(&channel), events));
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        let sdp = connection.local_description().await.ok_or(Error::ErrConnectionClosed)?.sdp;
        Ok((Self { connection, channel, receiving }, sdp, event_queue))
    }

    /// Handles the publisher's answer, and returns the track, codec and payload type of each section that sends.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer.
    pub async fn answer(&self, sdp: String) -> Result<Vec<(Track, Codec, u8)>, Error> {
        let answered = answered_tracks(&sdp)?;
        self.receiving.learn(&answered);
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
        Ok(answered.into_iter().map(|a| (a.track, a.codec, a.payload_type)).collect())
    }

    /// Adds a candidate of the publisher. A malformed one is ignored.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        let _ = self.connection.add_ice_candidate(candidate).await;
    }

    /// Requests a key frame of a track from the publisher.
    pub async fn request_key_frame(&self, track: Track) {
        self.receiving.request_key_frame(track).await;
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub async fn say(&self, text: &str) -> bool {
        self.channel.try_send_text(text).await.is_ok()
    }

    /// The current counters.
    pub fn stats(&self) -> ViewerStats {
        self.receiving.stats()
    }

    /// Closes the connection, and waits at most a second for that.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.connection.close()).await;
    }
}

/// Converts messages of the data channel to events, until the channel closes. A message that finds no room is dropped.
pub(crate) async fn receive_messages(channel: Arc<dyn DataChannel>, events: mpsc::Sender<ViewerEvent>) {
    while let Some(event) = channel.poll().await {
        let event = match event {
            DataChannelEvent::OnOpen => ViewerEvent::ChannelOpen,
            DataChannelEvent::OnMessage(message) if message.is_string => {
                ViewerEvent::Heard(String::from_utf8_lossy(&message.data).into_owned())
            }
            _ => continue,
        };
        let _ = events.try_send(event);
    }
}

/// Whether this machine has an IPv6 address by which others can reach it. Without one the library would bind `[::]`
/// itself and offer that as a candidate.
pub fn has_ipv6() -> bool {
    let is_real = |ip| matches!(ip, IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local());
    if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| is_real(interface.ip()))
}

struct Handler {
    events: mpsc::Sender<ViewerEvent>,
    receiving: ReceivingHalf,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.events.try_send(ViewerEvent::Candidate(candidate));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let event = match state {
            RTCPeerConnectionState::Connected => ViewerEvent::Connected,
            RTCPeerConnectionState::Disconnected => ViewerEvent::Disturbed,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => ViewerEvent::Gone,
            _ => return,
        };
        let _ = self.events.try_send(event);
    }

    async fn on_track(&self, remote: Arc<dyn TrackRemote>) {
        self.receiving.on_track(remote).await;
    }
}
