//! A session of Janus over one WebSocket: requests with their replies, and the events that Janus sends by itself.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{Message as Frame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::error::JanusError;
use super::transactions::{NoReply, Received, Reply, Transactions, Unasked};
use super::url::JanusUrl;
use super::video_room::{self, RoomEvent, RoomRequest};
use super::wire::{Candidate, HandleId, Jsep, MAX_MESSAGE_BYTES, Message, Request, SUBPROTOCOL, SessionId};
use crate::signal::dial;
use crate::tls::{Stream, Trust};

/// The time limit from TCP to the upgrade.
const OPEN_WITHIN: Duration = Duration::from_secs(4);

/// The time limit of a reply. Before Janus offers to a subscriber it gathers candidates, with STUN for some seconds.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// The time limit of the reply to a [`Session::probe`].
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// Janus ends a session that is silent for 60 s.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// The time limit of a goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Events that may wait for the application. A Janus that sends more at once loses the connection.
const EVENT_QUEUE: usize = 256;

/// Requests that may wait to be sent.
const REQUEST_QUEUE: usize = 64;

type Socket = WebSocketStream<Stream>;

/// A Janus, and what it asks of its clients.
#[derive(Debug, Clone)]
pub struct JanusServer {
    /// The address.
    pub url: JanusUrl,
    /// The trust, if the address has TLS.
    pub trust: Trust,
    /// The token of a Janus with token authentication.
    pub token: Option<String>,
}

/// An event of a session.
#[derive(Debug)]
pub(super) enum SessionEvent {
    Unasked(Unasked),
    /// The last event: the connection is gone, and with it the session.
    Lost(JanusError),
}

/// A session. Dropping it without [`Session::end`] is a lost connection to Janus.
#[derive(Debug)]
pub(super) struct Session {
    url: JanusUrl,
    requests: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// An order of the application for the task.
enum Command {
    Request(Request, Option<oneshot::Sender<Result<Reply, JanusError>>>),
    Probe,
    End,
}

/// The receiver of a reply.
enum Waiter {
    Application(oneshot::Sender<Result<Reply, JanusError>>),
    /// The connection, which ends without a reply.
    Connection,
    Nobody,
}

impl Session {
    /// Connects, and opens a session. `known` is the address of the earlier connection, which is tried at once. Also
    /// returns the events, and the address.
    pub(super) async fn open(
        server: &JanusServer,
        known: Option<SocketAddr>,
    ) -> Result<(Self, mpsc::Receiver<SessionEvent>, Option<SocketAddr>), JanusError> {
        let url = &server.url;
        let unreachable = |cause: String| JanusError::Unreachable { url: url.clone(), cause };
        let stream = dial(url.server().host(), url.server().port(), known).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        // The messages are small and urgent, so Nagle's algorithm is off.
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        let address = stream.peer_addr().ok();
        let opening = async {
            let stream: Stream = if url.server().uses_tls() {
                server.trust.connect(stream, url.server().host()).await.map_err(|cause| match cause.may_change() {
                    true => unreachable(cause.to_string()),
                    false => JanusError::Tls { url: url.clone(), cause },
                })?
            } else {
                Box::new(stream)
            };
            upgrade(url, stream).await
        };
        let too_slow = |_| unreachable(format!("no answer within {} s", OPEN_WITHIN.as_secs()));
        let socket = timeout(OPEN_WITHIN, opening).await.map_err(too_slow)??;
        let (requests, commands) = mpsc::channel(REQUEST_QUEUE);
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let task = Task {
            server: server.clone(),
            commands,
            events,
            session: None,
            open: Transactions::new(),
            keepalive: Instant::now() + KEEPALIVE_EVERY,
        };
        let session = Self { url: url.clone(), requests, task: tokio::spawn(task.run(socket)) };
        session.request(Request::Create).await?;
        Ok((session, received, address))
    }

    /// Attaches to the VideoRoom plugin.
    pub(super) async fn attach(&self) -> Result<HandleId, JanusError> {
        match self.request(Request::Attach { plugin: video_room::PLUGIN }).await? {
            Reply::New(id) => Ok(HandleId::new(id)),
            _ => Err(JanusError::broken(&self.url, "attaches without a number")),
        }
    }

    /// A request to the VideoRoom plugin.
    pub(super) async fn room(
        &self,
        handle_id: HandleId,
        request: RoomRequest<'_>,
        jsep: Option<Jsep>,
    ) -> Result<(RoomEvent, Option<Jsep>), JanusError> {
        match self.request(Request::Message { handle_id, body: request.to_body(), jsep }).await? {
            Reply::Plugin(data, jsep) => {
                let event = video_room::parse(data).map_err(|error| JanusError::of_room(&self.url, error))?;
                Ok((event, jsep))
            }
            _ => Err(JanusError::broken(&self.url, "answers for no plugin")),
        }
    }

    /// Sends a candidate.
    pub(super) fn trickle(&self, handle_id: HandleId, candidate: Candidate) {
        self.send(Command::Request(Request::Trickle { handle_id, candidate }, None));
    }

    /// Ends a handle and its peer connection.
    pub(super) fn detach(&self, handle_id: HandleId) {
        self.send(Command::Request(Request::Detach { handle_id }, None));
    }

    /// Asks Janus for a sign of life: without one within two seconds the connection counts as lost.
    pub(super) fn probe(&self) {
        self.send(Command::Probe);
    }

    /// Ends the session with all its handles; takes one second at the most.
    pub(super) async fn end(mut self) {
        self.send(Command::Request(Request::Destroy, None));
        self.send(Command::End);
        let _ = timeout(CLOSE_WITHIN, &mut self.task).await;
    }

    /// A full queue means that the connection is stuck; its own deadlines notice that.
    fn send(&self, command: Command) {
        let _ = self.requests.try_send(command);
    }

    async fn request(&self, request: Request) -> Result<Reply, JanusError> {
        let (reply, replied) = oneshot::channel();
        let lost = |_| JanusError::broken(&self.url, "has closed the connection");
        let sent = self.requests.send(Command::Request(request, Some(reply))).await;
        sent.map_err(|_| JanusError::broken(&self.url, "has closed the connection"))?;
        replied.await.map_err(lost)?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Upgrades to a WebSocket with Janus's subprotocol.
async fn upgrade(url: &JanusUrl, stream: Stream) -> Result<Socket, JanusError> {
    let unreachable = |cause: String| JanusError::Unreachable { url: url.clone(), cause };
    let not_janus = |cause: String| JanusError::NotJanus { url: url.clone(), cause };
    let mut request = url.web_socket().into_client_request().map_err(|error| not_janus(error.to_string()))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) if response.status().is_server_error() => {
            Err(unreachable(format!("it answered {}", response.status())))
        }
        Err(Error::Http(response)) => Err(not_janus(format!("it answered {}", response.status()))),
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol))) => {
            Err(not_janus(format!("its WebSocket has no subprotocol {SUBPROTOCOL}")))
        }
        // A port forwarder whose target is not up yet closes the connection like this.
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(unreachable("it closed the connection".into())),
        Err(Error::Protocol(error)) => Err(not_janus(format!("it speaks another protocol, perhaps TLS ({error})"))),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

/// The task of a connection.
struct Task {
    server: JanusServer,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<SessionEvent>,
    session: Option<SessionId>,
    open: Transactions<Waiter>,
    keepalive: Instant,
}

/// Why a connection ends.
enum End {
    /// The application wants no more.
    Wanted,
    Lost(String),
}

impl Task {
    async fn run(mut self, socket: Socket) {
        let (mut sink, mut stream) = socket.split();
        let lost = match self.serve(&mut sink, &mut stream).await {
            End::Wanted => {
                let _ = timeout(CLOSE_WITHIN, sink.close()).await;
                return;
            }
            End::Lost(what) => JanusError::broken(&self.server.url, what),
        };
        // Those who wait for a reply get the reason, too. There is no space left only if nobody takes events.
        while let Some(waiter) = self.open.any() {
            waiter.tell(Err(lost.clone()));
        }
        let _ = self.events.try_send(SessionEvent::Lost(lost));
    }

    async fn serve(&mut self, sink: &mut SplitSink<Socket, Frame>, stream: &mut SplitStream<Socket>) -> End {
        loop {
            let due = self.open.due().map_or(self.keepalive, |due| due.min(self.keepalive));
            let sent = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Request(request, reply)) => {
                        self.send(sink, request, reply.map_or(Waiter::Nobody, Waiter::Application), REPLY_WITHIN).await
                    }
                    Some(Command::Probe) => {
                        self.send(sink, Request::Keepalive, Waiter::Connection, PROBE_WITHIN).await
                    }
                    Some(Command::End) | None => return End::Wanted,
                },
                frame = stream.next() => match frame {
                    Some(Ok(Frame::Text(text))) => self.on_text(&text),
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => Ok(()),
                    Some(Ok(Frame::Binary(_))) => Err("sends a binary message, which Janus does not".to_owned()),
                    Some(Ok(Frame::Close(_))) | None => Err("has closed the connection".to_owned()),
                    Some(Err(error)) => Err(format!("is no longer reachable ({error})")),
                },
                () = sleep_until(due) => self.on_due(sink).await,
            };
            if let Err(what) = sent {
                return End::Lost(what);
            }
        }
    }

    async fn on_due(&mut self, sink: &mut SplitSink<Socket, Frame>) -> Result<(), String> {
        let now = Instant::now();
        while let Some(waiter) = self.open.late(now) {
            if matches!(waiter, Waiter::Connection) {
                return Err("does not answer any more".to_owned());
            }
            waiter.tell(Err(JanusError::broken(&self.server.url, "has not answered a request in time")));
        }
        if self.keepalive > now {
            return Ok(());
        }
        self.send(sink, Request::Keepalive, Waiter::Connection, REPLY_WITHIN).await
    }

    async fn send(
        &mut self,
        sink: &mut SplitSink<Socket, Frame>,
        request: Request,
        waiter: Waiter,
        within: Duration,
    ) -> Result<(), String> {
        let now = Instant::now();
        let until = now + within;
        self.keepalive = now + KEEPALIVE_EVERY;
        let transaction = match self.open.begin(until, waiter, request.ends_with_ack()) {
            Ok(transaction) => transaction,
            Err(waiter) => {
                waiter.tell(Err(JanusError::broken(&self.server.url, "leaves too many requests without an answer")));
                return Ok(());
            }
        };
        let text = request.to_json(self.session, &transaction, self.server.token.as_deref());
        match timeout_at(until, sink.send(Frame::text(text))).await {
            Ok(sent) => sent.map_err(|error| format!("is no longer reachable ({error})")),
            Err(_) => Err("takes no more messages".to_owned()),
        }
    }

    fn on_text(&mut self, text: &str) -> Result<(), String> {
        match self.open.received(Message::parse(text)?) {
            Received::Reply(waiter, reply) => {
                // The first reply is that to `create`.
                if let (None, Ok(Reply::New(id))) = (self.session, &reply) {
                    self.session = Some(SessionId::new(*id));
                }
                let url = &self.server.url;
                waiter.tell(reply.map_err(|no_reply| match no_reply {
                    NoReply::Refused { code, reason } => JanusError::Refused { url: url.clone(), code, reason },
                    NoReply::Senseless(what) => JanusError::broken(url, what),
                }));
                Ok(())
            }
            Received::Unasked(Unasked::Over) => Err("has ended the session".to_owned()),
            Received::Unasked(event) => {
                let sent = self.events.try_send(SessionEvent::Unasked(event));
                sent.map_err(|_| "sends more events than can be handled".to_owned())
            }
            Received::Nothing => Ok(()),
        }
    }
}

impl Waiter {
    /// The application may have given up.
    fn tell(self, reply: Result<Reply, JanusError>) {
        if let Self::Application(waiting) = self {
            let _ = waiting.send(reply);
        }
    }
}
