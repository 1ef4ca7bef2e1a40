//! A connection from another node, whose members are in rooms here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::Ownership;
use super::frame::{FromOwner, Hello, MAX_TO_OWNER, ToOwner, VERSION, WELCOME};
use super::link::{SILENCE, write};
use crate::id::NodeId;
use crate::network::{ClientState, SharedClientState};
use crate::protocol::{self, ClientMessage, ErrorCode};
use crate::room::ConnId;
use crate::signal::core::Core;
use crate::signal::outbox::{Item, Outgoing};

/// Messages that wait for a node. Each member has an outbox of its own, which fills up first.
const QUEUE: usize = 1_024;

/// The most members of one node in rooms here.
const MAX_STREAMS: usize = 20_000;

/// How often a member's progress is looked at. The node needs it to decide which connections it closes first.
const LOOK: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves a node until one side ends.
pub(in crate::signal) async fn run(core: Arc<Core>, io: Upgraded, client_state: SharedClientState) {
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_TO_OWNER)).max_frame_size(Some(MAX_TO_OWNER));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(limits)).await;
    let Some(node) = node(&core, &mut socket).await else { return };
    if socket.send(Message::text(WELCOME)).await.is_err() {
        return;
    }
    // The connection carries the members of a whole node: it is not closed for another one.
    client_state.set(ClientState::Connected);
    let (frames, mut queue) = mpsc::channel(QUEUE);
    let (mut sink, mut stream) = socket.split();
    let ending = async {
        let cluster = core.cluster.as_ref()?;
        cluster.ending.subscribe().wait_for(|is_ending| *is_ending).await.ok().map(drop)
    };
    tokio::select! {
        _ = ending => {}
        () = read(&core, &mut stream, (node, frames)) => {}
        () = write(&mut sink, &mut queue, FromOwner::to_text) => {}
    }
}

/// The id of the client, if it knows the secret of this node, which stands in the store.
async fn node(core: &Core, socket: &mut Socket) -> Option<NodeId> {
    let cluster = core.cluster.as_ref()?;
    let Ok(Some(Ok(Message::Text(text)))) = timeout(protocol::AUTH_WITHIN, socket.next()).await else { return None };
    let hello = Hello::parse(&text)?;
    let (own, given) = (cluster.node.secret.as_str().as_bytes(), hello.secret.as_str().as_bytes());
    (hello.version == VERSION && bool::from(own.ct_eq(given))).then_some(hello.node)
}

/// The members of the node. Dropping it ends their connections.
struct Streams<'a> {
    core: &'a Core,
    members: HashMap<u64, ConnId>,
}

impl Drop for Streams<'_> {
    fn drop(&mut self) {
        self.members.values().for_each(|conn| self.core.lost(*conn));
    }
}

async fn read(core: &Core, stream: &mut SplitStream<Socket>, (node, frames): (NodeId, mpsc::Sender<FromOwner>)) {
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
                if streams.members.len() >= MAX_STREAMS || streams.members.contains_key(&stream) {
                    return;
                }
                if core.cluster.as_ref().is_some_and(|cluster| cluster.ownership == Ownership::All) {
                    // Nobody else can open the room. If this fails, the other node tries again.
                    _ = core.take(&newcomer.room).await;
                }
                match core.join_forwarded(*newcomer) {
                    Some((conn, outgoing, state)) => {
                        streams.members.insert(stream, conn);
                        tokio::spawn(forward(stream, outgoing, state, frames.clone()));
                    }
                    None if frames.send(FromOwner::Moved { stream }).await.is_err() => return,
                    None => {}
                }
            }
            Some(ToOwner::Message { stream, text }) => {
                if let (Some(conn), Ok(message)) = (streams.members.get(&stream), ClientMessage::parse(&text)) {
                    core.message(*conn, message);
                }
            }
            Some(ToOwner::Lost { stream }) => {
                if let Some(conn) = streams.members.remove(&stream) {
                    core.lost(conn);
                }
            }
            None => return,
        }
    }
}

/// Passes on what the room has for one member. An outbox that ends without a close means that the room is not here any
/// more.
async fn forward(stream: u64, mut outgoing: Outgoing, state: SharedClientState, frames: mpsc::Sender<FromOwner>) {
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
        if frames.send(frame).await.is_err() || is_last {
            return;
        }
        outgoing.written();
    }
}
