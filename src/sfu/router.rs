//! The SFU's thread: answers offers, receives datagrams and routes them to the peers' workers, and requests key frames
//! from the encoders. The first worker shares this thread; the others have threads of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::PeerId;
use super::candidates::Advertised;
use super::command::Command;
use super::config::{AnswerContext, SfuConfig, SfuError, UdpBinding};
use super::control_queue::ControlReceiver;
use super::encoders::ActiveEncodings;
use super::encoding_monitor::EncodingMonitor;
use super::event::{OfferRefusal, SfuEvent, SfuStats};
use super::event_loop::{self, Next, Work};
use super::event_queue::EventQueue;
use super::input::{Gaps, Pushed};
use super::peer::Departure;
use super::peer_table::PeerTable;
use super::pending_offers::{PendingOffer, PendingOffers};
use super::publishing::Publishing;
use super::session::SessionOffer;
use super::stats::Collector;
use super::stun_client::StunServers;
use super::threads::WorkerThread;
use super::watchdog::CpuBudget;
use super::worker::{Worker, WorkerCommand, WorkerReport};
use crate::congestion::RateMeter;
use crate::rtp::{Delays, Encoding, KeyFrameRequests, PerEncoding, Track};
use crate::token_bucket::TokenBucket;

mod answers;
mod binding;
mod datagrams;
mod frames;
mod publish;

use self::binding::Binding;
use self::publish::PublisherOffer;

/// The thread's ends of the queues.
pub(super) struct Queues {
    pub(super) commands: ControlReceiver<Command>,
    pub(super) frames: mpsc::Receiver<Pushed>,
    pub(super) gaps: Arc<Gaps>,
    pub(super) events: mpsc::Sender<SfuEvent>,
}

/// An SFU that is about to run.
pub(super) struct Start {
    pub(super) config: SfuConfig,
    pub(super) context: AnswerContext,
    pub(super) queues: Queues,
    /// Receives the result of binding.
    pub(super) bound: SyncSender<Result<SocketAddr, SfuError>>,
}

impl Start {
    /// Runs the SFU on this thread until its commands end.
    pub(super) fn run_here(self) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.run()),
            Err(e) => drop(self.bound.send(Err(SfuError::Setup(e.to_string())))),
        }
    }

    /// Runs the SFU until its commands end.
    pub(super) async fn run(self) {
        let Self { config, context, queues, bound } = self;
        match Router::new(config, context, queues) {
            Ok(mut router) => {
                let _ = bound.send(Ok(router.binding.local()));
                event_loop::run(&mut router).await;
            }
            Err(error) => drop(bound.send(Err(error))),
        }
    }
}

struct Router {
    context: AnswerContext,
    commands: ControlReceiver<Command>,
    frames: mpsc::Receiver<Pushed>,
    /// The frame that ended the last wait.
    next_frame: Option<Pushed>,
    /// Whether the pipelines have ended.
    has_ended: bool,
    gaps: Arc<Gaps>,
    reports: mpsc::UnboundedReceiver<WorkerReport>,
    events: EventQueue,
    /// Limits the notices about lost messages.
    lost_messages: TokenBucket,
    binding: Binding,
    /// Whether the last slice ended before all datagrams were read.
    has_datagrams: bool,
    /// The last time at which no datagram waited, as far as this thread knows.
    no_datagrams: Instant,
    /// The delay from the arrival of a publisher's whole frame until it can be sent.
    ingest_delays: Delays,
    advertised: Advertised,
    stun: StunServers,
    requests: PerEncoding<KeyFrameRequests>,
    /// The number of frames, key frames and bytes.
    counts: PerEncoding<(u64, u64, u64)>,
    /// The available encodings: those of the configuration that have not failed.
    encodings: Vec<Encoding>,
    active: ActiveEncodings,
    own_worker: Worker,
    /// The other workers.
    workers: Vec<WorkerThread>,
    peers: PeerTable,
    pending: PendingOffers,
    /// Limits the CPU time of answers.
    answering: CpuBudget,
    publishing: Publishing,
    monitor: EncodingMonitor,
    monitored: Option<Instant>,
    /// The encodings that students may get at present, with their bit rates in bits per second.
    available: Vec<(Encoding, u32)>,
}

impl Work for Router {
    fn notice_suspension(&mut self) {
        self.own_worker.notice_suspension();
    }

    fn media(&mut self, slice: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < slice
            && let Some(pushed) = self.next_frame.take().or_else(|| self.frames.try_recv().ok())
        {
            if pushed.after_gap {
                self.gap(pushed.frame.track);
            }
            self.frame(pushed.frame);
        }
        if self.own_worker.has_video() {
            self.own_worker.serve_newest();
        }
    }

    fn datagrams(&mut self, slice: Duration) -> Next {
        let begun = Instant::now();
        self.has_datagrams = self.binding.is_due(begun);
        while self.has_datagrams && begun.elapsed() < slice {
            let mut batch = Vec::new();
            let now = Instant::now();
            match self.binding.receive(now, &mut batch) {
                Ok(more) => self.has_datagrams = more,
                Err(failure) => {
                    self.has_datagrams = false;
                    return self.on_failure(failure);
                }
            }
            batch.into_iter().for_each(|arrived| self.datagram(now, arrived));
            self.send_ingested(self.no_datagrams);
            if !self.has_datagrams {
                self.no_datagrams = now;
            }
        }
        Next::GoOn
    }

    fn commands(&mut self, slice: Duration) -> Next {
        let begun = Instant::now();
        // Only those that wait now, because handling them may cause further reports.
        for _ in 0..self.reports.len() {
            let Ok(report) = self.reports.try_recv() else { break };
            self.on_report(report);
        }
        while begun.elapsed() < slice {
            let Some(command) = self.commands.pop() else { break };
            if self.command(command) == Next::End {
                return Next::End;
            }
        }
        if self.has_ended || self.commands.is_over() { Next::End } else { Next::GoOn }
    }

    fn newcomers(&mut self, slice: Duration) {
        // A connection that is half established precedes new ones.
        self.own_worker.serve_newcomers(slice / 2);
        self.answer_offers(slice / 2);
    }

    fn timers(&mut self) {
        // While frames wait, a gap is left to the next frame that is pushed.
        if self.frames.is_empty() {
            self.look_for_gaps();
        }
        for track in [Track::Screen, Track::Camera] {
            if self.workers.iter_mut().fold(false, |told, worker| worker.tell_gap(track) | told) {
                self.want_key_frames(track);
            }
        }
        self.events.flush();
        self.own_worker.tick();
        self.look_after_publishers(Instant::now());
        self.own_worker.adapt();
        self.own_worker.serve_behind();
        self.ask_for_key_frames();
        let now = Instant::now();
        for encoding in self.active.expired(now) {
            // No peer that needed a key frame of this encoding is left, or each has another encoding.
            self.requests[encoding].fulfilled();
        }
        self.active.restart();
        self.announce_active_encodings();
        self.tell_of_lost_messages(now);
        self.ask_stun_servers(now);
    }

    fn has_work(&self) -> bool {
        self.own_worker.has_video()
            || self.own_worker.has_newcomers()
            || (self.answering.has_left() && !self.pending.is_empty())
            || self.has_datagrams
            || self.has_ended
            || self.next_frame.is_some()
            || !self.frames.is_empty()
            || !self.commands.is_empty()
            || self.commands.is_over()
            || !self.reports.is_empty()
    }

    fn waited(&mut self) {
        self.no_datagrams = Instant::now();
    }

    async fn wait(&mut self) {
        tokio::select! {
            frame = self.frames.recv() => match frame {
                Some(pushed) => self.next_frame = Some(pushed),
                None => self.has_ended = true,
            },
            Some(report) = self.reports.recv() => self.on_report(report),
            () = self.commands.ready() => {}
            () = self.binding.readable() => {}
        }
    }
}

impl Router {
    fn new(config: SfuConfig, mut context: AnswerContext, queues: Queues) -> Result<Self, SfuError> {
        let mut binding = Binding::new(&config.udp)?;
        context.tag = binding.tag();
        let mut advertised = Advertised::new(binding.local(), &config.advertise).with_tcp(&binding.tcp());
        binding.changed_public().into_iter().for_each(|public| advertised.set_public(public));
        let stun = match &config.udp {
            UdpBinding::Own(_) => StunServers::new(&config.stun, Instant::now()),
            UdpBinding::Shared(_) => StunServers::default(),
        };
        let sender = || binding.sender().map_err(|e| SfuError::Setup(e.to_string()));
        let (report, reports) = mpsc::unbounded_channel();
        let encodings: Vec<Encoding> = config.encodings.iter().map(|(encoding, _)| *encoding).collect();
        let new_worker = |worker| {
            let traffic = RateMeter::new(&config.encodings);
            Ok(Worker::new(worker, traffic, sender()?, queues.events.clone(), report.clone()))
        };
        let own_worker = new_worker(0)?;
        let mut workers = Vec::new();
        for number in 1..config.workers.get() {
            workers.push(WorkerThread::start(number, new_worker(number)?)?);
        }
        Ok(Self {
            commands: queues.commands,
            frames: queues.frames,
            next_frame: None,
            has_ended: false,
            gaps: queues.gaps,
            reports,
            events: EventQueue::new(queues.events),
            lost_messages: TokenBucket::new(1, 1),
            advertised,
            has_datagrams: false,
            no_datagrams: Instant::now(),
            ingest_delays: Delays::default(),
            stun,
            requests: PerEncoding::default(),
            counts: PerEncoding::default(),
            active: ActiveEncodings::new(1 + workers.len(), &encodings),
            encodings,
            own_worker,
            peers: PeerTable::new(1 + workers.len(), binding.announcer()),
            binding,
            pending: PendingOffers::default(),
            answering: CpuBudget::default(),
            workers,
            context,
            publishing: Publishing::default(),
            monitor: EncodingMonitor::default(),
            monitored: None,
            available: config.encodings,
        })
    }

    fn on_report(&mut self, report: WorkerReport) {
        match report {
            // No event if the peer was replaced or removed in the meantime.
            WorkerReport::Departed { id, why } => {
                if let Some(user) = self.peers.remove(id)
                    && !self.on_publisher_departed(id, &user, why)
                {
                    self.events.push(SfuEvent::Gone { user, why });
                }
            }
            WorkerReport::NoPlace { id } => {
                if let Some(user) = self.peers.remove(id) {
                    let why = OfferRefusal::Full(self.context.places.most());
                    self.events.push(SfuEvent::Refused { user, why });
                }
            }
            WorkerReport::Connected { id } => {
                self.peers.connected(id);
                self.on_publisher_connected(id);
            }
            WorkerReport::Confirmed { id, from } => self.peers.confirm(Instant::now(), from, id),
            // The worker's thread may not have seen a key frame yet that was already made.
            WorkerReport::KeyFrameNeeded { encoding, seen } if seen < self.counts[encoding].1 => {}
            WorkerReport::KeyFrameNeeded { encoding, .. } => {
                self.requests[encoding].want();
                self.ask_for_key_frames();
            }
            WorkerReport::Active { worker, encoding, students } => {
                self.active.set_peers(worker, encoding, students);
                self.announce_active_encodings();
            }
        }
    }

    /// Passes a command to a worker. Returns false if the worker refuses a request, or if its thread has ended.
    fn give(&mut self, worker: usize, command: WorkerCommand) -> bool {
        match worker.checked_sub(1).and_then(|n| self.workers.get(n)) {
            Some(worker) => worker.give(command),
            None => {
                self.own_worker.handle(command);
                true
            }
        }
    }

    fn give_to_all(&mut self, mut command: impl FnMut() -> WorkerCommand) {
        for worker in 0..=self.workers.len() {
            self.give(worker, command());
        }
    }

    fn command(&mut self, command: Command) -> Next {
        match command {
            Command::Offer { user, sdp, video, network, is_edge } => {
                let mut offer = PendingOffer::new(user, sdp, video, network);
                offer.is_edge = is_edge;
                for PendingOffer { user, .. } in self.pending.push(offer) {
                    self.events.push(SfuEvent::Refused { user, why: OfferRefusal::Busy });
                }
            }
            Command::Publish { user, sdp, tracks, network } => {
                self.publish(PublisherOffer { user, session: None, sdp, tracks, network });
            }
            Command::OpenSession(offer) => {
                let SessionOffer { user, session, sdp, tracks } = *offer;
                let (session, tracks) = (Some(session), Some(tracks));
                self.publish(PublisherOffer { user, session, sdp, tracks, network: None });
            }
            Command::SessionCandidate { number, candidate } => {
                if let Some(id) = self.publishing.of_session(number) {
                    self.give(0, WorkerCommand::Candidate { id, candidate });
                }
            }
            Command::RestartIce(restart) => self.restart_ice(*restart),
            Command::EndSession { number } => self.end_session(number),
            Command::Candidate { user, candidate } => {
                if let Some(candidate) = self.pending.add_candidate(&user, candidate) {
                    self.give_for(&user, |id| WorkerCommand::Candidate { id, candidate });
                }
            }
            Command::Signalling { user, is_lost } => {
                self.give_for(&user, |id| WorkerCommand::Signalling { id, is_lost });
            }
            Command::Remove { user } => {
                self.pending.remove(&user);
                let known = self.peers.of_user(&user).map(|(id, known)| (id, known.worker));
                if let Some((id, worker)) = known {
                    self.remove_peer(id, worker);
                }
                if self.remove_publisher(&user) || known.is_some() {
                    self.events.push(SfuEvent::Gone { user, why: Departure::Left });
                }
            }
            Command::Tell { user, text } => self.tell(&user, &text),
            Command::Limit { user, limits } => self.give_for(&user, |id| WorkerCommand::Limit { id, limits }),
            Command::Serves { edge, students } => self.give_for(&edge, |id| WorkerCommand::Serves(id, students)),
            Command::Floor(floor) => self.context.floor = Some(floor),
            Command::Trace(tracer) => self.context.tracer = tracer,
            Command::TellAll { text } => self.give_to_all(|| WorkerCommand::TellAll { text: Arc::clone(&text) }),
            Command::Encodings(encodings) => {
                let before = self.encodings.len();
                self.encodings.retain(|encoding| encodings.contains(encoding));
                if self.encodings.len() < before {
                    self.available.retain(|(encoding, _)| encodings.contains(encoding));
                    let available: Arc<[(Encoding, u32)]> = self.available.clone().into();
                    self.give_to_all(|| WorkerCommand::Encodings(Arc::clone(&available)));
                }
            }
            Command::Stats(reply) => {
                let numbers = Collector::numbers(&self.counts, &self.requests, self.peers.stun_dropped);
                let numbers = SfuStats {
                    datagrams_dropped: self.binding.dropped(),
                    ingest: self.publisher_stats(),
                    ingest_delay: self.ingest_delays.clone(),
                    ..numbers
                };
                let collector = Collector::new(numbers, 1 + self.workers.len(), reply);
                self.give_to_all(|| {
                    let collector = Arc::clone(&collector);
                    WorkerCommand::Stats(Box::new(move |numbers| collector.add(numbers)))
                });
            }
            Command::Close(done) => {
                self.own_worker.handle(WorkerCommand::Close);
                self.workers.drain(..).for_each(WorkerThread::close);
                let _ = done.send(());
                return Next::End;
            }
            #[cfg(test)]
            Command::Panic { user } => self.give_for(&user, |id| WorkerCommand::Panic { id }),
            #[cfg(test)]
            Command::Stall(until) => drop(until.recv()),
            #[cfg(test)]
            Command::FailReceives(errno) => self.binding.fail_receives(errno),
        }
        Next::GoOn
    }

    fn remove_peer(&mut self, id: PeerId, worker: usize) {
        self.peers.remove(id);
        self.give(worker, WorkerCommand::Remove { id });
    }

    fn ask_for_key_frames(&mut self) {
        let now = Instant::now();
        for encoding in Encoding::all().filter(|encoding| encoding.track.is_video()) {
            // If the event finds no room, the next call tries again.
            if self.requests[encoding].is_due(now)
                && (self.ask_publisher(encoding) || self.events.try_push(SfuEvent::KeyFrameNeeded(encoding)).is_none())
            {
                self.requests[encoding].asked(now);
            }
        }
    }

    /// Announces the encoders that should start or stop.
    fn announce_active_encodings(&mut self) {
        for (encoding, needed) in self.active.unannounced() {
            if self.events.try_push(SfuEvent::Needed(encoding, needed)).is_none() {
                self.active.set_announced(encoding, needed);
            }
        }
    }

    fn look_for_gaps(&mut self) {
        for encoding in Encoding::all() {
            if self.gaps[encoding].swap(false, Ordering::Relaxed) {
                self.gap(encoding.track);
            }
        }
    }

    /// Handles the loss of a frame of this track before it reached the router: video can continue only with a key
    /// frame.
    fn gap(&mut self, track: Track) {
        if !track.is_video() {
            return;
        }
        self.own_worker.handle(WorkerCommand::Gap(track));
        self.workers.iter_mut().for_each(|worker| worker.gap(track));
        self.want_key_frames(track);
    }

    /// Tells the teacher how many messages were lost. That happens when a thread is blocked for long.
    fn tell_of_lost_messages(&mut self, now: Instant) {
        if self.lost_messages.take(now).is_err() {
            return;
        }
        let of_workers: u64 = self.workers.iter().map(WorkerThread::take_lost_messages).sum();
        let lost = self.commands.take_lost_messages() + of_workers;
        if lost > 0 {
            let notice = format!("{lost} messages to students were lost, because this computer is too slow");
            self.events.push(SfuEvent::Notice(notice));
        }
    }
}
