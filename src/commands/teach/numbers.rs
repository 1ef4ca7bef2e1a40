//! The numbers of a lecture: for the status line and scripts once a second, and for `/metrics`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::media::Capture;
use crate::report::{EncodingMetrics, LectureMetrics, TeachStats, Watched};
use crate::rtp::{Codec, Delays, Encoding, Track};
use crate::sfu::{Queue, SfuStats};

/// Totals of a second ago, and what has grown since.
#[derive(Default)]
pub(super) struct Rates {
    at: Option<Instant>,
    frames: HashMap<Encoding, u64>,
    frame_bytes: u64,
    bytes: u64,
    dropped: u64,
    refused: u64,
    send_delay: Delays,
    sound_delay: Delays,
}

/// The numbers of the last second.
pub(super) struct Second {
    /// For the status line and scripts.
    pub(super) stats: TeachStats,
    /// For a monitoring system; the queues are missing.
    pub(super) metrics: LectureMetrics,
    /// Frames that were left out: late, or refused by the kernel.
    pub(super) left_out: u64,
}

impl Rates {
    /// The numbers of the second that ends now, `lasted` after the beginning of the lecture.
    pub(super) fn step(&mut self, numbers: &SfuStats, capture: &Capture, lasted: Duration) -> Second {
        let now = Instant::now();
        let seconds = self.at.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        let class = capture.tracks();
        let main = if class.iter().any(|(track, _)| *track == Track::Screen) { Track::Screen } else { Track::Camera };
        let mut best: Vec<Encoding> = capture.encodings();
        best.dedup_by_key(|encoding| encoding.track);
        let before = std::mem::replace(&mut self.frames, numbers.frames.clone());
        let fps = |encoding: &Encoding| {
            let of = |all: &HashMap<Encoding, u64>| all.get(encoding).copied().unwrap_or(0);
            of(&numbers.frames).saturating_sub(of(&before)) as f64 / seconds
        };
        let rate = |now: u64, before: &mut u64| {
            let grown = now.saturating_sub(std::mem::replace(before, now));
            grown as f64 / seconds
        };
        let bytes_of_best = best.iter().filter_map(|encoding| numbers.frame_bytes.get(encoding)).sum();
        let encodings = capture.encodings();
        let encode_ms = encodings.iter().filter(|encoding| encoding.track == main);
        let stats = TeachStats {
            students: numbers.students,
            fps: best.iter().filter(|encoding| encoding.track == main).map(fps).sum(),
            kbps_per_student: rate(bytes_of_best, &mut self.frame_bytes) * 8.0 / 1000.0,
            kbps_up: rate(numbers.bytes, &mut self.bytes) * 8.0 / 1000.0,
            packets: numbers.packets,
            dropped: numbers.dropped,
            // Of the best of those that somebody watches.
            encode_ms: encode_ms.copied().find_map(|encoding| capture.encode_ms(encoding)).map(f64::from),
            watched: watched(&numbers.watched, &class),
            key_frames: numbers.key_frames.iter().filter(|(of, _)| of.track.is_video()).map(|(_, count)| count).sum(),
        };
        let made = encodings.iter().map(|encoding| {
            let of = |all: &HashMap<Encoding, u64>| all.get(encoding).copied().unwrap_or(0);
            let made = EncodingMetrics {
                frames: of(&numbers.frames),
                key_frames: of(&numbers.key_frames),
                key_requests: of(&numbers.key_requests),
                bytes: of(&numbers.frame_bytes),
                fps: fps(encoding),
                delay: capture.encode_ms(*encoding).map(|ms| f64::from(ms) / 1000.0),
            };
            (*encoding, made)
        });
        let mut metrics = lecture(numbers, lasted);
        metrics.encodings = made.collect();
        metrics.send_delay = HashMap::from([
            ("all", quantiles(&numbers.send_delay, &mut self.send_delay)),
            ("audio", quantiles(&numbers.sound_delay, &mut self.sound_delay)),
        ]);
        Second { stats, metrics, left_out: self.left_out(numbers) }
    }

    fn left_out(&mut self, numbers: &SfuStats) -> u64 {
        let dropped = numbers.dropped.saturating_sub(std::mem::replace(&mut self.dropped, numbers.dropped));
        let refused = numbers.refused.saturating_sub(std::mem::replace(&mut self.refused, numbers.refused));
        if refused > 0 { dropped.max(1) } else { dropped }
    }
}

/// Median and 99th percentile since `before`, in seconds.
fn quantiles(now: &Delays, before: &mut Delays) -> [Option<f64>; 2] {
    let recent = now.since(before);
    *before = now.clone();
    crate::report::QUANTILES.map(|share| recent.percentile(share).map(|delay| delay.as_secs_f64()))
}

/// What the SFU counts.
fn lecture(numbers: &SfuStats, lasted: Duration) -> LectureMetrics {
    LectureMetrics {
        seconds: lasted.as_secs_f64(),
        connecting: numbers.connecting,
        watching: numbers.students,
        disturbed: numbers.disturbed,
        viewers: numbers.watched.clone(),
        packets: numbers.packets,
        bytes: numbers.bytes,
        send_calls: numbers.calls,
        refused: numbers.refused,
        lost: numbers.totals.lost,
        nacked: numbers.totals.nacked,
        resent: numbers.totals.resent,
        picture_losses: numbers.totals.picture_losses,
        tier_changes: numbers.totals.changes,
        dropped: numbers.dropped,
        unread: numbers.totals.unread,
        ..LectureMetrics::default()
    }
}

/// Queues, as they are reported.
pub(super) fn queues(queues: &[Queue]) -> Vec<(&'static str, usize, usize)> {
    queues.iter().map(|queue| (queue.name, queue.length, queue.capacity)).collect()
}

/// What students watch, as it is reported of a class that goes with these codecs.
fn watched(numbers: &[(Encoding, usize)], class: &[(Track, Codec)]) -> Vec<Watched> {
    let report = |&(encoding, students): &(Encoding, usize)| Watched {
        encoding,
        students,
        is_class_codec: class.contains(&(encoding.track, encoding.codec)),
    };
    numbers.iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_the_last_second() {
        let (mut now, mut before) = (Delays::default(), Delays::default());
        now.record(Duration::from_millis(500), 100);
        assert!(quantiles(&now, &mut before)[0].unwrap() > 0.4);
        now.record(Duration::from_millis(2), 100);
        let [median, most] = quantiles(&now, &mut before).map(Option::unwrap);
        assert!(median < 0.003 && most < 0.003, "{median} {most}");
        assert_eq!(quantiles(&now, &mut before), [None, None], "nothing was sent");
    }

    #[test]
    fn frames_that_the_kernel_refuses_are_told_too() {
        let mut rates = Rates::default();
        let numbers = |dropped, refused| SfuStats { dropped, refused, ..SfuStats::default() };
        let left_out =
            [(0, 0), (5, 0), (5, 3), (5, 3)].map(|(dropped, refused)| rates.left_out(&numbers(dropped, refused)));
        assert_eq!(left_out, [0, 5, 1, 0]);
    }
}
