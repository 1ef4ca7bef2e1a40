//! A server of somebody else that gets the lecture: a WHIP server, or a VideoRoom of a Janus server.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use crate::commands::uplink_connection::Delays;
use crate::http::whip_client::{Endpoint, Opened, Restarted, Session, WhipError};
use crate::janus::{JanusError, JanusHost, JanusPublication, PublishedJanus};
use crate::protocol::{IceCandidate, OfferedTracks};
use crate::report::HostKind;
use crate::sdp::ice::IceServer;
use crate::sdp::restart;

/// A server, with what a client needs for it.
#[derive(Debug, Clone)]
pub(in crate::commands) enum Host {
    Whip(Endpoint),
    Janus(Box<JanusHost>),
}

/// An offer, with the candidates of this side.
pub(super) struct HostOffer<'a> {
    pub(super) sdp: &'a str,
    /// The track of each section, by mid.
    pub(super) tracks: &'a OfferedTracks,
}

/// An accepted offer.
pub(super) struct Accepted {
    pub(super) answer: String,
    /// None if only silence ends the session.
    pub(super) session: Option<HostSession>,
    /// The server's own STUN and TURN servers.
    pub(super) ice_servers: Vec<IceServer>,
}

/// An open session.
pub(super) enum HostSession {
    Whip(Box<Session>),
    Janus(Box<PublishedJanus>),
}

/// Why there is no session. Each is a sentence about "it", the server.
#[derive(Debug)]
pub(super) enum HostError {
    Whip(WhipError),
    Janus(JanusError),
}

impl Host {
    pub(in crate::commands) fn kind(&self) -> HostKind {
        match self {
            Self::Whip(_) => HostKind::Whip,
            Self::Janus(_) => HostKind::Janus,
        }
    }

    /// What people call the server: its origin, and the room of a Janus.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Whip(endpoint) => endpoint.url.to_string(),
            Self::Janus(janus) => format!("room {} of {}", janus.room.id, janus.room.server.url),
        }
    }

    /// The host of the server, a name or an address.
    pub(in crate::commands) fn host(&self) -> &str {
        match self {
            Self::Whip(endpoint) => endpoint.url.host(),
            Self::Janus(janus) => janus.room.server.url.server().host(),
        }
    }

    /// The delays before another offer. A server that is gone may be back soon, or tomorrow. One that accepts offers
    /// and then fails gets no more of them. A Janus is restarted rather than gone, and a lecture without a class of
    /// ours may depend on it.
    pub(super) fn delays(&self) -> Delays {
        let (first, works_after) = (Duration::from_secs(1), Duration::from_secs(30));
        let longest = Duration::from_secs(match self {
            Self::Whip(_) => 30,
            Self::Janus(_) => 5,
        });
        Delays { first, longest, works_after }
    }

    /// Sends an offer.
    pub(super) async fn open(&self, offer: HostOffer<'_>) -> Result<Accepted, HostError> {
        match self {
            Self::Whip(endpoint) => {
                let Opened { answer, session, ice_servers } =
                    endpoint.open(offer.sdp).await.map_err(HostError::Whip)?;
                let session = session.map(Box::new).map(HostSession::Whip);
                Ok(Accepted { answer, session, ice_servers })
            }
            Self::Janus(janus) => {
                let HostOffer { sdp: offer, tracks } = offer;
                let publication = JanusPublication { offer, tracks };
                let (session, answer) = janus.publish(&publication).await.map_err(HostError::Janus)?;
                let session = Some(HostSession::Janus(Box::new(session)));
                Ok(Accepted { answer, session, ice_servers: Vec::new() })
            }
        }
    }

    /// The next step for a user whose codec the server does not take.
    pub(super) fn codec_advice(&self) -> &'static str {
        match self {
            Self::Whip(_) => "",
            Self::Janus(_) => ": choose another one with --codec, or set videocodec of the room",
        }
    }
}

impl HostSession {
    /// Sends a candidate that was not in the offer.
    pub(super) async fn add_candidate(&mut self, offer: &str, candidate: IceCandidate) {
        match self {
            Self::Whip(session) => session.add_candidates(&restart::fragment_of(offer, &candidate.candidate)).await,
            Self::Janus(published) => published.candidate(candidate),
        }
    }

    /// Whether ICE can restart within the session. Janus keeps the connection, which may recover by itself.
    pub(super) fn restarts_ice(&self) -> bool {
        matches!(self, Self::Whip(_))
    }

    /// Restarts ICE with the credentials and the candidates in a fragment. `None`: a new session is needed.
    pub(super) async fn restart_ice(&mut self, fragment: &str) -> Option<Restarted> {
        match self {
            Self::Whip(session) => session.restart_ice(fragment).await,
            Self::Janus(_) => None,
        }
    }

    /// Waits until the server says that the session is over. Cancel-safe.
    pub(super) async fn lost(&mut self) -> HostError {
        match self {
            // A WHIP server can't say anything.
            Self::Whip(_) => pending().await,
            Self::Janus(published) => HostError::Janus(published.lost().await),
        }
    }

    pub(super) async fn end(self) {
        match self {
            Self::Whip(session) => session.end().await,
            Self::Janus(published) => published.end().await,
        }
    }
}

impl HostError {
    /// Whether another offer would get the same answer until somebody changes something. `has_worked`: the server has
    /// had the lecture before.
    pub(super) fn is_final(&self, has_worked: bool) -> bool {
        match self {
            Self::Whip(error) => error.is_final() && !has_worked,
            Self::Janus(error) => error.is_final(!has_worked),
        }
    }

    /// The time for which the server wants no other offer.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Whip(error) => error.retry_after(),
            Self::Janus(_) => None,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whip(error) => error.fmt(f),
            Self::Janus(error) => f.write_str(&error.about_it()),
        }
    }
}
