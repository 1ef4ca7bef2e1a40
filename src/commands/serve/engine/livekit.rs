//! A lecture at a LiveKit server: a room with a name that nobody else knows, in which this server publishes by WHIP.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{EngineEvent, Lecture, refusal};
use crate::commands::whip_out::Host;
use crate::id::UserId;
use crate::livekit::{
    LiveKitError, LiveKitKey, LiveKitRoom, LiveKitServer, LiveKitUrl, Placement, PlacementEvent, PlacementRequest,
};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, VideoTrack};
use crate::sdp::foreign::ForeignOffer;
use crate::tls::Trust;

/// Events of all students that wait.
const QUEUE: usize = 1_024;

/// Candidates of a student that wait.
const CANDIDATES: usize = 32;

/// A new lecture arrives at LiveKit track by track. After this time a student gets those that are there.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// The students of a lecture at a LiveKit server.
pub(super) struct LiveKitStudents {
    room: LiveKitRoom,
    lecture: Lecture,
    started: Instant,
    students: HashMap<UserId, Student>,
    /// The number of the next placement.
    next: u64,
    told: mpsc::Sender<(UserId, u64, StudentEvent)>,
    events: mpsc::Receiver<(UserId, u64, StudentEvent)>,
}

/// A student's placement. Dropping it takes the student out of the room.
struct Student {
    number: u64,
    candidates: mpsc::Sender<IceCandidate>,
    is_answered: bool,
}

enum StudentEvent {
    Answer(String),
    Candidate(IceCandidate),
    Connected,
    Gone(LiveKitError),
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
        let (told, events) = mpsc::channel(QUEUE);
        let (students, started) = (HashMap::new(), Instant::now());
        let students = Self { room, lecture, started, students, next: 0, told, events };
        Ok((Host::Whip(endpoint), students))
    }

    /// A student offers a connection, in place of any before.
    pub(super) fn offer(&mut self, user: UserId, sdp: &str, video: Option<VideoTrack>) {
        let offer = ForeignOffer::new(sdp);
        let tracks = self.lecture.wanted(sdp, video);
        let needs_all = self.started.elapsed() < ARRIVES_WITHIN;
        let request = PlacementRequest { student: user.clone(), offer: offer.sdp.clone(), tracks, needs_all };
        let mut placement = Placement::start(self.room.clone(), request);
        let (candidates, mut waiting) = mpsc::channel(CANDIDATES);
        let (number, told, codec) = (self.next, self.told.clone(), self.lecture.codec);
        self.next += 1;
        self.students.insert(user.clone(), Student { number, candidates, is_answered: false });
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = placement.next() => event,
                    candidate = waiting.recv() => match candidate {
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
                            Some(answer) => StudentEvent::Answer(answer),
                            None => StudentEvent::Gone(LiveKitError::Broken("has no answer for the offer".to_owned())),
                        }
                    }
                    Some(PlacementEvent::Candidate(candidate)) => StudentEvent::Candidate(candidate),
                    Some(PlacementEvent::Connected) => StudentEvent::Connected,
                    Some(PlacementEvent::Gone(error)) => StudentEvent::Gone(error),
                    None => return,
                };
                let is_last = matches!(event, StudentEvent::Gone(_));
                if told.send((user.clone(), number, event)).await.is_err() || is_last {
                    return;
                }
            }
        });
    }

    /// A candidate of a student. One too many is lost: LiveKit learns the address from checks.
    pub(super) fn candidate(&self, user: &UserId, candidate: IceCandidate) {
        if let Some(student) = self.students.get(user) {
            _ = student.candidates.try_send(candidate);
        }
    }

    /// The student has left, or is connected elsewhere.
    pub(super) fn remove(&mut self, user: &UserId) {
        self.students.remove(user);
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        loop {
            // The queue is open as long as `told`.
            let Some((user, number, event)) = self.events.recv().await else { return std::future::pending().await };
            let Some(student) = self.students.get_mut(&user).filter(|student| student.number == number) else {
                continue;
            };
            return match event {
                StudentEvent::Answer(sdp) => {
                    student.is_answered = true;
                    let (entry, target_uid, source) = (None, user, None);
                    EngineEvent::Send(ClientMessage::Answer { entry, target_uid, sdp, source })
                }
                StudentEvent::Candidate(candidate) => {
                    let (entry, target_uid, source) = (None, user, None);
                    EngineEvent::Send(ClientMessage::Candidate { entry, target_uid, candidate, source })
                }
                StudentEvent::Connected => EngineEvent::Connected(user),
                StudentEvent::Gone(error) => {
                    let was_answered = student.is_answered;
                    self.students.remove(&user);
                    match error {
                        error if error.is_final() => EngineEvent::Lost(error.to_string()),
                        _ if was_answered => EngineEvent::Gone(user),
                        LiveKitError::NotYet => EngineEvent::Send(refusal(user, ErrorCode::TargetBusy, &error)),
                        // The next offer goes elsewhere.
                        error => EngineEvent::Send(refusal(user, ErrorCode::RoomFull, &error)),
                    }
                }
            };
        }
    }
}
