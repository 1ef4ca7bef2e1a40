//! The commands that the handle sends to the SFU's thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::RTCIceCandidateInit;
use super::control_queue::{Entry, Kind};
use super::event::SfuStats;
use super::limits::VideoLimits;
use super::session::{IceRestart, SessionId, SessionOffer};
use crate::id::UserId;
use crate::ingest::AudioFloor;
use crate::network::NetworkTag;
use crate::protocol::VideoTrack;
use crate::rtp::{Encoding, Track};
use crate::trace::Tracer;

pub(super) enum Command {
    Offer {
        user: UserId,
        sdp: String,
        video: Option<VideoTrack>,
        network: Option<NetworkTag>,
        /// Whether the user is an edge.
        is_edge: bool,
    },
    Publish {
        user: UserId,
        sdp: String,
        tracks: Option<BTreeMap<String, Track>>,
        network: Option<NetworkTag>,
    },
    OpenSession(Box<SessionOffer>),
    SessionCandidate {
        number: SessionId,
        candidate: RTCIceCandidateInit,
    },
    RestartIce(Box<IceRestart>),
    EndSession {
        number: SessionId,
    },
    Candidate {
        user: UserId,
        candidate: RTCIceCandidateInit,
    },
    /// Signalling has lost a student, or has it back.
    Signalling {
        user: UserId,
        is_lost: bool,
    },
    Remove {
        user: UserId,
    },
    Tell {
        user: UserId,
        text: Arc<str>,
    },
    TellAll {
        text: Arc<str>,
    },
    Limit {
        user: UserId,
        limits: VideoLimits,
    },
    /// An edge passes the media on to so many students.
    Serves {
        edge: UserId,
        students: u32,
    },
    Floor(AudioFloor),
    Trace(Tracer),
    Encodings(Vec<Encoding>),
    Stats(oneshot::Sender<SfuStats>),
    Close(oneshot::Sender<()>),
    /// Makes the next poll of a student's peer panic.
    #[cfg(test)]
    Panic {
        user: UserId,
    },
    /// Blocks the thread until the other end is dropped.
    #[cfg(test)]
    Stall(std::sync::mpsc::Receiver<()>),
    /// Makes each receive of the socket fail with this `errno`, until the socket is reopened.
    #[cfg(test)]
    FailReceives(i32),
}

impl Entry for Command {
    fn kind(&self) -> Kind {
        match self {
            Command::Offer { .. } | Command::Candidate { .. } | Command::SessionCandidate { .. } => Kind::Request,
            Command::Tell { .. } | Command::TellAll { .. } | Command::Limit { .. } => Kind::Message,
            // One of each publisher waits at the most; the offers of students must not displace it.
            Command::Publish { .. } | Command::OpenSession(_) | Command::EndSession { .. } => Kind::Control,
            Command::RestartIce(_) | Command::Floor(_) | Command::Trace(_) => Kind::Control,
            Command::Signalling { .. } | Command::Serves { .. } => Kind::Control,
            Command::Remove { .. } | Command::Encodings(_) | Command::Stats(_) | Command::Close(_) => Kind::Control,
            #[cfg(test)]
            Command::Panic { .. } | Command::Stall(_) | Command::FailReceives(_) => Kind::Control,
        }
    }

    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            (
                Command::Remove { user },
                Command::Offer { user: of, .. }
                | Command::Publish { user: of, .. }
                | Command::Candidate { user: of, .. }
                | Command::Tell { user: of, .. }
                | Command::Limit { user: of, .. }
                | Command::Signalling { user: of, .. }
                | Command::Remove { user: of },
            )
            | (Command::Signalling { user, .. }, Command::Signalling { user: of, .. }) => user == of,
            (Command::Publish { user, .. }, Command::Publish { user: of, .. }) => user == of,
            (Command::Limit { user, .. }, Command::Limit { user: of, .. }) => user == of,
            (Command::Serves { edge, .. }, Command::Serves { edge: of, .. }) => edge == of,
            (Command::Remove { user }, Command::OpenSession(offer)) => *user == offer.user,
            (Command::OpenSession(offer), Command::OpenSession(older)) => offer.session.video == older.session.video,
            (
                Command::EndSession { number },
                Command::SessionCandidate { number: of, .. } | Command::EndSession { number: of },
            ) => number == of,
            (Command::RestartIce(restart), Command::RestartIce(older)) => restart.number == older.number,
            (Command::EndSession { number }, Command::OpenSession(offer)) => *number == offer.session.number,
            // Closing must not wait for requests and messages that have become useless.
            (Command::Close(_), older) => older.kind() != Kind::Control,
            _ => false,
        }
    }
}
