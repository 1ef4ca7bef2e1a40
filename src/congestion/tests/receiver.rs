//! The receiving side of one peer: the packets that arrived, and the RTCP feedback on them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::sender::Packet;

/// The receiver's clock is ahead by this much, so that the reference time of its feedback wraps after 20 s, and runs
/// 100 ppm fast.
const AHEAD: u64 = (1 << 24) * 64_000 - 20_000_000;

/// Bytes that the kernel buffers for a process that does not read.
const KERNEL_BUFFER: u64 = 160_000;

/// A packet missing for longer than this, in microseconds, is given up, and a key frame is requested.
const PATIENCE: u64 = 250_000;

/// RTCP feedback.
pub(super) enum Feedback {
    Transport { base: u16, reference: u32, deltas: Vec<Option<i32>> },
    Remb(u64),
    Report(u8, Duration),
    Nack(u32, Vec<u16>),
    Pli(u32),
}

/// The receiving side.
#[derive(Default)]
pub(super) struct Receiver {
    arrived: BTreeMap<u64, u64>,
    /// Packets that arrived since the last transport-wide feedback.
    new: Vec<u64>,
    expected: u64,
    /// Packets before this one were checked for gaps.
    checked: u64,
    /// By SSRC and sequence number: since when a packet of video is missing.
    missing: BTreeMap<(u32, u16), u64>,
    /// The bytes and packets of this second.
    bytes: u64,
    packets: u64,
    /// The number after the newest at the last report.
    reported: u64,
    /// One-way delay: the minimum so far, and that of the newest packet.
    least_delay: Option<u64>,
    delay: u64,
    remb: Option<u64>,
    /// When its process resumed after a suspension, and how many bytes the kernel has buffered for it.
    awake: u64,
    kept: u64,
}

impl Receiver {
    /// The process resumes: packets that arrived meanwhile are read now, those beyond the kernel buffer are lost.
    pub(super) fn wake_up(&mut self, now: u64) {
        (self.awake, self.kept) = (now, 0);
    }

    pub(super) fn receive(&mut self, now: u64, in_flight: &mut BinaryHeap<Reverse<(u64, u64)>>, sent: &[Packet]) {
        while let Some(Reverse((arrival, number))) = in_flight.peek().copied() {
            if arrival > now {
                break;
            }
            in_flight.pop();
            let Packet { at, bytes, media } = sent[number as usize];
            if arrival < self.awake {
                self.kept += bytes;
                if self.kept > KERNEL_BUFFER {
                    continue;
                }
            }
            let arrival = arrival.max(self.awake);
            self.arrived.insert(number, arrival);
            self.new.push(number);
            if let Some(media) = media {
                self.missing.remove(&media);
            }
            self.bytes += bytes;
            self.packets += 1;
            self.delay = arrival - at;
            self.least_delay = self.least_delay.min(Some(self.delay)).or(Some(self.delay));
        }
    }

    /// Transport-wide feedback on the packets that arrived since the last one, and on the gaps before them.
    pub(super) fn transport_feedback(&mut self) -> Option<Feedback> {
        let new = std::mem::take(&mut self.new);
        let newest = *new.iter().max()?;
        let base = new.iter().copied().min()?.min(self.expected);
        let clock = |arrival: u64| (arrival + arrival / 10_000 + AHEAD) / 250;
        let first = (base..=newest).find_map(|number| self.arrived.get(&number))?;
        let reference = clock(*first) / 256;
        let mut last = reference * 256;
        let deltas = (base..=newest).map(|number| {
            let arrival = clock(*self.arrived.get(&number)?);
            let delta = (arrival as i64 - last as i64) * 250;
            last = arrival;
            Some(delta as i32)
        });
        let deltas = deltas.collect();
        self.expected = self.expected.max(newest + 1);
        Some(Feedback::Transport { base: base as u16, reference: (reference & 0xff_ffff) as u32, deltas })
    }

    /// NACKs for all missing video, or a PLI for a track in which a packet has been missing for too long.
    pub(super) fn nacks(&mut self, now: u64, sent: &[Packet]) -> Vec<Feedback> {
        let end = self.arrived.keys().next_back().map_or(0, |newest| newest + 1).max(self.checked);
        for number in self.checked..end {
            let video = sent[number as usize].media.filter(|(ssrc, _)| *ssrc > 1);
            if let Some(media) = video.filter(|_| !self.arrived.contains_key(&number)) {
                self.missing.entry(media).or_insert(now);
            }
        }
        self.checked = end;
        let mut feedback = Vec::new();
        for ssrc in [2, 3] {
            let of_track = |missing: &BTreeMap<(u32, u16), u64>| -> Vec<(u16, u64)> {
                missing.range((ssrc, 0)..=(ssrc, u16::MAX)).map(|((_, number), since)| (*number, *since)).collect()
            };
            let missing = of_track(&self.missing);
            if missing.iter().any(|(_, since)| since + PATIENCE < now) {
                self.missing.retain(|(of, _), _| *of != ssrc);
                feedback.push(Feedback::Pli(ssrc));
            } else if !missing.is_empty() {
                feedback.push(Feedback::Nack(ssrc, missing.into_iter().map(|(number, _)| number).collect()));
            }
        }
        feedback
    }

    /// A REMB as browsers send it: it rises slowly to 1.5 times the received rate, and drops at once when the queue
    /// grows.
    pub(super) fn remb(&mut self, second: bool) -> Option<Feedback> {
        if !second {
            return None;
        }
        let queue = self.delay.saturating_sub(self.least_delay.unwrap_or(0));
        let arrived = self.bytes * 8;
        let remb = match self.remb {
            _ if queue > 60_000 => arrived * 85 / 100,
            None => arrived * 3 / 2,
            Some(remb) => (remb * 108 / 100).min(arrived * 3 / 2 + 10_000),
        };
        self.remb = Some(remb);
        Some(Feedback::Remb(remb))
    }

    /// A receiver report: the fraction of packets lost since the last one, and the round-trip time with a return path
    /// of `back` microseconds.
    pub(super) fn receiver_report(&mut self, back: u64) -> Feedback {
        let newest = self.arrived.keys().next_back().map_or(0, |newest| newest + 1);
        let expected = newest.saturating_sub(self.reported);
        self.reported = newest;
        let lost = (expected.saturating_sub(self.packets) * 256).checked_div(expected).unwrap_or(0).min(255);
        Feedback::Report(lost as u8, Duration::from_micros(self.delay + back))
    }

    pub(super) fn begin_second(&mut self) {
        self.bytes = 0;
        self.packets = 0;
    }
}
