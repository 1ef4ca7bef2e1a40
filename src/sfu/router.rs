//! The SFU's thread: answers offers, reads datagrams and hands them to the worker whose student it is, and asks the
//! encoders for key frames. The first worker lives here too; others have threads of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::PeerId;
use super::addresses::{Addresses, Holders};
use super::checks::{Check, Checks, is_authentic};
use super::demux::{Datagram, classify};
use super::encoders::ActiveEncodings;
use super::event_queue::EventQueue;
use super::peer::{Departure, Peer};
use super::stats::Collector;
use super::stun::{Asked, StunClient};
use super::threads::WorkerThread;
use super::udp::{UdpReceiver, UdpSender, local_addresses};
use super::watchdog::caught;
use super::worker::{Worker, WorkerCommand, WorkerReport};
use super::{Advertised, Command, Gaps, Pushed, Refusal, SfuConfig, SfuError, SfuEvent, Shared};
use crate::congestion::RateMeter;
use crate::id::UserId;
use crate::protocol::VideoTrack;
use crate::rtp::{Codec, Encoding, Frame, KeyFrameRequests, PerEncoding, Track};
use crate::sdp::offer;

/// How often timers are looked at. The core wants to be woken every 50 ms while it connects and 200 ms later.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// The least time between two offers of one user: an answer costs milliseconds, and nobody needs two.
const OFFER_INTERVAL: Duration = Duration::from_millis(300);

/// Batches of datagrams that are read before frames and commands get their turn.
const READ_BATCHES: usize = 8;

/// Commands that are done between two slices of a picture: an offer costs half a millisecond.
const COMMANDS_AT_ONCE: usize = 8;

/// The thread's ends of the queues.
pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) frames: mpsc::Receiver<Pushed>,
    pub(super) gaps: Arc<Gaps>,
    pub(super) events: mpsc::Sender<SfuEvent>,
}

/// Runs an SFU until its commands end; `bound` hears how binding went.
pub(super) fn run(config: SfuConfig, shared: Shared, queues: Queues, bound: &SyncSender<Result<SocketAddr, SfuError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(bound.send(Err(SfuError::Setup(e.to_string())))),
    };
    runtime.block_on(async {
        let bind = |cause| SfuError::Bind { address: config.udp, cause };
        let inlet = match UdpReceiver::bind(config.udp).map_err(bind) {
            Ok(inlet) => inlet,
            Err(error) => return drop(bound.send(Err(error))),
        };
        let local = inlet.local();
        let Queues { commands, frames, gaps, events } = queues;
        match Router::new(config, shared, inlet, events) {
            Ok((router, reports)) => {
                let _ = bound.send(Ok(local));
                router.run(commands, frames, reports, &gaps).await;
            }
            Err(error) => drop(bound.send(Err(error))),
        }
    });
}

/// How the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// What is known here of a student that a worker has.
struct Student {
    user: UserId,
    ufrag: String,
    password: String,
    created: Instant,
    worker: usize,
    checks: Checks,
}

struct Router {
    config: SfuConfig,
    shared: Shared,
    inlet: UdpReceiver,
    /// For questions to STUN servers.
    outlet: UdpSender,
    events: EventQueue,
    advertised: Advertised,
    stun: Vec<StunClient>,
    requests: PerEncoding<KeyFrameRequests>,
    counts: PerEncoding<(u64, u64, u64)>,
    /// What can be had, as long as nothing of it has failed.
    encodings: Vec<Encoding>,
    active: ActiveEncodings,
    own_worker: Worker,
    /// The other workers.
    workers: Vec<WorkerThread>,
    students: HashMap<PeerId, Student>,
    next_id: PeerId,
    by_user: HashMap<UserId, PeerId>,
    addresses: Addresses,
    /// STUN messages of students that were not read, as there were too many.
    left_out: u64,
    by_ufrag: HashMap<String, PeerId>,
}

impl Router {
    fn new(
        config: SfuConfig,
        shared: Shared,
        inlet: UdpReceiver,
        events: mpsc::Sender<SfuEvent>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<WorkerReport>), SfuError> {
        let outlet = || inlet.outlet().map_err(|e| SfuError::Setup(e.to_string()));
        let local = local_addresses(inlet.local());
        let base = local[0];
        let reflexive = config.advertise.iter().map(|ip| (SocketAddr::new(*ip, inlet.local().port()), base)).collect();
        let now = Instant::now();
        let stun = config.stun.iter().map(|server| StunClient::new(*server, now)).collect();
        let (reports, report_queue) = mpsc::unbounded_channel();
        let encodings: Vec<Encoding> = config.encodings.iter().map(|(encoding, _)| *encoding).collect();
        let new_worker = |worker| {
            let traffic = RateMeter::new(&config.encodings);
            Ok(Worker::new(worker, traffic, outlet()?, events.clone(), reports.clone()))
        };
        let own_worker = new_worker(0)?;
        let mut workers = Vec::new();
        for number in 1..config.workers.get() {
            workers.push(WorkerThread::start(number, new_worker(number)?)?);
        }
        let router = Self {
            outlet: outlet()?,
            advertised: Advertised { local, reflexive },
            stun,
            requests: PerEncoding::default(),
            counts: PerEncoding::default(),
            active: ActiveEncodings::new(1 + workers.len(), &encodings),
            encodings,
            own_worker,
            workers,
            students: HashMap::new(),
            next_id: 0,
            by_user: HashMap::new(),
            addresses: Addresses::default(),
            left_out: 0,
            by_ufrag: HashMap::new(),
            config,
            shared,
            inlet,
            events: EventQueue::new(events),
        };
        Ok((router, report_queue))
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut frames: mpsc::Receiver<Pushed>,
        mut reports: mpsc::UnboundedReceiver<WorkerReport>,
        gaps: &Gaps,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ticked = Instant::now();
        loop {
            // Not only in the select: under load there is always something before it.
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                // Where no picture comes after it to tell.
                if frames.is_empty() {
                    self.look_for_gaps(gaps);
                }
                self.tick();
                self.own_worker.serve_behind();
            }
            while let Ok(report) = reports.try_recv() {
                self.report(report);
            }
            let next = tokio::select! {
                biased;
                frame = frames.recv() => match frame {
                    Some(Pushed { frame, after_gap }) => {
                        if after_gap {
                            self.gap(frame.track);
                        }
                        self.frame(frame);
                        Next::GoOn
                    }
                    None => Next::End,
                },
                // A slice of a picture, then everybody else.
                () = std::future::ready(()), if self.own_worker.has_video() => {
                    self.own_worker.serve_newest();
                    let next = self.attend(&mut commands);
                    // Lets the runtime look at socket and clock.
                    tokio::task::yield_now().await;
                    next
                }
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => Next::End,
                },
                Some(report) = reports.recv() => {
                    self.report(report);
                    Next::GoOn
                }
                readable = self.inlet.readable() => if readable.is_ok() { self.read() } else { self.fail() },
                _ = tick.tick() => Next::GoOn,
            };
            if next == Next::End {
                return;
            }
        }
    }

    /// Does what else there is to do while pictures wait: some commands, and the datagrams that are there.
    fn attend(&mut self, commands: &mut mpsc::Receiver<Command>) -> Next {
        for _ in 0..COMMANDS_AT_ONCE {
            let Ok(command) = commands.try_recv() else { break };
            if self.command(command) == Next::End {
                return Next::End;
            }
        }
        self.read()
    }

    fn frame(&mut self, frame: Frame) {
        let (frames, keys, bytes) = &mut self.counts[frame.encoding()];
        *frames += 1;
        *keys += u64::from(frame.key);
        *bytes += frame.bytes() as u64;
        let keys = *keys;
        let mut has_gap = false;
        for worker in &mut self.workers {
            has_gap |= worker.frame(frame.clone(), keys);
        }
        if has_gap {
            self.want_key_frames(frame.track);
        }
        if frame.key {
            self.shared.h264_level = self.shared.h264_level.max(frame.h264_level());
            self.requests[frame.encoding()].fulfilled();
        }
        self.own_worker.handle(WorkerCommand::Frame { frame, keys });
    }

    /// After a gap everybody needs a key frame of a track, in whatever encoding.
    fn want_key_frames(&mut self, track: Track) {
        let watched = self.encodings.iter().filter(|encoding| encoding.track == track);
        watched.filter(|e| self.active.is_needed(**e)).for_each(|e| self.requests[*e].want());
    }

    fn report(&mut self, report: WorkerReport) {
        match report {
            WorkerReport::Gone(id) => {
                let Some(student) = self.students.remove(&id) else { return };
                self.addresses.forget(id);
                self.by_ufrag.remove(&student.ufrag);
                if self.by_user.get(&student.user) == Some(&id) {
                    self.by_user.remove(&student.user);
                }
            }
            WorkerReport::Confirmed { id, from } => {
                if self.students.contains_key(&id) {
                    self.addresses.confirm(Instant::now(), from, id);
                }
            }
            // A thread may not have seen the key frame yet that was made for it.
            WorkerReport::KeyFrameNeeded { encoding, seen } if seen < self.counts[encoding].1 => {}
            WorkerReport::KeyFrameNeeded { encoding, .. } => {
                self.requests[encoding].want();
                self.ask_for_key_frames();
            }
            WorkerReport::Active { worker, encoding, students } => {
                self.active.set_peers(worker, encoding, students);
                self.tell_what_is_needed();
            }
        }
    }

    /// Has a student's worker do something; gives false when its thread does not keep up.
    fn have(&mut self, worker: usize, task: WorkerCommand) -> bool {
        match worker.checked_sub(1).and_then(|n| self.workers.get(n)) {
            Some(worker) => worker.give(task),
            None => {
                self.own_worker.handle(task);
                true
            }
        }
    }

    fn have_of(&mut self, user: &UserId, task: impl FnOnce(PeerId) -> WorkerCommand) {
        let Some(id) = self.by_user.get(user).copied() else { return };
        let Some(student) = self.students.get(&id) else { return };
        self.have(student.worker, task(id));
    }

    /// Reads datagrams, until there are none or others must have their turn.
    fn read(&mut self) -> Next {
        for _ in 0..READ_BATCHES {
            let now = Instant::now();
            let mut batch: Vec<(SocketAddr, SocketAddr, BytesMut)> = Vec::new();
            match self.inlet.receive(|at, from, bytes| batch.push((at, from, bytes.into()))) {
                Ok(true) => {}
                Ok(false) => return Next::GoOn,
                Err(_) => return self.fail(),
            }
            for (at, from, bytes) in batch {
                let mut holders = self.route(now, from, &bytes).into_iter().flatten().peekable();
                let mut bytes = Some(bytes);
                while let Some(id) = holders.next() {
                    let datagram = if holders.peek().is_some() { bytes.clone() } else { bytes.take() };
                    let (Some(bytes), Some(student)) = (datagram, self.students.get(&id)) else { continue };
                    // What a thread has no time for is lost, as it would be in the kernel.
                    self.have(student.worker, WorkerCommand::Datagram { id, at, from, bytes });
                }
            }
        }
        Next::GoOn
    }

    fn fail(&mut self) -> Next {
        self.say(SfuEvent::Notice("the UDP socket failed, the lecture can't go on".to_owned()));
        Next::End
    }

    /// To whom this datagram goes. Addresses are learnt from STUN requests that know the password, see [`Addresses`].
    fn route(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Holders {
        match classify(bytes) {
            Datagram::Sealed => self.addresses.holders(now, from),
            Datagram::Unknown | Datagram::UnencryptedRtcp => Holders::default(),
            Datagram::Stun { transaction } => {
                if let Some(client) = self.stun.iter_mut().find(|client| client.expects(from, transaction)) {
                    if let Some(public) = client.answer(bytes, now) {
                        self.public_address(public);
                    }
                    return Holders::default();
                }
                let holders = self.addresses.holders(now, from);
                holders.map(|holder| holder.filter(|id| self.reads(now, *id, Check::Answer)))
            }
            Datagram::StunRequest { ufrag } => {
                let Some(id) = self.by_ufrag.get(ufrag).copied() else { return Holders::default() };
                let passes = if self.addresses.holds(now, from, id) {
                    self.reads(now, id, Check::Known)
                } else {
                    // The cheapest question first.
                    self.addresses.is_free_for(now, from, id)
                        && self.reads(now, id, Check::Unknown)
                        && self.students.get(&id).is_some_and(|s| is_authentic(bytes, &s.password, &self.shared))
                        && self.addresses.claim(now, from, id)
                };
                let mut holders = Holders::default();
                holders[0] = Some(id).filter(|_| passes);
                holders
            }
        }
    }

    /// Whether one more STUN message of this kind is read; counts those that are not.
    fn reads(&mut self, now: Instant, id: PeerId, check: Check) -> bool {
        let reads = self.students.get_mut(&id).is_some_and(|student| student.checks.take(now, check));
        self.left_out += u64::from(!reads);
        reads
    }

    fn public_address(&mut self, public: SocketAddr) {
        let base = self.advertised.local[0];
        self.advertised.reflexive.retain(|(known, _)| self.config.advertise.contains(&known.ip()));
        self.advertised.reflexive.push((public, base));
        self.say(SfuEvent::Notice(format!("students outside reach this computer at UDP {public} (STUN)")));
    }

    fn command(&mut self, command: Command) -> Next {
        match command {
            Command::Offer { user, sdp, video } => {
                if let Err(why) = self.offer(&user, sdp, video) {
                    self.say(SfuEvent::Refused { user, why });
                }
            }
            Command::Candidate { user, candidate } => {
                self.have_of(&user, |id| WorkerCommand::Candidate { id, candidate });
            }
            Command::Remove { user } => {
                self.have_of(&user, |id| WorkerCommand::Remove { id, why: Some(Departure::Left) });
            }
            Command::Tell { user, text } => self.have_of(&user, |id| WorkerCommand::Tell { id, text }),
            Command::TellAll { text } => {
                for worker in 0..=self.workers.len() {
                    self.have(worker, WorkerCommand::TellAll { text: Arc::clone(&text) });
                }
            }
            Command::Encodings(encodings) => {
                let before = self.encodings.len();
                self.encodings.retain(|encoding| encodings.contains(encoding));
                if self.encodings.len() == before {
                    return Next::GoOn;
                }
                let encodings: Arc<[Encoding]> = self.encodings.clone().into();
                for worker in 0..=self.workers.len() {
                    self.have(worker, WorkerCommand::Encodings(Arc::clone(&encodings)));
                }
            }
            Command::Stats(reply) => {
                let numbers = Collector::numbers(&self.counts, &self.requests, self.left_out);
                let collector = Collector::new(numbers, 1 + self.workers.len(), reply);
                for worker in 0..=self.workers.len() {
                    let collector = Arc::clone(&collector);
                    self.have(worker, WorkerCommand::Stats(Box::new(move |numbers| collector.add(numbers))));
                }
            }
            Command::Close(done) => {
                self.close();
                let _ = done.send(());
                return Next::End;
            }
            #[cfg(test)]
            Command::Panic { user } => self.have_of(&user, |id| WorkerCommand::Panic { id }),
            #[cfg(test)]
            Command::Stall(until) => drop(until.recv()),
        }
        Next::GoOn
    }

    fn offer(&mut self, user: &UserId, sdp: String, video: Option<VideoTrack>) -> Result<(), Refusal> {
        let now = Instant::now();
        let before = self.by_user.get(user).copied();
        let older = before.and_then(|id| self.students.get(&id)).map(|older| (older.created, older.worker));
        if older.is_some_and(|(created, _)| now.saturating_duration_since(created) < OFFER_INTERVAL) {
            return Err(Refusal::TooFast(user.clone()));
        }
        if before.is_none() && self.students.len() >= self.config.max_students {
            return Err(Refusal::Full(self.students.len()));
        }
        let mut codecs: Vec<(Track, Codec)> = Vec::new();
        for encoding in &self.encodings {
            let codec = (encoding.track, encoding.codec);
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        let tracks = offer::tracks_for(&sdp, video, &codecs)?;
        let (shared, addresses) = (&self.shared, &self.advertised);
        let answering = || Peer::answer(user.clone(), sdp, &tracks, &self.encodings, shared, addresses, now);
        let (peer, answer) = caught(answering)
            .ok_or_else(|| Refusal::Unanswerable("it can't be processed".to_owned()))?
            .map_err(|e| Refusal::Unanswerable(e.to_string()))?;
        let id = self.next_id;
        self.next_id += 1;
        let worker = self.least_busy();
        let (ufrag, password) = (peer.ufrag.clone(), peer.password.clone());
        let student = Student { user: user.clone(), ufrag, password, created: now, worker, checks: Checks::default() };
        self.by_ufrag.insert(student.ufrag.clone(), id);
        self.by_user.insert(user.clone(), id);
        self.students.insert(id, student);
        if let (Some(id), Some((_, worker))) = (before, older) {
            self.have(worker, WorkerCommand::Remove { id, why: None });
            self.report(WorkerReport::Gone(id));
        }
        // First the answer: who is in a hurry has an event of it before it connects.
        self.say(SfuEvent::Answer { user: user.clone(), sdp: answer });
        if !self.have(worker, WorkerCommand::Add(id, Box::new(peer))) {
            self.report(WorkerReport::Gone(id));
            self.say(SfuEvent::Gone { user: user.clone(), why: Departure::Lost });
        }
        Ok(())
    }

    /// The worker with the fewest students.
    fn least_busy(&self) -> usize {
        let mut students = vec![0; 1 + self.workers.len()];
        self.students.values().for_each(|student| students[student.worker] += 1);
        students.iter().enumerate().min_by_key(|(_, count)| **count).map_or(0, |(worker, _)| worker)
    }

    fn ask_for_key_frames(&mut self) {
        let now = Instant::now();
        for encoding in Encoding::all().filter(|encoding| encoding.track.is_video()) {
            // Else it is asked for in the next turn.
            if self.requests[encoding].is_due(now) && self.events.try_push(SfuEvent::KeyFrameNeeded(encoding)).is_none()
            {
                self.requests[encoding].asked(now);
            }
        }
    }

    /// Says which encoders should run now, where that is not what was said last.
    fn tell_what_is_needed(&mut self) {
        for (encoding, needed) in self.active.unannounced() {
            if self.events.try_push(SfuEvent::Needed(encoding, needed)).is_none() {
                self.active.set_announced(encoding, needed);
            }
        }
    }

    fn look_for_gaps(&mut self, gaps: &Gaps) {
        for encoding in Encoding::all() {
            if gaps[encoding].swap(false, Ordering::Relaxed) {
                self.gap(encoding.track);
            }
        }
    }

    /// A picture of this track had no room on the way to here: what was there before is done with, only a key frame
    /// will do.
    fn gap(&mut self, track: Track) {
        if !track.is_video() {
            return;
        }
        self.own_worker.handle(WorkerCommand::Gap(track));
        self.workers.iter_mut().for_each(|worker| worker.gap(track));
        self.want_key_frames(track);
    }

    fn tick(&mut self) {
        self.events.flush();
        self.own_worker.tick();
        self.own_worker.adapt();
        self.ask_for_key_frames();
        let now = Instant::now();
        for encoding in self.active.expired(now) {
            // Who wanted a key frame of it has gone, or has got another.
            self.requests[encoding].fulfilled();
        }
        self.active.restart();
        self.tell_what_is_needed();
        for n in 0..self.stun.len() {
            let server = self.stun[n].server;
            match self.stun[n].step(now) {
                Asked::NotYet => {}
                Asked::Send(question) => {
                    self.outlet.queue(self.inlet.local(), server, &question);
                    self.outlet.flush();
                }
                Asked::Silent => self.say(SfuEvent::Notice(format!(
                    "the STUN server {server} does not answer, students outside of this network may not get through"
                ))),
            }
        }
    }

    fn close(&mut self) {
        self.own_worker.handle(WorkerCommand::Close);
        self.workers.drain(..).for_each(WorkerThread::close);
    }

    fn say(&mut self, event: SfuEvent) {
        self.events.push(event);
    }
}
