//! The client: joins a room, and comes back by itself when the connection or the server was lost.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::ServerUrl;
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::protocol::{
    self, ClientKind, ClientMessage, ErrorCode, IceServer, JoinRequest, ServerMessage, Session, User,
};

/// How long one attempt may take to reach the server, and again to be let in.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause before the second attempt; it doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause between attempts: a class is whole again a second after its server.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// How long a goodbye may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Events that may wait for the application. While it does not take them nothing more is read, and in the end the server
/// closes the connection.
const EVENT_QUEUE: usize = 1_024;

/// Messages that may wait to be sent, also while the server is away: a publisher answers 2,000 students at once.
const SEND_QUEUE: usize = 16_384;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the server is.
    pub server: ServerUrl,
    /// The room.
    pub room: RoomId,
    /// What a publisher calls the room; none leaves it as it is called.
    pub room_name: Option<RoomName>,
    /// The user id wanted.
    pub user: UserId,
    /// As shown to others.
    pub nickname: Nickname,
    /// Whether to teach.
    pub publishes: bool,
    /// The secret that proves the same client, see [`super::SessionToken`].
    pub session: Session,
    /// Drawn once per process.
    pub epoch: u32,
    /// How long the first connection may take, with retries, until [`SignalError::Unreachable`].
    pub initial_deadline: Duration,
}

/// What a client hears.
#[derive(Debug)]
pub enum SignalEvent {
    /// In the room, for the first time or again. Who is not listed may be on the way back too, after a server's
    /// restart: who went is told by [`ServerMessage::Leave`].
    Joined {
        /// Everybody in the room.
        users: Vec<User>,
        /// Who teaches, if anybody does.
        publisher: Option<UserId>,
        /// What the server says may help media through NAT.
        ice_servers: Vec<IceServer>,
    },
    /// Anything else that the server says, but for errors that close the connection.
    Message(ServerMessage),
    /// The connection was lost, the client is on its way back. What is sent meanwhile waits.
    Lost {
        /// Why.
        reason: String,
    },
    /// The last event: the server does not want this client any more.
    Ended(SignalError),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Nothing answered that speaks the protocol.
    #[error("can't reach the signalling server {server}: {cause}")]
    Unreachable {
        /// Where it should be.
        server: ServerUrl,
        /// What the last attempt met.
        cause: String,
    },
    /// The server said no.
    #[error("refused by the server: {message}")]
    Refused {
        /// Why, for a program.
        code: ErrorCode,
        /// Why, for a person.
        message: String,
    },
}

/// A message could not be queued: the server takes none, or the client has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait for the signalling server")]
pub struct QueueFull;

/// A place in a room. Dropping it without [`Client::leave`] is a lost connection to everybody else.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<ClientMessage>,
    goodbye: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Client {
    /// Joins; returns once in the room, or with the server's refusal, or when the server could not be reached in time.
    /// The first event is [`SignalEvent::Joined`].
    pub async fn connect(config: ClientConfig) -> Result<(Self, mpsc::Receiver<SignalEvent>), SignalError> {
        let mut deadline = Instant::now() + config.initial_deadline;
        let mut backoff = Backoff::new();
        let (socket, joined) = loop {
            let refusal = match open(&config).await {
                Ok(open) => break open,
                Err(refusal) => refusal,
            };
            if refusal.is_final() {
                return Err(refusal.error);
            }
            let pause = refusal.retry_after.unwrap_or_else(|| backoff.next());
            if refusal.retry_after.is_some() {
                // A place that is promised is worth waiting for; the server bounds that time.
                deadline = deadline.max(Instant::now() + pause + MIN_BACKOFF);
            }
            if Instant::now() + pause > deadline {
                return Err(refusal.error);
            }
            sleep(pause).await;
        };
        let (outgoing, messages) = mpsc::channel(SEND_QUEUE);
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let (goodbye, leaving) = oneshot::channel();
        // There is space in a new channel.
        _ = events.try_send(joined);
        let task = tokio::spawn(Life { config, messages, events, leaving }.run(socket));
        Ok((Self { outgoing, goodbye: Some(goodbye), task }, received))
    }

    /// Queues a message. While the connection is lost it waits for the next one.
    pub fn send(&self, message: ClientMessage) -> Result<(), QueueFull> {
        self.outgoing.try_send(message).map_err(|_| QueueFull)
    }

    /// Says goodbye, after what was sent before; takes a second at most.
    pub async fn leave(mut self) {
        if let Some(goodbye) = self.goodbye.take() {
            _ = goodbye.send(());
        }
        _ = timeout(LEAVE_TIMEOUT, &mut self.task).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Socket = WebSocketStream<TcpStream>;

/// An attempt that failed.
struct Refusal {
    error: SignalError,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn is_final(&self) -> bool {
        match &self.error {
            SignalError::Unreachable { .. } => false,
            SignalError::Refused { code, .. } => self.retry_after.is_none() && code.is_final(),
        }
    }
}

/// How a conversation ended.
enum End {
    /// Worth coming back.
    Lost(String),
    /// The server does not want us.
    Final(SignalError),
    /// The application does not want it any more.
    Leave,
}

/// The client's task.
struct Life {
    config: ClientConfig,
    messages: mpsc::Receiver<ClientMessage>,
    events: mpsc::Sender<SignalEvent>,
    leaving: oneshot::Receiver<()>,
}

impl Life {
    async fn run(mut self, mut socket: Socket) {
        loop {
            let last = match self.converse(&mut socket).await {
                End::Leave => return self.say_goodbye(socket).await,
                End::Final(error) => SignalEvent::Ended(error),
                End::Lost(reason) => SignalEvent::Lost { reason },
            };
            let is_over = matches!(last, SignalEvent::Ended(_));
            if self.events.send(last).await.is_err() || is_over {
                return;
            }
            drop(socket);
            let Some(again) = self.come_back().await else { return };
            socket = again;
        }
    }

    /// Attempts until it is in again; nothing when it is over.
    async fn come_back(&mut self) -> Option<Socket> {
        let mut backoff = Backoff::new();
        loop {
            let refusal = tokio::select! {
                _ = &mut self.leaving => return None,
                () = self.events.closed() => return None,
                result = open(&self.config) => match result {
                    Ok((socket, joined)) => return self.events.send(joined).await.is_ok().then_some(socket),
                    Err(refusal) => refusal,
                },
            };
            if refusal.is_final() {
                // Nobody to tell is no reason to go on either.
                _ = self.events.send(SignalEvent::Ended(refusal.error)).await;
                return None;
            }
            let pause = refusal.retry_after.unwrap_or_else(|| backoff.next());
            tokio::select! {
                _ = &mut self.leaving => return None,
                () = self.events.closed() => return None,
                () = sleep(pause) => {}
            }
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        let (mut sink, mut stream) = socket.split();
        // Both at once: were reading to wait for writing, two ends that have much to say could wait for each other.
        tokio::select! {
            end = read(&mut stream, &self.events) => end,
            end = write(&mut sink, &mut self.messages) => end,
            _ = &mut self.leaving => End::Leave,
        }
    }

    async fn say_goodbye(mut self, mut socket: Socket) {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let goodbye = async {
            while let Ok(message) = self.messages.try_recv() {
                socket.feed(Message::text(message.to_json())).await?;
            }
            socket.send(Message::text(ClientMessage::Leave.to_json())).await?;
            // The server closes; what it still says is for nobody.
            while socket.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, Error>(())
        };
        tokio::select! {
            _ = goodbye => {}
            () = sleep_until(deadline) => {}
        }
    }
}

async fn read(stream: &mut SplitStream<&mut Socket>, events: &mpsc::Sender<SignalEvent>) -> End {
    let mut last_words: Option<Refusal> = None;
    loop {
        let reason = match timeout(protocol::SILENCE_TIMEOUT, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => {
                match ServerMessage::parse(&text) {
                    Ok(message) => match closing_error(&message) {
                        Some(refusal) => last_words = Some(refusal),
                        None if events.send(SignalEvent::Message(message)).await.is_err() => return End::Leave,
                        None => {}
                    },
                    // A newer server may have more words.
                    Err(_unknown) => {}
                }
                continue;
            }
            Ok(Some(Ok(Message::Close(_)))) | Ok(None) => "the server closed the connection".into(),
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(error))) => error.to_string(),
            Err(_) => format!("nothing from the server for {} s", protocol::SILENCE_TIMEOUT.as_secs()),
        };
        return match last_words {
            Some(refusal) if refusal.is_final() => End::Final(refusal.error),
            Some(Refusal { error: SignalError::Refused { message, .. }, .. }) => End::Lost(message),
            _ => End::Lost(reason),
        };
    }
}

async fn write(sink: &mut SplitSink<&mut Socket, Message>, messages: &mut mpsc::Receiver<ClientMessage>) -> End {
    loop {
        let Some(mut message) = messages.recv().await else { return End::Leave };
        loop {
            if let Err(error) = sink.feed(Message::text(message.to_json())).await {
                return End::Lost(error.to_string());
            }
            match messages.try_recv() {
                Ok(next) => message = next,
                Err(_) => break,
            }
        }
        if let Err(error) = sink.flush().await {
            return End::Lost(error.to_string());
        }
    }
}

/// An error by the server itself after which it closes the connection.
fn closing_error(message: &ServerMessage) -> Option<Refusal> {
    match message {
        ServerMessage::Error { code, message, user_id: None, retry_after_ms } if code.closes() => Some(Refusal {
            error: SignalError::Refused { code: *code, message: message.clone() },
            retry_after: retry_after_ms.map(Duration::from_millis),
        }),
        _ => None,
    }
}

/// One attempt: connected, and let into the room.
async fn open(config: &ClientConfig) -> Result<(Socket, SignalEvent), Refusal> {
    let unreachable = |cause: String| Refusal {
        error: SignalError::Unreachable { server: config.server.clone(), cause },
        retry_after: None,
    };
    let too_slow = |_| unreachable(format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs()));

    let address = (config.server.host(), config.server.port());
    let stream = timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await.map_err(too_slow)?;
    let stream = stream.map_err(|e| unreachable(e.to_string()))?;
    // Signalling is small messages that somebody waits for.
    stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;

    let request = JoinRequest {
        room: config.room.clone(),
        room_name: config.room_name.clone(),
        user: config.user.clone(),
        nickname: config.nickname.clone(),
        publishes: config.publishes,
        session: Some(config.session.clone()),
        epoch: config.epoch,
        client: (!config.publishes).then_some(ClientKind::Watch),
    };
    let url = config.server.with_query(&request.to_query());
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES))
        .max_frame_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES));
    let enter = async {
        let (mut socket, _response) = match client_async_with_config(url, stream, Some(limits)).await {
            Ok(open) => open,
            Err(Error::Http(response)) => {
                let status = response.status();
                return Err(unreachable(format!("it answered {status}, is that a classroom server?")));
            }
            Err(error) => return Err(unreachable(error.to_string())),
        };
        loop {
            let text = match socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Err(error)) => return Err(unreachable(error.to_string())),
                _ => return Err(unreachable("it closed the connection".into())),
            };
            match ServerMessage::parse(&text) {
                Ok(ServerMessage::Joined { users, publisher, ice_servers, .. }) => {
                    return Ok((socket, SignalEvent::Joined { users, publisher, ice_servers }));
                }
                Ok(message) => {
                    if let Some(refusal) = closing_error(&message) {
                        return Err(refusal);
                    }
                }
                Err(cause) => return Err(unreachable(cause)),
            }
        }
    };
    timeout(ATTEMPT_TIMEOUT, enter).await.map_err(too_slow)?
}

/// The pauses between attempts, each drawn from half to whole: a class does not come back in step.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(MIN_BACKOFF)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).min(MAX_BACKOFF);
        pause
    }
}
