//! WHIP clients as publishers of rooms whose media this server carries. The clients of one publisher, such as the
//! encoders of its screen and its camera, share a member of the room. The media host of the room answers their offers.

mod members;
mod rooms;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use self::members::{Members, Membership};
pub(super) use self::rooms::WhipRooms;
use crate::commands::whip::{ANSWER_WITHIN, Session, SessionEnd, refused};
use crate::http::whip::{Lectures, PublisherOffer};
use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Unavailable};
use crate::id::Nickname;
use crate::signal::{Server, ServerUrl};

/// The rooms of a server, for WHIP clients.
#[derive(Clone)]
pub(super) struct Publishers {
    server: Server,
    rooms: WhipRooms,
    members: Members,
    /// The number of the next session.
    sessions: Arc<AtomicU64>,
}

impl Publishers {
    pub(super) fn new(server: Server, rooms: WhipRooms) -> Self {
        Self { members: Members::new(server.clone(), rooms.clone()), server, rooms, sessions: Arc::default() }
    }

    /// Passes an offer to the media host, which may just be starting.
    async fn open(
        &self,
        membership: &Membership,
        nickname: Nickname,
        offer: PublisherOffer,
    ) -> Result<(Session, String), Unavailable> {
        let host = self.rooms.of(membership.room(), membership.user());
        let requests = timeout(ANSWER_WITHIN, host).await.map_err(|_| Unavailable::NoAnswer)?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        Session::open(&requests, number, nickname, offer).await
    }
}

impl Lectures for Publishers {
    async fn elsewhere(&self, client: &MediaClient) -> Result<Option<String>, Unavailable> {
        let MediaClient { request, credentials, address } = client;
        // A stranger does not make this node take a room.
        self.server.check_publisher(request, credentials, *address).map_err(refused)?;
        let url = self.server.owner_elsewhere(&request.room).await.map_err(refused)?;
        Ok(url.and_then(|url| Some(url.parse::<ServerUrl>().ok()?.origin())))
    }

    async fn publish(&self, client: MediaClient, offer: PublisherOffer) -> Result<Negotiated, Unavailable> {
        let MediaClient { request, credentials, address } = &client;
        let proved = self.server.check_publisher(request, credentials, *address).map_err(refused)?;
        let nickname = client.request.nickname.clone();
        let membership = self.members.enter(client, proved).await?;
        let (session, answer) = match self.open(&membership, nickname, offer).await {
            Ok(opened) => opened,
            Err(why) => {
                membership.leave(SessionEnd::Goodbye).await;
                return Err(why);
            }
        };
        let (ice_servers, client_state) = (membership.ice_servers(), membership.client_state());
        let (candidates, queue) = mpsc::channel(MAX_CANDIDATES);
        let (restarts, restart_queue) = mpsc::channel(1);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            let end = session.run(queue, restart_queue).await;
            membership.leave(end).await;
            // `over` must not complete before the member has left.
            drop(alive);
        });
        Ok(Negotiated { answer, ice_servers, candidates, restarts: Some(restarts), over, client_state })
    }
}
