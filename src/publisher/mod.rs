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
mod stream;
mod tier_switch;
mod uplink;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rtc::interceptor::{Registry, SenderReportBuilder, Slot};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

use self::extensions::ExtensionIds;
use self::interceptor::{SharedUplink, UplinkInterceptor};
pub use self::offer::Layering;
use self::offer::OfferedTrack;
pub use self::uplink::PublisherStats;
use self::uplink::Uplink;
use crate::protocol::OfferedTracks;
use crate::protocol::channel::{CHANNEL_LABEL, NeededEncoding, SentTier};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track, payload_offset};
use crate::sdp::engine;
use crate::sdp::ice::IceServer;

/// The most events that may wait: states, candidates, and orders to the encoders.
const EVENT_QUEUE: usize = 256;

/// The most frames that wait for the connection: half a second of audio and two videos.
const FRAME_QUEUE: usize = 64;

/// The most bytes that may be in flight over the data channel.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The interval of sender reports, by which the receiver synchronises audio and video.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The time limit of [`Publisher::close`].
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The setup of a publisher.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// The addresses to bind UDP sockets to; an unspecified address means one socket for each interface.
    pub bind: Vec<String>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// The encodings of the capture with their bit rates in bits per second, each track best first. The first codec of
    /// each video is offered.
    pub encodings: Vec<(Encoding, u32)>,
    /// How the tiers of a video are sent.
    pub layering: Layering,
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

/// A publisher's offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherOffer {
    /// The session description.
    pub sdp: String,
    /// The track of each section, by mid.
    pub tracks: OfferedTracks,
}

/// The way of frames into a connection.
#[derive(Debug, Clone)]
pub struct FrameInput {
    frames: mpsc::Sender<Frame>,
    /// Whether a frame found no room.
    has_lost: Arc<AtomicBool>,
}

impl FrameInput {
    /// Sends a frame, if somebody needs its encoding. Does not block: a frame that finds no room is lost, and its track
    /// goes on with a key frame.
    pub fn push(&self, frame: Frame) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            self.has_lost.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that sends. It must be [closed](Self::close): the library keeps a dropped one alive.
pub struct Publisher {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    uplink: SharedUplink,
    events: mpsc::Sender<PublisherEvent>,
    input: FrameInput,
    sending: tokio::task::JoinHandle<()>,
}

impl Publisher {
    /// Makes a connection and its offer: a sendonly section for each track, and the data channel.
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
        let (mut streams, mut locals, mut sections) = (Vec::new(), Vec::new(), Vec::new());
        for OfferedTrack { media, streams: of_track } in offered {
            let local = Arc::new(TrackLocalStaticRTP::new(media));
            sections.push(of_track.len());
            locals.extend(of_track.iter().map(|_| Arc::clone(&local)));
            streams.extend(of_track);
        }
        let headers: Vec<(u32, u8)> =
            streams.iter().map(|stream| (stream.ssrc, engine::payload_type(stream.codec))).collect();
        let mut encodings = config.encodings;
        encodings.retain(|(e, _)| streams.iter().any(|stream| (stream.track, stream.codec) == (e.track, e.codec)));
        let uplink = SharedUplink::new(Uplink::new(Instant::now(), streams, encodings));
        let registry = Registry::new()
            .with(Slot::CongestionControl, UplinkInterceptor::new(uplink.clone(), events.clone()))
            .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(REPORT_EVERY).build());
        let servers = config.ice_servers.into_iter().map(RTCIceServer::from);
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers.collect()).build())
            .with_media_engine(offer::media_engine(&video)?)
            .with_setting_engine(engine::settings().with_write_ssrc_attributes_for_simulcast(true).build())
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler { events: events.clone(), uplink: uplink.clone() }))
            .with_udp_addrs(config.bind)
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .build();
        // Boxed, because the library's future has 20 kB.
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await?);
        let mut first = 0;
        for count in sections {
            connection.add_track(Arc::clone(&locals[first]) as Arc<dyn TrackLocal>).await?;
            first += count;
        }
        for transceiver in connection.get_transceivers().await {
            transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly).await?;
        }
        let channel = connection.create_data_channel(CHANNEL_LABEL, None).await?;
        tokio::spawn(receive_messages(Arc::clone(&channel), events.clone()));
        let description = connection.create_offer(None).await?;
        connection.set_local_description(description).await?;
        let sdp = connection.local_description().await.ok_or(Error::ErrConnectionClosed)?.sdp;
        let tracks = uplink.lock().set_mids(&offer::mids(&sdp));
        let (frames, frame_queue) = mpsc::channel(FRAME_QUEUE);
        let input = FrameInput { frames, has_lost: Arc::default() };
        let sending = Sending {
            uplink: uplink.clone(),
            events: events.clone(),
            streams: locals.into_iter().zip(headers).collect(),
            has_lost: Arc::clone(&input.has_lost),
        };
        let sending = tokio::spawn(sending.run(frame_queue));
        let publisher = Self { connection, channel, uplink, events, input, sending };
        Ok((publisher, PublisherOffer { sdp, tracks }, event_queue))
    }

    /// Applies the host's answer.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer.
    pub async fn answer(&self, sdp: String) -> Result<(), Error> {
        self.uplink.lock().answered(ExtensionIds::of(&sdp));
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await
    }

    /// Adds a candidate of the host. A malformed one is ignored.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        let _ = self.connection.add_ice_candidate(candidate).await;
    }

    /// The way of frames into this connection.
    pub fn input(&self) -> FrameInput {
        self.input.clone()
    }

    /// Somebody needs exactly these encodings of videos; the others are not sent.
    pub fn need(&self, needed: &[NeededEncoding]) {
        let tier = |sent: SentTier| match sent {
            SentTier::Full => Some(Tier::Full),
            SentTier::Low => Some(Tier::Low),
            SentTier::None | SentTier::Unknown => None,
        };
        let needed = needed.iter().filter_map(|encoding| Some((Track::from(encoding.track), tier(encoding.tier)?)));
        self.uplink.lock().need(Instant::now(), needed.collect());
        self.uplink.pass_orders(&self.events);
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub async fn say(&self, text: &str) -> bool {
        self.channel.try_send_text(text).await.is_ok()
    }

    /// The tier of a video that the uplink carries; `None` if it carries audio alone.
    pub fn carried(&self, track: Track) -> Option<Tier> {
        self.uplink.lock().layers().of(track)
    }

    /// The capacity of the uplink in kbit/s, if it is known and not very high.
    pub fn estimate_kbps(&self) -> Option<u32> {
        self.uplink.lock().estimate_kbps(Instant::now())
    }

    /// The current counters.
    pub fn stats(&self) -> PublisherStats {
        self.uplink.lock().stats()
    }

    /// Closes the connection, and waits at most a second for that.
    pub async fn close(self) {
        self.sending.abort();
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.connection.close()).await;
    }
}

/// The task that turns frames into packets.
struct Sending {
    uplink: SharedUplink,
    events: mpsc::Sender<PublisherEvent>,
    /// The track, the SSRC and the payload type of each stream.
    streams: Vec<(Arc<TrackLocalStaticRTP>, (u32, u8))>,
    has_lost: Arc<AtomicBool>,
}

impl Sending {
    async fn run(self, mut frames: mpsc::Receiver<Frame>) {
        while let Some(frame) = frames.recv().await {
            let stream = {
                let (mut uplink, now) = (self.uplink.lock(), Instant::now());
                if self.has_lost.swap(false, Ordering::Relaxed) {
                    uplink.lost_frames(now);
                }
                uplink.takes(now, &frame)
            };
            self.uplink.pass_orders(&self.events);
            let Some((local, (ssrc, payload_type))) = stream.and_then(|n| self.streams.get(n)) else { continue };
            for packet in frame.packets() {
                let Some(payload) = payload_offset(packet).and_then(|at| packet.get(at..)) else { continue };
                let header = rtc::rtp::Header {
                    version: 2,
                    marker: packet[1] & 0x80 != 0,
                    payload_type: *payload_type,
                    timestamp: frame.timestamp,
                    ssrc: *ssrc,
                    ..Default::default()
                };
                let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
                // This fails before the answer and after the end; nothing is sent then.
                let _ = local.write_rtp(packet).await;
            }
        }
    }
}

/// Converts messages of the data channel to events, until the channel closes. A message that finds no room is dropped.
async fn receive_messages(channel: Arc<dyn DataChannel>, events: mpsc::Sender<PublisherEvent>) {
    while let Some(event) = channel.poll().await {
        let event = match event {
            DataChannelEvent::OnOpen => PublisherEvent::ChannelOpen,
            DataChannelEvent::OnMessage(message) if message.is_string => {
                PublisherEvent::Heard(String::from_utf8_lossy(&message.data).into_owned())
            }
            _ => continue,
        };
        let _ = events.try_send(event);
    }
}

struct Handler {
    events: mpsc::Sender<PublisherEvent>,
    uplink: SharedUplink,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.events.try_send(PublisherEvent::Candidate(candidate));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let event = match state {
            RTCPeerConnectionState::Connected => {
                self.uplink.lock().connected(Instant::now());
                self.uplink.pass_orders(&self.events);
                PublisherEvent::Connected
            }
            RTCPeerConnectionState::Disconnected => PublisherEvent::Disturbed,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => PublisherEvent::Gone,
            _ => return,
        };
        let _ = self.events.try_send(event);
    }
}
