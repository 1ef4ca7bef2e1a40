//! A publisher as a browser is one: a WebSocket, and a connection that sends the test picture to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use classroom::media::{Capture, CaptureEvent, CaptureOptions, MainSource, Sources, Tiers, VideoOptions};
use classroom::protocol::channel::{CHANNEL_LABEL, PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, ServerMessage};
use classroom::rtp::{Codec, Encoding, Frame, Tier, Track, payload_offset};
use classroom::sdp::engine;
use futures_util::{SinkExt, StreamExt};
use rtc::interceptor::{NackResponderBuilder, Registry, SenderReportBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

use super::{Classroom, DEADLINE, ROOM};

/// The screen of the publisher: small, as these tests do not depend on encoding speed.
const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

/// The WebSocket of a publisher.
pub struct Desk {
    socket: WebSocketStream<TcpStream>,
}

impl Desk {
    /// Opens the WebSocket as the publisher 9999; `more` goes into the query. Returns the server's first message too.
    pub async fn open(class: &Classroom, more: &str) -> (Self, ServerMessage) {
        let address = class.url().replace("ws://", "");
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/ws?roomId={ROOM}&userId=9999&nickname=Ms+Li&pub=pub&auth=1&{more}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        socket.send(Message::text(r#"{"type":"auth","session":"publisherpublisher"}"#)).await.unwrap();
        let mut desk = Self { socket };
        let first = desk.hear().await;
        (desk, first)
    }

    /// Joins with `media=server`, and asserts that the server agrees.
    pub async fn join(class: &Classroom, epoch: u32) -> Self {
        let (desk, first) = Self::open(class, &format!("media=server&epoch={epoch}")).await;
        assert!(matches!(first, ServerMessage::Joined { .. }), "{first:?}");
        desk
    }

    /// The next message.
    pub async fn hear(&mut self) -> ServerMessage {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("a message") {
                Some(Ok(Message::Text(text))) => return ServerMessage::parse(&text).unwrap(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads until a message is the expected one.
    pub async fn hear_until(&mut self, is_it: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        loop {
            let message = self.hear().await;
            if is_it(&message) {
                return message;
            }
        }
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.socket.send(Message::text(message.to_json())).await.unwrap();
    }

    /// Sends an offer of the publisher and returns the answer.
    pub async fn offer(&mut self, sdp: &str) -> String {
        let (target_uid, sdp) = ("9999".parse().unwrap(), sdp.to_owned());
        let offer = ClientMessage::Offer { target_uid, sdp, video: None, tracks: None };
        loop {
            self.say(&offer).await;
            let reply =
                |message: &ServerMessage| matches!(message, ServerMessage::Answer { .. } | ServerMessage::Error { .. });
            match self.hear_until(reply).await {
                ServerMessage::Answer { sdp, .. } => return sdp,
                ServerMessage::Error { code: ErrorCode::TargetBusy | ErrorCode::FloodedMessages, .. } => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Says goodbye.
    pub async fn leave(mut self, over: bool) {
        self.say(&ClientMessage::Leave { over }).await;
        _ = timeout(DEADLINE, self.socket.next()).await;
    }
}

/// The connection of a publisher that sends the test picture and a tone.
pub struct Publisher {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    heard: mpsc::UnboundedReceiver<String>,
    /// Whether the screen is sent.
    screen_on: Arc<AtomicBool>,
    _capture: Arc<Capture>,
    _captured: mpsc::Receiver<CaptureEvent>,
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

impl Publisher {
    /// Connects to the server over this WebSocket.
    pub async fn connect(desk: &mut Desk) -> Self {
        let registry = Registry::new()
            .with(Slot::NackResponder, NackResponderBuilder::new().build())
            .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(Duration::from_millis(500)).build())
            .with(Slot::from(14_000), engine::Tap::delivering_rtcp());
        let (gathered, mut when_gathered) = mpsc::unbounded_channel();
        let (connected, mut when_connected) = mpsc::unbounded_channel();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::Vp8]).unwrap())
            .with_setting_engine(engine::settings().build())
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler { gathered, connected }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(connection).await.unwrap());
        let mut senders = Vec::new();
        for (track, codec) in [(Track::Audio, Codec::Opus), (Track::Screen, Codec::Vp8)] {
            let (media, ssrc) = media_track(track, codec);
            let local = Arc::new(TrackLocalStaticRTP::new(media));
            connection.add_track(Arc::clone(&local) as Arc<dyn TrackLocal>).await.unwrap();
            senders.push(Sender { track, codec, local, ssrc, sequence_number: 1 });
        }
        for transceiver in connection.get_transceivers().await {
            transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly).await.unwrap();
        }
        let channel = connection.create_data_channel(CHANNEL_LABEL, None).await.unwrap();
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        timeout(DEADLINE, when_gathered.recv()).await.expect("all candidates");
        let sdp = connection.local_description().await.unwrap().sdp;

        let answer = desk.offer(&sdp).await;
        connection.set_remote_description(RTCSessionDescription::answer(answer).unwrap()).await.unwrap();
        timeout(DEADLINE, when_connected.recv()).await.expect("a connection to the server");
        let (messages, heard) = mpsc::unbounded_channel();
        let of_channel = Arc::clone(&channel);
        tokio::spawn(async move {
            while let Some(event) = of_channel.poll().await {
                if let DataChannelEvent::OnMessage(message) = event {
                    let _ = messages.send(String::from_utf8_lossy(&message.data).into_owned());
                }
            }
        });
        let screen_on = Arc::new(AtomicBool::new(true));
        let (capture, captured) = teach(senders, &screen_on);
        Self { connection, channel, heard, screen_on, _capture: capture, _captured: captured }
    }

    /// Switches the screen on or off, as a page that stops sharing.
    pub fn set_screen(&self, is_on: bool) {
        self.screen_on.store(is_on, Ordering::Relaxed);
    }

    /// Says something over the data channel.
    pub async fn say(&self, message: &StudentMessage) {
        let begun = Instant::now();
        while self.channel.try_send_text(&message.to_json()).await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "the channel is closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads from the data channel until a message is the expected one.
    pub async fn hear_until(&mut self, what: &str, is_it: impl Fn(&PublisherMessage) -> bool) -> PublisherMessage {
        let heard = async {
            loop {
                let text = self.heard.recv().await.expect("an open channel");
                let message = PublisherMessage::parse(&text).unwrap();
                if is_it(&message) {
                    return message;
                }
            }
        };
        timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _ = timeout(DEADLINE, self.connection.close()).await;
    }
}

/// One track of the publisher.
struct Sender {
    track: Track,
    codec: Codec,
    local: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    sequence_number: u16,
}

impl Sender {
    async fn send(&mut self, frame: &Frame) {
        for packet in frame.packets() {
            let payload = &packet[payload_offset(packet).unwrap()..];
            let header = rtc::rtp::Header {
                version: 2,
                marker: packet[1] & 0x80 != 0,
                payload_type: engine::payload_type(self.codec),
                sequence_number: self.sequence_number,
                timestamp: frame.timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            };
            self.sequence_number = self.sequence_number.wrapping_add(1);
            let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
            // This fails once the connection is closed.
            let _ = self.local.write_rtp(packet).await;
        }
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

/// Captures the test picture and gives it to the senders, with a key frame for each request.
fn teach(senders: Vec<Sender>, screen_on: &Arc<AtomicBool>) -> (Arc<Capture>, mpsc::Receiver<CaptureEvent>) {
    let options = CaptureOptions {
        sources: Sources::only(MainSource::Test),
        codec: Some(Codec::Vp8),
        tiers: Tiers::Full,
        screen: VideoOptions { size: Some("320x180".parse().unwrap()), fps: 20, bitrate: Some(400_000) },
        ..CaptureOptions::default()
    };
    let (frames, mut captured_frames) = mpsc::unbounded_channel();
    let prepared = Capture::prepare(options).unwrap();
    let (capture, captured) = Capture::start(prepared, move |frame| _ = frames.send(frame)).unwrap();
    let capture = Arc::new(capture);
    for sender in senders.iter().filter(|sender| sender.track.is_video()) {
        let (local, capture) = (Arc::clone(&sender.local), Arc::clone(&capture));
        tokio::spawn(async move {
            while let Some(TrackLocalEvent::OnRtcpPacket(packets)) = local.poll().await {
                if packets.iter().any(|packet| packet.as_any().is::<PictureLossIndication>()) {
                    capture.request_key_frame(SCREEN);
                }
            }
        });
    }
    let (mut senders, screen_on) = (senders, Arc::clone(screen_on));
    tokio::spawn(async move {
        while let Some(frame) = captured_frames.recv().await {
            let is_sent = !frame.track.is_video() || frame.encoding() == SCREEN && screen_on.load(Ordering::Relaxed);
            if let Some(sender) = senders.iter_mut().find(|sender| is_sent && sender.track == frame.track) {
                sender.send(&frame).await;
            }
        }
    });
    (capture, captured)
}
