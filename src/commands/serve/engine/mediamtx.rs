//! A lecture at a MediaMTX: paths that nobody else knows, to which this server publishes by WHIP, and which students
//! get by WHEP. MediaMTX has one video on a path, and sends everybody what it gets.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{EngineEvent, Lecture, refusal};
use crate::commands::whip_out::Host;
use crate::http::whip_client::{Endpoint, Opened, WhipError, WhipUrl};
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate};
use crate::rtp::Track;
use crate::sdp::foreign::ForeignOffer;
use crate::sdp::restart;
use crate::tls::Trust;

/// Events of all students that wait.
const QUEUE: usize = 1_024;

/// Candidates of a student that wait.
const CANDIDATES: usize = 32;

/// A student that offers again within this time after the answer has no media from here. MediaMTX does not tell.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// The students of a lecture at a MediaMTX.
pub(super) struct MediaMtxStudents {
    endpoint: Endpoint,
    lecture: Lecture,
    students: HashMap<UserId, Student>,
    /// The number of the next session.
    next: u64,
    told: mpsc::Sender<(UserId, u64, StudentEvent)>,
    events: mpsc::Receiver<(UserId, u64, StudentEvent)>,
    /// The event after an answer: MediaMTX does not tell whether the media is connected.
    connected: Option<UserId>,
}

/// A student's session. Dropping it ends the session.
struct Student {
    number: u64,
    candidates: mpsc::Sender<IceCandidate>,
    answered: Option<Instant>,
}

enum StudentEvent {
    Answer(String),
    Failed(WhipError),
}

/// An endpoint of a new path.
fn endpoint(url: &WhipUrl, path: &str, protocol: &str) -> Result<Endpoint, String> {
    let trust = Trust::roots(None).map_err(|error| error.to_string())?;
    let url = format!("{url}/{path}/{protocol}").parse::<WhipUrl>().map_err(|error| error.to_string())?;
    Ok(Endpoint { url, bearer: None, trust })
}

impl MediaMtxStudents {
    /// Returns the way to publish on a new path, and its students.
    ///
    /// # Errors
    /// If the certificates of this computer can't be read.
    pub(super) fn start(url: &WhipUrl, lecture: Lecture) -> Result<(Host, Self), String> {
        let path = format!("classroom-{:032x}", rand::random::<u128>());
        let (told, events) = mpsc::channel(QUEUE);
        let host = Host::Whip(endpoint(url, &path, "whip")?);
        let endpoint = endpoint(url, &path, "whep")?;
        let students = HashMap::new();
        Ok((host, Self { endpoint, lecture, students, next: 0, told, events, connected: None }))
    }

    /// Whether a track is published: audio, and one video.
    pub(super) fn takes(&self, track: Track) -> bool {
        !track.is_video() || self.lecture.videos.first() == Some(&track)
    }

    /// A student offers a connection, in place of any before.
    pub(super) fn offer(&mut self, user: UserId, sdp: &str) {
        let before = self.students.remove(&user).and_then(|student| student.answered);
        let (candidates, waiting) = mpsc::channel(CANDIDATES);
        let (number, told) = (self.next, self.told.clone());
        self.next += 1;
        self.students.insert(user.clone(), Student { number, candidates, answered: None });
        let session = Session {
            endpoint: self.endpoint.clone(),
            offer: ForeignOffer::new(sdp),
            lecture: self.lecture.clone(),
            has_failed: before.is_some_and(|at| at.elapsed() < CONNECTS_WITHIN),
        };
        tokio::spawn(async move {
            session.run(waiting, |event| told.send((user.clone(), number, event))).await;
        });
    }

    /// A candidate of a student. One too many is lost: MediaMTX learns the address from checks.
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
        if let Some(user) = self.connected.take() {
            return EngineEvent::Connected(user);
        }
        loop {
            // The queue is open as long as `told`.
            let Some((user, number, event)) = self.events.recv().await else { return std::future::pending().await };
            let Some(student) = self.students.get_mut(&user).filter(|student| student.number == number) else {
                continue;
            };
            return match event {
                StudentEvent::Answer(sdp) => {
                    student.answered = Some(Instant::now());
                    self.connected = Some(user.clone());
                    let (entry, target_uid, source) = (None, user, None);
                    EngineEvent::Send(ClientMessage::Answer { entry, target_uid, sdp, source })
                }
                StudentEvent::Failed(error) => {
                    self.students.remove(&user);
                    EngineEvent::Send(refusal(user, ErrorCode::RoomFull, &error))
                }
            };
        }
    }
}

/// One student's session.
struct Session {
    endpoint: Endpoint,
    offer: ForeignOffer,
    lecture: Lecture,
    /// Whether the student had an answer from here, and no media.
    has_failed: bool,
}

impl Session {
    /// From the offer to the end of the session.
    async fn run<F: Future>(
        self,
        mut candidates: mpsc::Receiver<IceCandidate>,
        tell: impl Fn(StudentEvent) -> F + Send,
    ) {
        let Opened { answer, session, .. } = match self.open().await {
            Ok(opened) => opened,
            Err(error) => return drop(tell(StudentEvent::Failed(error)).await),
        };
        let track = self.lecture.videos.first().copied();
        let named = |_: &str, kind: &str| if kind == "audio" { Some(Track::Audio) } else { track };
        match self.offer.answered(&answer, self.lecture.codec, named) {
            Some(answer) => drop(tell(StudentEvent::Answer(answer)).await),
            None => drop(tell(StudentEvent::Failed(WhipError::Answer("its answer does not fit the offer"))).await),
        }
        let Some(mut session) = session else { return };
        while let Some(candidate) = candidates.recv().await {
            session.add_candidates(&restart::fragment_of(&self.offer.sdp, &candidate.candidate)).await;
        }
        session.end().await;
    }

    async fn open(&self) -> Result<Opened, WhipError> {
        if self.has_failed {
            return Err(WhipError::Answer("its media does not arrive"));
        }
        self.endpoint.open(&self.offer.sdp).await
    }
}
