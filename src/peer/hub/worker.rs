//! The hub's thread: takes frames, commands and datagrams, and gives every student its turn.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::stun::message::Message;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::demux::{Datagram, classify};
use super::lanes::Repair;
use super::peer::{Fate, Peer, Turn, Wishes};
use super::socket::{Socket, local_addresses};
use super::stun::{Asked, StunClient};
use super::{
    Advertised, Command, HubConfig, HubError, HubEvent, HubStats, PerTrack, RTCIceCandidateInit, Refusal, Rings, Shared,
};
use crate::id::UserId;
use crate::peer::offer;
use crate::protocol::VideoTrack;
use crate::rtp::{Frame, KeyRequests, Track};

/// How often timers are looked at. The core wants to be woken every 50 ms while it connects and 200 ms later.
const TICK: Duration = Duration::from_millis(5);

/// How long pictures are sent before sound, feedback and newcomers get their turn.
const SLICE: Duration = Duration::from_millis(4);

/// How soon those who catch up get their next turn.
const CATCH_UP_TICK: Duration = Duration::from_millis(5);

/// Students that are told something before frames and datagrams get their turn. A message costs a student some 20 us,
/// so these are a millisecond; the next turn is 5 ms later, so a class of 1,000 is told within 100 ms.
const TELL_AT_ONCE: usize = 50;

/// The least time between two offers of one user: an answer costs milliseconds, and nobody needs two.
const OFFER_INTERVAL: Duration = Duration::from_millis(300);

/// Batches of datagrams that are read before frames and commands get their turn.
const READ_BATCHES: usize = 8;

/// The thread's ends of the queues.
pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) frames: mpsc::Receiver<Frame>,
    pub(super) gaps: Arc<PerTrack<AtomicU64>>,
    pub(super) events: mpsc::Sender<HubEvent>,
}

/// Runs a hub until its commands end; `bound` hears how binding went.
pub(super) fn run(config: HubConfig, shared: Shared, queues: Queues, bound: &SyncSender<Result<SocketAddr, HubError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(bound.send(Err(HubError::Setup(e.to_string())))),
    };
    runtime.block_on(async {
        let socket = match Socket::bind(config.udp) {
            Ok(socket) => socket,
            Err(cause) => return drop(bound.send(Err(HubError::Bind { address: config.udp, cause }))),
        };
        let _ = bound.send(Ok(socket.local()));
        Worker::new(config, shared, socket, queues.events).run(queues.commands, queues.frames, &queues.gaps).await;
    });
}

type Slot = u64;

struct Worker {
    config: HubConfig,
    shared: Shared,
    socket: Socket,
    events: mpsc::Sender<HubEvent>,
    addresses: Advertised,
    stun: Vec<StunClient>,
    rings: Rings,
    requests: PerTrack<KeyRequests>,
    counts: PerTrack<(u64, u64, u64)>,
    peers: HashMap<Slot, Peer>,
    order: Vec<Slot>,
    next_slot: Slot,
    by_user: HashMap<UserId, Slot>,
    by_address: HashMap<SocketAddr, Slot>,
    by_ufrag: HashMap<String, Slot>,
    /// Students to whom the newest pictures were not sent yet, in the order of their turns.
    serving: VecDeque<Slot>,
    /// Who is served first: another one with each picture.
    first_served: usize,
    catching_up: VecDeque<Slot>,
    /// Students with messages that were not handed to their connection yet.
    to_tell: VecDeque<Slot>,
    dropped_by_the_gone: u64,
    gaps_seen: PerTrack<u64>,
}

impl Worker {
    fn new(config: HubConfig, shared: Shared, socket: Socket, events: mpsc::Sender<HubEvent>) -> Self {
        let local = local_addresses(socket.local());
        let base = local[0];
        let reflexive = config.advertise.iter().map(|ip| (SocketAddr::new(*ip, socket.local().port()), base)).collect();
        let now = Instant::now();
        let stun = config.stun.iter().map(|server| StunClient::new(*server, now)).collect();
        Self {
            config,
            shared,
            socket,
            events,
            addresses: Advertised { local, reflexive },
            stun,
            rings: PerTrack::default(),
            requests: PerTrack::default(),
            counts: PerTrack::default(),
            peers: HashMap::new(),
            order: Vec::new(),
            next_slot: 0,
            by_user: HashMap::new(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            serving: VecDeque::new(),
            first_served: 0,
            catching_up: VecDeque::new(),
            to_tell: VecDeque::new(),
            dropped_by_the_gone: 0,
            gaps_seen: PerTrack::default(),
        }
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut frames: mpsc::Receiver<Frame>,
        gaps: &PerTrack<AtomicU64>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut catch_up = tokio::time::interval(CATCH_UP_TICK);
        catch_up.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ticked = Instant::now();
        let mut served = false;
        loop {
            // Not only in the select: under load there is always something before it.
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.look_for_gaps(gaps);
                self.tick();
            }
            tokio::select! {
                biased;
                frame = frames.recv() => match frame {
                    Some(frame) => self.frame(frame),
                    None => return,
                },
                // Then everybody else gets a turn.
                () = std::future::ready(()), if !served && !self.serving.is_empty() => {
                    self.serve();
                    served = true;
                    continue;
                }
                _ = catch_up.tick(), if !self.catching_up.is_empty() || !self.to_tell.is_empty() => {
                    self.catch_up();
                    self.tell_some();
                }
                command = commands.recv() => match command {
                    Some(Command::Close(done)) => {
                        self.close();
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.command(command),
                    None => return,
                },
                readable = self.socket.readable() => {
                    if readable.is_err() || !self.read() {
                        self.say(HubEvent::Notice("the UDP socket failed, the lecture can't go on".to_owned()));
                        return;
                    }
                }
                _ = tick.tick() => {}
                // Lets the runtime look at socket and clock.
                () = tokio::task::yield_now(), if !self.serving.is_empty() => {}
            }
            served = false;
        }
    }

    fn frame(&mut self, frame: Frame) {
        let (track, key, now) = (frame.track, frame.key, Instant::now());
        let (frames, keys, bytes) = &mut self.counts[track];
        *frames += 1;
        *keys += u64::from(key);
        *bytes += frame.bytes() as u64;
        let index = self.rings[track].push(frame);
        if key {
            self.requests[track].fulfilled();
        }
        if track.is_video() {
            self.put_in_line(track, index, key);
            self.serve();
        } else {
            self.send_sound(now, track, index);
        }
    }

    /// Sound goes to everybody at once: a packet for each, before the rest of a picture that is being sent.
    fn send_sound(&mut self, now: Instant, track: Track, index: u64) {
        let mut wishes = Wishes::default();
        let mut failed = Vec::new();
        for slot in &self.order {
            let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.connected) else { continue };
            let (rings, socket) = (&self.rings, &mut self.socket);
            let sent = guarded(peer, |peer| {
                peer.lanes.on_frame(track, index, true);
                peer.send(now, Some(track), rings, socket, &mut wishes);
            });
            failed.extend(sent.is_none().then_some(*slot));
        }
        self.end_failed(failed);
    }

    /// A picture is for everybody, but not at once: a key frame of 100 kB for 1,000 students is 150 ms of sealing, which
    /// sound, feedback and newcomers can't wait for.
    fn put_in_line(&mut self, track: Track, index: u64, key: bool) {
        self.first_served = (self.first_served + 1) % self.order.len().max(1);
        let (later, first) = self.order.split_at(self.first_served.min(self.order.len()));
        for slot in first.iter().chain(later) {
            let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.connected) else { continue };
            peer.lanes.on_frame(track, index, key);
            if !std::mem::replace(&mut peer.is_to_be_served, true) {
                self.serving.push_back(*slot);
            }
        }
    }

    /// Sends pictures to students whose turn it is, for the time of a slice.
    fn serve(&mut self) {
        let begun = Instant::now();
        let mut wishes = Wishes::default();
        let mut failed = Vec::new();
        while let Some(slot) = self.serving.pop_front() {
            let Some(peer) = self.peers.get_mut(&slot) else { continue };
            peer.is_to_be_served = false;
            // Who catches up has turns of its own.
            if peer.lanes.catches_up {
                continue;
            }
            let now = Instant::now();
            let (rings, socket) = (&self.rings, &mut self.socket);
            let sent = guarded(peer, |peer| peer.send(now, None, rings, socket, &mut wishes));
            if peer.lanes.catches_up {
                self.catching_up.push_back(slot);
            }
            failed.extend(sent.is_none().then_some(slot));
            if now.saturating_duration_since(begun) >= SLICE {
                break;
            }
        }
        self.end_failed(failed);
        self.ask_for_key_frames(begun, wishes);
    }

    /// Gives those who catch up one turn each, as far as the time of a slice goes; the others are first the next time.
    fn catch_up(&mut self) {
        let begun = Instant::now();
        let mut wishes = Wishes::default();
        let mut failed = Vec::new();
        for _ in 0..self.catching_up.len() {
            let Some(slot) = self.catching_up.pop_front() else { break };
            let Some(peer) = self.peers.get_mut(&slot) else { continue };
            let now = Instant::now();
            let (rings, socket) = (&self.rings, &mut self.socket);
            let sent = guarded(peer, |peer| peer.send(now, None, rings, socket, &mut wishes));
            if peer.lanes.catches_up {
                self.catching_up.push_back(slot);
            }
            failed.extend(sent.is_none().then_some(slot));
            if now.saturating_duration_since(begun) >= SLICE {
                break;
            }
        }
        self.end_failed(failed);
        self.ask_for_key_frames(begun, wishes);
    }

    /// Reads datagrams. Gives false when the socket failed for good.
    fn read(&mut self) -> bool {
        for _ in 0..READ_BATCHES {
            let now = Instant::now();
            let mut batch: Vec<(SocketAddr, SocketAddr, BytesMut)> = Vec::new();
            match self.socket.receive(|at, from, bytes| batch.push((at, from, bytes.into()))) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            let mut touched: Vec<Slot> = Vec::new();
            for (at, from, bytes) in batch {
                let Some(slot) = self.route(now, from, &bytes) else { continue };
                if let Some(peer) = self.peers.get_mut(&slot) {
                    match guarded(peer, |peer| peer.receive(now, at, from, bytes)) {
                        Some(()) if touched.contains(&slot) => {}
                        Some(()) => touched.push(slot),
                        None => self.end_failed(vec![slot]),
                    }
                }
            }
            for slot in touched {
                self.turn(now, slot);
            }
        }
        true
    }

    /// Whose datagram this is. Addresses are learnt from STUN requests that know the password, and kept.
    fn route(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Slot> {
        let known = self.by_address.get(&from).copied();
        match classify(bytes) {
            Datagram::Sealed => known,
            Datagram::Unknown | Datagram::UnencryptedRtcp => None,
            Datagram::Stun { transaction } => {
                if let Some(client) = self.stun.iter_mut().find(|client| client.expects(from, transaction)) {
                    if let Some(public) = client.answer(bytes, now) {
                        self.public_address(public);
                    }
                    return None;
                }
                known
            }
            Datagram::StunRequest { ufrag } => {
                let slot = *self.by_ufrag.get(ufrag)?;
                if known != Some(slot) {
                    let peer = self.peers.get_mut(&slot)?;
                    if !is_authentic(bytes, &peer.password, &self.shared) || !peer.remember(from) {
                        return None;
                    }
                    self.by_address.insert(from, slot);
                }
                Some(slot)
            }
        }
    }

    fn public_address(&mut self, public: SocketAddr) {
        let base = self.addresses.local[0];
        self.addresses.reflexive.retain(|(known, _)| self.config.advertise.contains(&known.ip()));
        self.addresses.reflexive.push((public, base));
        self.say(HubEvent::Notice(format!("students outside reach this computer at UDP {public} (STUN)")));
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Offer { user, sdp, video } => {
                if let Err(why) = self.offer(&user, sdp, video) {
                    self.say(HubEvent::Refused { user, why });
                }
            }
            Command::Candidate { user, candidate } => self.candidate(&user, candidate),
            Command::Remove { user } => {
                if let Some(slot) = self.by_user.get(&user).copied() {
                    self.remove(slot, "left");
                }
            }
            Command::Tell { user, text } => {
                if let Some(slot) = self.by_user.get(&user).copied() {
                    self.tell(slot, text);
                }
            }
            Command::TellAll { text } => {
                for slot in self.order.clone() {
                    self.tell(slot, Arc::clone(&text));
                }
            }
            Command::Stats(reply) => drop(reply.send(self.stats())),
            Command::Close(_) => {}
            #[cfg(test)]
            Command::Panic { user } => {
                if let Some(slot) = self.by_user.get(&user).copied() {
                    self.peers.get_mut(&slot).into_iter().for_each(|peer| peer.panics = true);
                    self.turn(Instant::now(), slot);
                }
            }
        }
    }

    fn offer(&mut self, user: &UserId, sdp: String, video: Option<VideoTrack>) -> Result<(), Refusal> {
        let now = Instant::now();
        let before = self.by_user.get(user).copied();
        if let Some(peer) = before.and_then(|slot| self.peers.get(&slot))
            && now.saturating_duration_since(peer.created) < OFFER_INTERVAL
        {
            return Err(Refusal::TooFast(user.clone()));
        }
        if before.is_none() && self.peers.len() >= self.config.max_students {
            return Err(Refusal::Full(self.peers.len()));
        }
        let tracks = offer::tracks_for(&sdp, video, &self.config.tracks)?;
        let answering = || Peer::answer(user.clone(), sdp, &tracks, &self.shared, &self.addresses, now);
        let (peer, answer) = caught(answering)
            .ok_or_else(|| Refusal::Unanswerable("it can't be processed".to_owned()))?
            .map_err(|e| Refusal::Unanswerable(e.to_string()))?;
        if let Some(slot) = before {
            self.forget(slot);
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        self.by_user.insert(user.clone(), slot);
        self.by_ufrag.insert(peer.ufrag.clone(), slot);
        self.peers.insert(slot, peer);
        self.order.push(slot);
        self.say(HubEvent::Answer { user: user.clone(), sdp: answer });
        self.turn(now, slot);
        Ok(())
    }

    fn candidate(&mut self, user: &UserId, candidate: RTCIceCandidateInit) {
        let Some(slot) = self.by_user.get(user).copied() else { return };
        let Some(peer) = self.peers.get_mut(&slot) else { return };
        match guarded(peer, |peer| peer.add_candidate(candidate)) {
            Some(()) => self.turn(Instant::now(), slot),
            None => self.end_failed(vec![slot]),
        }
    }

    /// Puts a message into a student's queue, to be sent in one of the next turns.
    fn tell(&mut self, slot: Slot, text: Arc<str>) {
        if let Some(peer) = self.peers.get_mut(&slot) {
            peer.channel.push(text);
            if !std::mem::replace(&mut peer.is_to_be_told, true) {
                self.to_tell.push_back(slot);
            }
        }
    }

    /// Sends messages to a few of the students that have some: pictures go on meanwhile.
    fn tell_some(&mut self) {
        let now = Instant::now();
        let mut wishes = Wishes::default();
        for _ in 0..TELL_AT_ONCE {
            let Some(slot) = self.to_tell.pop_front() else { break };
            if let Some(peer) = self.peers.get_mut(&slot) {
                peer.is_to_be_told = false;
                match guarded(peer, |peer| peer.say(now)) {
                    Some(()) => self.give(now, slot, &[], &mut wishes),
                    None => self.end_failed(vec![slot]),
                }
            }
        }
        self.ask_for_key_frames(now, wishes);
    }

    /// Lets a peer speak after something was put into it.
    fn turn(&mut self, now: Instant, slot: Slot) {
        let mut wishes = Wishes::default();
        let Some(peer) = self.peers.get_mut(&slot) else { return };
        let was_connected = peer.connected;
        let rings = &self.rings;
        let Some(turn) = guarded(peer, |peer| peer.turn(now, rings, &mut wishes)) else {
            return self.end_failed(vec![slot]);
        };
        let Turn { fate, repairs, said } = turn;
        let connected = peer.connected && !was_connected;
        let user = peer.user.clone();
        self.give(now, slot, &repairs, &mut wishes);
        if connected {
            self.say(HubEvent::Connected(user.clone()));
        }
        if said.opened {
            self.say(HubEvent::ChannelOpen(user.clone()));
        }
        for text in said.texts {
            self.say(HubEvent::Heard { user: user.clone(), text });
        }
        if let Fate::Gone(why) = fate {
            self.remove(slot, why);
        }
        self.ask_for_key_frames(now, wishes);
    }

    fn give(&mut self, now: Instant, slot: Slot, repairs: &[Repair], wishes: &mut Wishes) {
        let Some(peer) = self.peers.get_mut(&slot) else { return };
        let caught_up = !peer.lanes.catches_up;
        let (rings, socket) = (&self.rings, &mut self.socket);
        let sent = guarded(peer, |peer| peer.send_all(now, repairs, rings, socket, wishes));
        if sent.is_none() {
            self.end_failed(vec![slot]);
        } else if caught_up && peer.lanes.catches_up {
            self.catching_up.push_back(slot);
        }
    }

    fn ask_for_key_frames(&mut self, now: Instant, wishes: Wishes) {
        for track in wishes.key_frames {
            self.requests[track].want();
        }
        for track in Track::ALL.into_iter().filter(|track| track.is_video()) {
            if self.requests[track].due(now) {
                self.say(HubEvent::KeyFrameNeeded(track));
            }
        }
    }

    fn look_for_gaps(&mut self, gaps: &PerTrack<AtomicU64>) {
        for track in Track::ALL {
            let seen = gaps[track].load(Ordering::Relaxed);
            if std::mem::replace(&mut self.gaps_seen[track], seen) == seen || !track.is_video() {
                continue;
            }
            self.rings[track].forget_key();
            self.peers.values_mut().for_each(|peer| peer.lanes.on_gap(track));
            self.requests[track].want();
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let due: Vec<Slot> =
            self.order.iter().copied().filter(|s| self.peers.get(s).is_some_and(|p| p.deadline <= now)).collect();
        for slot in due {
            let Some(peer) = self.peers.get_mut(&slot) else { continue };
            match guarded(peer, |peer| peer.tick(now)) {
                Some(()) => self.turn(now, slot),
                None => self.end_failed(vec![slot]),
            }
        }
        self.ask_for_key_frames(now, Wishes::default());
        for n in 0..self.stun.len() {
            let server = self.stun[n].server;
            match self.stun[n].step(now) {
                Asked::NotYet => {}
                Asked::Send(question) => {
                    let from = self.socket.local();
                    self.socket.queue(from, server, &question);
                    self.socket.flush();
                }
                Asked::Silent => self.say(HubEvent::Notice(format!(
                    "the STUN server {server} does not answer, students outside of this network may not get through"
                ))),
            }
        }
    }

    /// Forgets a peer and says so.
    fn remove(&mut self, slot: Slot, why: &'static str) {
        if let Some(user) = self.forget(slot) {
            self.say(HubEvent::Gone { user, why });
        }
    }

    fn forget(&mut self, slot: Slot) -> Option<UserId> {
        let peer = self.peers.remove(&slot)?;
        self.order.retain(|s| *s != slot);
        self.catching_up.retain(|s| *s != slot);
        self.by_address.retain(|_, s| *s != slot);
        self.by_ufrag.remove(&peer.ufrag);
        self.by_user.remove(&peer.user);
        self.dropped_by_the_gone += peer.stats.dropped;
        let user = peer.user.clone();
        let socket = &mut self.socket;
        if !peer.failed {
            caught(|| peer.close(socket));
        }
        Some(user)
    }

    /// Ends students whose connection panicked: theirs and nobody else's.
    fn end_failed(&mut self, failed: Vec<Slot>) {
        for slot in failed {
            self.socket.discard();
            if let Some(user) = self.forget(slot) {
                self.say(HubEvent::Notice(format!(
                    "the connection of {user} failed by a mistake in this program, please report it; it may come again"
                )));
                self.say(HubEvent::Gone { user, why: "failed" });
            }
        }
    }

    fn close(&mut self) {
        for slot in self.order.clone() {
            self.forget(slot);
        }
    }

    fn stats(&self) -> HubStats {
        let by_track = |f: &dyn Fn(Track) -> u64| Track::ALL.into_iter().map(|track| (track, f(track))).collect();
        let sent = self.socket.sent;
        let connected: Vec<&Peer> = self.peers.values().filter(|peer| peer.connected).collect();
        HubStats {
            students: connected.len(),
            connecting: self.peers.len() - connected.len(),
            disturbed: connected.iter().filter(|peer| peer.disturbed()).count(),
            packets: sent.packets,
            bytes: sent.bytes,
            calls: sent.calls,
            refused: sent.refused,
            dropped: self.dropped_by_the_gone + connected.iter().map(|peer| peer.stats.dropped).sum::<u64>(),
            frames: by_track(&|track| self.counts[track].0),
            key_frames: by_track(&|track| self.counts[track].1),
            key_requests: by_track(&|track| self.requests[track].count()),
            frame_bytes: by_track(&|track| self.counts[track].2),
            send_delay: self.socket.delays.clone(),
            peers: connected.iter().map(|peer| (peer.user.clone(), peer.stats)).collect(),
        }
    }

    fn say(&self, event: HubEvent) {
        // The reader is a loop that only waits for us; if it is that far behind, the student asks again.
        let _ = self.events.try_send(event);
    }
}

/// Does something with a peer; none if it panics. The peer is not to be used any more then, only to be forgotten.
fn guarded<T>(peer: &mut Peer, work: impl FnOnce(&mut Peer) -> T) -> Option<T> {
    let done = caught(|| work(&mut *peer));
    peer.failed |= done.is_none();
    done
}

/// What `work` gives; none if it panics. What it leaves half done must not be used any more.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// Whether a STUN request was made by somebody who knows the password that only the answer told (RFC 8445, 7.3).
fn is_authentic(bytes: &[u8], password: &str, shared: &Shared) -> bool {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).is_ok()
        && rtc::stun::integrity::MessageIntegrity::check(&mut message, password.as_bytes(), shared.crypto.crypto())
            .is_ok()
}
