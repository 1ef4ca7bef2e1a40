//! The server: WebSocket upgrades, the rooms that it has, and its shutdown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::connection;
use super::core::{
    Caller, ClusterStatus, Core, LocalEdge, LocalHost, LocalMember, NODE_PATH, OpenConnection, Ownership, ServerConfig,
    ServerLimits, Waiting, serve_node,
};
use super::outbox::Outbox;
use crate::access::{Authorization, Denied};
use crate::id::{RoomId, RoomName};
use crate::network::{ClientAddress, SharedClientState};
use crate::protocol::{Credentials, ErrorCode, JoinRequest, RoomKind, ServerMessage};
use crate::room::{
    self, Creation, EdgeRole, FileClaim, FileDenied, FileState, Meetings, Refusals, Reservation, RoomRefusal,
    RoomSummary,
};
use crate::store::StoreError;

/// The ids of created rooms: short enough to say and to type.
const ROOM_IDS: std::ops::RangeInclusive<u32> = 10_000..=99_999;

/// How long [`Server::shutdown`] waits for clients to read the goodbye, and how long it then waits for the rest.
const SHUTDOWN_STEP: Duration = Duration::from_millis(1_200);

/// A signalling server without a socket of its own: the caller passes it upgrade requests. A clone is the same server.
#[derive(Debug, Clone)]
pub struct Server {
    core: Arc<Core>,
}

impl Server {
    /// Makes a server without rooms, without access rules. Call this inside a tokio runtime: a task runs its timers
    /// until the last clone is dropped.
    pub fn new(limits: ServerLimits) -> Self {
        Self::with(ServerConfig { limits, ..ServerConfig::default() })
    }

    /// Makes a server with all settings, as [`Server::new`].
    pub fn with(config: ServerConfig) -> Self {
        Self { core: Core::start(config) }
    }

    /// Answers a WebSocket upgrade. The request has its [`ClientAddress`] and [`SharedClientState`] as extensions, and
    /// the caller has checked its `Host` and `Origin`. A request without an upgrade gets an HTTP status and a JSON
    /// error. A query that is not a [`JoinRequest`] is refused over the WebSocket, because a browser's script can read
    /// the error there.
    pub fn upgrade<B>(&self, request: Request<B>) -> Response<String> {
        if self.core.lock().shutting_down {
            return refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServerShutdown, "the server is ending");
        }
        // axum's upgrade does not fit: its WebSocket hides the TCP stream, which `connection::close` must drain so that
        // the client reads the last error; and it would bring a second version of tungstenite.
        let Ok(response) = create_response_with_body(&request, String::new) else {
            let message = "this is the address of a WebSocket, connect with ws://";
            let mut response = refused(StatusCode::UPGRADE_REQUIRED, ErrorCode::BadRequest, message);
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        };
        let address = request.extensions().get().copied().unwrap_or_else(ClientAddress::unknown);
        let client_state = request.extensions().get().cloned().unwrap_or_else(SharedClientState::default);
        let host = request.extensions().get().cloned();
        let join = JoinRequest::parse(request.uri().query().unwrap_or_default());
        let core = self.core.clone();
        let open = OpenConnection::new(core.clone());
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            let _open = open;
            // Bounded: `http::serve` ends a connection whose response can't be written in time.
            if let Ok(upgraded) = upgrade.await {
                connection::run(core, upgraded, join, Caller { address, client_state, host }).await;
            }
        });
        response
    }

    /// The path of the WebSocket between the nodes of a server.
    pub const NODE_PATH: &str = NODE_PATH;

    /// Answers the WebSocket upgrade of another node, which shows the secret of this node in its first message.
    pub fn upgrade_node<B>(&self, request: Request<B>) -> Response<String> {
        if self.core.cluster.is_none() {
            return refused(StatusCode::NOT_FOUND, ErrorCode::BadRequest, "this server has no other nodes");
        }
        if self.core.lock().shutting_down {
            return refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServerShutdown, "the server is ending");
        }
        let Ok(response) = create_response_with_body(&request, String::new) else {
            return refused(StatusCode::UPGRADE_REQUIRED, ErrorCode::BadRequest, "this is for other nodes");
        };
        let client_state = request.extensions().get().cloned().unwrap_or_else(SharedClientState::default);
        let (core, upgrade) = (self.core.clone(), hyper::upgrade::on(request));
        let open = OpenConnection::new(core.clone());
        tokio::spawn(async move {
            let _open = open;
            if let Ok(upgraded) = upgrade.await {
                serve_node(core, upgraded, client_state).await;
            }
        });
        response
    }

    /// Joins a room from within this process. As on a WebSocket, the first message says whether the member is in.
    pub fn join(&self, request: JoinRequest, credentials: Credentials, address: ClientAddress) -> LocalMember {
        LocalMember::new(self.core.clone(), request, credentials, address)
    }

    /// Decides whether a client that does not join may publish in a room: for media that reaches the room's publisher
    /// in another way. Returns the client's identity and rights.
    ///
    /// # Errors
    /// The refusal that the client would get if it joined.
    pub fn check_publisher(
        &self,
        request: &JoinRequest,
        credentials: &Credentials,
        address: ClientAddress,
    ) -> Result<Authorization, RoomRefusal> {
        let checked = self.core.check(request, credentials, address);
        checked.map_err(|Denied { code, message, retry_after, .. }| {
            let kind = RoomKind::Lecture;
            RoomRefusal { code, message, retry_after, kind }
        })
    }

    /// The media hosts to run from now on. Few wait, as the rooms limit their number
    /// ([`RoomLimits::max_media_rooms`](crate::room::RoomLimits::max_media_rooms)). Without a receiver every host ends
    /// as soon as it starts.
    pub fn media_hosts(&self) -> mpsc::UnboundedReceiver<LocalHost> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.core.lock().media_hosts = Some(sender);
        receiver
    }

    /// The edges to run from now on, at most this many at the same time: one for each lecture that a student here wants
    /// to see, which does this.
    pub fn edges(&self, role: EdgeRole, most: usize) -> mpsc::UnboundedReceiver<LocalEdge> {
        self.core.start_edges(role, most)
    }

    /// All rooms, also those of other nodes, ordered by id.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        let own = self.own_rooms();
        let Some(cluster) = &self.core.cluster else { return own };
        let all = cluster.rooms_elsewhere().into_iter().chain(own);
        let by_id: BTreeMap<RoomId, RoomSummary> = all.map(|room| (room.room_id.clone(), room)).collect();
        by_id.into_values().collect()
    }

    /// The rooms of this node, ordered by id.
    pub fn own_rooms(&self) -> Vec<RoomSummary> {
        self.core.lock().rooms.summaries(Instant::now())
    }

    /// How often clients were refused because something was full.
    pub fn refusals(&self) -> Refusals {
        self.core.lock().rooms.refusals()
    }

    /// The room with this id.
    pub fn room(&self, id: &RoomId) -> Option<RoomSummary> {
        let own = self.core.lock().rooms.summary(id, Instant::now());
        let elsewhere = || self.core.cluster.as_ref()?.rooms_elsewhere().into_iter().find(|room| room.room_id == *id);
        own.or_else(elsewhere)
    }

    /// The state of the nodes; none for a server on one machine.
    pub fn cluster(&self) -> Option<ClusterStatus> {
        self.core.cluster_status()
    }

    /// The URL of the node that owns the room, if that is another one. A room without an owner gets this node.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn owner_elsewhere(&self, room: &RoomId) -> Result<Option<String>, RoomRefusal> {
        self.core.owner_elsewhere(room).await.map_err(no_store)
    }

    /// Reserves a room for a client of this process: only that client may publish there, and nobody else gets its user
    /// id. Call this before the server can be reached.
    pub fn reserve_room(&self, reservation: &Reservation) {
        let own = ClientAddress::this_process().network;
        let state = self.core.lock();
        self.core.change(state, |state| state.rooms.reserve(Instant::now(), own, reservation));
    }

    /// Creates a room with an unused id, for somebody who comes later. The client must have the right to teach, or to
    /// open meetings.
    pub async fn create_room(
        &self,
        name: RoomName,
        kind: RoomKind,
        credentials: &Credentials,
        address: ClientAddress,
    ) -> Result<RoomId, RoomRefusal> {
        if self.core.cluster.as_ref().is_some_and(|cluster| cluster.ownership == Ownership::Nothing) {
            let message = "this server only passes lectures on: create the room at the server that it gets them from";
            let (code, message) = (ErrorCode::NotAllowed, message.to_owned());
            return Err(RoomRefusal { code, message, retry_after: None, kind });
        }
        let denied = self.core.may_create(credentials, address).err();
        let may_teach = denied.is_none();
        let meetings = self.core.limits.room.meetings;
        if kind != RoomKind::Lecture && meetings == Meetings::Off {
            let message = room::NO_MEETINGS.into();
            return Err(RoomRefusal { code: ErrorCode::WrongKind, message, retry_after: None, kind });
        }
        let is_open = kind != RoomKind::Lecture && meetings == Meetings::Anyone;
        // A wrong key is told to everybody who has typed one.
        if let Some(Denied { code, message, retry_after, .. }) =
            denied.filter(|_| !is_open || credentials.key.is_some())
        {
            return Err(RoomRefusal { code, message, retry_after, kind });
        }
        // A server has at most a twentieth as many rooms as there are ids, so few draws are needed.
        let room = loop {
            let number: u32 = rand::random_range(ROOM_IDS);
            // Digits always form an id.
            let Ok(room) = number.to_string().parse::<RoomId>() else { continue };
            let is_used = self.core.lock().rooms.contains(&room);
            if !is_used && self.core.take(&room).await.map_err(no_store)? {
                break room;
            }
        };
        let state = self.core.lock();
        if state.shutting_down {
            let message = "the server is ending".into();
            return Err(RoomRefusal { code: ErrorCode::ServerShutdown, message, retry_after: None, kind });
        }
        self.core.change(state, |state| {
            let creation = Creation { room_id: room.clone(), name, kind, network: address.network, may_teach };
            let outputs = state.rooms.create(Instant::now(), creation)?;
            state.carry_out(outputs);
            Ok(room)
        })
    }

    /// The state of a file of a meeting, for a participant that may fetch it.
    ///
    /// # Errors
    /// See [`room::Rooms::file`].
    pub fn file(&self, claim: &FileClaim) -> Result<FileState, FileDenied> {
        self.core.lock().rooms.file(claim)
    }

    /// The bytes `from..to` of a file of a meeting.
    ///
    /// # Errors
    /// See [`room::Rooms::read_file`].
    pub fn read_file(&self, claim: &FileClaim, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied> {
        self.core.lock().rooms.read_file(claim, from, to)
    }

    /// Adds a part to a file of a meeting; returns the number of bytes that are there now. The participants are told of
    /// a file that is whole.
    ///
    /// # Errors
    /// See [`room::Rooms::append_file`].
    pub fn append_file(&self, claim: &FileClaim, offset: u64, part: Bytes) -> Result<u64, FileDenied> {
        self.core.change(self.core.lock(), |state| {
            let (received, outputs) = state.rooms.append_file(Instant::now(), claim, offset, part)?;
            state.carry_out(outputs);
            Ok(received)
        })
    }

    /// The messages that wait to be written to all clients.
    pub fn waiting(&self) -> Waiting {
        let state = self.core.lock();
        let mut sum = Waiting::default();
        for outbox in state.outboxes.values() {
            let (messages, bytes) = outbox.waiting();
            sum.messages += messages;
            sum.bytes += bytes;
            if outbox.is_of_student() {
                sum.longest_student_queue = sum.longest_student_queue.max(messages);
            }
        }
        sum
    }

    /// The number of open WebSockets.
    pub fn connections(&self) -> usize {
        *self.core.open.borrow()
    }

    /// Sends all clients to other servers: nobody can join any more, and those who are here are told to connect again.
    /// Returns when they are gone, or after `within`. Media and the members of other nodes go on until
    /// [`Server::shutdown`].
    pub async fn drain(&self, within: Duration) {
        self.core.drain(within).await;
    }

    /// Tells every client that the server is shutting down and closes the sockets. Returns when that is done, within 3
    /// s. Nobody can join any more.
    pub async fn shutdown(&self) {
        {
            let mut state = self.core.lock();
            state.shutting_down = true;
            let message = ServerMessage::error(ErrorCode::ServerShutdown, "the server is ending");
            let text = Utf8Bytes::from(message.to_json());
            state.let_others_go();
            for outbox in state.outboxes.values() {
                // If the outbox is full, the close frame has the same code.
                _ = outbox.push(text.clone());
                outbox.close(Some(ErrorCode::ServerShutdown));
            }
        }
        self.core.withdraw().await;
        let mut open = self.core.open.subscribe();
        if tokio::time::timeout(SHUTDOWN_STEP, open.wait_for(|open| *open == 0)).await.is_err() {
            self.core.lock().outboxes.values().for_each(Outbox::overflowed);
            _ = tokio::time::timeout(SHUTDOWN_STEP, open.wait_for(|open| *open == 0)).await;
        }
    }
}

/// The refusal of a request that needs the other nodes.
fn no_store(error: StoreError) -> RoomRefusal {
    let retry_after = Some(Duration::from_secs(1));
    RoomRefusal { code: ErrorCode::ServerFull, message: error.to_string(), retry_after, kind: RoomKind::Lecture }
}

fn refused(status: StatusCode, code: ErrorCode, message: &str) -> Response<String> {
    let mut response = Response::new(ServerMessage::error(code, message).to_json());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().method(method).uri("/ws?roomId=1&userId=1");
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    #[tokio::test]
    async fn an_opening_handshake_is_accepted() {
        let server = Server::new(ServerLimits::default());
        let status =
            |method: &str, headers: &[(&str, &str)]| server.upgrade(request(method, headers)).status().as_u16();
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("host", "lab:18080"),
        ];
        let accepted = server.upgrade(request("GET", &good));
        assert_eq!(accepted.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(accepted.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455, 1.3");
        assert_eq!(status("POST", &good), 426);
        for missing in 0..4 {
            let mut rest = good.to_vec();
            rest.remove(missing);
            assert_eq!(status("GET", &rest), 426, "{}", good[missing].0);
        }
    }
}
