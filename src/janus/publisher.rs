//! A publisher of a VideoRoom: carries the offer of a peer connection to Janus, and notices when Janus is lost.

use std::time::Duration;

use tokio::time::timeout;

use super::error::JanusError;
use super::member::{JanusRoom, Member, Published};
use super::session::SessionEvent;
use super::transactions::Unasked;
use super::video_room::{self, RoomEvent};
use super::wire::Candidate;
use crate::protocol::{IceCandidate, OfferedTracks};
use crate::rtp::Track;

/// The time limit of the whole way into the room: connection, session, handle, room, answer.
const PUBLISH_WITHIN: Duration = Duration::from_secs(12);

/// A room to publish in.
#[derive(Debug, Clone)]
pub struct JanusHost {
    /// The room.
    pub room: JanusRoom,
}

/// What is published.
#[derive(Debug, Clone)]
pub struct JanusPublication<'a> {
    /// The offer, with all candidates.
    pub offer: &'a str,
    /// The track of each section, by mid.
    pub tracks: &'a OfferedTracks,
}

/// A publication that runs. Dropping it without [`PublishedJanus::end`] is a lost connection to Janus.
#[derive(Debug)]
pub struct PublishedJanus {
    member: Member,
}

impl JanusHost {
    /// Joins the room and publishes in a new session. Returns the publication, and Janus's answer.
    ///
    /// # Errors
    /// If Janus can't be reached or refuses.
    pub async fn publish(&self, publication: &JanusPublication<'_>) -> Result<(PublishedJanus, String), JanusError> {
        let JanusPublication { offer, tracks } = publication;
        let descriptions = tracks.iter().map(|(mid, track)| (mid.as_str(), Track::from(*track).name())).collect();
        let published = Published { offer: (*offer).to_owned(), descriptions };
        let url = &self.room.server.url;
        let joining = timeout(PUBLISH_WITHIN, Member::join(&self.room, None, Some(&published)));
        let slow = |_| JanusError::broken(url, format!("takes longer than {} s", PUBLISH_WITHIN.as_secs()));
        let mut member = joining.await.map_err(slow)??;
        match member.answer.take() {
            Some(answer) => Ok((PublishedJanus { member }, answer)),
            None => Err(JanusError::broken(url, "takes the offer without a usable answer")),
        }
    }
}

impl PublishedJanus {
    /// Sends a candidate that was not in the offer.
    pub fn candidate(&self, candidate: IceCandidate) {
        self.member.session.trickle(self.member.handle, Candidate::One(candidate));
    }

    /// Waits for the loss of the publication; returns the reason. Cancel-safe.
    pub async fn lost(&mut self) -> JanusError {
        let (url, own) = (self.member.room.server.url.clone(), self.member.handle);
        loop {
            let event = match self.member.events.recv().await {
                Some(SessionEvent::Unasked(event)) => event,
                Some(SessionEvent::Lost(error)) => return error,
                None => return JanusError::broken(&url, "has closed the connection"),
            };
            match event {
                Unasked::Plugin(_, data, _) => match video_room::parse(data) {
                    Ok(RoomEvent::Kicked) => return JanusError::Removed { url },
                    Ok(RoomEvent::Destroyed) => return JanusError::broken(&url, "has destroyed the room"),
                    // An event that this program does not know is not about it.
                    Ok(_) | Err(_) => {}
                },
                Unasked::Hangup(handle, reason) if handle == own => {
                    return JanusError::broken(&url, format!("has closed the connection for media ({reason})"));
                }
                Unasked::Detached(handle) if handle == own => {
                    return JanusError::broken(&url, "has removed this program from the room");
                }
                // The first handle is gone if the room had to be created.
                Unasked::Candidate(..)
                | Unasked::Up(_)
                | Unasked::Hangup(..)
                | Unasked::Detached(_)
                | Unasked::Over => {}
            }
        }
    }

    /// Leaves the room; takes one second at the most.
    pub async fn end(self) {
        self.member.session.end().await;
    }
}
