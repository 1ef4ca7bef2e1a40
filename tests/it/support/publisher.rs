//! A publisher as a browser is one: a WebSocket, and a connection that sends the test picture to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use classroom::media::{Capture, CaptureEvent, CaptureOptions, MainSource, Sources, Tiers, VideoOptions};
use classroom::protocol::channel::{PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, ServerMessage};
use classroom::rtp::{Codec, Encoding, Frame, Tier, Track, payload_offset};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::sending::{Sender, Sending};
use super::{Classroom, DEADLINE, Site};

/// The screen of the publisher: small, as these tests do not depend on encoding speed.
const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

/// The WebSocket of a publisher, or of a student on the stage.
pub struct Desk {
    user: String,
    socket: WebSocketStream<TcpStream>,
}

impl Desk {
    /// Opens the WebSocket as the publisher 9999; `more` goes into the query. Returns the server's first message too.
    pub async fn open(at: impl Into<Site>, more: &str) -> (Self, ServerMessage) {
        Self::open_as(at.into(), "9999", &format!("nickname=Ms+Li&pub=pub&{more}")).await
    }

    /// As [`Desk::open`], in another room.
    pub async fn open_in(class: &Classroom, room: &str, more: &str) -> (Self, ServerMessage) {
        Self::open(Site { room: room.to_owned(), ..class.into() }, more).await
    }

    /// Joins as a student.
    pub async fn student(class: &Classroom, user: u32) -> Self {
        let (desk, first) = Self::open_as(class.into(), &user.to_string(), "pub=no&epoch=7").await;
        assert!(matches!(first, ServerMessage::Joined { .. }), "{first:?}");
        desk
    }

    async fn open_as(Site { address, room }: Site, user: &str, more: &str) -> (Self, ServerMessage) {
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/ws?roomId={room}&userId={user}&auth=1&{more}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        socket.send(Message::text(r#"{"type":"auth","session":"publisherpublisher"}"#)).await.unwrap();
        let mut desk = Self { user: user.to_owned(), socket };
        let first = desk.hear().await;
        (desk, first)
    }

    /// Joins with `media=server`, and asserts that the server agrees.
    pub async fn join(at: impl Into<Site>, epoch: u32) -> Self {
        let (desk, first) = Self::open(at, &format!("media=server&epoch={epoch}")).await;
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

    /// Reads for ever, and calls `heard` with each message.
    #[allow(dead_code, reason = "the hostile bench listens")]
    pub async fn listen(mut self, mut heard: impl FnMut(ServerMessage)) {
        while let Some(Ok(message)) = self.socket.next().await {
            if let Some(message) = message.to_text().ok().and_then(|text| ServerMessage::parse(text).ok()) {
                heard(message);
            }
        }
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.socket.send(Message::text(message.to_json())).await.unwrap();
    }

    /// Sends an offer of the publisher and returns the answer.
    pub async fn offer(&mut self, sdp: &str) -> String {
        let (target_uid, sdp) = (self.user.parse().unwrap(), sdp.to_owned());
        let offer = ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: None };
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
    sending: Sending,
    /// Whether the screen is sent.
    screen_on: Arc<AtomicBool>,
    _capture: Arc<Capture>,
    _captured: mpsc::Receiver<CaptureEvent>,
}

impl Publisher {
    /// Connects to the server over this WebSocket.
    pub async fn connect(desk: &mut Desk) -> Self {
        let tracks = [(Track::Audio, Codec::Opus), (Track::Screen, Codec::Vp8)];
        let (mut sending, senders, offer) = Sending::offer(&tracks).await;
        let answer = desk.offer(&offer).await;
        sending.answer(answer).await;
        timeout(DEADLINE, sending.connected.recv()).await.expect("a connection to the server");
        let screen_on = Arc::new(AtomicBool::new(true));
        let (capture, captured) = teach(senders, &screen_on);
        Self { sending, screen_on, _capture: capture, _captured: captured }
    }

    /// Switches the screen on or off, as a page that stops sharing.
    pub fn set_screen(&self, is_on: bool) {
        self.screen_on.store(is_on, Ordering::Relaxed);
    }

    /// Says something over the data channel.
    pub async fn say(&self, message: &StudentMessage) {
        let begun = Instant::now();
        while self.sending.channel.try_send_text(&message.to_json()).await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "the channel is closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads from the data channel until a message is the expected one.
    pub async fn hear_until(&mut self, what: &str, is_it: impl Fn(&PublisherMessage) -> bool) -> PublisherMessage {
        let heard = async {
            loop {
                let text = self.sending.heard.recv().await.expect("an open channel");
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
        let _ = timeout(DEADLINE, self.sending.connection.close()).await;
    }
}

/// Sends the packets of a frame.
async fn send(sender: &mut Sender, frame: &Frame) {
    for packet in frame.packets() {
        let payload = Bytes::copy_from_slice(&packet[payload_offset(packet).unwrap()..]);
        sender.send(frame.timestamp, packet[1] & 0x80 != 0, payload).await;
    }
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
        let capture = Arc::clone(&capture);
        sender.on_key_frame_request(move || capture.request_key_frame(SCREEN));
    }
    let (mut senders, screen_on) = (senders, Arc::clone(screen_on));
    tokio::spawn(async move {
        while let Some(frame) = captured_frames.recv().await {
            let is_sent = !frame.track.is_video() || frame.encoding() == SCREEN && screen_on.load(Ordering::Relaxed);
            if let Some(sender) = senders.iter_mut().find(|sender| is_sent && sender.track == frame.track) {
                send(sender, &frame).await;
            }
        }
    });
    (capture, captured)
}
