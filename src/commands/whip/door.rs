//! `teach --whip-in`: WHIP clients send the media of the lecture of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use super::{Session, WhipRequest, refused, requests};
use crate::http::whip::{Lectures, PublisherOffer};
use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Unavailable};
use crate::id::RoomId;
use crate::network::SharedClientState;
use crate::signal::Server;

/// The lecture of this process, for WHIP clients.
#[derive(Clone)]
pub(in crate::commands) struct WhipDoor {
    room: RoomId,
    requests: mpsc::Sender<WhipRequest>,
    sessions: Arc<AtomicU64>,
    policy: Policy,
}

/// Who may publish.
#[derive(Clone)]
enum Policy {
    /// Nobody yet.
    Nobody,
    /// Whom this server admits as a publisher.
    Server(Server),
    /// Programs on this computer.
    ThisComputer,
}

impl WhipDoor {
    /// An entry for WHIP clients of this room, and the receiver of their requests.
    pub(in crate::commands) fn new(room: RoomId) -> (Self, mpsc::Receiver<WhipRequest>) {
        let (requests, receiver) = requests();
        (Self { room, requests, sessions: Arc::default(), policy: Policy::Nobody }, receiver)
    }

    /// The same entry, with the access policy of `server`.
    pub(in crate::commands) fn guarded_by(self, server: Server) -> Self {
        Self { policy: Policy::Server(server), ..self }
    }

    /// The same entry, for programs on this computer.
    pub(super) fn for_this_computer(self) -> Self {
        Self { policy: Policy::ThisComputer, ..self }
    }

    fn admit(&self, client: &MediaClient) -> Result<(), Unavailable> {
        if client.request.room != self.room {
            return Err(Unavailable::NoSuchRoom);
        }
        match &self.policy {
            Policy::Server(server) => {
                let checked = server.check_publisher(&client.request, &client.credentials, client.address);
                checked.map(drop).map_err(refused)
            }
            Policy::ThisComputer if client.address.is_loopback => Ok(()),
            Policy::ThisComputer | Policy::Nobody => Err(Unavailable::NoSuchRoom),
        }
    }
}

impl Lectures for WhipDoor {
    async fn publish(&self, client: MediaClient, offer: PublisherOffer) -> Result<Negotiated, Unavailable> {
        self.admit(&client)?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (session, answer) = Session::open(&self.requests, number, client.request.nickname, offer).await?;
        let (candidates, queue) = mpsc::channel(MAX_CANDIDATES);
        let (restarts, restart_queue) = mpsc::channel(1);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            session.run(queue, restart_queue).await;
            // `over` must not complete before the lecture knows of the end.
            drop(alive);
        });
        // The STUN and TURN servers of a lecture are for students: the client reaches the socket of this process.
        let (ice_servers, client_state) = (Vec::new(), SharedClientState::default());
        Ok(Negotiated { answer, ice_servers, candidates, restarts: Some(restarts), over, client_state })
    }
}
