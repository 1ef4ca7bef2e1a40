//! A part of a class: its students, and the sending to them. An SFU has one, or one for each of its threads.
//!
//! It is given [`WorkerCommand`]s and time, sends by its own [`UdpSender`], and says what concerns the whole SFU as [`WorkerReport`]s. A
//! panic in one student's turn ends that student and nobody else.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::event_queue::EventQueue;
use super::peer::{Departure, Fate, Heard, Peer, PeerStats, PeerTotals, Turn, Wishes};
use super::senders::Repair;
use super::udp::{SentCounts, UdpSender};
use super::watchdog::Watchdog;
use super::{PeerId, RTCIceCandidateInit, Rings, SfuEvent};
use crate::congestion::Traffic;
use crate::congestion::{ClassRepairs, CommonTrouble, Rates};
use crate::id::UserId;
use crate::rtp::{Delays, Encoding, Frame, FrameRing, PerCodec, PerEncoding, Track};
use crate::suspension::{Pause, Pulse};
use crate::token_bucket::TokenBucket;

mod adapting;
mod serving;

/// How long pictures are sent before sound, feedback and newcomers get their turn.
const SLICE: Duration = Duration::from_millis(4);

/// How often it is looked at what a student's way carries, beside after each feedback.
const ADAPT_EVERY: Duration = Duration::from_millis(100);

/// Students that are told something before frames and datagrams get their turn. A message costs a student some 20 us,
/// so these are a millisecond; the next turn is 5 ms later, so a class of 1,000 is told within 100 ms.
const TELL_AT_ONCE: usize = 50;

/// A pause of this process that is worth a word to the teacher.
const WORTH_A_WORD: Duration = Duration::from_secs(1);
/// Sentences on students that had to go: a class of attackers does not fill the teacher's terminal.
const REMOVALS_PER_SECOND: u32 = 1;
const REMOVAL_BURST: u32 = 5;

/// What a worker is to do.
pub(super) enum WorkerCommand {
    /// Send this to everybody; with it there were so many key frames of its encoding.
    Frame { frame: Frame, keys: u64 },
    /// A track has a gap: only a key frame will do.
    Gap(Track),
    /// A new student.
    Add(PeerId, Box<Peer>),
    /// What a student sent: to which of our addresses, and from which of its own.
    Datagram { id: PeerId, at: SocketAddr, from: SocketAddr, bytes: BytesMut },
    /// From now on pictures can be had in these encodings.
    Encodings(Arc<[Encoding]>),
    /// Where a student may be reached.
    Candidate { id: PeerId, candidate: RTCIceCandidateInit },
    /// A student goes; `why` is said, where there is something to say.
    Remove { id: PeerId, why: Option<Departure> },
    /// Tell one student something.
    Tell { id: PeerId, text: Arc<str> },
    /// Tell everybody something.
    TellAll { text: Arc<str> },
    /// The socket was bound anew: send by this one.
    MoveTo(Box<UdpSender>),
    /// Add up the numbers.
    Stats(Box<dyn FnOnce(WorkerStats) + Send>),
    /// Say goodbye to everybody.
    Close,
    /// Makes a student's next turn panic.
    #[cfg(test)]
    Panic { id: PeerId },
}

/// What the rest of the SFU must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerReport {
    /// A student is forgotten.
    Gone(PeerId),
    /// A student's connection has opened a packet from this address, where its media goes.
    Confirmed { id: PeerId, from: SocketAddr },
    /// Somebody can't go on without another key frame than the `seen` ones that the worker was given until now.
    KeyFrameNeeded { encoding: Encoding, seen: u64 },
    /// So many students of this worker, the number of its thread, need the encoding.
    Active { worker: usize, encoding: Encoding, students: usize },
}

/// Numbers of a worker.
#[derive(Debug, Default)]
pub(super) struct WorkerStats {
    pub(super) students: usize,
    pub(super) connecting: usize,
    pub(super) disturbed: usize,
    pub(super) sent: SentCounts,
    pub(super) delays: Delays,
    pub(super) sound_delays: Delays,
    pub(super) dropped: u64,
    /// Students that are sealed for by the library, as we have no key.
    pub(super) sealed_by_core: usize,
    /// Students that get an encoding, or will at its next key frame.
    pub(super) watched: PerEncoding<usize>,
    pub(super) peers: Vec<(UserId, PeerStats)>,
    /// Of all students, those included that are gone.
    pub(super) totals: PeerTotals,
}

pub(super) struct Worker {
    outlet: UdpSender,
    events: EventQueue,
    /// Looks how long a student's core takes.
    watchdog: Watchdog,
    /// How often the teacher is told why somebody had to go.
    removals: TokenBucket,
    reports: mpsc::UnboundedSender<WorkerReport>,
    /// The number of its thread.
    worker: usize,
    rings: Rings,
    /// Key frames so far, those included that had no room on the way to here.
    keys: PerEncoding<u64>,
    /// What those may have whose own repairs are used up.
    repairs: ClassRepairs,
    /// What each encoding costs.
    traffic: Traffic,
    rates: PerCodec<Rates>,
    /// Trouble that many students have.
    common: CommonTrouble,
    /// Whether its thread stood still.
    pulse: Pulse,
    /// When students were last asked what their way carries.
    adapted: Instant,
    /// How many students need an encoding, as was reported.
    needed: PerEncoding<usize>,
    /// In one piece of memory: each frame goes through all of them.
    peers: Vec<Option<Peer>>,
    /// When each student's core wants to be woken.
    deadlines: Vec<Option<Instant>>,
    by_id: HashMap<PeerId, usize>,
    /// Students to whom the newest pictures were not sent yet, in the order of their turns.
    serving: VecDeque<usize>,
    /// Who is served first: another one with each picture.
    first_served: usize,
    catching_up: VecDeque<usize>,
    /// Students with messages that were not handed to their connection yet.
    to_tell: VecDeque<usize>,
    dropped_by_the_gone: u64,
    totals_of_the_gone: PeerTotals,
}

impl Worker {
    pub(super) fn new(
        worker: usize,
        traffic: Traffic,
        outlet: UdpSender,
        events: mpsc::Sender<SfuEvent>,
        reports: mpsc::UnboundedSender<WorkerReport>,
    ) -> Self {
        Self {
            worker,
            outlet,
            events: EventQueue::new(events),
            watchdog: Watchdog::default(),
            removals: TokenBucket::new(REMOVALS_PER_SECOND, REMOVAL_BURST),
            reports,
            rings: Rings::default(),
            keys: PerEncoding::default(),
            repairs: ClassRepairs::default(),
            rates: PerCodec::default(),
            common: CommonTrouble::default(),
            pulse: Pulse::default(),
            traffic,
            adapted: Instant::now(),
            needed: PerEncoding::default(),
            peers: Vec::new(),
            deadlines: Vec::new(),
            by_id: HashMap::new(),
            serving: VecDeque::new(),
            first_served: 0,
            catching_up: VecDeque::new(),
            to_tell: VecDeque::new(),
            dropped_by_the_gone: 0,
            totals_of_the_gone: PeerTotals::default(),
        }
    }

    pub(super) fn handle(&mut self, task: WorkerCommand) {
        let now = Instant::now();
        match task {
            WorkerCommand::Frame { frame, keys } => self.frame(now, frame, keys),
            WorkerCommand::Gap(track) => self.gap(track),
            WorkerCommand::Add(id, peer) => {
                let index = self.add(id, *peer);
                self.turn(now, index);
            }
            WorkerCommand::Datagram { id, at, from, bytes } => self.datagram(now, id, (at, from), bytes),
            WorkerCommand::Candidate { id, candidate } => self.have(now, id, |peer| peer.add_candidate(candidate)),
            WorkerCommand::Encodings(encodings) => {
                self.traffic.offer(&encodings);
                self.peers.iter_mut().flatten().for_each(|peer| peer.offer(&encodings));
            }
            WorkerCommand::Remove { id, why } => {
                if let Some(index) = self.by_id.get(&id) {
                    self.remove(*index, why);
                }
            }
            WorkerCommand::Tell { id, text } => {
                if let Some(index) = self.by_id.get(&id) {
                    self.tell(*index, text);
                }
            }
            WorkerCommand::TellAll { text } => {
                (0..self.peers.len()).for_each(|index| self.tell(index, Arc::clone(&text)))
            }
            WorkerCommand::MoveTo(sender) => self.outlet.move_to(*sender),
            WorkerCommand::Stats(reply) => reply(self.stats()),
            WorkerCommand::Close => (0..self.peers.len()).for_each(|index| drop(self.forget(index))),
            #[cfg(test)]
            WorkerCommand::Panic { id } => self.have(now, id, |peer| peer.panics = true),
        }
    }

    fn add(&mut self, id: PeerId, mut peer: Peer) -> usize {
        let index = self.peers.iter().position(Option::is_none).unwrap_or(self.peers.len());
        if index == self.peers.len() {
            self.peers.push(None);
            self.deadlines.push(None);
        }
        self.deadlines[index] = Some(peer.deadline);
        peer.id = id;
        self.peers[index] = Some(peer);
        self.by_id.insert(id, index);
        // An encoder that has to begin does so while the student connects.
        self.look_who_needs_what();
        index
    }

    /// Feedback that we could open has nothing to do with the core, so it needs no turn.
    fn datagram(&mut self, now: Instant, id: PeerId, path: (SocketAddr, SocketAddr), bytes: BytesMut) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        let Some(peer) = self.peers[index].as_mut() else { return };
        let (rings, class, mut wishes) = (&self.rings, &mut self.repairs, Wishes::default());
        let receive = |peer: &mut Peer| peer.receive(now, path, bytes, rings, class, &mut wishes);
        let (received, long) = self.watchdog.watch(|| guarded(peer, receive));
        if let Some(from) = peer.confirmed_address(now) {
            self.report(WorkerReport::Confirmed { id, from });
        }
        match received {
            None => self.end_failed(vec![index]),
            Some(_) if long.is_some() => self.end_slow(index, long.unwrap_or_default()),
            Some(None) => self.turn(now, index),
            Some(Some(Heard { reported, recovers, repairs })) => {
                if recovers || !repairs.is_empty() {
                    self.give(now, index, &repairs, &mut wishes);
                }
                if reported {
                    self.adapt_one(now, index);
                }
                self.wish(wishes);
            }
        }
    }

    /// Does something with a student, and lets it speak.
    fn have(&mut self, now: Instant, id: PeerId, work: impl FnOnce(&mut Peer)) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        if self.with(index, work) {
            self.turn(now, index);
        }
    }

    fn at(&mut self, index: usize) -> Option<&mut Peer> {
        self.peers.get_mut(index)?.as_mut()
    }

    /// Whether pictures wait to be sent: [`Worker::serve`] sends some.
    pub(super) fn has_video(&self) -> bool {
        !self.serving.is_empty()
    }

    /// Lets the connections do what their timers ask for, and says what there was no room for.
    pub(super) fn tick(&mut self) {
        self.events.flush();
        // Before any timer is looked at.
        if let Some(pause) = self.pulse.beat() {
            self.stood_still(pause);
        }
        let now = Instant::now();
        for index in 0..self.deadlines.len() {
            if self.deadlines[index].is_some_and(|at| at <= now) && self.with(index, |peer| peer.tick(now)) {
                self.turn(now, index);
            }
        }
    }

    /// Nothing was sent, and nothing was read: no student is to blame.
    fn stood_still(&mut self, Pause { to, lasted, .. }: Pause) {
        self.traffic.stood_still();
        for (peer, deadline) in self.peers.iter_mut().zip(&mut self.deadlines) {
            if let Some(peer) = peer {
                peer.stood_still(to);
                *deadline = Some(peer.deadline);
            }
        }
        // Each thread notices by itself; one says so.
        if self.worker == 0 && lasted >= WORTH_A_WORD {
            let seconds = lasted.as_secs_f32();
            self.say(SfuEvent::Notice(format!("this computer stood still for {seconds:.1} s; the lecture goes on")));
        }
    }

    fn gap(&mut self, track: Track) {
        self.rings.of(track).for_each(FrameRing::forget_key);
        self.peers.iter_mut().flatten().for_each(|peer| peer.on_gap(track));
    }

    /// Puts a message into a student's queue, to be sent in one of the next turns.
    fn tell(&mut self, index: usize, text: Arc<str>) {
        if let Some(peer) = self.at(index) {
            peer.channel.push(text);
            if !std::mem::replace(&mut peer.is_to_be_told, true) {
                self.to_tell.push_back(index);
            }
        }
    }

    /// Sends messages to a few of the students that have some: pictures go on meanwhile.
    fn tell_some(&mut self) {
        let now = Instant::now();
        let mut wishes = Wishes::default();
        for _ in 0..TELL_AT_ONCE {
            let Some(index) = self.to_tell.pop_front() else { break };
            let said = self.with(index, |peer| {
                peer.is_to_be_told = false;
                peer.say(now);
            });
            if said {
                self.give(now, index, &[], &mut wishes);
            }
        }
        self.wish(wishes);
    }

    /// Lets a peer speak after something was put into it.
    fn turn(&mut self, now: Instant, index: usize) {
        let mut wishes = Wishes::default();
        let Some(peer) = self.peers[index].as_mut() else { return };
        let was_connected = peer.connected;
        self.repairs.have_left(self.outlet.sent.packets);
        let (rings, class) = (&self.rings, &mut self.repairs);
        let (turn, long) = self.watchdog.watch(|| guarded(peer, |peer| peer.turn(now, rings, class, &mut wishes)));
        let Some(turn) = turn else {
            return self.end_failed(vec![index]);
        };
        if let Some(long) = long {
            return self.end_slow(index, long);
        }
        let Turn { fate, said, heard } = turn;
        let connected = peer.connected && !was_connected;
        let user = peer.user.clone();
        self.give(now, index, &heard.repairs, &mut wishes);
        if connected {
            self.say(SfuEvent::Connected(user.clone()));
        }
        if said.opened {
            self.say(SfuEvent::ChannelOpen(user.clone()));
        }
        for text in said.texts {
            self.say(SfuEvent::Heard { user: user.clone(), text });
        }
        match fate {
            Fate::Gone(why) => self.remove(index, Some(why)),
            Fate::Broke(rule) => {
                let why = format!("it sent {rule} over its data channel, which no browser does");
                self.end_bad(index, &why);
            }
            Fate::Alive if heard.reported => self.adapt_one(now, index),
            Fate::Alive => {}
        }
        self.wish(wishes);
    }

    fn give(&mut self, now: Instant, index: usize, repairs: &[Repair], wishes: &mut Wishes) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let (rings, outlet) = (&self.rings, &mut self.outlet);
        let send = |peer: &mut Peer| peer.send_all(now, repairs, rings, outlet, wishes);
        let (sent, long) = self.watchdog.watch(|| guarded(peer, send));
        self.deadlines[index] = Some(peer.deadline);
        if sent.is_none() {
            self.end_failed(vec![index]);
        } else if let Some(long) = long {
            self.end_slow(index, long);
        } else {
            self.let_catch_up(index);
        }
    }

    fn wish(&mut self, wishes: Wishes) {
        if wishes.others {
            self.look_who_needs_what();
        }
        for encoding in wishes.key_frames {
            self.report(WorkerReport::KeyFrameNeeded { encoding, seen: self.keys[encoding] });
        }
    }

    /// Forgets a peer, and says so where there is a reason to.
    fn remove(&mut self, index: usize, why: Option<Departure>) {
        if let (Some(user), Some(why)) = (self.forget(index), why) {
            self.say(SfuEvent::Gone { user, why });
        }
    }

    fn forget(&mut self, index: usize) -> Option<UserId> {
        let peer = self.peers.get_mut(index)?.take()?;
        let id = peer.id;
        self.by_id.remove(&id);
        self.deadlines[index] = None;
        for queue in [&mut self.serving, &mut self.catching_up, &mut self.to_tell] {
            queue.retain(|other| *other != index);
        }
        self.dropped_by_the_gone += peer.stats.dropped;
        self.totals_of_the_gone.add(&peer.numbers());
        let user = peer.user.clone();
        let outlet = &mut self.outlet;
        if !peer.failed {
            caught(|| peer.close(outlet));
        }
        self.report(WorkerReport::Gone(id));
        self.look_who_needs_what();
        Some(user)
    }

    /// Does something with a peer; gives false where there is none, or none any more.
    fn with(&mut self, index: usize, work: impl FnOnce(&mut Peer)) -> bool {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return false };
        let (done, long) = self.watchdog.watch(|| guarded(peer, work).is_some());
        if !done {
            self.end_failed(vec![index]);
        } else if let Some(long) = long {
            self.end_slow(index, long);
        }
        done && long.is_none()
    }

    /// Ends a student whose turn took everybody's time, without a goodbye, which would be another turn.
    fn end_slow(&mut self, index: usize, long: Duration) {
        let Some(peer) = self.at(index) else { return };
        peer.failed = true;
        self.outlet.discard();
        self.end_bad(index, &format!("what it sent kept this computer busy for {} ms", long.as_millis()));
    }

    /// Ends a student that harms the others.
    fn end_bad(&mut self, index: usize, why: &str) {
        let Some(user) = self.forget(index) else { return };
        if self.removals.take(Instant::now()).is_ok() {
            self.say(SfuEvent::Notice(format!("{user} was disconnected: {why}")));
        }
        self.say(SfuEvent::Gone { user, why: Departure::Misbehaved });
    }

    /// Ends students whose connection panicked: theirs and nobody else's.
    fn end_failed(&mut self, failed: Vec<usize>) {
        for index in failed {
            self.outlet.discard();
            if let Some(user) = self.forget(index) {
                self.say(SfuEvent::Gone { user, why: Departure::Failed });
            }
        }
    }

    fn stats(&self) -> WorkerStats {
        let peers = || self.peers.iter().flatten();
        let connected: Vec<&Peer> = peers().filter(|peer| peer.connected).collect();
        let numbers: Vec<(UserId, PeerStats)> =
            connected.iter().map(|peer| (peer.user.clone(), peer.numbers())).collect();
        let mut totals = self.totals_of_the_gone;
        numbers.iter().for_each(|(_, numbers)| totals.add(numbers));
        WorkerStats {
            students: connected.len(),
            connecting: peers().count() - connected.len(),
            disturbed: connected.iter().filter(|peer| peer.disturbed()).count(),
            sent: self.outlet.sent,
            delays: self.outlet.delays.clone(),
            sound_delays: self.outlet.sound_delays.clone(),
            sealed_by_core: connected.iter().filter(|peer| peer.lanes.is_sealed_by_core()).count(),
            watched: watched(&connected),
            dropped: self.dropped_by_the_gone + connected.iter().map(|peer| peer.stats.dropped).sum::<u64>(),
            peers: numbers,
            totals,
        }
    }

    fn say(&mut self, event: SfuEvent) {
        self.events.push(event);
    }

    fn report(&self, report: WorkerReport) {
        // No more of them than students come and go, and frames are refused.
        let _ = self.reports.send(report);
    }
}

fn watched(peers: &[&Peer]) -> PerEncoding<usize> {
    let mut watched = PerEncoding::default();
    peers.iter().flat_map(|peer| peer.lanes.watched()).for_each(|encoding| watched[encoding] += 1);
    watched
}

/// Does something with a peer; none if it panics. The peer is not to be used any more then, only to be forgotten.
fn guarded<T>(peer: &mut Peer, work: impl FnOnce(&mut Peer) -> T) -> Option<T> {
    let done = caught(|| work(&mut *peer));
    peer.failed |= done.is_none();
    done
}

/// What `work` gives; none if it panics. What it leaves half done must not be used any more.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}
