//! The members of rooms for WHIP clients: all clients of a publisher share one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::WhipRooms;
use crate::access::{Authorization, Identity};
use crate::commands::whip::{ANSWER_WITHIN, SessionEnd};
use crate::http::whip::DEFAULT_USER;
use crate::http::{MediaClient, Unavailable};
use crate::id::{RoomId, UserId};
use crate::network::SharedClientState;
use crate::protocol::{
    Credentials, ErrorCode, IceServer, JoinRequest, MEDIA_STAYS, MediaHost, ServerMessage, SessionSecret,
};
use crate::signal::{LocalMember, Server, SessionToken};

/// Random letters and digits in a user id.
const ID_CHARS: usize = 6;

/// The publishers that WHIP clients are, or were. Clones share them.
#[derive(Clone)]
pub(super) struct Members {
    server: Server,
    rooms: WhipRooms,
    all: Arc<Mutex<HashMap<RoomId, Publisher>>>,
    /// Two clients of one publisher that come at the same time must not join twice. A join takes no time, because the
    /// server is in this process.
    joining: Arc<tokio::sync::Mutex<()>>,
}

/// The last publisher of a room.
struct Publisher {
    proof: Proof,
    /// The secret that the room knows.
    secret: SessionSecret,
    user: UserId,
    presence: Presence,
}

/// What two clients of one publisher have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proof {
    /// None on a server without an access policy.
    identity: Option<Identity>,
    /// The user id in the request of the first client, or in its token.
    user: UserId,
}

enum Presence {
    /// The publisher is a member of the room.
    Here(Here),
    /// The member has left.
    Gone { at: Instant },
}

/// A member, as its clients see it.
struct Here {
    /// The number of clients.
    clients: usize,
    joined: Joined,
    /// Makes the member leave.
    leave: oneshot::Sender<SessionEnd>,
    /// Closed once the member has left.
    over: watch::Receiver<()>,
}

/// The result of joining a room.
#[derive(Debug, Clone)]
struct Joined {
    /// The user id, perhaps that of a token.
    user: UserId,
    /// The STUN and TURN servers, with credentials of the publisher's own.
    ice_servers: Vec<IceServer>,
    client_state: SharedClientState,
}

/// A client's share of a member. Dropping it is a goodbye.
pub(super) struct Membership {
    members: Members,
    room: RoomId,
    joined: Joined,
    over: watch::Receiver<()>,
    has_left: bool,
}

impl Proof {
    /// Whether a client with the proof `other` belongs to the same publisher. One that gives no user id does.
    fn admits(&self, other: &Self) -> bool {
        self.identity == other.identity && (self.user == other.user || other.user.as_str() == DEFAULT_USER)
    }
}

impl Members {
    pub(super) fn new(server: Server, rooms: WhipRooms) -> Self {
        Self { server, rooms, all: Arc::default(), joining: Arc::default() }
    }

    /// Makes the client a member of its room, or gives it a share of the member that its publisher has there.
    pub(super) async fn enter(&self, client: MediaClient, proved: Authorization) -> Result<Membership, Unavailable> {
        let room = client.request.room.clone();
        let proof = Proof { identity: proved.owner, user: proved.user };
        let _one_at_a_time = self.joining.lock().await;
        if let Some((joined, over)) = self.share(&room, &proof) {
            return Ok(Membership { members: self.clone(), room, joined, over, has_left: false });
        }
        let returning = self.returning(Instant::now(), &room, &proof);
        let mut request = JoinRequest { media: MediaHost::Server, ..client.request.clone() };
        let secret = match returning {
            Some((secret, user)) => {
                request.user = user;
                secret
            }
            None => SessionToken::fresh().session().clone(),
        };
        let credentials = Credentials { session: Some(secret.clone()), ..client.credentials.clone() };
        let (member, joined) = self.join(request, &credentials, &client).await?;
        let (leave, leaves) = oneshot::channel();
        let (alive, over) = watch::channel(());
        let user = joined.user.clone();
        let here = Here { clients: 1, joined: joined.clone(), leave, over: over.clone() };
        self.insert(Instant::now(), room.clone(), Publisher { proof, secret, user, presence: Presence::Here(here) });
        let (members, of, known) = (self.clone(), room.clone(), over.clone());
        tokio::spawn(async move {
            match stay(member, leaves).await {
                Stayed::Lost(member) => member.lose(),
                Stayed::Goodbye(member) => {
                    members.rooms.forget(&of);
                    drop(member);
                }
                Stayed::Closed => members.closed(&of, &known),
            }
            drop(alive);
        });
        Ok(Membership { members: self.clone(), room, joined, over, has_left: false })
    }

    /// A share of the member that the publisher with this proof has in the room.
    fn share(&self, room: &RoomId, proof: &Proof) -> Option<(Joined, watch::Receiver<()>)> {
        let mut all = self.lock();
        let publisher = all.get_mut(room).filter(|publisher| publisher.proof.admits(proof))?;
        let Presence::Here(here) = &mut publisher.presence else { return None };
        here.clients += 1;
        Some((here.joined.clone(), here.over.clone()))
    }

    /// The secret and the user id of the last publisher of a room, for one with the same proof, until [`MEDIA_STAYS`]
    /// after its end.
    fn returning(&self, now: Instant, room: &RoomId, proof: &Proof) -> Option<(SessionSecret, UserId)> {
        let all = self.lock();
        let publisher = all.get(room).filter(|publisher| publisher.proof.admits(proof) && publisher.may_return(now))?;
        Some((publisher.secret.clone(), publisher.user.clone()))
    }

    fn insert(&self, now: Instant, room: RoomId, publisher: Publisher) {
        let mut all = self.lock();
        // Publishers that came and went must not stay for ever.
        all.retain(|_, publisher| publisher.may_return(now));
        all.insert(room, publisher);
    }

    /// Joins a room. A default user id that is taken is replaced.
    async fn join(
        &self,
        mut request: JoinRequest,
        credentials: &Credentials,
        client: &MediaClient,
    ) -> Result<(LocalMember, Joined), Unavailable> {
        loop {
            let mut member = self.server.join(request.clone(), credentials.clone(), client.address);
            match joined(&mut member).await {
                Ok(joined) => return Ok((member, joined)),
                Err(Unavailable::Refused { code: ErrorCode::UserIdTaken, .. })
                    if request.user.as_str() == DEFAULT_USER && self.has_no_publisher(&request.room) =>
                {
                    let random = Alphanumeric.sample_string(&mut rand::rng(), ID_CHARS).to_lowercase();
                    let other = format!("{DEFAULT_USER}-{random}").parse();
                    // Letters, digits and a hyphen form an id.
                    request.user = other.map_err(|_| Unavailable::NoSuchRoom)?;
                }
                Err(why) => return Err(why),
            }
        }
    }

    fn has_no_publisher(&self, room: &RoomId) -> bool {
        self.server.room(room).is_none_or(|room| room.publisher.is_none())
    }

    /// The room or the server has closed the member.
    fn closed(&self, room: &RoomId, over: &watch::Receiver<()>) {
        if let Some(publisher) = self.lock().get_mut(room)
            && matches!(&publisher.presence, Presence::Here(here) if here.over.same_channel(over))
        {
            publisher.presence = Presence::Gone { at: Instant::now() };
        }
    }

    /// A client leaves, and with the last one the member. Returns whether the member stays for other clients.
    fn leave(&self, room: &RoomId, over: &watch::Receiver<()>, end: SessionEnd) -> bool {
        let mut all = self.lock();
        let Some(publisher) = all.get_mut(room) else { return false };
        match &mut publisher.presence {
            Presence::Here(here) if here.over.same_channel(over) && here.clients > 1 => {
                here.clients -= 1;
                return true;
            }
            Presence::Here(here) if here.over.same_channel(over) => {}
            Presence::Here(_) | Presence::Gone { .. } => return false,
        }
        let gone = Presence::Gone { at: Instant::now() };
        if let Presence::Here(here) = std::mem::replace(&mut publisher.presence, gone) {
            // This fails if the room has closed the member.
            _ = here.leave.send(end);
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Publisher>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// Whether the server still keeps the media of the publisher.
    fn may_return(&self, now: Instant) -> bool {
        match self.presence {
            Presence::Here(_) => true,
            Presence::Gone { at } => now.saturating_duration_since(at) <= MEDIA_STAYS,
        }
    }
}

impl Membership {
    pub(super) fn room(&self) -> &RoomId {
        &self.room
    }

    pub(super) fn user(&self) -> &UserId {
        &self.joined.user
    }

    pub(super) fn ice_servers(&self) -> Vec<IceServer> {
        self.joined.ice_servers.clone()
    }

    pub(super) fn client_state(&self) -> SharedClientState {
        self.joined.client_state.clone()
    }

    /// Gives the share back. If it is the last one, waits until the member has left the room.
    pub(super) async fn leave(mut self, end: SessionEnd) {
        self.has_left = true;
        if !self.members.leave(&self.room, &self.over, end) {
            // Always an error, because nothing is ever sent.
            _ = self.over.changed().await;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.has_left {
            self.members.leave(&self.room, &self.over, SessionEnd::Goodbye);
        }
    }
}

/// The end of a membership.
enum Stayed {
    /// The last client has said goodbye.
    Goodbye(LocalMember),
    /// The last client was lost. It may return, and until then the students stay connected.
    Lost(LocalMember),
    /// The room or the server has closed the member.
    Closed,
}

/// Stays in the room until the last client leaves, or the room or the server closes the member.
async fn stay(mut member: LocalMember, mut leaves: oneshot::Receiver<SessionEnd>) -> Stayed {
    loop {
        tokio::select! {
            end = &mut leaves => return match end {
                Ok(SessionEnd::Lost) => Stayed::Lost(member),
                Ok(SessionEnd::Goodbye) | Err(_) => Stayed::Goodbye(member),
            },
            message = member.receive() => if message.is_none() {
                return Stayed::Closed;
            },
        }
    }
}

async fn joined(member: &mut LocalMember) -> Result<Joined, Unavailable> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let message = timeout_at(deadline, member.receive()).await.map_err(|_| Unavailable::NoAnswer)?;
        match message {
            Some(ServerMessage::Joined { user_id: user, ice_servers, .. }) => {
                return Ok(Joined { user, ice_servers, client_state: member.client_state() });
            }
            Some(ServerMessage::Error { code, message, retry_after_ms, .. }) => {
                let retry_after = retry_after_ms.map(std::time::Duration::from_millis);
                return Err(Unavailable::Refused { code, message, retry_after });
            }
            // Other messages are not for a client that waits.
            Some(_) => {}
            None => {
                let message = "the server is shutting down, or has removed the publisher from the room".into();
                return Err(Unavailable::Refused { code: ErrorCode::ServerShutdown, message, retry_after: None });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ClientAddress;
    use crate::room::RoomLimits;
    use crate::signal::ServerLimits;

    fn client(user: &str) -> MediaClient {
        let query = format!("roomId=1&userId={user}&pub=pub&media=server");
        let request = JoinRequest::parse(&query).unwrap();
        MediaClient { request, credentials: Credentials::default(), address: ClientAddress::this_process() }
    }

    async fn enter(members: &Members, user: &str) -> Result<Membership, Unavailable> {
        let client = client(user);
        let proved = members.server.check_publisher(&client.request, &client.credentials, client.address).unwrap();
        members.enter(client, proved).await
    }

    #[tokio::test]
    async fn the_clients_of_a_publisher_share_a_member_until_the_last_one_leaves() {
        let room = RoomLimits { max_media_rooms: 1, ..RoomLimits::default() };
        let server = Server::new(ServerLimits { room, ..ServerLimits::default() });
        let _hosts = server.media_hosts();
        let members = Members::new(server.clone(), WhipRooms::default());
        let publisher = || server.room(&"1".parse().unwrap()).and_then(|room| room.publisher);
        let (one, two) = tokio::join!(enter(&members, "9999"), enter(&members, DEFAULT_USER));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.user().as_str(), two.user().as_str()), ("9999", "9999"));
        let other = enter(&members, "8888").await.err();
        assert!(matches!(other, Some(Unavailable::Refused { code: ErrorCode::PublisherExists, .. })), "{other:?}");
        one.leave(SessionEnd::Goodbye).await;
        assert!(publisher().is_some(), "the other client stays");
        two.leave(SessionEnd::Lost).await;
        let back = enter(&members, "9999").await.unwrap();
        assert!(publisher().is_some(), "it returns with the secret of its publisher");
        drop(back);
        while publisher().is_some() {
            tokio::task::yield_now().await;
        }
        // The room closes the member: the next client joins again.
        let closed = enter(&members, "9999").await.unwrap();
        server.shutdown().await;
        closed.leave(SessionEnd::Lost).await;
        assert!(enter(&members, "9999").await.is_err());
    }
}
