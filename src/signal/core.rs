//! What all connections of a server share: the rooms behind one lock, and an outbox for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::outbox::{Outbox, Outgoing, outbox};
use super::session::random_session;
use crate::network::ClientAddress;
use crate::protocol::{self, ClientMessage, Credentials, ErrorCode, IceServer, JoinRequest, ServerMessage};
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

#[derive(Debug)]
pub(super) struct Core {
    pub(super) limits: ServerLimits,
    state: Mutex<State>,
    /// Notified when a tick is due earlier than before.
    earlier_tick: Arc<Notify>,
    /// How many connections have a task.
    pub(super) open: watch::Sender<usize>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rooms: Rooms,
    /// Sent to everybody who joins.
    ice_servers: Vec<IceServer>,
    pub(super) outboxes: HashMap<ConnId, Outbox>,
    next_conn: u64,
    pub(super) shutting_down: bool,
}

impl Core {
    /// Makes a server without rooms, and the task that ticks its timers.
    pub(super) fn start(limits: ServerLimits, ice_servers: Vec<IceServer>) -> Arc<Self> {
        let earlier_tick = Arc::new(Notify::new());
        let state = State {
            rooms: Rooms::new(limits.room.clone()),
            ice_servers,
            outboxes: HashMap::new(),
            next_conn: 0,
            shutting_down: false,
        };
        let core = Arc::new(Self {
            limits,
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
    ) -> (ConnId, Outgoing) {
        let JoinRequest { room, room_name, user, nickname, publishes, epoch, client, auth: _ } = request;
        let Credentials { session, code, token: _, key: _, room: settings } = credentials;
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
        let newcomer = Newcomer {
            room,
            room_name,
            user,
            nickname,
            publishes,
            epoch,
            session,
            client,
            network: address.network,
            moderates: publishes,
            code,
            settings: settings.filter(|_| publishes),
        };
        self.apply(state, Input::Join { conn, newcomer });
        (conn, outgoing)
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
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.earlier_tick.notify_one();
        }
        changed
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
                // Returns no outputs: the room only reserves the user id.
                self.rooms.handle(Instant::now(), Input::Lost { conn });
            }
        }
    }

    /// Queues a message. False if the outbox is full; true also if the connection is gone.
    fn push(&self, to: ConnId, text: Utf8Bytes) -> bool {
        self.outboxes.get(&to).is_none_or(|outbox| outbox.push(text).is_ok())
    }
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
