//! A lecture at a LiveKit server: a room with a name that nobody else knows, in which this server publishes by WHIP.

use std::time::{Duration, Instant};

use super::EngineEvent;
use super::lecture::Lecture;
use super::sessions::{SessionEnd, SessionEvent, SessionTask, Sessions};
use crate::commands::whip_out::Host;
use crate::id::UserId;
use crate::livekit::{
    LiveKitError, LiveKitKey, LiveKitRoom, LiveKitServer, LiveKitUrl, Placement, PlacementEvent, PlacementRequest,
};
use crate::protocol::{IceCandidate, VideoTrack};
use crate::rtp::Codec;
use crate::sdp::foreign::ForeignOffer;
use crate::tls::Trust;

/// A new lecture arrives at LiveKit track by track. After this time a student gets those that are there.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// The students of a lecture at a LiveKit server.
pub(super) struct LiveKitStudents {
    room: LiveKitRoom,
    lecture: Lecture,
    started: Instant,
    sessions: Sessions,
}

/// The server, which is trusted by its certificate.
fn server(url: &LiveKitUrl, key: &LiveKitKey) -> Result<LiveKitServer, String> {
    let trust = Trust::roots(None).map_err(|error| error.to_string())?;
    Ok(LiveKitServer { url: url.clone(), key: key.clone(), trust })
}

impl LiveKitStudents {
    /// Returns the way to publish in a new room, and its students. LiveKit makes the room by itself.
    ///
    /// # Errors
    /// If the certificates of this computer can't be read, or no token can be signed.
    pub(super) fn start(url: &LiveKitUrl, key: &LiveKitKey, lecture: Lecture) -> Result<(Host, Self), String> {
        let name = format!("classroom-{:032x}", rand::random::<u128>());
        let room = LiveKitRoom { server: server(url, key)?, name };
        let endpoint = room.endpoint().map_err(|error| error.to_string())?;
        let students = Self { room, lecture, started: Instant::now(), sessions: Sessions::new() };
        Ok((Host::Whip(endpoint), students))
    }

    /// A student offers a connection, in place of any before.
    pub(super) fn offer(&mut self, user: UserId, sdp: &str, video: Option<VideoTrack>) {
        if self.sessions.has_failed(&user) {
            let error = LiveKitError::Broken("sends no media".to_owned());
            return self.sessions.start(user, |task| async move { task.tell(ended(&error)).await });
        }
        let offer = ForeignOffer::new(sdp);
        let tracks = self.lecture.wanted(sdp, video);
        let needs_all = self.started.elapsed() < ARRIVES_WITHIN;
        let request = PlacementRequest { student: user.clone(), offer: offer.sdp.clone(), tracks, needs_all };
        let placement = Placement::start(self.room.clone(), request);
        let codec = self.lecture.codec;
        self.sessions.start(user, |task| serve(placement, offer, codec, task));
    }

    /// A candidate of a student.
    pub(super) fn candidate(&self, user: &UserId, candidate: IceCandidate) {
        self.sessions.candidate(user, candidate);
    }

    /// The student has left, or is connected elsewhere.
    pub(super) fn remove(&mut self, user: &UserId) {
        self.sessions.remove(user);
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        self.sessions.next().await
    }
}

/// One student's session, from the offer to the end.
async fn serve(mut placement: Placement, offer: ForeignOffer, codec: Codec, mut task: SessionTask) {
    loop {
        let event = tokio::select! {
            event = placement.next() => event,
            candidate = task.candidate() => match candidate {
                Some(candidate) => {
                    placement.candidate(candidate);
                    continue;
                }
                None => return,
            },
        };
        let event = match event {
            Some(PlacementEvent::Answer { sdp, tracks }) => {
                match offer.answered(&sdp, codec, |mid, _| tracks.get(mid).copied()) {
                    Some(answer) => SessionEvent::Answer(answer),
                    None => ended(&LiveKitError::Broken("has no answer for the offer".to_owned())),
                }
            }
            Some(PlacementEvent::Candidate(candidate)) => SessionEvent::Candidate(candidate),
            Some(PlacementEvent::Gone(error)) => ended(&error),
            None => return,
        };
        let is_last = matches!(event, SessionEvent::Ended(_));
        task.tell(event).await;
        if is_last {
            return;
        }
    }
}

fn ended(error: &LiveKitError) -> SessionEvent {
    SessionEvent::Ended(match error.is_final() {
        true => SessionEnd::NodeLost(error.to_string()),
        false => SessionEnd::Failed(error.to_string()),
    })
}
