//! The sending side of one peer in virtual time.
//!
//! Rings, subscriptions, the pacer, key frame requests, measured rates and all decisions are the real code; only the
//! encoders, the link and the receiver are simulated. Packets are sent in the order of `sfu::senders`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::encoders::{AUDIO, Encoders};
use super::link::Path;
use super::receiver::{Feedback, Receiver};
use super::setup::{Outcome, Rtcp, Setup, Who};
use super::{Actions, Adaptation, Change, ClassRetransmissions, CommonTrouble, Layers, Pacer, Probe, RateMeter, Rates};
use crate::rtp::{Codec, Encoding, Frame, FrameRing, PerCodec, PerEncoding, Start, Subscription, Tier, Track};

/// A step of virtual time, in microseconds.
const STEP: u64 = 2_500;

/// How often the layers are adapted in addition to after each feedback packet, in microseconds.
const ADAPT_EVERY: u64 = 100_000;

/// The longest round trip without a startup probe, in microseconds.
const NEAR: u64 = 40_000;

/// Bytes of one track sent in one turn of 5 ms while the peer catches up, and bytes replayed after a step down.
const CATCH_UP_BYTES: usize = 24 << 10;
const NARROW_REPLAY_BYTES: usize = 24 << 10;
const TURN: u64 = 5_000;

/// The maximum padding of a packet, and the size of such a packet in bytes.
const MAX_PADDING: u32 = 255;
const PADDING_PACKET: usize = 12 + 8 + 255;

/// A sent packet. Its transport-wide sequence number is its index in the list of all.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) at: u64,
    pub(super) bytes: u64,
    /// SSRC and sequence number of its media; `None` for padding.
    pub(super) media: Option<(u32, u16)>,
}

/// One track sent to the peer.
struct Feed {
    track: Track,
    subscription: Subscription,
    /// The tier to switch to at its next key frame.
    pending: Option<Tier>,
}

impl Feed {
    fn encoding(&self, tier: Tier) -> Encoding {
        Encoding { track: self.track, tier, codec: if self.track.is_video() { Codec::Vp8 } else { Codec::Opus } }
    }

    fn current(&self) -> Encoding {
        self.encoding(self.subscription.tier())
    }
}

/// The rest of a paced frame, as packet indices.
#[derive(Clone, Copy)]
struct UnderWay {
    feed: usize,
    next: u64,
    end: u64,
}

/// The sending side.
pub(super) struct Sender {
    began: Instant,
    adaptation: Adaptation,
    traffic: RateMeter,
    rates: PerCodec<Rates>,
    /// This peer is alone in its class.
    class: ClassRetransmissions,
    encoders: Encoders,
    rings: PerEncoding<FrameRing>,
    feeds: Vec<Feed>,
    pace: Option<Pacer>,
    under_way: Option<UnderWay>,
    path: Path,
    rng: StdRng,
    reports: Rtcp,
    sent: Vec<Packet>,
    in_flight: BinaryHeap<Reverse<(u64, u64)>>,
    receiver: Receiver,
    feedback: Vec<(u64, Feedback)>,
    woke_up: bool,
    outcome: Outcome,
}

impl Sender {
    pub(super) fn new(setup: &Setup) -> Self {
        let began = Instant::now();
        let encoders = Encoders::new(began, setup.tracks, setup.slides, setup.page);
        let mut traffic = RateMeter::new(&encoders.nominal());
        let tracks = std::iter::once(Track::Audio).chain(setup.tracks.iter().copied());
        let feed = |track: Track| Feed {
            track,
            subscription: Subscription::new(track as u32 + 1, 96, 0, Tier::Full),
            pending: None,
        };
        let best = |track| setup.tracks.contains(&track).then_some(Tier::Full);
        let first = Layers { screen: best(Track::Screen), camera: best(Track::Camera) };
        let mut sender = Self {
            began,
            adaptation: Adaptation::new(began, encoders.offered(), true),
            rates: traffic.rates(began),
            traffic,
            class: ClassRetransmissions::default(),
            encoders,
            rings: PerEncoding::default(),
            feeds: tracks.map(feed).collect(),
            pace: None,
            under_way: None,
            path: Path::new(setup.links[0].1),
            rng: StdRng::seed_from_u64(setup.seed),
            reports: setup.reports,
            sent: Vec::new(),
            in_flight: BinaryHeap::new(),
            receiver: Receiver::default(),
            feedback: Vec::new(),
            woke_up: false,
            outcome: Outcome { first, seconds: setup.seconds as f64, ..Outcome::default() },
        };
        sender.feeds[0].subscription.start_live(&sender.rings[AUDIO]);
        let is_near = sender.path.link.delay * 2 < NEAR;
        if sender.adaptation.start(began, setup.reports == Rtcp::EveryPacket && !is_near) {
            sender.start_video(0);
        }
        sender
    }

    pub(super) fn run(mut self, setup: &Setup) -> Outcome {
        let mut links = setup.links[1..].iter().peekable();
        for now in (0..setup.seconds * 1_000_000).step_by(STEP as usize) {
            while let Some((_, link)) = links.next_if(|(second, _)| second * 1e6 <= now as f64) {
                self.path.change(now, *link);
            }
            self.path.tick(now);
            let still = setup.still.filter(|(_, from, to)| (*from..*to).contains(&(now as f64 / 1e6)));
            let (sender_runs, receiver_runs) = match still {
                Some((Who::Receiver, ..)) => (true, false),
                Some(_) => (false, true),
                None => (true, true),
            };
            if sender_runs {
                self.wake_up(now, setup);
                self.encoders.encode(now, STEP, &mut self.rng).into_iter().for_each(|frame| self.push(frame));
                self.send(now);
            }
            if receiver_runs {
                self.receiver.receive(now, &mut self.in_flight, &self.sent);
                if now.is_multiple_of(setup.interval * 1000) {
                    self.report(now);
                }
            }
            if sender_runs {
                self.on_feedback(now);
                if now.is_multiple_of(ADAPT_EVERY) {
                    self.rates = self.traffic.rates(self.at(now));
                    self.adapt(now);
                }
            }
            if now.is_multiple_of(10_000) {
                self.outcome.queues.push(self.path.waits(now) / 1000);
            }
        }
        self.outcome
    }

    /// After a suspension of the sender the audio of that time is available at once, and timers run before the socket
    /// is read.
    fn wake_up(&mut self, now: u64, setup: &Setup) {
        let Some((who, from, to)) = setup.still.filter(|_| !self.woke_up) else { return };
        if (now as f64) < to * 1e6 {
            return;
        }
        self.woke_up = true;
        if who == Who::Receiver {
            return self.receiver.wake_up(now);
        }
        if who == Who::Sender {
            let at = self.at(now);
            self.traffic.on_suspension();
            self.adaptation.on_suspension(at);
        }
        self.adapt(now);
        for _ in 0..((to - from) * 50.0) as usize {
            let audio = self.encoders.audio(now);
            self.push(audio);
        }
    }

    fn at(&self, now: u64) -> Instant {
        self.began + Duration::from_micros(now)
    }

    /// Adds a frame to its ring and notifies the track that reads it.
    fn push(&mut self, frame: Frame) {
        let (encoding, key) = (frame.encoding(), frame.key);
        self.traffic.count(frame.captured, encoding, frame.bytes());
        let index = self.rings[encoding].push(frame);
        for feed in self.feeds.iter_mut().filter(|feed| feed.track == encoding.track) {
            if key && feed.pending == Some(encoding.tier) {
                feed.pending = None;
                feed.subscription.switch_at(encoding.tier, index);
            } else if feed.subscription.tier() == encoding.tier {
                feed.subscription.on_frame(index, key);
            }
        }
    }

    /// Sends what is due, as `sfu::senders` does.
    fn send(&mut self, now: u64) {
        let mut count = 0;
        self.send_paced(now);
        for n in 0..self.feeds.len() {
            let mut bytes = 0;
            loop {
                let feed = &mut self.feeds[n];
                let ring = &self.rings[feed.current()];
                let is_video = feed.track.is_video();
                let Some(_) = feed.subscription.due(ring) else { break };
                let is_full = bytes > CATCH_UP_BYTES || bytes > 0 && !now.is_multiple_of(TURN);
                if is_full || is_video && self.under_way.is_some() {
                    break;
                }
                if is_video && feed.subscription.is_late(ring) {
                    feed.subscription.drop_to_next_key();
                    break;
                }
                let Some(packets) = feed.subscription.take(ring) else { break };
                let packets: Vec<(u64, usize)> = packets.map(|packet| (packet.index, packet.bytes())).collect();
                count += packets.len();
                if self.pace.is_some() && is_video {
                    let Some((first, _)) = packets.first() else { continue };
                    self.under_way = Some(UnderWay { feed: n, next: *first, end: first + packets.len() as u64 });
                    self.send_paced(now);
                    continue;
                }
                let ssrc = feed.subscription.ssrc();
                for (index, length) in packets {
                    bytes += length;
                    self.write(now, length, Some((ssrc, index as u16)));
                }
            }
        }
        let at = self.at(now);
        self.request_key_frames(at);
        self.adaptation.on_media_sent(count);
        if !self.sent.is_empty()
            && let Some(probe) = self.adaptation.first_probe()
        {
            self.probe(now, probe);
        }
    }

    fn send_paced(&mut self, now: u64) {
        let at = self.at(now);
        while let Some(rest) = self.under_way {
            if self.pace.as_mut().is_some_and(|pace| !pace.allows(at)) {
                break;
            }
            self.under_way = (rest.next + 1 < rest.end).then_some(UnderWay { next: rest.next + 1, ..rest });
            if let Some((ssrc, bytes)) = self.sent_before(rest.feed, rest.next as u16) {
                self.write(now, bytes, Some((ssrc, rest.next as u16)));
            }
        }
    }

    /// SSRC and size of a packet, if it was sent and is still in its ring.
    fn sent_before(&self, feed: usize, sequence_number: u16) -> Option<(u32, usize)> {
        let feed = &self.feeds[feed];
        let packet = feed.subscription.resend(|tier| &self.rings[feed.encoding(tier)], sequence_number)?;
        Some((packet.ssrc, packet.bytes()))
    }

    fn write(&mut self, now: u64, bytes: usize, media: Option<(u32, u16)>) {
        // The packets in the ring have no header extension.
        let bytes = if self.reports == Rtcp::EveryPacket && media.is_some() { bytes + 8 } else { bytes };
        let number = self.sent.len() as u64;
        let sequence = (self.reports == Rtcp::EveryPacket).then_some(number as u16);
        let at = self.at(now);
        self.adaptation.estimate().sent(at, sequence, bytes);
        if media.is_some()
            && let Some(pace) = &mut self.pace
        {
            pace.sent(bytes);
        }
        self.outcome.bytes += bytes as u64;
        self.sent.push(Packet { at: now, bytes: bytes as u64, media });
        self.class.have_left(self.sent.len() as u64);
        if let Some(arrival) = self.path.send(now, bytes as u64, &mut self.rng) {
            self.in_flight.push(Reverse((arrival, number)));
        }
    }

    fn probe(&mut self, now: u64, Probe { packets, bytes_each }: Probe) {
        for _ in 0..(packets * bytes_each).div_ceil(MAX_PADDING) {
            self.outcome.probe_bytes += PADDING_PACKET as u64;
            self.write(now, PADDING_PACKET, None);
        }
    }

    /// Lets the receiver report.
    fn report(&mut self, now: u64) {
        let second = now.is_multiple_of(1_000_000) && now > 0;
        let arrives = now + self.path.link.delay;
        let reports = match self.reports {
            Rtcp::EveryPacket => self.receiver.transport_feedback(),
            Rtcp::Remb => self.receiver.remb(second),
            Rtcp::ReceiverReports if second => Some(self.receiver.receiver_report(self.path.link.delay)),
            Rtcp::ReceiverReports | Rtcp::Nothing => None,
        };
        let nacks = self.receiver.nacks(now, &self.sent).into_iter().filter(|_| self.reports != Rtcp::Nothing);
        for feedback in reports.into_iter().chain(nacks) {
            // The return path has the same loss.
            if !self.rng.random_bool(self.path.link.loss) {
                self.feedback.push((arrives, feedback));
            }
        }
        if second {
            self.receiver.begin_second();
        }
    }

    fn on_feedback(&mut self, now: u64) {
        let at = self.at(now);
        let (here, later) = std::mem::take(&mut self.feedback).into_iter().partition(|(arrives, _)| *arrives <= now);
        self.feedback = later;
        let here: Vec<(u64, Feedback)> = here;
        for (_, feedback) in here {
            let is_report = !matches!(feedback, Feedback::Nack(..) | Feedback::Pli(_));
            match feedback {
                Feedback::Transport { base, reference, deltas } => {
                    self.adaptation.estimate().on_feedback(at, base, reference, deltas);
                }
                Feedback::Remb(bits) => self.adaptation.estimate().on_remb(at, bits),
                Feedback::Report(lost, round_trip) => self.adaptation.on_report(at, lost, Some(round_trip)),
                Feedback::Nack(ssrc, numbers) => self.on_nack(now, ssrc, &numbers),
                Feedback::Pli(ssrc) => self.on_pli(at, ssrc),
            }
            if is_report {
                self.adapt(now);
            }
        }
    }

    fn on_nack(&mut self, now: u64, ssrc: u32, numbers: &[u16]) {
        let at = self.at(now);
        let Some(n) = self.feeds.iter().position(|feed| feed.subscription.ssrc() == ssrc) else { return };
        let (feed, rings) = (&self.feeds[n], &self.rings);
        let mut resends = Vec::new();
        for number in numbers {
            let find = || feed.subscription.resend(|tier| &rings[feed.encoding(tier)], *number).map(|p| p.bytes());
            if let Some((bytes, copies)) = self.adaptation.on_nack(at, (ssrc, *number), &mut self.class, find) {
                resends.extend(std::iter::repeat_n((bytes + 2, *number), copies));
            }
        }
        self.outcome.resent += resends.len() as u64;
        for (bytes, number) in resends {
            self.write(now, bytes, Some((ssrc, number)));
        }
    }

    fn on_pli(&mut self, at: Instant, ssrc: u32) {
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.subscription.ssrc() == ssrc) else { return };
        let tier = feed.subscription.tier();
        let may = self.adaptation.may_restart(at, tier);
        if feed.subscription.awaits_key() || !may {
            return;
        }
        let encoding = feed.current();
        match feed.subscription.start(&self.rings[encoding], at) {
            Start::TooSoon => return,
            Start::FromRing => {}
            Start::NeedsKey => self.encoders.request_key_frame(encoding),
        }
        self.outcome.restarts += 1;
        self.adaptation.restarted(at, tier);
    }

    fn start_video(&mut self, now: u64) {
        let at = self.at(now);
        for feed in self.feeds.iter_mut().filter(|feed| feed.track.is_video() && feed.subscription.is_idle()) {
            let encoding = feed.current();
            if feed.subscription.start(&self.rings[encoding], at) == Start::NeedsKey {
                self.encoders.request_key_frame(encoding);
            }
        }
        let awaited: Vec<Encoding> = self.awaited().collect();
        self.adaptation.key_frames_requested(awaited);
    }

    fn awaited(&self) -> impl Iterator<Item = Encoding> {
        let awaits = |feed: &&Feed| feed.track.is_video() && feed.subscription.awaits_key();
        self.feeds.iter().filter(awaits).map(Feed::current)
    }

    fn request_key_frames(&mut self, at: Instant) {
        let (awaited, mut requests): (Vec<Encoding>, _) = (self.awaited().collect(), Vec::new());
        self.adaptation.request_key_frames(at, awaited.into_iter(), &mut requests);
        requests.into_iter().for_each(|encoding| self.encoders.request_key_frame(encoding));
    }

    fn adapt(&mut self, now: u64) {
        let at = self.at(now);
        let rates = &self.rates[Codec::Vp8];
        let Actions { change, starts_video, pace, probe } = self.adaptation.adapt(at, rates, &CommonTrouble::default());
        if let Some(change) = change {
            self.outcome.changes.push((now as f64 / 1e6, change));
            self.change(at, change);
        }
        if starts_video {
            self.start_video(now);
        }
        self.request_key_frames(at);
        match (&mut self.pace, pace) {
            (Some(pace), Some(line)) => pace.set(line),
            (pace, line) => *pace = line.map(|line| Pacer::new(at, line)),
        }
        if let Some(probe) = probe {
            self.probe(now, probe);
        }
    }

    fn change(&mut self, at: Instant, Change { layers, is_urgent, .. }: Change) {
        for n in 1..self.feeds.len() {
            let feed = &mut self.feeds[n];
            let is_sent = !feed.subscription.is_paused();
            feed.pending = None;
            let Some(tier) = layers.of(feed.track) else {
                self.under_way = self.under_way.filter(|rest| rest.feed != n);
                feed.subscription.pause();
                continue;
            };
            if is_sent && feed.subscription.tier() == tier {
                continue;
            }
            let wanted = feed.encoding(tier);
            let most = if is_urgent || !is_sent { NARROW_REPLAY_BYTES } else { crate::rtp::REPLAY_BYTES };
            if feed.subscription.switch(tier, &self.rings[wanted], at, most) == Start::NeedsKey {
                if is_urgent {
                    feed.subscription.give_up_for(tier);
                    self.under_way = self.under_way.filter(|rest| rest.feed != n);
                } else {
                    feed.pending = Some(tier);
                }
                self.encoders.request_key_frame(wanted);
                self.adaptation.key_frames_requested([wanted]);
            }
        }
    }
}
