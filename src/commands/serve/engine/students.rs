//! The students of a lecture at a node, whatever the engine.

use super::janus::JanusStudents;
use super::lecture::Lecture;
use super::livekit::LiveKitStudents;
use super::mediamtx::MediaMtxStudents;
use super::{EngineEvent, EngineOrder, Node};
use crate::cli::EngineNode;
use crate::commands::whip_out::Host;
use crate::report::HostKind;
use crate::rtp::Track;

/// The students of a lecture at a node.
pub(super) enum Students {
    Janus(JanusStudents),
    LiveKit(LiveKitStudents),
    MediaMtx(MediaMtxStudents),
}

impl Students {
    /// Returns the way to publish a lecture at a node, and its students.
    ///
    /// # Errors
    /// If the engine's client can't be started.
    pub(super) fn start(node: &Node, lecture: Lecture) -> Result<(Host, Self), String> {
        Ok(match &node.node {
            EngineNode::Janus(url) => {
                let (host, students) = JanusStudents::start(url, node.left.clone())?;
                (host, Self::Janus(students))
            }
            EngineNode::LiveKit { url, key } => {
                let key = key.as_ref().ok_or("there is no API key")?;
                let (host, students) = LiveKitStudents::start(url, key, lecture)?;
                (host, Self::LiveKit(students))
            }
            EngineNode::MediaMtx(url) => {
                let (host, students) = MediaMtxStudents::start(url, lecture)?;
                (host, Self::MediaMtx(students))
            }
        })
    }

    /// Whether a track is published.
    pub(super) fn takes(&self, track: Track) -> bool {
        match self {
            Self::Janus(_) | Self::LiveKit(_) => true,
            Self::MediaMtx(students) => students.takes(track),
        }
    }

    pub(super) fn order(&mut self, order: EngineOrder) {
        match (self, order) {
            // A line says nothing to an engine.
            (_, EngineOrder::Sees(..)) => {}
            (Self::Janus(students), order) => students.order(order),
            (Self::LiveKit(students), EngineOrder::Offer(user, sdp, video)) => students.offer(user, &sdp, video),
            (Self::LiveKit(students), EngineOrder::Candidate(user, candidate)) => students.candidate(&user, candidate),
            (Self::LiveKit(students), EngineOrder::Remove(user)) => students.remove(&user),
            (Self::MediaMtx(students), EngineOrder::Offer(user, sdp, _)) => students.offer(user, &sdp),
            (Self::MediaMtx(students), EngineOrder::Candidate(user, candidate)) => students.candidate(&user, candidate),
            (Self::MediaMtx(students), EngineOrder::Remove(user)) => students.remove(&user),
            // These engines answer, and make no offers.
            (Self::LiveKit(_) | Self::MediaMtx(_), EngineOrder::Answer(..)) => {}
        }
    }

    /// The budget of key frames. LiveKit asks for each student that comes and for nobody else, as Janus does.
    pub(super) fn budget(&self) -> HostKind {
        match self {
            Self::Janus(_) | Self::LiveKit(_) => HostKind::Janus,
            Self::MediaMtx(_) => HostKind::Whip,
        }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        match self {
            Self::Janus(students) => students.next().await,
            Self::LiveKit(students) => students.next().await,
            Self::MediaMtx(students) => students.next().await,
        }
    }

    /// Ends all connections. The sessions at other engines than Janus end with their tasks.
    pub(super) async fn end(self) {
        if let Self::Janus(students) = self {
            students.end().await;
        }
    }
}
