//! The client: joins a room, and reconnects by itself when the connection or the server is lost.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::attempt::{ClientConfig, Entered, FailedAttempt, SignalError, SignalEvent, Socket, closing_error, enter};
use super::dial::Backoff;
use crate::protocol::{self, ClientMessage, RoomSettings, ServerMessage};

/// The longest pause between attempts: a class is complete again one second after its server.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a client waits beyond the time after which the server promised a free user id.
const PROMISE_MARGIN: Duration = Duration::from_millis(100);

/// How long the server may take to answer a [`Client::probe`].
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a goodbye may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Events that may wait for the application. While this queue is full the client reads nothing, and in the end the
/// server closes the connection.
const EVENT_QUEUE: usize = 1_024;

/// Messages that may wait to be sent, also while the server is away: a publisher answers 2,000 students at once.
const SEND_QUEUE: usize = 16_384;

/// A message could not be queued: the queue is full, or the client has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait for the signalling server")]
pub struct QueueFull;

/// How a member says goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// The member leaves and may come back.
    Leave,
    /// A publisher ends the lecture, so that nobody waits for it.
    LectureOver,
}

/// A member of a room. Dropping a client without [`Client::leave`] is a lost connection to all others.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<ClientMessage>,
    goodbye: Option<oneshot::Sender<Goodbye>>,
    /// How many probes were requested.
    probes: watch::Sender<u32>,
    /// The settings of the room for the next time that the client joins.
    room: watch::Sender<Option<RoomSettings>>,
    task: JoinHandle<()>,
}

impl Client {
    /// Joins a room. Returns once the client is in the room or in its lobby, the server refuses, or the deadline has
    /// passed. The first event is [`SignalEvent::Joined`] or [`SignalEvent::Waiting`].
    pub async fn connect(config: ClientConfig) -> Result<(Self, mpsc::Receiver<SignalEvent>), SignalError> {
        let mut deadline = Instant::now() + config.initial_deadline;
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let Entered { socket, joined, address } = loop {
            let begun = Instant::now();
            let failed = match enter(&config, None).await {
                Ok(entered) => break entered,
                Err(failed) => failed,
            };
            if failed.is_final_at_first() {
                return Err(failed.error);
            }
            let pause = failed.retry_after.unwrap_or_else(|| backoff.after(begun));
            if failed.retry_after.is_some() {
                // The server bounds the time until the user id is free, so waiting beyond the deadline is safe.
                deadline = deadline.max(Instant::now() + pause + PROMISE_MARGIN);
            }
            if Instant::now() + pause > deadline {
                return Err(failed.error);
            }
            sleep(pause).await;
        };
        let (outgoing, messages) = mpsc::channel(SEND_QUEUE);
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let (goodbye, leaving) = oneshot::channel();
        let (probes, probed) = watch::channel(0);
        let (room, settings) = watch::channel(None);
        // A new channel has space.
        _ = events.try_send(joined);
        let task = ClientTask { config, address, messages, events, leaving, probed, settings };
        let task = tokio::spawn(task.run(socket));
        Ok((Self { outgoing, goodbye: Some(goodbye), probes, room, task }, received))
    }

    /// Queues a message. While the connection is lost, the message waits for the next one.
    pub fn send(&self, message: ClientMessage) -> Result<(), QueueFull> {
        self.outgoing.try_send(message).map_err(|_| QueueFull)
    }

    /// Sets the settings that a publisher sends when it joins again. A server that still knows the room ignores them.
    pub fn set_room(&self, settings: RoomSettings) {
        self.room.send_replace(Some(settings));
    }

    /// Asks the server for a sign of life; without an answer within two seconds the connection counts as lost. Call
    /// this when there is a reason for doubt, such as media that stopped: without a probe, a dead path is noticed after
    /// [`SILENCE_TIMEOUT`](protocol::SILENCE_TIMEOUT), and TCP retransmits late once the path works again.
    pub fn probe(&self) {
        self.probes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says goodbye after all queued messages; takes one second at the most.
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

/// How a connection ended.
enum End {
    /// The client reconnects.
    Lost(String),
    /// The server refuses this client for good.
    Final(SignalError),
    /// The application leaves.
    Leave(Goodbye),
}

/// The client's task.
struct ClientTask {
    config: ClientConfig,
    /// The address at which the server was last reached.
    address: Option<SocketAddr>,
    messages: mpsc::Receiver<ClientMessage>,
    events: mpsc::Sender<SignalEvent>,
    leaving: oneshot::Receiver<Goodbye>,
    probed: watch::Receiver<u32>,
    settings: watch::Receiver<Option<RoomSettings>>,
}

impl ClientTask {
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

    /// Retries until the client is in the room again; nothing if the client is over.
    async fn come_back(&mut self) -> Option<Socket> {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let mut is_distrust_told = false;
        loop {
            let begun = Instant::now();
            if let Some(settings) = self.settings.borrow_and_update().clone() {
                self.config.credentials.room = Some(settings);
            }
            let failed = tokio::select! {
                _ = &mut self.leaving => return None,
                () = self.events.closed() => return None,
                result = enter(&self.config, self.address) => match result {
                    Ok(Entered { socket, joined, address }) => {
                        self.address = address;
                        // The new connection answers earlier probes.
                        self.probed.mark_unchanged();
                        return self.events.send(joined).await.is_ok().then_some(socket);
                    }
                    Err(failed) => failed,
                },
            };
            if failed.is_final() {
                // The client ends whether or not somebody receives this event.
                _ = self.events.send(SignalEvent::Ended(failed.error)).await;
                return None;
            }
            // A server that is up, and is not trusted, needs a person.
            if matches!(failed.error, SignalError::Tls { .. }) && !std::mem::replace(&mut is_distrust_told, true) {
                self.events.send(SignalEvent::Lost { reason: failed.error.to_string() }).await.ok()?;
            }
            let pause = failed.retry_after.unwrap_or_else(|| backoff.after(begun));
            tokio::select! {
                _ = &mut self.leaving => return None,
                () = self.events.closed() => return None,
                () = sleep(pause) => {}
            }
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        let (mut sink, mut stream) = socket.split();
        // Read and write at the same time: if reading waited for writing, two busy ends could block each other.
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
            // The server closes the connection. Nobody needs what it sends before that.
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
    let mut last_words: Option<FailedAttempt> = None;
    let mut silence = SilenceTimer::whole();
    loop {
        let message = tokio::select! {
            message = stream.next() => Some(message),
            Ok(()) = probed.changed() => {
                silence.shorten();
                continue;
            }
            () = sleep_until(silence.ends) => None,
        };
        let reason = match message {
            Some(Some(Ok(Message::Text(text)))) => {
                match ServerMessage::parse(&text) {
                    Ok(message) => match closing_error(&message) {
                        Some(failed) => last_words = Some(failed),
                        None if events.send(SignalEvent::of(message)).await.is_err() => {
                            return End::Leave(Goodbye::Leave);
                        }
                        None => {}
                    },
                    // A newer server may send types that this client does not know.
                    Err(_unknown) => {}
                }
                silence = SilenceTimer::whole();
                continue;
            }
            Some(Some(Ok(Message::Close(_))) | None) => "the server closed the connection".into(),
            Some(Some(Ok(_))) => {
                silence = SilenceTimer::whole();
                continue;
            }
            Some(Some(Err(error))) => error.to_string(),
            None => format!("nothing from the server for {} s", silence.lasts.as_secs()),
        };
        return match last_words {
            Some(failed) if failed.is_final() => End::Final(failed.error),
            Some(FailedAttempt { error: SignalError::Refused { message, .. }, .. }) => End::Lost(message),
            _ => End::Lost(reason),
        };
    }
}

/// The time by which the server must have sent something.
struct SilenceTimer {
    lasts: Duration,
    ends: Instant,
}

impl SilenceTimer {
    fn whole() -> Self {
        Self { lasts: protocol::SILENCE_TIMEOUT, ends: Instant::now() + protocol::SILENCE_TIMEOUT }
    }

    /// Shortens the time, because the server was asked for a sign of life.
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
