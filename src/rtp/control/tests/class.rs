//! What the hub does for one student, and what the student tells it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use super::line::{Dice, Line, Link};
use crate::rtp::control::{Controller, Offered, Pictures, Probe, Rate, Rates, Reason, RepairBudget, Trouble};
use crate::rtp::{Tier, Track};

/// Microseconds of a step of virtual time.
const STEP: u64 = 1_000;

/// Pictures that a key frame is as large as.
const KEY: u64 = 8;

/// From the wish for a key frame to its first packet.
const KEY_AFTER: u64 = 50_000;

/// The student's clock is ahead by so much that the time in its feedback rolls over after 20 s, and 100 ppm fast.
const AHEAD: u64 = (1 << 24) * 64_000 - 20_000_000;

/// How the student tells what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    EveryPacket,
    Remb,
    Reports,
    Nothing,
}

/// A student's minute.
pub(super) struct Setup {
    pub(super) seconds: u64,
    pub(super) tracks: &'static [Track],
    pub(super) tells: Tells,
    /// The line at the start, and what it becomes, by second.
    pub(super) lines: Vec<(f64, Line)>,
    pub(super) seed: u64,
}

impl Setup {
    /// A minute of a screen over a line.
    pub(super) fn over(line: Line) -> Self {
        Self { seconds: 60, tracks: &[Track::Screen], tells: Tells::EveryPacket, lines: vec![(0.0, line)], seed: 1 }
    }

    pub(super) fn then(mut self, second: f64, line: Line) -> Self {
        self.lines.push((second, line));
        self
    }

    pub(super) fn with_camera(self) -> Self {
        Self { tracks: &[Track::Screen, Track::Camera], ..self }
    }

    pub(super) fn telling(self, tells: Tells) -> Self {
        Self { tells, ..self }
    }

    pub(super) fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub(super) fn run(&self) -> Outcome {
        Class::new(self).run(self)
    }
}

/// What became of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// By second.
    pub(super) changes: Vec<(f64, Pictures, Reason)>,
    pub(super) first: Pictures,
    /// How long a packet would have waited, in milliseconds, every 10 ms.
    queues: Vec<u64>,
    pub(super) probe_bytes: u64,
    pub(super) bytes: u64,
    seconds: f64,
}

impl Outcome {
    /// What it got at this second.
    pub(super) fn at(&self, second: f64) -> Pictures {
        self.changes.iter().take_while(|change| change.0 <= second).last().map_or(self.first, |change| change.1)
    }

    pub(super) fn last(&self) -> Pictures {
        self.at(self.seconds)
    }

    /// The first second after `from` at which it gets this for the rest of the time up to `to`.
    pub(super) fn since(&self, pictures: Pictures, from: f64, to: f64) -> Option<f64> {
        let mut at = (self.at(from) == pictures).then_some(from);
        for change in self.changes.iter().filter(|change| change.0 > from && change.0 <= to) {
            at = if change.1 == pictures { at.or(Some(change.0)) } else { None };
        }
        at
    }

    /// The longest queue from one second to another, in milliseconds.
    pub(super) fn queue(&self, from: f64, to: f64) -> u64 {
        let index = |second: f64| ((second * 100.0) as usize).min(self.queues.len());
        self.queues[index(from)..index(to)].iter().copied().max().unwrap_or(0)
    }

    pub(super) fn seconds_of(&self, wanted: impl Fn(Pictures) -> bool) -> f64 {
        let steps = (self.seconds * 100.0) as u32;
        (0..steps).filter(|step| wanted(self.at(f64::from(*step) / 100.0))).count() as f64 / 100.0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Media,
    Repair,
    Padding,
}

#[derive(Clone, Copy)]
struct Sent {
    at: u64,
    bytes: u64,
    kind: Kind,
}

/// One picture's encoders and what of them goes to the student.
struct Picture {
    track: Track,
    sends: Option<Tier>,
    /// When its key frame is there.
    key: Option<u64>,
}

/// What goes back to the hub.
enum Back {
    Feedback { base: u16, reference: u32, deltas: Vec<Option<i32>>, missing: Vec<u64> },
    Remb(u64),
    Report(u8, Duration),
}

struct Class {
    began: Instant,
    control: Controller,
    rates: Rates,
    repairs: RepairBudget,
    pictures: Vec<Picture>,
    link: Link,
    dice: Dice,
    tells: Tells,
    sent: Vec<Sent>,
    to_repair: Vec<u64>,
    on_the_way: BinaryHeap<Reverse<(u64, u64)>>,
    student: Student,
    back: Vec<(u64, Back)>,
    outcome: Outcome,
}

/// The student's side.
#[derive(Default)]
struct Student {
    came: BTreeMap<u64, u64>,
    new: Vec<u64>,
    expected: u64,
    /// Of this second.
    bytes: u64,
    packets: u64,
    /// The number after the newest at the last report.
    reported: u64,
    /// One-way delay, the least ever and that of the newest packet.
    least_delay: Option<u64>,
    delay: u64,
    remb: Option<u64>,
}

fn nominal(track: Track, tier: Tier) -> u32 {
    match (track, tier) {
        (Track::Audio, _) => 80_000,
        (Track::Screen, Tier::Full) => 2_500_000,
        (Track::Screen, Tier::Low) => 450_000,
        (Track::Camera, Tier::Full) => 1_000_000,
        (Track::Camera, Tier::Low) => 250_000,
    }
}

fn fps(tier: Tier) -> u64 {
    match tier {
        Tier::Full => 30,
        Tier::Low => 15,
    }
}

impl Class {
    fn new(setup: &Setup) -> Self {
        let began = Instant::now();
        let mut rates = Rates::default();
        let mut offered = Offered::default();
        for track in Track::ALL {
            for tier in Tier::ALL {
                rates.set(track, tier, Rate { nominal: nominal(track, tier), measured: 0 });
                if setup.tracks.contains(&track) {
                    offered = offered.with(track, tier);
                }
            }
        }
        let control = Controller::new(began, offered);
        let first = control.pictures();
        let picture = |track: &Track| Picture { track: *track, sends: first.of(*track), key: Some(0) };
        Self {
            began,
            rates,
            repairs: RepairBudget::default(),
            pictures: setup.tracks.iter().map(picture).collect(),
            link: Link::new(setup.lines[0].1),
            dice: Dice::new(setup.seed),
            tells: setup.tells,
            sent: Vec::new(),
            to_repair: Vec::new(),
            on_the_way: BinaryHeap::new(),
            student: Student::default(),
            back: Vec::new(),
            outcome: Outcome { first, seconds: setup.seconds as f64, ..Outcome::default() },
            control,
        }
    }

    fn run(mut self, setup: &Setup) -> Outcome {
        let mut lines = setup.lines[1..].iter().peekable();
        for now in (0..setup.seconds * 1_000_000).step_by(STEP as usize) {
            while let Some((_, line)) = lines.next_if(|(second, _)| second * 1e6 <= now as f64) {
                self.link.change(now, *line);
            }
            self.send(now);
            self.student.receive(now, &mut self.on_the_way, &self.sent);
            if now % 100_000 == 0 {
                self.tell(now);
            }
            self.hear(now);
            if now % 20_000 == 0 {
                self.decide(now);
            }
            if now % 10_000 == 0 {
                self.outcome.queues.push(self.link.waits(now) / 1000);
            }
        }
        self.outcome
    }

    fn at(&self, now: u64) -> Instant {
        self.began + Duration::from_micros(now)
    }

    fn packet(&mut self, now: u64, bytes: u64, kind: Kind) {
        let number = self.sent.len() as u64;
        let sequence = (self.tells == Tells::EveryPacket).then_some(number as u16);
        let at = self.at(now);
        self.control.estimate().sent(at, sequence, bytes as usize);
        self.outcome.bytes += bytes;
        if kind == Kind::Media {
            let delayed = self.control.estimate().trouble(at) == Some(Trouble::Delay);
            self.repairs.sent(1, delayed);
        }
        self.sent.push(Sent { at: now, bytes, kind });
        if let Some(arrival) = self.link.send(now, bytes, &mut self.dice) {
            self.on_the_way.push(Reverse((arrival, number)));
        }
    }

    fn send(&mut self, now: u64) {
        if now % 20_000 == 0 {
            self.packet(now, 200, Kind::Media);
        }
        for n in 0..self.pictures.len() {
            let picture = &mut self.pictures[n];
            let Some(tier) = picture.sends else { continue };
            let is_due = |tier| now * fps(tier) / 1_000_000 != (now + STEP) * fps(tier) / 1_000_000;
            let size = u64::from(nominal(picture.track, tier)) / 8 / fps(tier);
            let mut bytes = match picture.key {
                Some(key) if key <= now => {
                    picture.key = None;
                    size * KEY
                }
                None if is_due(tier) => size * (80 + self.dice.below(41)) / 100,
                _ => continue,
            };
            while bytes > 0 {
                let packet = bytes.min(1200);
                bytes -= packet;
                self.packet(now, packet, Kind::Media);
            }
        }
        for number in std::mem::take(&mut self.to_repair) {
            let Sent { bytes, kind, .. } = self.sent[number as usize];
            if kind == Kind::Media && bytes > 200 && self.repairs.take() {
                self.packet(now, bytes, Kind::Repair);
            }
        }
    }

    fn tell(&mut self, now: u64) {
        let second = now % 1_000_000 == 0 && now > 0;
        let arrives = now + self.link.line.delay;
        let back = match self.tells {
            Tells::EveryPacket => self.student.feedback(),
            Tells::Remb => self.student.remb(second).map(Back::Remb),
            Tells::Reports if second => {
                let lost = self.student.lost();
                Some(Back::Report(lost, Duration::from_micros(self.student.delay + self.link.line.delay)))
            }
            Tells::Reports | Tells::Nothing => None,
        };
        // The way back loses as much.
        if let Some(back) = back.filter(|_| !self.dice.chance(self.link.line.loss)) {
            self.back.push((arrives, back));
        }
        if second {
            self.student.begin_second();
        }
    }

    fn hear(&mut self, now: u64) {
        let at = self.at(now);
        for n in 0..self.back.len() {
            if self.back[n].0 > now {
                continue;
            }
            match &mut self.back[n].1 {
                Back::Feedback { base, reference, deltas, missing } => {
                    self.control.estimate().on_feedback(at, *base, *reference, deltas.iter().copied());
                    self.to_repair.append(missing);
                }
                Back::Remb(bits) => self.control.estimate().on_remb(at, *bits),
                Back::Report(lost, round_trip) => {
                    self.control.estimate().on_report(at, *lost, Some(*round_trip));
                }
            }
        }
        self.back.retain(|(arrives, _)| *arrives > now);
    }

    fn decide(&mut self, now: u64) {
        let at = self.at(now);
        if let Some(decision) = self.control.decide(at, &self.rates) {
            self.outcome.changes.push((now as f64 / 1e6, decision.pictures, decision.reason));
            for picture in &mut self.pictures {
                let sends = decision.pictures.of(picture.track);
                if picture.sends != sends {
                    picture.sends = sends;
                    picture.key = Some(now + KEY_AFTER);
                }
            }
        }
        if let Some(Probe { packets, bytes_each }) = self.control.probe(at) {
            for _ in 0..packets {
                self.outcome.probe_bytes += u64::from(bytes_each);
                self.packet(now, bytes_each.into(), Kind::Padding);
            }
        }
    }
}

impl Student {
    fn receive(&mut self, now: u64, on_the_way: &mut BinaryHeap<Reverse<(u64, u64)>>, sent: &[Sent]) {
        while let Some(Reverse((arrival, number))) = on_the_way.peek().copied() {
            if arrival > now {
                break;
            }
            on_the_way.pop();
            self.came.insert(number, arrival);
            self.new.push(number);
            let Sent { at, bytes, .. } = sent[number as usize];
            self.bytes += bytes;
            self.packets += 1;
            self.delay = arrival - at;
            self.least_delay = self.least_delay.min(Some(self.delay)).or(Some(self.delay));
        }
    }

    /// What came since the last feedback, with what is missing before it.
    fn feedback(&mut self) -> Option<Back> {
        let new = std::mem::take(&mut self.new);
        let newest = *new.iter().max()?;
        let base = new.iter().copied().min()?.min(self.expected);
        let missing = (self.expected..newest).filter(|number| !self.came.contains_key(number)).collect();
        let clock = |arrival: u64| (arrival + arrival / 10_000 + AHEAD) / 250;
        let first = (base..=newest).find_map(|number| self.came.get(&number))?;
        let reference = clock(*first) / 256;
        let mut last = reference * 256;
        let deltas = (base..=newest.max(base)).map(|number| {
            let arrival = clock(*self.came.get(&number)?);
            let delta = (arrival as i64 - last as i64) * 250;
            last = arrival;
            Some(delta as i32)
        });
        let deltas = deltas.collect();
        self.expected = self.expected.max(newest + 1);
        Some(Back::Feedback { base: base as u16, reference: (reference & 0xff_ffff) as u32, deltas, missing })
    }

    /// As browsers do it: half more than what comes, slowly; less at once when the queue grows.
    fn remb(&mut self, second: bool) -> Option<u64> {
        if !second {
            return None;
        }
        let queue = self.delay.saturating_sub(self.least_delay.unwrap_or(0));
        let came = self.bytes * 8;
        let remb = match self.remb {
            _ if queue > 60_000 => came * 85 / 100,
            None => came * 3 / 2,
            Some(remb) => (remb * 108 / 100).min(came * 3 / 2 + 10_000),
        };
        self.remb = Some(remb);
        Some(remb)
    }

    /// The share that is lost of the packets since the last report, in 256ths.
    fn lost(&mut self) -> u8 {
        let newest = self.came.keys().next_back().map_or(0, |newest| newest + 1);
        let expected = newest.saturating_sub(self.reported);
        self.reported = newest;
        (expected.saturating_sub(self.packets) * 256).checked_div(expected).unwrap_or(0).min(255) as u8
    }

    fn begin_second(&mut self) {
        self.bytes = 0;
        self.packets = 0;
    }
}
