//! A connection from another node, whose members are in rooms here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::Ownership;
use super::frame::{Challenge, FromOwner, Hello, MAX_FROM_OWNER, MAX_TO_OWNER, ToOwner, WELCOME};
use super::link::{SILENCE, write};
use crate::id::NodeId;
use crate::network::{ClientState, SharedClientState};
use crate::protocol::{self, ClientMessage, ErrorCode};
use crate::room::{ConnId, Newcomer};
use crate::signal::core::Core;
use crate::signal::outbox::{Item, Outgoing};
use crate::store::MAX_NODES;
use crate::token_bucket::TokenBucket;

/// The buffer for what a client sends, which a stranger takes as well.
const READ_BUFFER: usize = 16 * 1024;

/// Messages that wait for a node. Each member has an outbox of its own, which fills up first.
const QUEUE: usize = 1_024;

/// The bytes of them: at least one message of the longest kind.
const QUEUE_BYTES: usize = 2 * MAX_FROM_OWNER;

/// The most members of one node in rooms here.
const MAX_STREAMS: usize = 20_000;

/// How often a member's progress is looked at. The node needs it to decide which connections it closes first.
const LOOK: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves a node until one side ends.
pub(in crate::signal) async fn run(core: Arc<Core>, io: Upgraded, client_state: SharedClientState) {
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_TO_OWNER))
        .max_frame_size(Some(MAX_TO_OWNER));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(limits)).await;
    let Some(cluster) = &core.cluster else { return };
    let Some(node) = node(&core, &mut socket).await else { return };
    let Some(place) = cluster.accepted.enter(&node) else { return };
    if socket.send(Message::text(WELCOME)).await.is_err() {
        return;
    }
    // The connection carries the members of a whole node: it is not closed for another one.
    client_state.set(ClientState::Connected);
    let (frames, mut queue) = Frames::new();
    let (mut sink, mut stream) = socket.split();
    let ending = async { cluster.ending.subscribe().wait_for(|is_ending| *is_ending).await.ok().map(drop) };
    tokio::select! {
        _ = ending => {}
        () = place.replaced.notified() => {}
        () = read(&core, &mut stream, (&node, frames)) => {}
        () = write(&mut sink, &mut queue, |queued| queued.frame.to_text()) => {}
    }
}

/// The id of the client, if it knows the secret of this node, which stands in the store.
async fn node(core: &Core, socket: &mut Socket) -> Option<NodeId> {
    let (cluster, challenge) = (core.cluster.as_ref()?, Challenge::new());
    let answer = async {
        socket.send(Message::text(challenge.to_text())).await.ok()?;
        socket.next().await?.ok()
    };
    let Ok(Some(Message::Text(text))) = timeout(protocol::AUTH_WITHIN, answer).await else { return None };
    Hello::parse(&text)?.checked(&cluster.node.secret, &challenge)
}

/// The nodes that are connected to this one: at most [`MAX_NODES`], and each of them once.
#[derive(Debug, Default)]
pub(super) struct Accepted(Mutex<HashMap<NodeId, Arc<Notify>>>);

/// The place of a node. Dropping it frees the place.
struct Place<'a> {
    all: &'a Accepted,
    node: NodeId,
    /// Notified when the same node has connected once more: it has given this connection up.
    replaced: Arc<Notify>,
}

impl Accepted {
    fn enter(&self, node: &NodeId) -> Option<Place<'_>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NODES && !known.contains_key(node) {
            return None;
        }
        let replaced = Arc::new(Notify::new());
        if let Some(before) = known.insert(node.clone(), replaced.clone()) {
            before.notify_one();
        }
        Some(Place { all: self, node: node.clone(), replaced })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut known = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&self.node).is_some_and(|now| Arc::ptr_eq(now, &self.replaced)) {
            known.remove(&self.node);
        }
    }
}

/// The queue to a node.
#[derive(Clone)]
struct Frames {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
}

/// A message that waits for a node, and its bytes of the queue.
struct Queued {
    frame: FromOwner,
    _bytes: OwnedSemaphorePermit,
}

impl Frames {
    fn new() -> (Self, mpsc::Receiver<Queued>) {
        let (queue, queued) = mpsc::channel(QUEUE);
        (Self { queue, bytes: Arc::new(Semaphore::new(QUEUE_BYTES)) }, queued)
    }

    /// Waits until the message fits. False if the connection has ended.
    async fn send(&self, frame: FromOwner) -> bool {
        let bytes = u32::try_from(frame.bytes().min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let fits = tokio::select! {
            fits = self.bytes.clone().acquire_many_owned(bytes) => fits.ok(),
            () = self.queue.closed() => None,
        };
        match fits {
            Some(bytes) => self.queue.send(Queued { frame, _bytes: bytes }).await.is_ok(),
            None => false,
        }
    }
}

/// The members of the node. Dropping it ends their connections.
struct Streams<'a> {
    core: &'a Core,
    members: HashMap<u64, Stream>,
}

/// A member of the node.
struct Stream {
    conn: ConnId,
    /// The node lets its members send only so much.
    rate: TokenBucket,
}

impl Stream {
    /// A link may stand still for [`SILENCE`]. Then all that the node has let the member send comes at once.
    fn new(conn: ConnId, is_busy: bool) -> Self {
        let (rate, burst) = if is_busy {
            (protocol::PUBLISHER_RATE, protocol::PUBLISHER_BURST)
        } else {
            (protocol::STUDENT_RATE, protocol::STUDENT_BURST)
        };
        Self { conn, rate: TokenBucket::new(rate, burst + rate * SILENCE.as_secs() as u32) }
    }
}

impl Drop for Streams<'_> {
    fn drop(&mut self) {
        self.members.values().for_each(|member| self.core.lost(member.conn));
    }
}

impl Streams<'_> {
    /// A member joins a room here. False if the node breaks a rule, or its connection has ended.
    async fn join(&mut self, stream: u64, newcomer: Newcomer, frames: &Frames) -> bool {
        if self.members.len() >= MAX_STREAMS || self.members.contains_key(&stream) {
            return false;
        }
        if self.core.cluster.as_ref().is_some_and(|cluster| cluster.ownership == Ownership::All) {
            // Nobody else can open the room. If this fails, the other node tries again.
            _ = self.core.take(&newcomer.room).await;
        }
        let is_busy = newcomer.is_busy();
        match self.core.join_forwarded(newcomer) {
            Some((conn, outgoing, state)) => {
                self.members.insert(stream, Stream::new(conn, is_busy));
                tokio::spawn(forward(stream, outgoing, state, frames.clone()));
                true
            }
            None => frames.send(FromOwner::Moved { stream }).await,
        }
    }

    /// A message of a member. A member that floods the room goes, and the others of its node stay.
    fn message(&mut self, stream: u64, text: &str) {
        let Some(member) = self.members.get_mut(&stream) else { return };
        if member.rate.take(Instant::now()).is_err() {
            self.core.expel(member.conn, ErrorCode::FloodedMessages);
            self.members.remove(&stream);
        } else if let Ok(message) = ClientMessage::parse(text) {
            self.core.message(member.conn, message);
        }
    }
}

async fn read(core: &Core, stream: &mut SplitStream<Socket>, (node, frames): (&NodeId, Frames)) {
    let mut streams = Streams { core, members: HashMap::new() };
    loop {
        let text = match timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            _ => return,
        };
        match ToOwner::parse(&text) {
            Some(ToOwner::Join { stream, mut newcomer }) => {
                newcomer.route.node = Some(node.clone());
                if !streams.join(stream, *newcomer, &frames).await {
                    return;
                }
            }
            Some(ToOwner::Message { stream, text }) => streams.message(stream, &text),
            Some(ToOwner::Lost { stream }) => {
                if let Some(member) = streams.members.remove(&stream) {
                    core.lost(member.conn);
                }
            }
            None => return,
        }
    }
}

/// Passes on what the room has for one member. An outbox that ends without a close means that the room is not here any
/// more.
async fn forward(stream: u64, mut outgoing: Outgoing, state: SharedClientState, frames: Frames) {
    let overflow = outgoing.overflow();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_connected = false;
    loop {
        let frame = tokio::select! {
            item = outgoing.next() => match item {
                Some(Item::Text(text)) => FromOwner::Message { stream, text },
                Some(Item::Close(code)) => FromOwner::Close { stream, code },
                None => FromOwner::Moved { stream },
            },
            () = overflow.wait() => FromOwner::Close { stream, code: Some(ErrorCode::SlowConsumer) },
            _ = look.tick() => {
                let now = state.get() == ClientState::Connected;
                if std::mem::replace(&mut is_connected, now) == now {
                    continue;
                }
                FromOwner::Media { stream, is_connected }
            }
        };
        let is_last = matches!(frame, FromOwner::Close { .. } | FromOwner::Moved { .. });
        if !frames.send(frame).await || is_last {
            return;
        }
        outgoing.written();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn bytes_that_wait_for_a_node_are_bounded() {
        let (frames, mut queue) = Frames::new();
        let text = "x".repeat(protocol::MAX_SERVER_MESSAGE_BYTES);
        let frame = |stream| FromOwner::Message { stream, text: text.clone().into() };
        assert!(frames.send(frame(1)).await && frames.send(frame(2)).await);
        let mut third = Box::pin(frames.send(frame(3)));
        assert_eq!((&mut third).now_or_never(), None);
        drop(queue.recv().await);
        assert!(third.await);
        let fourth = frames.send(frame(4));
        drop(queue);
        assert!(!fourth.await, "nobody waits for a connection that has ended");
    }
}
