//! `teach --whip-in`: takes the media of a WHIP client for the lecture of this process. The HTTP side asks, the running
//! lecture answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::http::whip::{Lectures, PublisherOffer};
use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Unavailable};
use crate::id::{Nickname, RoomId};
use crate::network::SharedClientState;
use crate::protocol::IceCandidate;
use crate::room::RoomRefusal;
use crate::signal::Server;

/// The longest wait for the answer of the lecture's SFU, which takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Requests that may wait for the lecture. Each session has few, apart from candidates.
const REQUESTS: usize = 256;

/// A session of a WHIP client. Numbers are never reused.
pub(super) type WhipSession = u64;

/// A request to the lecture.
#[derive(Debug)]
pub(super) enum WhipRequest {
    /// A client wants to send.
    Offer(WhipOffer),
    /// A candidate of the client.
    Candidate(WhipSession, IceCandidate),
    /// The client has said goodbye, or has never read its answer.
    End(WhipSession),
}

/// The offer of a client.
#[derive(Debug)]
pub(super) struct WhipOffer {
    pub(super) session: WhipSession,
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

/// The lecture of this process, for WHIP clients.
#[derive(Clone)]
pub(super) struct WhipDoor {
    room: RoomId,
    requests: mpsc::Sender<WhipRequest>,
    sessions: Arc<AtomicU64>,
    /// Decides who may publish.
    server: Option<Server>,
}

impl WhipDoor {
    /// An entry for WHIP clients of this room, and the receiver of their requests.
    pub(super) fn new(room: RoomId) -> (Self, mpsc::Receiver<WhipRequest>) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        (Self { room, requests, sessions: Arc::default(), server: None }, receiver)
    }

    /// The same entry, with the access policy of `server`.
    pub(super) fn guarded_by(self, server: Server) -> Self {
        Self { server: Some(server), ..self }
    }

    fn admit(&self, client: &MediaClient) -> Result<(), Unavailable> {
        if client.request.room != self.room {
            return Err(Unavailable::NoSuchRoom);
        }
        // Without a policy nobody is let in.
        let server = self.server.as_ref().ok_or(Unavailable::NoSuchRoom)?;
        let checked = server.check_publisher(&client.request, &client.credentials, client.address);
        checked.map_err(|RoomRefusal { code, message, retry_after }| Unavailable::Refused {
            code,
            message,
            retry_after,
        })
    }
}

impl Lectures for WhipDoor {
    async fn publish(&self, client: MediaClient, offer: PublisherOffer) -> Result<Negotiated, Unavailable> {
        self.admit(&client)?;
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let nickname = client.request.nickname;
        let request = WhipRequest::Offer(WhipOffer { session, nickname, offer, answer });
        self.requests.send(request).await.map_err(|_| Unavailable::NobodyTeaches)?;
        // Ends the session if the client goes away while it waits.
        let end = EndOnDrop { session, requests: self.requests.clone() };
        let answered = timeout(ANSWER_WITHIN, answered).await.map_err(|_| Unavailable::NoAnswer)?;
        let Accepted { sdp, mut ended } = answered.map_err(|_| Unavailable::NobodyTeaches)??;
        let (candidates, mut queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut ended => break,
                    candidate = queue.recv() => match candidate {
                        Some(candidate) => {
                            if end.requests.send(WhipRequest::Candidate(session, candidate)).await.is_err() {
                                break;
                            }
                        }
                        None => break,
                    },
                }
            }
            // `over` must not complete before the lecture knows of the end.
            end.send().await;
            drop(alive);
        });
        // The STUN and TURN servers of a lecture are for students: the client reaches the socket of this process.
        Ok(Negotiated {
            answer: sdp,
            ice_servers: Vec::new(),
            candidates,
            over,
            client_state: SharedClientState::default(),
        })
    }
}

/// Ends a session when it is dropped.
struct EndOnDrop {
    session: WhipSession,
    requests: mpsc::Sender<WhipRequest>,
}

impl EndOnDrop {
    async fn send(&self) {
        // This fails if the lecture is over.
        _ = self.requests.send(WhipRequest::End(self.session)).await;
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // Ending a session twice does no harm. The queue is full only if the lecture hangs; then the media of the
        // session ends by the silence of the client.
        _ = self.requests.try_send(WhipRequest::End(self.session));
    }
}
