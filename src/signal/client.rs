//! The client: joins a room, and comes back by itself when the connection or the server was lost.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::ServerUrl;
use super::attempt::{Entered, Refusal, Socket, closing_error, enter};
use super::backoff::Backoff;
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::protocol::{self, ClientMessage, ErrorCode, IceServer, ServerMessage, Session, User};

/// The longest pause between attempts: a class is whole again a second after its server.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How much longer than asked for a client waits for a place that was promised.
const PROMISE_MARGIN: Duration = Duration::from_millis(100);

/// How long the server may take to answer a [`Client::probe`].
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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
        /// The room's name, if it has one.
        room_name: Option<RoomName>,
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
    /// Nothing answered.
    #[error("can't reach the signalling server {server}: {cause}")]
    Unreachable {
        /// Where it should be.
        server: ServerUrl,
        /// What the last attempt met.
        cause: String,
    },
    /// Something answered that does not speak the protocol.
    #[error(
        "{server} is not a classroom server: {cause}; check host and port, which `classroom serve` and `teach` print"
    )]
    NotAServer {
        /// Where it is.
        server: ServerUrl,
        /// What it said.
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

/// What a member says when it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// It is gone, and may come back.
    Leave,
    /// A publisher ends the lecture: nobody need wait for it.
    LectureOver,
}

/// A place in a room. Dropping it without [`Client::leave`] is a lost connection to everybody else.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<ClientMessage>,
    goodbye: Option<oneshot::Sender<Goodbye>>,
    /// How many probes were asked for.
    probes: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Client {
    /// Joins; returns once in the room, or with the server's refusal, or when the server could not be reached in time.
    /// The first event is [`SignalEvent::Joined`].
    pub async fn connect(config: ClientConfig) -> Result<(Self, mpsc::Receiver<SignalEvent>), SignalError> {
        let mut deadline = Instant::now() + config.initial_deadline;
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let Entered { socket, joined, address } = loop {
            let begun = Instant::now();
            let refusal = match enter(&config, None).await {
                Ok(entered) => break entered,
                Err(refusal) => refusal,
            };
            if refusal.is_final_at_first() {
                return Err(refusal.error);
            }
            let pause = refusal.retry_after.unwrap_or_else(|| backoff.after(begun));
            if refusal.retry_after.is_some() {
                // A place that is promised is worth waiting for; the server bounds that time.
                deadline = deadline.max(Instant::now() + pause + PROMISE_MARGIN);
            }
            if Instant::now() + pause > deadline {
                return Err(refusal.error);
            }
            sleep(pause).await;
        };
        let (outgoing, messages) = mpsc::channel(SEND_QUEUE);
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let (goodbye, leaving) = oneshot::channel();
        let (probes, probed) = watch::channel(0);
        // There is space in a new channel.
        _ = events.try_send(joined);
        let life = Life { config, address, messages, events, leaving, probed };
        let task = tokio::spawn(life.run(socket));
        Ok((Self { outgoing, goodbye: Some(goodbye), probes, task }, received))
    }

    /// Queues a message. While the connection is lost it waits for the next one.
    pub fn send(&self, message: ClientMessage) -> Result<(), QueueFull> {
        self.outgoing.try_send(message).map_err(|_| QueueFull)
    }

    /// Asks the server for a sign of life: what is not answered within two seconds is a lost connection. For who has a
    /// reason to doubt, such as media that stopped: on a dead line, silence alone is noticed after
    /// [`SILENCE_TIMEOUT`](protocol::SILENCE_TIMEOUT), and what TCP has to repeat comes late when the line works again.
    pub fn probe(&self) {
        self.probes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says goodbye, after what was sent before; takes a second at most.
    pub async fn leave(mut self, goodbye: Goodbye) {
        if let Some(leaving) = self.goodbye.take() {
            _ = leaving.send(goodbye);
        }
        _ = timeout(LEAVE_TIMEOUT, &mut self.task).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a conversation ended.
enum End {
    /// Worth coming back.
    Lost(String),
    /// The server does not want us.
    Final(SignalError),
    /// The application does not want it any more.
    Leave(Goodbye),
}

/// The client's task.
struct Life {
    config: ClientConfig,
    /// The address that the server was last reached at.
    address: Option<SocketAddr>,
    messages: mpsc::Receiver<ClientMessage>,
    events: mpsc::Sender<SignalEvent>,
    leaving: oneshot::Receiver<Goodbye>,
    probed: watch::Receiver<u32>,
}

impl Life {
    async fn run(mut self, mut socket: Socket) {
        loop {
            let last = match self.converse(&mut socket).await {
                End::Leave(goodbye) => return self.say_goodbye(socket, goodbye).await,
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
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            let begun = Instant::now();
            let refusal = tokio::select! {
                _ = &mut self.leaving => return None,
                () = self.events.closed() => return None,
                result = enter(&self.config, self.address) => match result {
                    Ok(Entered { socket, joined, address }) => {
                        self.address = address;
                        // What was asked of the connection before is answered.
                        self.probed.mark_unchanged();
                        return self.events.send(joined).await.is_ok().then_some(socket);
                    }
                    Err(refusal) => refusal,
                },
            };
            if refusal.is_final() {
                // Nobody to tell is no reason to go on either.
                _ = self.events.send(SignalEvent::Ended(refusal.error)).await;
                return None;
            }
            let pause = refusal.retry_after.unwrap_or_else(|| backoff.after(begun));
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
            end = read(&mut stream, &self.events, self.probed.clone()) => end,
            end = write(&mut sink, &mut self.messages, self.probed.clone()) => end,
            goodbye = &mut self.leaving => End::Leave(goodbye.unwrap_or(Goodbye::Leave)),
        }
    }

    async fn say_goodbye(mut self, mut socket: Socket, goodbye: Goodbye) {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let over = goodbye == Goodbye::LectureOver;
        let goodbye = async {
            while let Ok(message) = self.messages.try_recv() {
                socket.feed(Message::text(message.to_json())).await?;
            }
            socket.send(Message::text(ClientMessage::Leave { over }.to_json())).await?;
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

async fn read(
    stream: &mut SplitStream<&mut Socket>,
    events: &mpsc::Sender<SignalEvent>,
    mut probed: watch::Receiver<u32>,
) -> End {
    let mut last_words: Option<Refusal> = None;
    let mut patience = Patience::whole();
    loop {
        let message = tokio::select! {
            message = stream.next() => Some(message),
            Ok(()) = probed.changed() => {
                patience.shorten();
                continue;
            }
            () = sleep_until(patience.ends) => None,
        };
        let reason = match message {
            Some(Some(Ok(Message::Text(text)))) => {
                match ServerMessage::parse(&text) {
                    Ok(message) => match closing_error(&message) {
                        Some(refusal) => last_words = Some(refusal),
                        None if events.send(SignalEvent::Message(message)).await.is_err() => {
                            return End::Leave(Goodbye::Leave);
                        }
                        None => {}
                    },
                    // A newer server may have more words.
                    Err(_unknown) => {}
                }
                patience = Patience::whole();
                continue;
            }
            Some(Some(Ok(Message::Close(_))) | None) => "the server closed the connection".into(),
            Some(Some(Ok(_))) => {
                patience = Patience::whole();
                continue;
            }
            Some(Some(Err(error))) => error.to_string(),
            None => format!("nothing from the server for {} s", patience.lasts.as_secs()),
        };
        return match last_words {
            Some(refusal) if refusal.is_final() => End::Final(refusal.error),
            Some(Refusal { error: SignalError::Refused { message, .. }, .. }) => End::Lost(message),
            _ => End::Lost(reason),
        };
    }
}

/// Until when the server must have said something.
struct Patience {
    lasts: Duration,
    ends: Instant,
}

impl Patience {
    fn whole() -> Self {
        Self { lasts: protocol::SILENCE_TIMEOUT, ends: Instant::now() + protocol::SILENCE_TIMEOUT }
    }

    /// The server was asked for a sign of life.
    fn shorten(&mut self) {
        let ends = Instant::now() + PROBE_TIMEOUT;
        if ends < self.ends {
            *self = Self { lasts: PROBE_TIMEOUT, ends };
        }
    }
}

async fn write(
    sink: &mut SplitSink<&mut Socket, Message>,
    messages: &mut mpsc::Receiver<ClientMessage>,
    mut probed: watch::Receiver<u32>,
) -> End {
    loop {
        let mut message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => message,
                None => return End::Leave(Goodbye::Leave),
            },
            Ok(()) = probed.changed() => {
                if let Err(error) = sink.send(Message::Ping(bytes::Bytes::new())).await {
                    return End::Lost(error.to_string());
                }
                continue;
            }
        };
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
