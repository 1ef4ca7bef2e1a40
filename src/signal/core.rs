//! What all connections of a server share: the rooms behind one lock, and an outbox for each connection.

mod cluster;
mod drain;
mod edges;
mod ice_servers;
mod local;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::cluster::{Cluster, Entry, Placements};
pub use self::cluster::{ClusterConfig, ClusterStatus, Ownership};
pub(crate) use self::cluster::{FromOwner, ToOwner};
pub(super) use self::cluster::{NODE_PATH, serve_node};
use self::edges::EdgeHosts;
pub use self::edges::LocalEdge;
use self::ice_servers::IceServers;
pub use self::ice_servers::OwnTurn;
pub use self::local::{LocalHost, LocalMember};
use self::state::StartingHost;
use super::outbox::{Outbox, Outgoing, StudentBytes, outbox};
use super::session::random_session;
use crate::access::{Access, AccessConfig, Attempts, Authorization, Claim, Denied, Rights};
use crate::id::RoomId;
use crate::network::{CalledHost, ClientAddress, SharedClientState};
use crate::protocol::{self, ClientMessage, Credentials, ErrorCode, IceServer, JoinRequest, RoomKind, ServerMessage};
use crate::room::{self, ConnId, Input, Newcomer, Rooms, Route};
use crate::trace::Tracer;

/// The limits of a server. The defaults are the constants of [`crate::protocol`].
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// The limits of the rooms.
    pub room: room::RoomLimits,
    /// How often the server pings a client.
    pub ping_interval: Duration,
    /// The silence after which a client counts as lost.
    pub silence_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            room: room::RoomLimits::default(),
            ping_interval: protocol::PING_INTERVAL,
            silence_timeout: protocol::SILENCE_TIMEOUT,
        }
    }
}

/// The messages that wait to be written, summed over all clients of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Messages in the longest queue to one student.
    pub longest_student_queue: usize,
}

/// Lists that are kept as text.
const MAX_LISTS: usize = 64;

/// The settings of a server.
#[derive(Debug)]
pub struct ServerConfig {
    /// The limits.
    pub limits: ServerLimits,
    /// The access policy.
    pub access: Arc<Access>,
    /// STUN and TURN servers for everybody who joins. A TURN server without a user name gets credentials for each
    /// member from the access policy; without a secret for TURN, it is left out.
    pub ice_servers: Vec<IceServer>,
    /// The TURN server in this process.
    pub own_turn: Option<OwnTurn>,
    /// Takes the joins of members.
    pub(crate) tracer: Tracer,
    /// The other nodes, if the rooms are on several machines.
    pub cluster: Option<ClusterConfig>,
}

impl Default for ServerConfig {
    /// Everybody may join, and clients on this computer may teach.
    fn default() -> Self {
        let access = AccessConfig { trusts_loopback: true, ..AccessConfig::default() };
        Self {
            limits: ServerLimits::default(),
            access: Arc::new(Access::new(access)),
            ice_servers: Vec::new(),
            own_turn: None,
            tracer: Tracer::default(),
            cluster: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Core {
    this: Weak<Core>,
    pub(super) limits: ServerLimits,
    access: Arc<Access>,
    pub(super) tracer: Tracer,
    pub(super) cluster: Option<Cluster>,
    /// Wrong teaching keys.
    wrong_keys: Mutex<Attempts>,
    state: Mutex<State>,
    /// Notified when a tick is due earlier than before.
    earlier_tick: Arc<Notify>,
    /// How many connections have a task.
    pub(super) open: watch::Sender<usize>,
}

/// The client of a new connection.
pub(super) struct Caller {
    pub(super) address: ClientAddress,
    pub(super) client_state: SharedClientState,
    /// The host that it has called, if that is known.
    pub(super) host: Option<CalledHost>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rooms: Rooms,
    /// The places of rooms, if there are other nodes.
    placements: Option<Placements>,
    ice_servers: IceServers,
    pub(super) outboxes: HashMap<ConnId, Outbox>,
    /// The queue to the task that runs media hosts.
    pub(super) media_hosts: Option<mpsc::UnboundedSender<LocalHost>>,
    /// The edges of this node, if it is one.
    edges: Option<EdgeHosts>,
    /// The media hosts that have to be started, until the lock is released.
    starting: Vec<StartingHost>,
    /// The bytes that wait for all students together.
    student_bytes: StudentBytes,
    /// The lists for students, as text, until a member joins or leaves.
    lists: HashMap<RoomId, Utf8Bytes>,
    next_conn: u64,
    pub(super) shutting_down: bool,
    /// Whether new clients are sent elsewhere.
    draining: bool,
}

impl Core {
    /// Makes a server without rooms, and the task that ticks its timers.
    pub(super) fn start(config: ServerConfig) -> Arc<Self> {
        let ServerConfig { limits, access, ice_servers, own_turn, tracer, cluster } = config;
        let earlier_tick = Arc::new(Notify::new());
        let state = State {
            rooms: Rooms::new(room::RoomLimits { host_epochs: rand::random(), ..limits.room.clone() }),
            placements: cluster.as_ref().map(|_| Placements::default()),
            ice_servers: IceServers::new(ice_servers, own_turn, access.clone()),
            outboxes: HashMap::new(),
            media_hosts: None,
            edges: None,
            starting: Vec::new(),
            student_bytes: StudentBytes::default(),
            lists: HashMap::new(),
            next_conn: 0,
            shutting_down: false,
            draining: false,
        };
        let core = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            limits,
            access,
            tracer,
            cluster: cluster.map(Cluster::new),
            wrong_keys: Mutex::default(),
            state: Mutex::new(state),
            earlier_tick: earlier_tick.clone(),
            open: watch::Sender::new(0),
        });
        tokio::spawn(tick(Arc::downgrade(&core), earlier_tick));
        if core.cluster.is_some() {
            tokio::spawn(cluster::sync(Arc::downgrade(&core)));
        }
        core
    }

    /// Adds a connection to its room. A refusal is queued in the outbox, like every other message.
    pub(super) fn join(
        &self,
        request: JoinRequest,
        credentials: Credentials,
        Caller { address, client_state, host }: Caller,
    ) -> (ConnId, Outgoing) {
        let checked = self.check(&request, &credentials, address);
        let mut state = self.lock();
        let (outbox, outgoing) = outbox(request.publishes, client_state, &state.student_bytes);
        let outbox = outbox.of_caller_at(host);
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        if state.shutting_down || state.draining {
            // A new outbox has space.
            _ = outbox.push(drain::ending());
            outbox.close(Some(ErrorCode::ServerShutdown));
            return (conn, outgoing);
        }
        let authorization = match checked {
            Ok(authorization) => authorization,
            Err(denied) => {
                // A new outbox has space.
                _ = outbox.push(denied_message(&denied).to_json().into());
                outbox.close(Some(denied.code));
                return (conn, outgoing);
            }
        };
        state.outboxes.insert(conn, outbox);
        let newcomer = newcomer(request, credentials, authorization, address);
        match state.place(conn, newcomer) {
            Entry::Here(newcomer) => self.apply(state, Input::Join { conn, newcomer }),
            Entry::Away => {}
            Entry::Seek(room) => {
                drop(state);
                self.seek(room, Duration::ZERO);
            }
        }
        (conn, outgoing)
    }

    /// Whether a connection is still open. One that was refused is not.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.lock().outboxes.contains_key(&conn)
    }

    /// Asks the access policy about a client that wants to join.
    pub(super) fn check(
        &self,
        join: &JoinRequest,
        credentials: &Credentials,
        from: ClientAddress,
    ) -> Result<Authorization, Denied> {
        let JoinRequest { room, user, nickname, publishes, .. } = join;
        // The teacher of this process needs no other proof: only this process knows the secret.
        if credentials.session.as_ref().is_some_and(|session| self.lock().rooms.is_reserved_for(room, session)) {
            return Ok(Authorization {
                rights: Rights { publishes: true, moderates: true },
                owner: None,
                reserved: false,
                user: user.clone(),
                nickname: nickname.clone(),
                expires: None,
            });
        }
        let claim = Claim { room, user, nickname, publishes: *publishes };
        self.guard(credentials, from, || self.access.check(SystemTime::now(), credentials, &claim, from))
    }

    /// Slows down guesses of the teaching key.
    fn guard<T>(
        &self,
        credentials: &Credentials,
        from: ClientAddress,
        decide: impl FnOnce() -> Result<T, Denied>,
    ) -> Result<T, Denied> {
        if credentials.key.is_none() {
            return decide();
        }
        let mut wrong = self.wrong_keys.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.guard(Instant::now(), from.network, decide)
    }

    /// Whether a client may create rooms.
    pub(super) fn may_create(&self, credentials: &Credentials, from: ClientAddress) -> Result<(), Denied> {
        self.guard(credentials, from, || self.access.may_create(credentials, from))
    }

    pub(super) fn message(&self, conn: ConnId, message: ClientMessage) {
        if let ClientMessage::Offer { .. } = message {
            self.bring_edge(conn);
        }
        let mut state = self.lock();
        if let Some(message) = state.tell_away(conn, message) {
            self.apply(state, Input::Message { conn, message });
        }
    }

    /// Removes a connection that ended. May be called again.
    pub(super) fn lost(&self, conn: ConnId) {
        let mut state = self.lock();
        state.outboxes.remove(&conn);
        if !state.lost_away(conn) {
            self.apply(state, Input::Lost { conn });
        }
    }

    fn apply(&self, state: MutexGuard<'_, State>, input: Input) {
        self.change(state, |state| state.apply(input));
    }

    /// Changes the rooms, and wakes the timer if the next tick is due earlier than before.
    pub(super) fn change<T>(&self, mut state: MutexGuard<'_, State>, change: impl FnOnce(&mut State) -> T) -> T {
        let before = state.rooms.next_tick();
        let changed = change(&mut state);
        let after = state.rooms.next_tick();
        let starting = std::mem::take(&mut state.starting);
        let media_hosts = state.media_hosts.clone().filter(|_| !starting.is_empty());
        drop(state);
        starting.into_iter().for_each(|host| self.start_host(host, media_hosts.as_ref()));
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.earlier_tick.notify_one();
        }
        changed
    }

    /// Passes a media host to the task that runs it. Without a receiver the host is dropped, which ends it.
    fn start_host(&self, host: StartingHost, to: Option<&mpsc::UnboundedSender<LocalHost>>) {
        let Some(core) = self.this.upgrade() else { return };
        let StartingHost { room, publisher, conn, outgoing, client_state } = host;
        let member = LocalMember::attached(core, conn, outgoing, client_state);
        if let Some(to) = to {
            // If the receiver is gone, the error has the host, which is dropped.
            _ = to.send(LocalHost { room, publisher, member });
        }
    }

    /// The state stays consistent after a panic: an input is applied as a whole or not at all.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.earlier_tick.notify_one();
    }
}

/// The client as the rooms see it.
fn newcomer(
    request: JoinRequest,
    credentials: Credentials,
    authorization: Authorization,
    address: ClientAddress,
) -> Newcomer {
    let JoinRequest { room, room_name, kind, publishes, media, epoch, client, .. } = request;
    let Credentials { session, code, room: settings, .. } = credentials;
    Newcomer {
        room,
        room_name,
        user: authorization.user,
        nickname: authorization.nickname,
        publishes,
        media,
        epoch,
        session: session.unwrap_or_else(random_session),
        client,
        network: address.network,
        moderates: authorization.rights.moderates,
        code,
        kind,
        may_teach: authorization.rights.publishes,
        settings: settings.filter(|_| publishes || kind.is_some()),
        identity: authorization.owner,
        reserved: authorization.reserved,
        route: Route::default(),
    }
}

/// The refusal on the wire.
fn denied_message(denied: &Denied) -> ServerMessage {
    let Denied { code, message, retry_after, .. } = denied;
    // Rounded up, so that a client that returns after this time is not early.
    let retry_after_ms = retry_after.map(|wait| wait.as_millis() as u64 + 1);
    let (code, message, kind) = (*code, message.clone(), RoomKind::Lecture);
    ServerMessage::Error { code, message, user_id: None, retry_after_ms, codec: None, kind }
}

/// Ticks the rooms until the server is dropped.
async fn tick(core: Weak<Core>, earlier: Arc<Notify>) {
    loop {
        let Some(next) = core.upgrade().map(|core| core.lock().rooms.next_tick()) else { return };
        match next {
            None => earlier.notified().await,
            Some(due) => {
                tokio::select! {
                    () = earlier.notified() => {}
                    () = tokio::time::sleep_until(due.into()) => {
                        let Some(core) = core.upgrade() else { return };
                        core.apply(core.lock(), Input::Tick);
                    }
                }
            }
        }
    }
}

/// Counts one open connection until it is dropped.
pub(super) struct OpenConnection(Arc<Core>);

impl OpenConnection {
    pub(super) fn new(core: Arc<Core>) -> Self {
        core.open.send_modify(|open| *open += 1);
        Self(core)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}
