//! A connection that sends tracks and has a data channel: what publishers and speakers have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use classroom::protocol::channel::CHANNEL_LABEL;
use classroom::rtp::{Codec, Track};
use classroom::sdp::engine;
use rtc::interceptor::{NackResponderBuilder, Registry, SenderReportBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use tokio::sync::mpsc;
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

use super::DEADLINE;

/// A connection that sends.
pub struct Sending {
    pub connection: Arc<dyn PeerConnection>,
    pub channel: Arc<dyn DataChannel>,
    /// Messages over the data channel.
    pub heard: mpsc::UnboundedReceiver<String>,
    /// Gets one entry when the connection is established.
    pub connected: mpsc::UnboundedReceiver<()>,
}

struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    connected: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.send(());
        }
    }
}

impl Sending {
    /// A new connection, the senders of its tracks, and its offer with all candidates.
    pub async fn offer(tracks: &[(Track, Codec)]) -> (Self, Vec<Sender>, String) {
        let registry = Registry::new()
            .with(Slot::NackResponder, NackResponderBuilder::new().build())
            .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(Duration::from_millis(500)).build())
            .with(Slot::from(14_000), engine::Tap::delivering_rtcp());
        let (gathered, mut when_gathered) = mpsc::unbounded_channel();
        let (when_connected, connected) = mpsc::unbounded_channel();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::Vp8]).unwrap())
            .with_setting_engine(engine::settings().build())
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler { gathered, connected: when_connected }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(connection).await.unwrap());
        let mut senders = Vec::new();
        for (track, codec) in tracks.iter().copied() {
            let (media, ssrc) = media_track(track, codec);
            let local = Arc::new(TrackLocalStaticRTP::new(media));
            connection.add_track(Arc::clone(&local) as Arc<dyn TrackLocal>).await.unwrap();
            senders.push(Sender { track, codec, payload_type: None, local, ssrc, sequence_number: 1 });
        }
        for transceiver in connection.get_transceivers().await {
            transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly).await.unwrap();
        }
        let channel = connection.create_data_channel(CHANNEL_LABEL, None).await.unwrap();
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        timeout(DEADLINE, when_gathered.recv()).await.expect("all candidates");
        let sdp = connection.local_description().await.unwrap().sdp;
        let (messages, heard) = mpsc::unbounded_channel();
        let of_channel = Arc::clone(&channel);
        tokio::spawn(async move {
            while let Some(event) = of_channel.poll().await {
                if let DataChannelEvent::OnMessage(message) = event {
                    let _ = messages.send(String::from_utf8_lossy(&message.data).into_owned());
                }
            }
        });
        (Self { connection, channel, heard, connected }, senders, sdp)
    }

    pub async fn answer(&self, sdp: String) {
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp).unwrap()).await.unwrap();
    }
}

/// One track of a connection.
pub struct Sender {
    pub track: Track,
    pub codec: Codec,
    /// The payload type of its packets; none for that of the codec.
    pub payload_type: Option<u8>,
    local: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    sequence_number: u16,
}

impl Sender {
    /// Sends one packet, which is lost once the connection is closed.
    pub async fn send(&mut self, timestamp: u32, marker: bool, payload: Bytes) {
        let header = rtc::rtp::Header {
            version: 2,
            marker,
            payload_type: self.payload_type.unwrap_or(engine::payload_type(self.codec)),
            sequence_number: self.sequence_number,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let _ = self.local.write_rtp(rtc::rtp::Packet { header, payload }).await;
    }

    /// Calls `wanted` whenever the other end asks for a key frame.
    pub fn on_key_frame_request(&self, wanted: impl Fn() + Send + 'static) {
        let local = Arc::clone(&self.local);
        tokio::spawn(async move {
            while let Some(TrackLocalEvent::OnRtcpPacket(packets)) = local.poll().await {
                if packets.iter().any(|packet| packet.as_any().is::<PictureLossIndication>()) {
                    wanted();
                }
            }
        });
    }
}

fn media_track(track: Track, codec: Codec) -> (MediaStreamTrack, u32) {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let ssrc = rand::random::<u32>() | 1;
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    };
    let name = track.name().to_owned();
    (MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, vec![coding]), ssrc)
}
