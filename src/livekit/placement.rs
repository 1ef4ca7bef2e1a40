//! A student at LiveKit: this program joins the room in its name, passes on its offer and LiveKit's answer, and learns
//! when LiveKit has lost the student or is gone itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{Message as Frame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::error::LiveKitError;
use super::joined::{self, Joined};
use super::key::Right;
use super::server::{LiveKitRoom, PUBLISHER};
use super::wire::{self, MAX_CANDIDATES, MAX_MESSAGE_BYTES, Request, Response};
use crate::id::UserId;
use crate::protocol::IceCandidate;
use crate::rtp::Track;
use crate::signal::dial;
use crate::tls::Stream;

/// The time limit of an offer, from TCP to LiveKit's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// The pause before a student asks again for a lecture that has not arrived.
const ASKS_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// LiveKit ends the signalling of a client that is silent for 15 s.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A LiveKit that says nothing for this long is gone. It answers each ping.
const SILENT_FOR: Duration = Duration::from_secs(8);

/// The time limit of a goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Candidates of a student that may wait to be sent, and events that may wait for the application.
const QUEUE: usize = 64;

type Socket = WebSocketStream<Stream>;

/// What a student wants.
#[derive(Debug, Clone)]
pub struct PlacementRequest {
    /// The student.
    pub student: UserId,
    /// Its offer, without a data channel.
    pub offer: String,
    /// The tracks that it wants.
    pub tracks: Vec<Track>,
    /// Whether all of them must have arrived at LiveKit.
    pub needs_all: bool,
}

/// An event of a placement.
#[derive(Debug)]
pub enum PlacementEvent {
    /// LiveKit's answer.
    Answer {
        /// The session description as LiveKit wrote it.
        sdp: String,
        /// The track of each section that sends, by mid.
        tracks: BTreeMap<String, Track>,
    },
    /// A candidate of LiveKit.
    Candidate(IceCandidate),
    /// The last event: there is no answer, or the student's media has ended.
    Gone(LiveKitError),
}

/// A student at LiveKit. Dropping it takes the student out of the room.
#[derive(Debug)]
pub struct Placement {
    candidates: mpsc::Sender<IceCandidate>,
    events: mpsc::Receiver<PlacementEvent>,
    _task: JoinHandle<()>,
}

impl Placement {
    /// Begins to place a student.
    pub fn start(room: LiveKitRoom, request: PlacementRequest) -> Self {
        let (candidates, waiting) = mpsc::channel(QUEUE);
        let (events, received) = mpsc::channel(QUEUE);
        let task = Task { room, request, candidates: waiting, events };
        Self { candidates, events: received, _task: tokio::spawn(task.run()) }
    }

    /// A candidate of the student. One too many is lost, which does no harm: LiveKit learns the address from checks.
    pub fn candidate(&self, candidate: IceCandidate) {
        let _ = self.candidates.try_send(candidate);
    }

    /// The next event; `None` after [`PlacementEvent::Gone`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<PlacementEvent> {
        self.events.recv().await
    }
}

struct Task {
    room: LiveKitRoom,
    request: PlacementRequest,
    /// Closed once the application has dropped the placement.
    candidates: mpsc::Receiver<IceCandidate>,
    events: mpsc::Sender<PlacementEvent>,
}

/// The connection to LiveKit.
struct Signalling {
    sink: SplitSink<Socket, Frame>,
    stream: SplitStream<Socket>,
}

/// The media sections that an offer still needs, by LiveKit's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sections {
    audio: u32,
    video: u32,
}

impl Sections {
    /// Those for these tracks.
    fn of(tracks: impl Iterator<Item = Track>) -> Self {
        tracks.fold(Self::default(), |Self { audio, video }, track| match track.is_video() {
            true => Self { audio, video: video + 1 },
            false => Self { audio: audio + 1, video },
        })
    }

    fn with(self, audio: u32, video: u32) -> Self {
        Self { audio: self.audio.saturating_add(audio), video: self.video.saturating_add(video) }
    }

    fn contains(self, other: Self) -> bool {
        self.audio >= other.audio && self.video >= other.video
    }
}

impl Task {
    async fn run(mut self) {
        let until = Instant::now() + ANSWER_WITHIN;
        let opened = loop {
            match timeout_at(until, self.open()).await {
                // The student may be the one whose offer has started the lecture there.
                Ok(Err(LiveKitError::NotYet))
                    if Instant::now() + ASKS_AGAIN_AFTER < until && !self.candidates.is_closed() =>
                {
                    sleep(ASKS_AGAIN_AFTER).await;
                }
                opened => break opened,
            }
        };
        let slow = |_| LiveKitError::broken(format!("does not answer an offer within {} s", ANSWER_WITHIN.as_secs()));
        let gone = match opened.map_err(slow).flatten() {
            Ok(mut signalling) => {
                let end = self.stay(&mut signalling).await;
                signalling.end().await;
                end
            }
            Err(error) => Some(error),
        };
        if let Some(error) = gone {
            let _ = self.events.send(PlacementEvent::Gone(error)).await;
        }
    }

    /// From the connection to the answer.
    async fn open(&mut self) -> Result<Signalling, LiveKitError> {
        // A second session of an identity ends the first one.
        let identity = format!("student:{}", self.request.student);
        let mut signalling = Signalling::open(&self.room, &identity).await?;
        let Joined { tracks } = signalling.joined().await?;
        let wanted: Vec<_> = tracks.iter().filter(|one| self.request.tracks.contains(&one.track)).collect();
        if wanted.is_empty() || self.request.needs_all && wanted.len() < self.request.tracks.len() {
            return Err(LiveKitError::NotYet);
        }
        let track_sids = wanted.iter().map(|one| one.sid.as_str()).collect();
        signalling.send(Request::Subscription { track_sids, subscribe: true }).await?;
        let (needed, mut said) = (Sections::of(wanted.iter().map(|one| one.track)), Sections::default());
        while !said.contains(needed) {
            match signalling.next().await? {
                Response::Sections { audio, video } => said = said.with(audio, video),
                Response::NoSubscription => return Err(LiveKitError::NotYet),
                Response::Leave(reason) => return Err(left(&reason)),
                _ => {}
            }
        }
        signalling.send(Request::offer(&self.request.offer)).await?;
        loop {
            match signalling.next().await? {
                Response::Answer { sdp, tracks: sids } => {
                    let track = |sid: &str| wanted.iter().find(|one| one.sid == sid).map(|one| one.track);
                    let tracks = sids.into_iter().filter_map(|(mid, sid)| Some((mid, track(&sid)?))).collect();
                    self.tell(PlacementEvent::Answer { sdp, tracks }).await;
                    return Ok(signalling);
                }
                Response::Leave(reason) => return Err(left(&reason)),
                _ => {}
            }
        }
    }

    /// From the answer to the end. Returns the reason, unless the application wants no more.
    async fn stay(&mut self, signalling: &mut Signalling) -> Option<LiveKitError> {
        let (mut ping, mut silent) = (Instant::now() + PING_EVERY, Instant::now() + SILENT_FOR);
        let mut more_candidates = MAX_CANDIDATES;
        loop {
            let response = tokio::select! {
                response = signalling.next() => response,
                candidate = self.candidates.recv() => match candidate {
                    Some(candidate) => match signalling.send(Request::candidate(&candidate)).await {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                    None => return None,
                },
                () = sleep_until(ping.min(silent)) => {
                    if silent <= Instant::now() {
                        return Some(LiveKitError::broken("does not answer any more"));
                    }
                    ping = Instant::now() + PING_EVERY;
                    match signalling.send(Request::ping()).await {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    }
                }
            };
            silent = Instant::now() + SILENT_FOR;
            match response {
                Ok(Response::Candidate(candidate)) if more_candidates > 0 => {
                    more_candidates -= 1;
                    self.tell(PlacementEvent::Candidate(candidate)).await;
                }
                Ok(Response::Leave(reason)) => return Some(left(&reason)),
                Ok(_) => {}
                Err(error) => return Some(error),
            }
        }
    }

    /// The application takes events all the time; one that has gone needs none.
    async fn tell(&self, event: PlacementEvent) {
        let _ = self.events.send(event).await;
    }
}

fn left(reason: &str) -> LiveKitError {
    let reason = if reason.is_empty() { "no reason given" } else { reason };
    LiveKitError::broken(format!("has ended the session ({reason})"))
}

impl Signalling {
    async fn open(room: &LiveKitRoom, identity: &str) -> Result<Self, LiveKitError> {
        let (url, server) = (&room.server.url, room.server.url.server());
        let token = room.token(identity, Right::Subscribe)?;
        let stream = dial(server.host(), server.port(), None).await;
        let stream = stream.map_err(|error| LiveKitError::Unreachable(error.to_string()))?;
        // The messages are small and urgent, so Nagle's algorithm is off.
        stream.set_nodelay(true).map_err(|error| LiveKitError::Unreachable(error.to_string()))?;
        let stream: Stream = if server.uses_tls() {
            room.server.trust.connect(stream, server.host()).await.map_err(LiveKitError::Tls)?
        } else {
            Box::new(stream)
        };
        let not_livekit = |error: Error| LiveKitError::NotLiveKit(error.to_string());
        let mut request = url.web_socket(&wire::path()).into_client_request().map_err(not_livekit)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer.map_err(|_| LiveKitError::broken("has a key that no header can carry"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let limits = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(16 * 1024)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let socket = match client_async_with_config(request, stream, Some(limits)).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => {
                return Err(match response.status().as_u16() {
                    status @ (401 | 403) => LiveKitError::Key(status),
                    status @ 500.. => LiveKitError::Unreachable(format!("it answered {status}")),
                    status => LiveKitError::NotLiveKit(format!("it answered {status}")),
                });
            }
            Err(error @ Error::Io(_)) => return Err(LiveKitError::Unreachable(error.to_string())),
            Err(error) => return Err(not_livekit(error)),
        };
        let (sink, stream) = socket.split();
        Ok(Self { sink, stream })
    }

    /// The first message.
    async fn joined(&mut self) -> Result<Joined, LiveKitError> {
        loop {
            match self.frame().await? {
                Frame::Binary(message) => {
                    let joined = joined::read(&message, PUBLISHER);
                    return joined
                        .ok_or_else(|| LiveKitError::NotLiveKit("its first message is no JoinResponse".into()));
                }
                Frame::Text(_) => return Err(LiveKitError::NotLiveKit("its first message is text".into())),
                _ => {}
            }
        }
    }

    /// The next response. Binary messages precede our first request, and say nothing that matters. Cancel-safe.
    async fn next(&mut self) -> Result<Response, LiveKitError> {
        match self.frame().await? {
            Frame::Text(text) => wire::parse(&text).map_err(LiveKitError::Broken),
            _ => Ok(Response::Other),
        }
    }

    async fn frame(&mut self) -> Result<Frame, LiveKitError> {
        match self.stream.next().await {
            Some(Ok(Frame::Close(_))) | None => Err(LiveKitError::broken("has closed the connection")),
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(LiveKitError::broken(format!("is no longer reachable ({error})"))),
        }
    }

    async fn send(&mut self, request: Request<'_>) -> Result<(), LiveKitError> {
        match timeout(CLOSE_WITHIN, self.sink.send(Frame::text(request.to_json()))).await {
            Ok(sent) => sent.map_err(|error| LiveKitError::broken(format!("is no longer reachable ({error})"))),
            Err(_) => Err(LiveKitError::broken("takes no more messages")),
        }
    }

    /// Says goodbye.
    async fn end(mut self) {
        if self.send(Request::leave()).await.is_ok() {
            let _ = timeout(CLOSE_WITHIN, self.sink.close()).await;
        }
    }
}
