//! The students at a node of an engine that answers offers: each has a session with a task of its own, from the offer
//! to the end. Events of a session that a later offer has replaced reach nobody.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{EngineEvent, refusal};
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate};

/// Events of all sessions that wait.
const QUEUE: usize = 1_024;

/// A student that offers again within this time after the answer has no media from here. The engines don't tell:
/// MediaMTX never, and LiveKit 1.13.5 not to those that are hidden from others.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// Candidates of a student that wait.
const CANDIDATES: usize = 32;

/// The sessions of the students.
pub(super) struct Sessions {
    students: HashMap<UserId, Student>,
    /// The number of the next session.
    next: u64,
    told: mpsc::Sender<Told>,
    events: mpsc::Receiver<Told>,
    /// The event after an answer.
    connected: Option<UserId>,
}

type Told = (UserId, u64, SessionEvent);

/// A student's session. Dropping it ends the session.
struct Student {
    number: u64,
    candidates: mpsc::Sender<IceCandidate>,
    answered: Option<Instant>,
}

/// An event of a session.
#[derive(Debug)]
pub(super) enum SessionEvent {
    /// The answer for the student.
    Answer(String),
    /// A candidate of the engine.
    Candidate(IceCandidate),
    /// The last event.
    Ended(SessionEnd),
}

/// Why a session ends. Each text is a sentence about "it", the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The student gets no media there: its next offer goes elsewhere.
    Failed(String),
    /// The node can't be used at all.
    NodeLost(String),
}

/// The part of a session that its task has.
pub(super) struct SessionTask {
    user: UserId,
    number: u64,
    told: mpsc::Sender<Told>,
    candidates: mpsc::Receiver<IceCandidate>,
}

impl SessionTask {
    /// Tells an event.
    pub(super) async fn tell(&self, event: SessionEvent) {
        // This fails only at the end of the lecture there.
        _ = self.told.send((self.user.clone(), self.number, event)).await;
    }

    /// The next candidate of the student; none once the session is over. Cancel-safe.
    pub(super) async fn candidate(&mut self) -> Option<IceCandidate> {
        self.candidates.recv().await
    }

    /// Whether nobody needs the session any more.
    pub(super) fn is_over(&self) -> bool {
        self.candidates.is_closed()
    }
}

impl Sessions {
    pub(super) fn new() -> Self {
        let (told, events) = mpsc::channel(QUEUE);
        Self { students: HashMap::new(), next: 0, told, events, connected: None }
    }

    /// Starts a session, in place of any before.
    pub(super) fn start<F>(&mut self, user: UserId, serve: impl FnOnce(SessionTask) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (candidates, waiting) = mpsc::channel(CANDIDATES);
        let (number, told) = (self.next, self.told.clone());
        self.next += 1;
        self.students.insert(user.clone(), Student { number, candidates, answered: None });
        tokio::spawn(serve(SessionTask { user, number, told, candidates: waiting }));
    }

    /// Whether the student had an answer a short time ago, and offers again: its media has not arrived.
    pub(super) fn has_failed(&self, user: &UserId) -> bool {
        let answered = self.students.get(user).and_then(|student| student.answered);
        answered.is_some_and(|at| at.elapsed() < CONNECTS_WITHIN)
    }

    /// A candidate of a student. One too many is lost: an engine learns the address from checks.
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
                SessionEvent::Answer(sdp) => {
                    student.answered = Some(Instant::now());
                    self.connected = Some(user.clone());
                    let (entry, target_uid, source) = (None, user, None);
                    EngineEvent::Send(ClientMessage::Answer { entry, target_uid, sdp, source })
                }
                SessionEvent::Candidate(candidate) => {
                    let (entry, target_uid, source) = (None, user, None);
                    EngineEvent::Send(ClientMessage::Candidate { entry, target_uid, candidate, source })
                }
                SessionEvent::Ended(end) => {
                    let was_answered = student.answered.is_some();
                    self.students.remove(&user);
                    match end {
                        SessionEnd::NodeLost(why) => EngineEvent::Lost(why),
                        SessionEnd::Failed(_) if was_answered => EngineEvent::Gone(user),
                        SessionEnd::Failed(why) => EngineEvent::Send(refusal(user, ErrorCode::RoomFull, &why)),
                    }
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_later_offer_replaces_a_session_and_a_failed_one_sends_the_student_elsewhere() {
        let (mut sessions, user): (_, UserId) = (Sessions::new(), "1001".parse().unwrap());
        sessions.start(user.clone(), |mut task| async move {
            while task.candidate().await.is_some() {}
            assert!(task.is_over());
            task.tell(SessionEvent::Answer("too late".to_owned())).await;
        });
        sessions.start(user.clone(), |mut task| async move {
            let candidate = task.candidate().await.unwrap();
            task.tell(SessionEvent::Answer(candidate.candidate)).await;
            task.tell(SessionEvent::Ended(SessionEnd::Failed("is gone".to_owned()))).await;
        });
        let candidate = IceCandidate { candidate: "of the second".to_owned(), ..IceCandidate::default() };
        sessions.candidate(&user, candidate);
        let answer = sessions.next().await;
        assert!(matches!(&answer, EngineEvent::Send(ClientMessage::Answer { sdp, .. }) if sdp == "of the second"));
        assert!(sessions.has_failed(&user), "if it offers again now");
        assert!(matches!(sessions.next().await, EngineEvent::Connected(of) if of == user));
        assert!(matches!(sessions.next().await, EngineEvent::Gone(of) if of == user));
        sessions.start(user.clone(), |task| async move {
            task.tell(SessionEvent::Ended(SessionEnd::Failed("is full".to_owned()))).await;
        });
        let refused = sessions.next().await;
        let EngineEvent::Send(ClientMessage::Reject { code, .. }) = refused else { panic!("not refused") };
        assert_eq!(code, ErrorCode::RoomFull);
    }
}
