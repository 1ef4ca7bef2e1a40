//! A publisher behind an emulated line, in virtual time.

mod line;
mod publisher;
mod scenarios;

use std::time::{Duration, Instant};

use super::{ExtensionIds, Ingest, IngestLimit};
use crate::rtcp::{Feedback, read};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};
use line::{Line, LineSettings};
use publisher::{Publisher, SenderSettings};

const IDS: ExtensionIds =
    ExtensionIds { mid: Some(4), rid: Some(10), repaired_rid: Some(11), twcc: Some(3), audio_level: Some(1) };

/// The RTCP that the publisher got.
#[derive(Debug, Default)]
struct Heard {
    nacks: usize,
    /// The milliseconds of PLIs, with their SSRC.
    plis: Vec<(u64, u32)>,
    reports: usize,
    /// The milliseconds of transport-wide feedback.
    feedback: Vec<u64>,
    /// Packets that it reports as received, and as lost.
    statuses: (usize, usize),
    longest: usize,
}

/// A publisher, its line and its ingest.
struct Scenario {
    begin: Instant,
    ms: u64,
    publisher: Publisher,
    up: Line,
    down: Line,
    ingest: Ingest,
    frames: Vec<(u64, Frame)>,
    heard: Heard,
}

impl Scenario {
    fn new(senders: Vec<SenderSettings>, line: LineSettings) -> Self {
        Self::with(senders, line, IDS, IngestLimit::default())
    }

    fn with(senders: Vec<SenderSettings>, line: LineSettings, ids: ExtensionIds, limit: IngestLimit) -> Self {
        let begin = Instant::now();
        let publisher = Publisher::new(senders, ids);
        Self {
            begin,
            ms: 0,
            ingest: Ingest::new(begin, publisher.sections(), ids, limit),
            publisher,
            up: Line::new(line, 1),
            down: Line::new(LineSettings { loss: line.loss / 2.0, ..line }, 2),
            frames: Vec::new(),
            heard: Heard::default(),
        }
    }

    fn now(&self) -> Instant {
        self.begin + Duration::from_millis(self.ms)
    }

    /// Runs for some milliseconds.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.ms += 1;
            let now = self.now();
            for packet in self.publisher.send(self.ms) {
                self.up.send(self.ms, packet);
            }
            for packet in self.up.arrived(self.ms) {
                if packet[1] & 0x7f >= 72 && packet[1] & 0x7f < 80 {
                    self.ingest.on_rtcp(now, &packet);
                } else {
                    self.ingest.on_rtp(now, packet[..].into());
                }
                self.take_frames();
            }
            if self.ingest.deadline().is_some_and(|deadline| deadline <= now) {
                self.ingest.on_timeout(now);
                self.take_frames();
            }
            while let Some(compound) = self.ingest.next_rtcp(now) {
                self.down.send(self.ms, compound);
            }
            assert!(self.ingest.deadline().is_some_and(|deadline| deadline > now), "it would wake for ever");
            for compound in self.down.arrived(self.ms) {
                self.hear(&compound);
                for packet in self.publisher.on_rtcp(&compound) {
                    self.up.send(self.ms, packet);
                }
            }
        }
    }

    fn take_frames(&mut self) {
        while let Some(frame) = self.ingest.next_frame() {
            assert!(frame.captured <= self.now(), "captured in the future");
            self.frames.push((self.ms, frame));
        }
    }

    fn hear(&mut self, compound: &[u8]) {
        self.heard.longest = self.heard.longest.max(compound.len());
        for feedback in read(compound) {
            match feedback {
                Feedback::Nack(_, numbers) => self.heard.nacks += numbers.count(),
                Feedback::Pli(ssrc) => self.heard.plis.push((self.ms, ssrc)),
                Feedback::ReceiverReport(blocks) => self.heard.reports += usize::from(blocks.iter().next().is_some()),
                Feedback::Transport(feedback) => {
                    self.heard.feedback.push(self.ms);
                    let received = feedback.statuses().flatten().count();
                    self.heard.statuses.0 += received;
                    self.heard.statuses.1 += feedback.statuses().count() - received;
                }
                Feedback::Remb(_) => panic!("a publisher gets no REMB"),
            }
        }
    }

    /// The numbers of the frames of a sender that arrived so far, each byte-identical; its delay in milliseconds.
    fn arrived(&self, encoding: Encoding) -> Vec<(u32, u64)> {
        let frames = self.frames.iter().filter(|(_, frame)| frame.encoding() == encoding);
        let numbers = frames.map(|(ms, frame)| {
            let (number, sent) = self.publisher.check(encoding, frame);
            (number, ms - sent)
        });
        numbers.collect()
    }

    /// Checks that the frames of an encoding can be decoded one after the other, and returns their number and the
    /// number of frames skipped.
    fn decodable(&self, encoding: Encoding) -> (usize, u32) {
        let (mut last, mut skipped, mut count) = (None, 0, 0);
        for (number, _) in self.arrived(encoding) {
            let follows = last.is_some_and(|last| number == last + 1);
            assert!(follows || self.publisher.is_key(encoding, number), "{number} after {last:?}");
            assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
            skipped += last.map_or(0, |last| number - last - 1);
            last = Some(number);
            count += 1;
        }
        (count, skipped)
    }
}

fn audio() -> SenderSettings {
    SenderSettings {
        mid: "0",
        rid: None,
        encoding: Encoding::full(Track::Audio, Codec::Opus),
        ssrc: 100,
        rtx: None,
        interval: 20,
        packets: 1,
        first_number: 40_000,
        first_timestamp: 0xffff_0000,
        delay: 5,
        is_declared: false,
    }
}

fn video(track: Track, tier: Tier, codec: Codec) -> SenderSettings {
    let (mid, number) = if track == Track::Screen { ("1", 200) } else { ("2", 300) };
    let (rid, add) = if tier == Tier::Full { ("h", 0) } else { ("l", 10) };
    SenderSettings {
        mid,
        rid: Some(rid),
        encoding: Encoding { track, tier, codec },
        ssrc: number + add,
        rtx: Some(number + add + 1),
        interval: if tier == Tier::Full { 33 } else { 66 },
        packets: if tier == Tier::Full { 9 } else { 2 },
        first_number: 65_000,
        first_timestamp: u32::MAX - 90_000 * (1 + add),
        delay: 25,
        is_declared: false,
    }
}

/// Audio, and one encoding of the screen.
fn usual(codec: Codec) -> Vec<SenderSettings> {
    vec![audio(), SenderSettings { rid: None, ..video(Track::Screen, Tier::Full, codec) }]
}

const AUDIO: Encoding = Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus };
const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };
