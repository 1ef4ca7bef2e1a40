//! WHEP players as members of rooms. They reach the teacher by signalling, wherever the teacher runs.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::http::whep::Lectures;
use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Unavailable};
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, IceServer, ServerMessage, User, VideoTrack};
use crate::room::RoomState;
use crate::signal::{LocalMember, Server};

/// How long to wait for the teacher's answer. A reachable teacher answers within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a player waits in the lobby: within the time that the server gives to a request.
const ADMITTED_WITHIN: Duration = Duration::from_secs(20);

/// The lectures of a server, for WHEP players.
#[derive(Clone)]
pub(super) struct Players(pub(super) Server);

impl Lectures for Players {
    async fn watch(
        &self,
        player: MediaClient,
        offer: String,
        video: Option<VideoTrack>,
    ) -> Result<Negotiated, Unavailable> {
        let MediaClient { request, credentials, address } = player;
        // Unlike a student, a player neither creates a room nor waits for a teacher.
        let room = self.0.room(&request.room);
        if room.ok_or(Unavailable::NoSuchRoom)?.state != RoomState::Live {
            return Err(Unavailable::NobodyTeaches);
        }
        let mut member = self.0.join(request, credentials, address);
        let client_state = member.client_state();
        let Agreed { teacher, answer, ice_servers } = negotiate(&mut member, offer, video).await?;
        let (candidates, queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            stay(member, &teacher, queue).await;
            // `over` must not complete before the member has left.
            drop(alive);
        });
        // The teacher may be in another process, and signalling has no message for a restart of ICE.
        Ok(Negotiated { answer, ice_servers, candidates, restarts: None, over, client_state })
    }
}

/// The result of a negotiation between a player and its teacher.
struct Agreed {
    teacher: User,
    answer: String,
    /// The STUN and TURN servers, with credentials of the player's own.
    ice_servers: Vec<IceServer>,
}

/// Joins the room, sends the offer and waits for the answer.
async fn negotiate(member: &mut LocalMember, offer: String, video: Option<VideoTrack>) -> Result<Agreed, Unavailable> {
    let mut is_offered = false;
    let mut teacher: Option<User> = None;
    let mut servers = Vec::new();
    let (mut deadline, mut late) = (Instant::now() + ANSWER_WITHIN, Unavailable::NoAnswer);
    loop {
        let Ok(message) = timeout_at(deadline, member.receive()).await else { return Err(late) };
        let Some(message) = message else { break };
        match message {
            ServerMessage::Waiting { .. } => {
                (deadline, late) = (Instant::now() + ADMITTED_WITHIN, Unavailable::NotAdmitted);
            }
            ServerMessage::Joined { users, ice_servers, .. } => {
                servers = ice_servers;
                let found = users.into_iter().find(|user| user.publishes).ok_or(Unavailable::NobodyTeaches)?;
                if !std::mem::replace(&mut is_offered, true) {
                    member.send(offer_to(&found, &offer, video));
                }
                teacher = Some(found);
                (deadline, late) = (Instant::now() + ANSWER_WITHIN, Unavailable::NoAnswer);
            }
            ServerMessage::Answer { user_id, sdp, .. } => match teacher.take_if(|teacher| teacher.user_id == user_id) {
                Some(teacher) => return Ok(Agreed { teacher, answer: sdp, ice_servers: servers }),
                None => continue,
            },
            ServerMessage::Error { code: ErrorCode::UnknownTarget, .. } => return Err(Unavailable::NobodyTeaches),
            ServerMessage::Error { code, message, retry_after_ms, .. } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                return Err(Unavailable::Refused { code, message, retry_after });
            }
            // The room has chosen an engine that offers itself, and a player answers no offers: the next offer goes
            // elsewhere.
            ServerMessage::Offer { .. } => {
                teacher.iter().for_each(|teacher| member.send(offer_to(teacher, &offer, video)));
            }
            // This hangup is about an earlier connection of the same user id.
            ServerMessage::Hangup { .. } => {}
            message if teacher.as_ref().is_some_and(|teacher| ends(&message, teacher)) => {
                return Err(Unavailable::NobodyTeaches);
            }
            _ => {}
        }
    }
    let message = "the server is shutting down, or has removed the player from the room".into();
    Err(Unavailable::Refused { code: ErrorCode::ServerShutdown, message, retry_after: None })
}

fn offer_to(teacher: &User, sdp: &str, video: Option<VideoTrack>) -> ClientMessage {
    let (target_uid, sdp) = (teacher.user_id.clone(), sdp.to_owned());
    ClientMessage::Offer { entry: None, target_uid, sdp, video, tracks: None }
}

/// Stays in the room until the player, the teacher or the server ends the session.
async fn stay(mut member: LocalMember, teacher: &User, mut candidates: mpsc::Receiver<IceCandidate>) {
    loop {
        tokio::select! {
            message = member.receive() => match message {
                Some(message) if !ends(&message, teacher) => {}
                _ => return,
            },
            candidate = candidates.recv() => match candidate {
                Some(candidate) => {
                    let target_uid = teacher.user_id.clone();
                    member.send(ClientMessage::Candidate { entry: None, target_uid, candidate, source: None });
                }
                None => return,
            },
        }
    }
}

/// Whether the message ends the media of this teacher: a hangup, a departure, or a new process with the same id.
fn ends(message: &ServerMessage, teacher: &User) -> bool {
    let is_teacher = |id: &UserId| *id == teacher.user_id;
    match message {
        ServerMessage::Hangup { user_id } => is_teacher(user_id),
        ServerMessage::Leave { users, .. } => users.iter().any(is_teacher),
        ServerMessage::Join { users } => {
            users.iter().any(|user| is_teacher(&user.user_id) && user.epoch != teacher.epoch)
        }
        _ => false,
    }
}
