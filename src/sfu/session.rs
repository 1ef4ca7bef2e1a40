//! Sessions: a publisher may have one connection for its screen and another one for its camera, as WHIP clients have.

use std::collections::BTreeMap;

use super::RTCIceCandidateInit;
use crate::id::UserId;
use crate::protocol::VideoTrack;
use crate::rtp::Track;

/// The number of a session, which the caller chooses. Numbers are never reused within an SFU.
pub type SessionId = u64;

/// One connection of a publisher that has one for each video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublisherSession {
    /// Its number.
    pub number: SessionId,
    /// Its video. A session of audio alone has one too: another session for that video replaces the session.
    pub video: VideoTrack,
}

/// The offer of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOffer {
    /// The publisher.
    pub user: UserId,
    /// The session.
    pub session: PublisherSession,
    /// The session description.
    pub sdp: String,
    /// The tracks of its sections by mid.
    pub tracks: BTreeMap<String, Track>,
}

/// The remote side of a restart of ICE (RFC 8445, 9).
#[derive(Debug, Clone, PartialEq)]
pub struct IceRestart {
    /// The session.
    pub number: SessionId,
    /// The new user name fragment of the client.
    pub ufrag: String,
    /// The new password of the client.
    pub password: String,
    /// The candidates that the client knows already.
    pub candidates: Vec<RTCIceCandidateInit>,
}
