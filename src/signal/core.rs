//! What all connections of a server share: the rooms behind one lock, and an outbox for each connection.

mod ice_servers;
mod local;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::ice_servers::IceServers;
pub use self::local::{LocalHost, LocalMember};
use super::outbox::{Outbox, Outgoing, StudentBytes, outbox};
use super::session::random_session;
use crate::access::{Access, AccessConfig, Attempts, Authorization, Claim, Denied, Rights};
use crate::id::{RoomId, UserId};
use crate::network::{ClientAddress, SharedClientState};
use crate::protocol::{self, ClientMessage, Credentials, ErrorCode, IceServer, JoinRequest, RoomOrder, ServerMessage};
use crate::room::{self, ConnId, Input, Newcomer, Output, Rooms};

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
}

impl Default for ServerConfig {
    /// Everybody may join, and clients on this computer may teach.
    fn default() -> Self {
        let access = AccessConfig { trusts_loopback: true, ..AccessConfig::default() };
        Self { limits: ServerLimits::default(), access: Arc::new(Access::new(access)), ice_servers: Vec::new() }
    }
}

#[derive(Debug)]
pub(super) struct Core {
    this: Weak<Core>,
    pub(super) limits: ServerLimits,
    access: Arc<Access>,
    /// Wrong teaching keys.
    wrong_keys: Mutex<Attempts>,
    state: Mutex<State>,
    /// Notified when a tick is due earlier than before.
    earlier_tick: Arc<Notify>,
    /// How many connections have a task.
    pub(super) open: watch::Sender<usize>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rooms: Rooms,
    ice_servers: IceServers,
    pub(super) outboxes: HashMap<ConnId, Outbox>,
    /// The queue to the task that runs media hosts.
    pub(super) media_hosts: Option<mpsc::UnboundedSender<LocalHost>>,
    /// The media hosts that have to be started, until the lock is released.
    starting: Vec<StartingHost>,
    /// The bytes that wait for all students together.
    student_bytes: StudentBytes,
    /// The lists for students, as text, until a member joins or leaves.
    lists: HashMap<RoomId, Utf8Bytes>,
    next_conn: u64,
    pub(super) shutting_down: bool,
}

impl Core {
    /// Makes a server without rooms, and the task that ticks its timers.
    pub(super) fn start(config: ServerConfig) -> Arc<Self> {
        let ServerConfig { limits, access, ice_servers } = config;
        let earlier_tick = Arc::new(Notify::new());
        let state = State {
            rooms: Rooms::new(room::RoomLimits { host_epochs: rand::random(), ..limits.room.clone() }),
            ice_servers: IceServers::new(ice_servers, access.clone()),
            outboxes: HashMap::new(),
            media_hosts: None,
            starting: Vec::new(),
            student_bytes: StudentBytes::default(),
            lists: HashMap::new(),
            next_conn: 0,
            shutting_down: false,
        };
        let core = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            limits,
            access,
            wrong_keys: Mutex::default(),
            state: Mutex::new(state),
            earlier_tick: earlier_tick.clone(),
            open: watch::Sender::new(0),
        });
        tokio::spawn(tick(Arc::downgrade(&core), earlier_tick));
        core
    }

    /// Adds a connection to its room. A refusal is queued in the outbox, like every other message.
    pub(super) fn join(
        &self,
        request: JoinRequest,
        credentials: Credentials,
        address: ClientAddress,
        client_state: SharedClientState,
    ) -> (ConnId, Outgoing) {
        let checked = self.check(&request, &credentials, address);
        let mut state = self.lock();
        let (outbox, outgoing) = outbox(request.publishes, client_state, &state.student_bytes);
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        if state.shutting_down {
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
        self.apply(state, Input::Join { conn, newcomer });
        (conn, outgoing)
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
        self.apply(self.lock(), Input::Message { conn, message });
    }

    /// Removes a connection that ended. May be called again.
    pub(super) fn lost(&self, conn: ConnId) {
        let mut state = self.lock();
        state.outboxes.remove(&conn);
        self.apply(state, Input::Lost { conn });
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

impl State {
    fn apply(&mut self, input: Input) {
        if let Input::Message { conn, message: ClientMessage::RoomUserList } = &input
            && let Some(text) = self.room_of_student(*conn).and_then(|room| self.lists.get(room))
        {
            let slow = if self.push(*conn, text.clone()) { vec![] } else { vec![*conn] };
            return self.close(slow);
        }
        if let Input::Message { conn, message: ClientMessage::Connected { target_uid } } = &input
            && let Some(target) = self.rooms.student_of(*conn, target_uid)
            && let Some(outbox) = self.outboxes.get(&target)
        {
            outbox.connected();
        }
        if let Input::Message { message, .. } = &input
            && matches!(message, ClientMessage::Channel { .. } | ClientMessage::Order(RoomOrder::Announce { .. }))
        {
            self.rooms.set_time(unix_ms());
        }
        let outputs = self.rooms.handle(Instant::now(), input);
        self.carry_out(outputs);
    }

    /// Of those who get a list of participants, the participants count as connected.
    fn mark_participants(&self, message: &ServerMessage, to: &[ConnId]) {
        if !matches!(message, ServerMessage::Participants(_)) {
            return;
        }
        for conn in to {
            let Some(outbox) = self.outboxes.get(conn).filter(|outbox| outbox.is_of_student()) else { continue };
            if self.rooms.takes_part(*conn) {
                outbox.connected();
            } else {
                outbox.joined();
            }
        }
    }

    /// Carries out what the rooms decided.
    pub(super) fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut slow = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, mut message } => {
                    if let ServerMessage::Joined { room_id, users, ice_servers, user_id, .. } = &mut message {
                        *ice_servers = self.ice_servers.of(user_id);
                        if users.len() == 1 {
                            // The room is new, and there may be a list of an earlier room of this id.
                            self.lists.remove(room_id);
                        }
                        self.outboxes.get(&to).into_iter().for_each(Outbox::joined);
                    }
                    self.mark_participants(&message, &[to]);
                    let text = Utf8Bytes::from(message.to_json());
                    if matches!(message, ServerMessage::RoomUserList { .. })
                        && let Some(room) = self.room_of_student(to).cloned()
                    {
                        if self.lists.len() >= MAX_LISTS {
                            self.lists.clear();
                        }
                        self.lists.insert(room, text.clone());
                    }
                    if !self.push(to, text) {
                        slow.push(to);
                    }
                }
                Output::Broadcast { to, message } => {
                    // From now on, an older list would contradict what the receivers know.
                    if let Some(room) = to.first().and_then(|conn| self.rooms.room_of(*conn)) {
                        self.lists.remove(room);
                    }
                    self.mark_participants(&message, &to);
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
                Output::StartHost { room, publisher } => self.attach_host(room, publisher),
                Output::Close { conn, code } => {
                    if let Some(outbox) = self.outboxes.remove(&conn) {
                        outbox.close(code);
                    }
                }
            }
        }
        self.close(slow);
    }

    /// Closes connections that do not read, and more of them if too much waits for all students: those for whom most
    /// waits.
    fn close(&mut self, mut slow: Vec<ConnId>) {
        loop {
            for conn in slow.drain(..) {
                if let Some(outbox) = self.outboxes.remove(&conn) {
                    outbox.overflowed();
                    // The room reserves the user id, or the lobby forgets the client. The loss of a media
                    // host has outputs, and they end no other host.
                    let outputs = self.rooms.handle(Instant::now(), Input::Lost { conn });
                    if !outputs.is_empty() {
                        self.carry_out(outputs);
                    }
                }
            }
            if !self.student_bytes.is_too_much() {
                return;
            }
            let students = self.outboxes.iter().filter(|(_, outbox)| outbox.is_of_student());
            let Some((slowest, _)) = students.max_by_key(|(_, outbox)| outbox.waiting().1) else { return };
            slow.push(*slowest);
        }
    }

    /// Makes the connection of a media host, which starts once the lock is released.
    fn attach_host(&mut self, room: RoomId, publisher: Option<UserId>) {
        let client_state = SharedClientState::default();
        let (outbox, outgoing) = outbox(true, client_state.clone(), &self.student_bytes);
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.outboxes.insert(conn, outbox);
        self.starting.push(StartingHost { room: room.clone(), publisher, conn, outgoing, client_state });
        let outputs = self.rooms.handle(Instant::now(), Input::HostStarted { conn, room });
        self.carry_out(outputs);
    }

    /// The room of a connection that does not publish.
    fn room_of_student(&self, conn: ConnId) -> Option<&RoomId> {
        self.outboxes.get(&conn).filter(|outbox| outbox.is_of_student())?;
        self.rooms.room_of(conn)
    }

    /// Queues a message. False if the outbox is full; true also if the connection is gone.
    fn push(&self, to: ConnId, text: Utf8Bytes) -> bool {
        self.outboxes.get(&to).is_none_or(|outbox| outbox.push(text).is_ok())
    }
}

/// A media host that has a connection and no process yet.
#[derive(Debug)]
struct StartingHost {
    room: RoomId,
    publisher: Option<UserId>,
    conn: ConnId,
    outgoing: Outgoing,
    client_state: SharedClientState,
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
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
    }
}

/// The refusal on the wire.
fn denied_message(denied: &Denied) -> ServerMessage {
    let Denied { code, message, retry_after, .. } = denied;
    // Rounded up, so that a client that returns after this time is not early.
    let retry_after_ms = retry_after.map(|wait| wait.as_millis() as u64 + 1);
    ServerMessage::Error { code: *code, message: message.clone(), user_id: None, retry_after_ms, codec: None }
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
