//! The server: rooms behind one lock, and a task per connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection;
use super::outbox::{Outbox, Outgoing, outbox};
use super::session::random_session;
use crate::id::{RoomId, RoomName};
use crate::protocol::{self, ClientMessage, ErrorCode, IceServer, JoinRequest, ServerMessage};
use crate::room::{self, ConnId, Input, Newcomer, Output, Refusal, RoomSummary, Rooms};

/// The ids of created rooms: short enough to be said and typed.
const ROOM_IDS: std::ops::RangeInclusive<u32> = 10_000..=99_999;

/// How long [`Server::shutdown`] waits for clients to read the goodbye, and then again for who did not.
const SHUTDOWN_STEP: Duration = Duration::from_millis(1_200);

/// What the server allows; the defaults are the constants of [`crate::protocol`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of the rooms.
    pub room: room::Limits,
    /// How often a client is pinged.
    pub ping_interval: Duration,
    /// The silence after which a client is lost.
    pub silence_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room: room::Limits::default(),
            ping_interval: protocol::PING_INTERVAL,
            silence_timeout: protocol::SILENCE_TIMEOUT,
        }
    }
}

/// What waits to be written to all clients of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Messages in the fullest queue to one student.
    pub longest_student_queue: usize,
}

/// A signalling server without a socket of its own: it is given requests for upgrade. A clone is the same server.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    state: Mutex<State>,
    /// Told when a tick is due earlier than before.
    earlier_tick: Arc<Notify>,
    /// How many connections have a task.
    open: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    rooms: Rooms,
    /// What everybody who joins is told.
    ice_servers: Vec<IceServer>,
    outboxes: HashMap<ConnId, Outbox>,
    next_conn: u64,
    shutting_down: bool,
}

impl Server {
    /// A server without rooms. Must be called inside a tokio runtime: time passes in a task, which ends with the last
    /// clone.
    pub fn new(limits: Limits) -> Self {
        Self::with_ice_servers(limits, Vec::new())
    }

    /// A server that tells whoever joins a room of these, passwords included.
    pub fn with_ice_servers(limits: Limits, ice_servers: Vec<IceServer>) -> Self {
        let earlier_tick = Arc::new(Notify::new());
        let state = State {
            rooms: Rooms::new(limits.room.clone()),
            ice_servers,
            outboxes: HashMap::new(),
            next_conn: 0,
            shutting_down: false,
        };
        let shared = Arc::new(Shared {
            limits,
            state: Mutex::new(state),
            earlier_tick: earlier_tick.clone(),
            open: watch::Sender::new(0),
        });
        tokio::spawn(tick(Arc::downgrade(&shared), earlier_tick));
        Self { shared }
    }

    /// Answers a request for the WebSocket. What is no WebSocket gets an HTTP status and a JSON error; a query that is
    /// no [`JoinRequest`] is told so over the WebSocket, where a browser's script can read it.
    pub fn upgrade<B>(&self, request: Request<B>) -> Response<String> {
        if self.shared.lock().shutting_down {
            return refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServerShutdown, "the server is ending");
        }
        let headers = request.headers();
        let Some(key) = websocket_key(request.method(), headers) else {
            let mut response = refused(
                StatusCode::UPGRADE_REQUIRED,
                ErrorCode::BadRequest,
                "this is the address of a WebSocket, connect with ws://",
            );
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        };
        if !is_same_origin(headers) {
            return refused(StatusCode::FORBIDDEN, ErrorCode::NotAllowed, "a page of another site may not join a room");
        }
        let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) else {
            return refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "the WebSocket key is malformed");
        };
        let join = JoinRequest::parse(request.uri().query().unwrap_or_default());
        let shared = self.shared.clone();
        let counted = Counted::new(shared.clone());
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            let _counted = counted;
            // Bounded: whoever serves the port ends a connection whose response can't be written in time.
            if let Ok(upgraded) = upgrade.await {
                connection::run(shared, upgraded, join).await;
            }
        });
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    /// Every room, by its id.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        self.shared.lock().rooms.summaries(Instant::now())
    }

    /// The room of this id.
    pub fn room(&self, id: &RoomId) -> Option<RoomSummary> {
        self.shared.lock().rooms.summary(id, Instant::now())
    }

    /// Creates a room of a free id for a teacher who comes later.
    pub fn create_room(&self, name: RoomName) -> Result<RoomId, Refusal> {
        let state = self.shared.lock();
        if state.shutting_down {
            let message = "the server is ending".into();
            return Err(Refusal { code: ErrorCode::ServerShutdown, message, retry_after: None });
        }
        // A server has no more rooms than a twentieth of these ids, so the second or third is free at the latest.
        let room = loop {
            let number: u32 = rand::random_range(ROOM_IDS);
            // Digits are an id.
            let Ok(room) = number.to_string().parse::<RoomId>() else { continue };
            if !state.rooms.contains(&room) {
                break room;
            }
        };
        let created = self.shared.change(state, |state| state.rooms.create(Instant::now(), room.clone(), name));
        created.map(|()| room)
    }

    /// What waits to be written to clients.
    pub fn waiting(&self) -> Waiting {
        let state = self.shared.lock();
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

    /// How many WebSockets are open.
    pub fn connections(&self) -> usize {
        *self.shared.open.borrow()
    }

    /// Tells every client that the server ends and closes their sockets; returns when that is done, within 3 s.
    /// Nobody can join any more.
    pub async fn shutdown(&self) {
        {
            let mut state = self.shared.lock();
            state.shutting_down = true;
            let message = ServerMessage::error(ErrorCode::ServerShutdown, "the server is ending");
            let text = Utf8Bytes::from(message.to_json());
            for outbox in state.outboxes.values() {
                // Where it is full, the close frame says the same.
                _ = outbox.push(text.clone());
                outbox.close(Some(ErrorCode::ServerShutdown));
            }
        }
        let mut open = self.shared.open.subscribe();
        if tokio::time::timeout(SHUTDOWN_STEP, open.wait_for(|open| *open == 0)).await.is_err() {
            self.shared.lock().outboxes.values().for_each(Outbox::overflowed);
            _ = tokio::time::timeout(SHUTDOWN_STEP, open.wait_for(|open| *open == 0)).await;
        }
    }
}

impl Shared {
    /// Brings a connection in. A refusal waits in its outbox, like everything that it will be told.
    pub(super) fn join(&self, request: JoinRequest) -> (ConnId, Outgoing) {
        let JoinRequest { room, room_name, user, nickname, publishes, session, epoch, client } = request;
        let session = session.unwrap_or_else(random_session);
        let (outbox, outgoing) = outbox(publishes);
        let mut state = self.lock();
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        if state.shutting_down {
            outbox.close(Some(ErrorCode::ServerShutdown));
            return (conn, outgoing);
        }
        state.outboxes.insert(conn, outbox);
        let newcomer = Newcomer { room, room_name, user, nickname, publishes, epoch, session, client };
        self.apply(state, Input::Join { conn, newcomer });
        (conn, outgoing)
    }

    pub(super) fn message(&self, conn: ConnId, message: ClientMessage) {
        self.apply(self.lock(), Input::Message { conn, message });
    }

    /// Forgets a connection that ended; harmless if it was forgotten already.
    pub(super) fn lost(&self, conn: ConnId) {
        let mut state = self.lock();
        state.outboxes.remove(&conn);
        self.apply(state, Input::Lost { conn });
    }

    fn apply(&self, state: MutexGuard<'_, State>, input: Input) {
        self.change(state, |state| state.apply(input));
    }

    /// Changes the rooms, and sees to it that the next tick comes in time.
    fn change<T>(&self, mut state: MutexGuard<'_, State>, change: impl FnOnce(&mut State) -> T) -> T {
        let before = state.rooms.next_tick();
        let changed = change(&mut state);
        let after = state.rooms.next_tick();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.earlier_tick.notify_one();
        }
        changed
    }

    /// The state is whole even if somebody panicked with it: every input is applied in full or not seen.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.earlier_tick.notify_one();
    }
}

impl State {
    fn apply(&mut self, input: Input) {
        let mut slow = Vec::new();
        for output in self.rooms.handle(Instant::now(), input) {
            match output {
                Output::Send { to, mut message } => {
                    if let ServerMessage::Joined { ice_servers, .. } = &mut message {
                        ice_servers.clone_from(&self.ice_servers);
                    }
                    if !self.push(to, message.to_json().into()) {
                        slow.push(to);
                    }
                }
                Output::Broadcast { to, message } => {
                    let text = Utf8Bytes::from(message.to_json());
                    slow.extend(to.into_iter().filter(|to| !self.push(*to, text.clone())));
                }
                Output::Relay { from, to, message } => {
                    let text = message.to_json().into();
                    let is_full = self.outboxes.get(&to).is_some_and(|outbox| outbox.relay(text).is_err());
                    if is_full && !self.push(from, ServerMessage::target_busy().to_json().into()) {
                        slow.push(from);
                    }
                }
                Output::Close { conn, code } => {
                    if let Some(outbox) = self.outboxes.remove(&conn) {
                        outbox.close(code);
                    }
                }
            }
        }
        for conn in slow {
            if let Some(outbox) = self.outboxes.remove(&conn) {
                outbox.overflowed();
                // Puts nothing out: the place is held.
                self.rooms.handle(Instant::now(), Input::Lost { conn });
            }
        }
    }

    /// Whether there was space, or nobody to send to any more.
    fn push(&self, to: ConnId, text: Utf8Bytes) -> bool {
        self.outboxes.get(&to).is_none_or(|outbox| outbox.push(text).is_ok())
    }
}

/// Lets time pass for the rooms until the server is gone.
async fn tick(shared: Weak<Shared>, earlier: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.lock().rooms.next_tick()) else { return };
        match next {
            None => earlier.notified().await,
            Some(due) => {
                tokio::select! {
                    () = earlier.notified() => {}
                    () = tokio::time::sleep_until(due.into()) => {
                        let Some(shared) = shared.upgrade() else { return };
                        shared.apply(shared.lock(), Input::Tick);
                    }
                }
            }
        }
    }
}

/// One more open connection, until dropped.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// The key of a request that is a WebSocket's opening handshake (RFC 6455, section 4.2.1).
fn websocket_key<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let has_token = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    let is_handshake = method == Method::GET
        && has_token(header::CONNECTION, "upgrade")
        && has_token(header::UPGRADE, "websocket")
        && has_token(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_handshake).map(HeaderValue::as_bytes)
}

/// Whether the request comes from a page of this server, or from a program.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    protocol::is_same_origin(headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default()), host)
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

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_handshake_is_told_from_other_requests() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "x"),
        ];
        assert!(websocket_key(&Method::GET, &headers(&good)).is_some());
        assert!(websocket_key(&Method::POST, &headers(&good)).is_none());
        for missing in 0..good.len() {
            let mut rest = good.to_vec();
            rest.remove(missing);
            assert!(websocket_key(&Method::GET, &headers(&rest)).is_none());
        }
    }

    #[test]
    fn a_page_of_another_site_is_told_from_our_own() {
        assert!(is_same_origin(&headers(&[("host", "lab:18080")])));
        assert!(is_same_origin(&headers(&[("host", "lab:18080"), ("origin", "http://lab:18080")])));
        for origin in ["http://evil.example", "http://lab:18081", "null", ""] {
            assert!(!is_same_origin(&headers(&[("host", "lab:18080"), ("origin", origin)])), "{origin}");
        }
    }
}
