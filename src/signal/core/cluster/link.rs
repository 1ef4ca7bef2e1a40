//! The connections of this node to owners of rooms: one to each owner, for all members.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::frame::{Challenge, FromOwner, Hello, MAX_FROM_OWNER, NODE_PATH, ToOwner, WELCOME};
use crate::id::NodeId;
use crate::signal::core::Core;
use crate::signal::dial::dial;
use crate::signal::url::ServerUrl;
use crate::store::{Node, Store};
use crate::tls::{Stream, Trust};

/// Messages that wait for an owner. An owner that lets so many wait is as good as dead.
const QUEUE: usize = 16_384;

/// The bytes of them, for the same reason.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// How long connecting to an owner may take, its welcome included.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How often the ends of a link ping each other.
pub(super) const PING: Duration = Duration::from_secs(2);

/// The silence after which a link is dead: as long as a lease lives.
pub(super) const SILENCE: Duration = Duration::from_secs(6);

/// Owners to remember. Those without a link are forgotten first.
const MAX_LINKS: usize = 256;

/// A connection to an owner. Clones are the same connection.
#[derive(Debug, Clone)]
pub(in crate::signal::core) struct Link {
    pub(super) number: u64,
    frames: mpsc::Sender<ToOwner>,
    /// The bytes that wait.
    waiting: Arc<AtomicUsize>,
    broken: Arc<Notify>,
}

impl Link {
    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Queues a message. A full queue breaks the link, so no message is missing from a stream.
    pub(super) fn send(&self, frame: ToOwner) {
        let bytes = frame.bytes();
        let is_too_much = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES;
        let is_full = || matches!(self.frames.try_send(frame), Err(mpsc::error::TrySendError::Full(_)));
        if is_too_much || is_full() {
            self.broken.notify_one();
        }
    }
}

/// The links of a node.
#[derive(Debug, Default)]
pub(in crate::signal::core) struct Links {
    known: Mutex<HashMap<NodeId, Arc<Slot>>>,
    last: AtomicU64,
}

/// One attempt to connect at a time.
type Slot = tokio::sync::Mutex<Option<Link>>;

impl Links {
    /// The link to a node; connects to it if there is none. The error says why that failed.
    pub(super) async fn to(
        &self,
        core: &Arc<Core>,
        (own, store): (&NodeId, &dyn Store),
        id: &NodeId,
    ) -> Result<Link, String> {
        let slot = self.slot(id);
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        *slot = None;
        let failed = |cause: &dyn Display| format!("can't reach node {id}: {cause}");
        let found = store.node(id).await.map_err(|error| error.to_string())?;
        let node = found.ok_or_else(|| failed(&"it is not there any more"))?;
        let connected = timeout(CONNECT_WITHIN, connect(own, &node)).await;
        let socket = connected.unwrap_or_else(|_| Err("no answer".into())).map_err(|cause| failed(&cause))?;
        let (frames, queue) = mpsc::channel(QUEUE);
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let link = Link { number, frames, waiting: Arc::default(), broken: Arc::default() };
        tokio::spawn(run(Arc::downgrade(core), socket, queue, (number, link.waiting.clone(), link.broken.clone())));
        *slot = Some(link.clone());
        Ok(link)
    }

    fn slot(&self, id: &NodeId) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_LINKS {
            let is_open = |link: &Option<Link>| link.as_ref().is_some_and(|link| !link.is_closed());
            known.retain(|_, slot| slot.try_lock().map_or(true, |link| is_open(&link)));
        }
        known.entry(id.clone()).or_default().clone()
    }
}

type Socket = WebSocketStream<Stream>;

async fn connect(own: &NodeId, node: &Node) -> Result<Socket, String> {
    let url: ServerUrl = node.url.parse().map_err(|error| format!("its URL is malformed: {error}"))?;
    let stream = dial(url.host(), url.port(), None).await.map_err(|error| error.to_string())?;
    // The messages are small and urgent.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let stream: Stream = if url.uses_tls() {
        let fingerprint = node.fingerprint.as_ref().map(|text| text.parse());
        let trust = match fingerprint.transpose().map_err(|_| "its fingerprint is malformed".to_owned())? {
            Some(fingerprint) => Trust::pinned(fingerprint),
            None => Trust::default(),
        };
        trust.connect(stream, url.host()).await.map_err(|error| error.to_string())?
    } else {
        Box::new(stream)
    };
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_FROM_OWNER)).max_frame_size(Some(MAX_FROM_OWNER));
    let target = url.with_path(NODE_PATH);
    let connected = client_async_with_config(target, stream, Some(limits)).await;
    let (mut socket, _response) = connected.map_err(|error| error.to_string())?;
    let other = || "it is another process, or another version of classroom".to_owned();
    let challenge = text(&mut socket).await.and_then(|text| Challenge::parse(&text)).ok_or_else(other)?;
    let hello = Hello::new(own, &node.secret, &challenge);
    socket.send(Message::text(hello.to_text())).await.map_err(|error| error.to_string())?;
    match text(&mut socket).await {
        Some(text) if text == WELCOME => Ok(socket),
        _ => Err(other()),
    }
}

/// The next message, if that is a text.
async fn text(socket: &mut Socket) -> Option<Utf8Bytes> {
    if let Some(Ok(Message::Text(text))) = socket.next().await { Some(text) } else { None }
}

/// Carries messages until one side ends.
async fn run(
    core: Weak<Core>,
    socket: Socket,
    mut queue: mpsc::Receiver<ToOwner>,
    (number, waiting, broken): (u64, Arc<AtomicUsize>, Arc<Notify>),
) {
    let (mut sink, mut stream) = socket.split();
    let to_text = |frame: &ToOwner| {
        waiting.fetch_sub(frame.bytes(), Ordering::Relaxed);
        frame.to_text()
    };
    tokio::select! {
        () = read(&core, &mut stream, number) => {}
        () = write(&mut sink, &mut queue, to_text) => {}
        () = broken.notified() => {}
    }
    // Before the members look for their owner again: what they send now does not get lost in this queue.
    drop(queue);
    if let Some(core) = core.upgrade() {
        core.link_down(number);
    }
}

async fn read(core: &Weak<Core>, stream: &mut SplitStream<Socket>, number: u64) {
    loop {
        match timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => {
                let (Some(core), Some(frame)) = (core.upgrade(), FromOwner::parse(&text)) else { return };
                core.heard(number, frame);
            }
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            _ => return,
        }
    }
}

/// Sends the frames of a queue, those that wait in one flush, until the queue or the connection ends, or the other end
/// reads nothing for [`SILENCE`].
pub(super) async fn write<T>(
    sink: &mut (impl Sink<Message> + Unpin),
    queue: &mut mpsc::Receiver<T>,
    to_text: impl Fn(&T) -> String,
) {
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut frame = tokio::select! {
            frame = queue.recv() => match frame {
                Some(frame) => Some(frame),
                // Nobody sends here any more.
                None => return,
            },
            _ = ping.tick() => {
                if !in_time(sink.send(Message::Ping(bytes::Bytes::new()))).await {
                    return;
                }
                continue;
            }
        };
        while let Some(next) = frame {
            if !in_time(sink.feed(Message::text(to_text(&next)))).await {
                return;
            }
            frame = queue.try_recv().ok();
        }
        if !in_time(sink.flush()).await {
            return;
        }
    }
}

/// Whether a step of a link succeeds before the other end counts as dead.
async fn in_time<E>(step: impl Future<Output = Result<(), E>>) -> bool {
    matches!(timeout(SILENCE, step).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_whose_other_end_reads_nothing_ends() {
        let never = |(), _: Message| std::future::pending::<Result<(), std::io::Error>>();
        let mut sink = Box::pin(futures_util::sink::unfold((), never));
        let (frames, mut queue) = mpsc::channel(1);
        frames.send("frame").await.unwrap();
        let written = write(&mut sink, &mut queue, |text| (*text).to_owned());
        assert!(timeout(3 * SILENCE, written).await.is_ok());
    }
}
