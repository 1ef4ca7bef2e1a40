//! WHIP clients of a lecture whose SFU runs in this process. The HTTP side asks; the task that owns the SFU answers:
//! the lecture of `teach --whip-in`, or the media host of a room of `serve`.

mod door;
mod port;
mod sessions;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(super) use self::door::WhipDoor;
pub(super) use self::port::WhipPort;
pub(super) use self::sessions::{WhipNews, WhipSessions};
use crate::http::whip::PublisherOffer;
use crate::http::{IceRestart, Unavailable};
use crate::id::Nickname;
use crate::protocol::IceCandidate;
use crate::room::RoomRefusal;
use crate::sfu::SessionId;

/// The longest wait for the answer of the SFU, which takes milliseconds.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Requests that may wait for a lecture. Each session has few, apart from candidates.
const REQUESTS: usize = 256;

/// A request to a lecture.
#[derive(Debug)]
pub(super) enum WhipRequest {
    /// A client wants to send.
    Offer(WhipOffer),
    /// The client restarts ICE.
    Restart(SessionId, IceRestart),
    /// A candidate of the client.
    Candidate(SessionId, IceCandidate),
    /// The client has said goodbye, or has never read its answer.
    End(SessionId),
}

/// The offer of a client.
#[derive(Debug)]
pub(super) struct WhipOffer {
    pub(super) number: SessionId,
    pub(super) nickname: Nickname,
    pub(super) offer: PublisherOffer,
    /// Takes the answer.
    pub(super) answer: oneshot::Sender<Result<Accepted, Unavailable>>,
}

/// The answer to an accepted offer.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The session description.
    pub(super) sdp: String,
    /// Completes when the lecture ends the session.
    pub(super) ended: oneshot::Receiver<()>,
}

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The client said goodbye, or has never read its answer.
    Goodbye,
    /// The client fell silent, another session has replaced this one, or the lecture is over.
    Lost,
}

/// The HTTP side of a session. Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Session {
    number: SessionId,
    requests: mpsc::Sender<WhipRequest>,
    ended: Option<oneshot::Receiver<()>>,
}

/// The refusal of a client by the rules of its room.
pub(super) fn refused(RoomRefusal { code, message, retry_after, .. }: RoomRefusal) -> Unavailable {
    Unavailable::Refused { code, message, retry_after }
}

/// A queue of requests to a lecture.
pub(super) fn requests() -> (mpsc::Sender<WhipRequest>, mpsc::Receiver<WhipRequest>) {
    mpsc::channel(REQUESTS)
}

impl Session {
    /// Passes an offer to the lecture. Also returns the answer.
    ///
    /// # Errors
    /// The refusal of the lecture, or [`Unavailable::NoAnswer`], or [`Unavailable::NobodyTeaches`] if the lecture is
    /// over.
    pub(super) async fn open(
        requests: &mpsc::Sender<WhipRequest>,
        number: SessionId,
        nickname: Nickname,
        offer: PublisherOffer,
    ) -> Result<(Self, String), Unavailable> {
        let (answer, answered) = oneshot::channel();
        let request = WhipRequest::Offer(WhipOffer { number, nickname, offer, answer });
        requests.send(request).await.map_err(|_| Unavailable::NobodyTeaches)?;
        // Ends the session if the client goes away while it waits.
        let mut session = Self { number, requests: requests.clone(), ended: None };
        let answered = timeout(ANSWER_WITHIN, answered).await.map_err(|_| Unavailable::NoAnswer)?;
        let Accepted { sdp, ended } = answered.map_err(|_| Unavailable::NobodyTeaches)??;
        session.ended = Some(ended);
        Ok((session, sdp))
    }

    /// Passes candidates and restarts of ICE to the lecture until the session ends.
    pub(super) async fn run(
        mut self,
        mut candidates: mpsc::Receiver<IceCandidate>,
        mut restarts: mpsc::Receiver<IceRestart>,
    ) -> SessionEnd {
        let Some(mut ended) = self.ended.take() else { return SessionEnd::Lost };
        let end = loop {
            let request = tokio::select! {
                _ = &mut ended => break SessionEnd::Lost,
                candidate = candidates.recv() => match candidate {
                    Some(candidate) => WhipRequest::Candidate(self.number, candidate),
                    None => break SessionEnd::Goodbye,
                },
                Some(restart) = restarts.recv() => WhipRequest::Restart(self.number, restart),
            };
            if self.requests.send(request).await.is_err() {
                break SessionEnd::Lost;
            }
        };
        // The lecture must know of the end before the client does. This fails if the lecture is over.
        _ = self.requests.send(WhipRequest::End(self.number)).await;
        end
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ending a session twice does no harm. The queue is full only if the lecture hangs; then the media of the
        // session ends by the silence of the client.
        _ = self.requests.try_send(WhipRequest::End(self.number));
    }
}
