//! WHIP clients as publishers of rooms whose media this server carries. A client is a member like a page that teaches:
//! it offers to its own user id, and the media host of the room answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::host::SilentRooms;
use crate::http::whip::{DEFAULT_USER, Lectures, PublisherOffer};
use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Unavailable};
use crate::id::{RoomId, UserId};
use crate::network::Network;
use crate::protocol::{
    ClientMessage, Credentials, ErrorCode, IceCandidate, IceServer, JoinRequest, MediaHost, OfferedTracks,
    ServerMessage, SessionSecret, TrackName, VideoTrack,
};
use crate::signal::{LocalMember, Server, SessionToken};

/// The longest wait for the answer of the media host, which takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The time in which a client that has lost its media may return as the same publisher: the server keeps the media that
/// long.
const RETURNS_WITHIN: Duration = crate::protocol::MEDIA_STAYS;

/// Random letters and digits in a user id.
const ID_CHARS: usize = 6;

/// The rooms of a server, for WHIP clients.
#[derive(Clone)]
pub(super) struct Publishers {
    server: Server,
    /// The rooms whose publisher sends nothing at the moment.
    silent: SilentRooms,
    clients: Arc<Mutex<Clients>>,
}

/// The last WHIP client of each room.
#[derive(Default)]
struct Clients {
    by_room: HashMap<RoomId, KnownClient>,
    sessions: u64,
}

/// A WHIP client that publishes, or did.
struct KnownClient {
    session: u64,
    /// The proof by which a returning client is recognised.
    proof: Proof,
    /// The secret that the room knows.
    secret: SessionSecret,
    user: UserId,
    /// The end of the media; none while the media may run.
    ended: Option<Instant>,
}

/// The secrets of a client and its network.
#[derive(Clone, PartialEq)]
struct Proof(Credentials, Network);

impl Publishers {
    pub(super) fn new(server: Server, silent: SilentRooms) -> Self {
        Self { server, silent, clients: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Clients {
    /// The secret and the user id of the last client of a room, for a client with the same proof. None while the media
    /// of the last client runs, and [`RETURNS_WITHIN`] after its end.
    fn returning(
        &self,
        now: Instant,
        room: &RoomId,
        proof: &Proof,
        is_silent: bool,
    ) -> Option<(SessionSecret, UserId)> {
        let known = self.by_room.get(room).filter(|known| known.proof == *proof)?;
        let is_recent = known.ended.map_or(is_silent, |at| now.saturating_duration_since(at) <= RETURNS_WITHIN);
        is_recent.then(|| (known.secret.clone(), known.user.clone()))
    }

    /// A client publishes in a room. Returns the number of the session.
    fn begin(&mut self, now: Instant, room: RoomId, proof: Proof, (secret, user): (SessionSecret, UserId)) -> u64 {
        // Clients that came and went must not stay for ever.
        let returns =
            |known: &KnownClient| known.ended.is_none_or(|at| now.saturating_duration_since(at) <= RETURNS_WITHIN);
        self.by_room.retain(|_, known| returns(known));
        self.sessions += 1;
        let known = KnownClient { session: self.sessions, proof, secret, user, ended: None };
        self.by_room.insert(room, known);
        self.sessions
    }

    fn end(&mut self, now: Instant, room: &RoomId, session: u64) {
        if let Some(known) = self.by_room.get_mut(room).filter(|known| known.session == session) {
            known.ended = Some(now);
        }
    }
}

impl Lectures for Publishers {
    async fn publish(&self, client: MediaClient, offer: PublisherOffer) -> Result<Negotiated, Unavailable> {
        let proof = Proof(client.credentials.clone(), client.address.network);
        let room = client.request.room.clone();
        let returning = self.lock().returning(Instant::now(), &room, &proof, self.silent.contains(&room));
        let mut request = JoinRequest { media: MediaHost::Server, ..client.request.clone() };
        let secret = match returning {
            Some((secret, user)) => {
                request.user = user;
                secret
            }
            None => SessionToken::fresh().session().clone(),
        };
        let credentials = Credentials { session: Some(secret.clone()), ..client.credentials.clone() };
        let (mut member, Joined { user, ice_servers }) = self.join(request, &credentials, &client).await?;
        let client_state = member.client_state();
        let answer = negotiate(&mut member, &user, offer).await?;
        let (candidates, queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        let session = self.lock().begin(Instant::now(), room.clone(), proof, (secret, user.clone()));
        let publishers = self.clone();
        tokio::spawn(async move {
            if stay(&mut member, &user, queue).await == End::MediaLost {
                // The client may return, and until then the students stay connected.
                member.lose();
            } else {
                drop(member);
            }
            publishers.lock().end(Instant::now(), &room, session);
            // `over` must not complete before the member has left.
            drop(alive);
        });
        Ok(Negotiated { answer, ice_servers, candidates, over, client_state })
    }
}

/// A client that has joined its room.
struct Joined {
    /// The user id, perhaps that of a token.
    user: UserId,
    /// The STUN and TURN servers, with credentials of the client's own.
    ice_servers: Vec<IceServer>,
}

async fn joined(member: &mut LocalMember) -> Result<Joined, Unavailable> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let message = timeout_at(deadline, member.receive()).await.map_err(|_| Unavailable::NoAnswer)?;
        match message {
            Some(ServerMessage::Joined { user_id, ice_servers, .. }) => {
                return Ok(Joined { user: user_id, ice_servers });
            }
            Some(message) => refusal(message)?,
            None => return Err(closed()),
        }
    }
}

/// Sends the offer and waits for the answer.
async fn negotiate(member: &mut LocalMember, user: &UserId, offer: PublisherOffer) -> Result<String, Unavailable> {
    let PublisherOffer { sdp, audio, video } = offer;
    let video = video.map(|(mid, video)| match video {
        VideoTrack::Screen => (mid, TrackName::Screen),
        VideoTrack::Camera => (mid, TrackName::Camera),
    });
    let tracks: OfferedTracks = audio.map(|mid| (mid, TrackName::Audio)).into_iter().chain(video).collect();
    member.send(ClientMessage::Offer { entry: None, target_uid: user.clone(), sdp, video: None, tracks: Some(tracks) });
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let message = timeout_at(deadline, member.receive()).await.map_err(|_| Unavailable::NoAnswer)?;
        match message {
            Some(ServerMessage::Answer { user_id, sdp, .. }) if user_id == *user => return Ok(sdp),
            // This hangup is about an earlier connection of the same user id.
            Some(ServerMessage::Hangup { .. }) => {}
            Some(message) => refusal(message)?,
            None => return Err(closed()),
        }
    }
}

/// The refusal in an error; other messages are not for a client that waits.
fn refusal(message: ServerMessage) -> Result<(), Unavailable> {
    let ServerMessage::Error { code, message, retry_after_ms, .. } = message else { return Ok(()) };
    Err(Unavailable::Refused { code, message, retry_after: retry_after_ms.map(Duration::from_millis) })
}

fn closed() -> Unavailable {
    let message = "the server is shutting down, or has removed the publisher from the room".into();
    Unavailable::Refused { code: ErrorCode::ServerShutdown, message, retry_after: None }
}

/// The end of a session.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client said goodbye, or has never read its answer.
    Goodbye,
    /// The client fell silent.
    MediaLost,
    /// The server or the room has closed the member.
    Closed,
}

/// Stays in the room until the client, the media host or the server ends the session.
async fn stay(member: &mut LocalMember, user: &UserId, mut candidates: mpsc::Receiver<IceCandidate>) -> End {
    loop {
        tokio::select! {
            message = member.receive() => match message {
                Some(ServerMessage::Hangup { user_id }) if user_id == *user => return End::MediaLost,
                Some(_) => {}
                None => return End::Closed,
            },
            candidate = candidates.recv() => match candidate {
                Some(candidate) => {
                    let target_uid = user.clone();
                    member.send(ClientMessage::Candidate { entry: None, target_uid, candidate, source: None });
                }
                None => return End::Goodbye,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(key: &str) -> Proof {
        let credentials = Credentials { key: Some(key.into()), ..Credentials::default() };
        Proof(credentials, Network::of(std::net::Ipv4Addr::LOCALHOST.into()))
    }

    #[test]
    fn a_client_returns_with_its_own_proof_once_its_media_has_ended() {
        let (mut clients, now) = (Clients::default(), Instant::now());
        let room: RoomId = "1".parse().unwrap();
        let identity = (SessionToken::fresh().session().clone(), "whip".parse().unwrap());
        let session = clients.begin(now, room.clone(), proof("a"), identity.clone());
        assert_eq!(clients.returning(now, &room, &proof("a"), false), None, "the media may run");
        assert_eq!(clients.returning(now, &room, &proof("a"), true), Some(identity.clone()), "it is silent");
        assert_eq!(clients.returning(now, &room, &proof("b"), true), None);
        clients.end(now, &room, session + 1);
        assert_eq!(clients.returning(now, &room, &proof("a"), false), None, "another session has ended");
        clients.end(now, &room, session);
        assert_eq!(clients.returning(now, &room, &proof("a"), false), Some(identity.clone()));
        assert_eq!(clients.returning(now, &room, &proof("b"), false), None);
        assert_eq!(clients.returning(now, &"2".parse().unwrap(), &proof("a"), false), None);
        let later = now + RETURNS_WITHIN + Duration::from_secs(1);
        assert_eq!(clients.returning(later, &room, &proof("a"), false), None);
        clients.begin(later, "2".parse().unwrap(), proof("a"), identity);
        assert_eq!(clients.by_room.len(), 1, "the first one is forgotten");
    }
}
