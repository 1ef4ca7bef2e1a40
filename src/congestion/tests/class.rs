//! What the hub does for one student behind a line.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::line::{Dice, Link};
use super::setup::{Outcome, Setup, Tells, Who};
use super::student::{Back, Student};
use super::{ClassRepairs, CommonTrouble, Controller, Offered, Probe, Rate, Rates, Trouble};
use super::{RepairBudget, Way};
use crate::rtp::{Tier, Track};

/// Microseconds of a step of virtual time.
const STEP: u64 = 2_000;

/// Pictures that a key frame is as large as.
const KEY: u64 = 8;

/// Microseconds between two pages of slides.
const PAGE: u64 = 7_000_000;

/// Of a picture's usual size, so many percent are the cursor on a still page.
const STILL: u64 = 4;

/// From the wish for a key frame to its first packet.
const KEY_AFTER: u64 = 50_000;

/// Why a packet is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Media,
    Repair,
    Padding,
}

/// A packet that was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: u64,
    pub(super) bytes: u64,
    kind: Kind,
}

/// One picture's encoders and what of them goes to the student.
struct Picture {
    track: Track,
    sends: Option<Tier>,
    /// When its key frame is there.
    key: Option<u64>,
    /// Bytes that each tier had in this second.
    bytes: [u64; Tier::ALL.len()],
}

/// The hub's side.
pub(super) struct Class {
    began: Instant,
    control: Controller,
    rates: Rates,
    repairs: RepairBudget,
    /// Nobody else is in this class.
    class_repairs: ClassRepairs,
    delayed: bool,
    pictures: Vec<Picture>,
    link: Link,
    dice: Dice,
    tells: Tells,
    slides: bool,
    sent: Vec<Sent>,
    to_repair: Vec<u64>,
    on_the_way: BinaryHeap<Reverse<(u64, u64)>>,
    student: Student,
    back: Vec<(u64, Back)>,
    woke_up: bool,
    outcome: Outcome,
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
    pub(super) fn new(setup: &Setup) -> Self {
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
        let picture = |track: &Track| Picture { track: *track, sends: first.of(*track), key: Some(0), bytes: [0; 2] };
        Self {
            began,
            rates,
            repairs: RepairBudget::default(),
            class_repairs: ClassRepairs::default(),
            delayed: false,
            pictures: setup.tracks.iter().map(picture).collect(),
            link: Link::new(setup.lines[0].1),
            dice: Dice::new(setup.seed),
            tells: setup.tells,
            slides: setup.slides,
            sent: Vec::new(),
            to_repair: Vec::new(),
            on_the_way: BinaryHeap::new(),
            student: Student::default(),
            back: Vec::new(),
            woke_up: false,
            outcome: Outcome { first, seconds: setup.seconds as f64, ..Outcome::default() },
            control,
        }
    }

    pub(super) fn run(mut self, setup: &Setup) -> Outcome {
        let mut lines = setup.lines[1..].iter().peekable();
        for now in (0..setup.seconds * 1_000_000).step_by(STEP as usize) {
            while let Some((_, line)) = lines.next_if(|(second, _)| second * 1e6 <= now as f64) {
                self.link.change(now, *line);
            }
            self.link.go_on(now);
            let still = setup.still.filter(|(_, from, to)| (*from..*to).contains(&(now as f64 / 1e6)));
            let (hub_runs, student_runs) = match still {
                Some((Who::Student, ..)) => (true, false),
                Some(_) => (false, true),
                None => (true, true),
            };
            if hub_runs {
                self.wake_up(now, setup);
                self.send(now);
            }
            if student_runs {
                self.student.receive(now, &mut self.on_the_way, &self.sent);
                if now.is_multiple_of(setup.interval * 1000) {
                    self.tell(now);
                }
            }
            if hub_runs {
                self.hear(now);
                if now.is_multiple_of(20_000) {
                    self.decide(now);
                }
            }
            if now > 0 && now.is_multiple_of(1_000_000) {
                self.measure();
            }
            if now.is_multiple_of(10_000) {
                self.outcome.queues.push(self.link.waits(now) / 1000);
            }
        }
        self.outcome
    }

    /// After a pause of the hub the sound of that time leaves at once, and nothing that waits in its socket was read
    /// yet.
    fn wake_up(&mut self, now: u64, setup: &Setup) {
        let Some((who, from, to)) = setup.still.filter(|_| !self.woke_up) else { return };
        if (now as f64) < to * 1e6 {
            return;
        }
        self.woke_up = true;
        if who == Who::Student {
            return self.student.wake_up(now);
        }
        if who == Who::Hub {
            let at = self.at(now);
            self.control.stood_still(at);
        }
        // Timers have passed, and the socket was not read yet.
        self.decide(now);
        for _ in 0..((to - from) * 50.0) as usize {
            self.packet(now, 200, Kind::Media);
        }
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
            let way = Way { is_delayed: self.delayed, lost: self.control.estimate().lost() };
            self.repairs.sent(1, way);
            self.class_repairs.have_left(self.sent.len() as u64);
        }
        self.sent.push(Sent { at: now, bytes, kind });
        if let Some(arrival) = self.link.send(now, bytes, &mut self.dice) {
            self.on_the_way.push(Reverse((arrival, number)));
        }
    }

    fn send(&mut self, now: u64) {
        if now.is_multiple_of(20_000) {
            self.packet(now, 200, Kind::Media);
        }
        for n in 0..self.pictures.len() {
            for tier in Tier::ALL {
                let bytes = self.encoded(now, n, tier);
                self.pictures[n].bytes[tier as usize] += bytes;
                if self.pictures[n].sends != Some(tier) || self.pictures[n].key.is_some() {
                    continue;
                }
                let whole = (0..bytes / 1200).map(|_| 1200);
                for packet in whole.chain(Some(bytes % 1200).filter(|rest| *rest > 0)) {
                    self.packet(now, packet, Kind::Media);
                }
            }
        }
        for number in std::mem::take(&mut self.to_repair) {
            let Sent { bytes, kind, .. } = self.sent[number as usize];
            if kind == Kind::Media && bytes > 200 && self.repairs.take(&mut self.class_repairs) {
                self.packet(now, bytes, Kind::Repair);
            }
        }
    }

    /// How large the picture is that an encoder has made just now. Both tiers are encoded: others watch them.
    fn encoded(&mut self, now: u64, n: usize, tier: Tier) -> u64 {
        let picture = &mut self.pictures[n];
        let size = u64::from(nominal(picture.track, tier)) / 8 / fps(tier);
        if picture.sends == Some(tier) && picture.key.is_some_and(|key| key <= now) {
            picture.key = None;
            return size * KEY;
        }
        if now * fps(tier) / 1_000_000 == (now + STEP) * fps(tier) / 1_000_000 {
            return 0;
        }
        let page = self.slides && now / PAGE != (now + 1_000_000 / fps(tier)) / PAGE;
        match self.slides {
            true if page => size * KEY,
            true => size * STILL / 100,
            false => size * (80 + self.dice.below(41)) / 100,
        }
    }

    /// What the hub measures once a second.
    fn measure(&mut self) {
        for picture in &mut self.pictures {
            for (tier, bytes) in Tier::ALL.into_iter().zip(std::mem::take(&mut picture.bytes)) {
                let rate = Rate { nominal: nominal(picture.track, tier), measured: bytes as u32 * 8 };
                self.rates.set(picture.track, tier, rate);
            }
        }
    }

    fn tell(&mut self, now: u64) {
        let second = now.is_multiple_of(1_000_000) && now > 0;
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
        self.delayed = self.control.estimate().trouble(at) == Some(Trouble::Delay);
        if let Some(decision) = self.control.decide(at, &self.rates, &CommonTrouble::default()) {
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
