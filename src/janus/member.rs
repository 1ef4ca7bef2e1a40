//! A participant of a VideoRoom: its session, its handle, and the way into the room.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::error::JanusError;
use super::session::{JanusServer, Session, SessionEvent};
use super::video_room::{Access, Description, Feed, JanusId, Join, RoomEvent, RoomRequest};
use super::wire::{HandleId, Jsep, JsepKind};

/// A room, and how to get in.
#[derive(Debug, Clone)]
pub struct JanusRoom {
    /// The Janus.
    pub server: JanusServer,
    /// The room.
    pub id: JanusId,
    /// The pin of the room.
    pub pin: Option<String>,
    /// The secret of a room that this program creates: whoever has it may change and destroy the room.
    pub secret: Option<String>,
    /// The name that others see.
    pub display: String,
    /// Whether to create the room if it does not exist.
    pub creates: bool,
}

/// The streams that a participant publishes.
#[derive(Debug)]
pub(super) struct Published<'a> {
    pub(super) offer: String,
    /// The mid of each stream, and what it is.
    pub(super) descriptions: Vec<(&'a str, &'a str)>,
}

/// A participant in a room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) session: Session,
    pub(super) events: mpsc::Receiver<SessionEvent>,
    pub(super) handle: HandleId,
    /// The room with the form of id that this Janus wants.
    pub(super) room: JanusRoom,
    pub(super) private_id: Option<u64>,
    /// The publishers at the time of the join.
    pub(super) feeds: Vec<Feed>,
    /// Janus's answer to the offer of a publisher.
    pub(super) answer: Option<String>,
    pub(super) address: Option<SocketAddr>,
}

impl Member {
    /// Joins a room in a new session. `known` is the address of the earlier session.
    pub(super) async fn join(
        room: &JanusRoom,
        known: Option<SocketAddr>,
        published: Option<&Published<'_>>,
    ) -> Result<Self, JanusError> {
        let (session, events, address) = Session::open(&room.server, known).await?;
        let mut room = room.clone();
        let (handle, joined) = loop {
            let handle = session.attach().await?;
            let error = match join(&session, handle, &room, published).await {
                Ok(joined) => break (handle, joined),
                Err(error) => error,
            };
            match room.id.other_form() {
                Some(other) if error.is_invalid_element() => room.id = other,
                _ if error.is_no_such_room() && room.creates => create(&session, handle, &mut room).await?,
                _ => return Err(error),
            }
            // Janus takes one offer of each handle.
            session.detach(handle);
        };
        let (private_id, feeds, answer) = joined;
        Ok(Self { session, events, handle, room, private_id, feeds, answer, address })
    }

    /// The access to the room, for further requests.
    pub(super) fn access(&self) -> Access<'_> {
        access(&self.room)
    }
}

pub(super) fn access(room: &JanusRoom) -> Access<'_> {
    Access { room: &room.id, pin: room.pin.as_deref(), token: room.server.token.as_deref() }
}

type Joined = (Option<u64>, Vec<Feed>, Option<String>);

async fn join(
    session: &Session,
    handle: HandleId,
    room: &JanusRoom,
    published: Option<&Published<'_>>,
) -> Result<Joined, JanusError> {
    let request = match published {
        None => RoomRequest::Join(Join::participant(access(room), &room.display)),
        Some(Published { descriptions, .. }) => {
            let described = descriptions.iter().map(|(mid, description)| Description { mid, description }).collect();
            RoomRequest::JoinAndConfigure(Join::publisher(access(room), &room.display, described))
        }
    };
    let jsep = published.map(|published| Jsep::offer(published.offer.clone()));
    match session.room(handle, request, jsep).await? {
        (RoomEvent::Joined { private_id, feeds }, jsep) => {
            let answer = jsep.and_then(|jsep| jsep.of_kind(JsepKind::Answer));
            Ok((private_id, feeds, answer))
        }
        _ => Err(JanusError::broken(&room.server.url, "does not say whether this program has joined the room")),
    }
}

/// Creates the room, which somebody else may do at the same time.
async fn create(session: &Session, handle: HandleId, room: &mut JanusRoom) -> Result<(), JanusError> {
    room.creates = false;
    match session.room(handle, RoomRequest::create(access(room), room.secret.as_deref()), None).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_room_exists() => Ok(()),
        Err(error) => Err(error),
    }
}
