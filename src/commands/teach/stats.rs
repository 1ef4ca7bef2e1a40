//! The statistics of a lecture: once a second for the status line and scripts, and for `/metrics`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::source::Source;
use crate::report::{EncodingMetrics, LectureMetrics, TeachStats, Watched};
use crate::rtp::{Codec, Delays, Encoding, Track};
use crate::sfu::{Queue, SfuStats};

/// The totals of a second ago, which turn the SFU's totals into rates.
#[derive(Default)]
pub(super) struct Rates {
    at: Option<Instant>,
    frames: HashMap<Encoding, u64>,
    frame_bytes: u64,
    bytes: u64,
    dropped: u64,
    refused: u64,
    send_delay: Delays,
    audio_delay: Delays,
}

/// The statistics of the last second.
pub(super) struct LastSecond {
    /// For the status line and scripts.
    pub(super) stats: TeachStats,
    /// For a monitoring system, without the queues.
    pub(super) metrics: LectureMetrics,
    /// Frames that were not sent, because they were late or the kernel refused them.
    pub(super) dropped: u64,
}

impl Rates {
    /// The statistics of the second that ends now; `duration` is the time since the start of the lecture.
    pub(super) fn step(&mut self, sfu: &SfuStats, source: &Source, duration: Duration) -> LastSecond {
        let now = Instant::now();
        let seconds = self.at.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        let tracks = source.tracks();
        let main = if tracks.iter().any(|(track, _)| *track == Track::Screen) { Track::Screen } else { Track::Camera };
        let mut best: Vec<Encoding> = source.encodings();
        best.dedup_by_key(|encoding| encoding.track);
        let before = std::mem::replace(&mut self.frames, sfu.frames.clone());
        let fps = |encoding: &Encoding| {
            let of = |all: &HashMap<Encoding, u64>| all.get(encoding).copied().unwrap_or(0);
            of(&sfu.frames).saturating_sub(of(&before)) as f64 / seconds
        };
        let rate = |now: u64, before: &mut u64| {
            let grown = now.saturating_sub(std::mem::replace(before, now));
            grown as f64 / seconds
        };
        let bytes_of_best = best.iter().filter_map(|encoding| sfu.frame_bytes.get(encoding)).sum();
        let encodings = source.encodings();
        let encode_ms = encodings.iter().filter(|encoding| encoding.track == main);
        let stats = TeachStats {
            students: sfu.students,
            fps: best.iter().filter(|encoding| encoding.track == main).map(fps).sum(),
            kbps_per_student: rate(bytes_of_best, &mut self.frame_bytes) * 8.0 / 1000.0,
            kbps_up: rate(sfu.bytes, &mut self.bytes) * 8.0 / 1000.0,
            packets: sfu.packets,
            dropped: sfu.dropped,
            // The best encoding that somebody watches.
            encode_ms: encode_ms.copied().find_map(|encoding| source.encode_ms(encoding)).map(f64::from),
            watched: watched(&sfu.watched, &tracks),
            stage: Vec::new(),
            whip: None,
            janus: None,
            key_frames: sfu.key_frames.iter().filter(|(of, _)| of.track.is_video()).map(|(_, count)| count).sum(),
        };
        let made = encodings.iter().map(|encoding| {
            let of = |all: &HashMap<Encoding, u64>| all.get(encoding).copied().unwrap_or(0);
            let made = EncodingMetrics {
                frames: of(&sfu.frames),
                key_frames: of(&sfu.key_frames),
                key_requests: of(&sfu.key_requests),
                bytes: of(&sfu.frame_bytes),
                fps: fps(encoding),
                delay: source.encode_ms(*encoding).map(|ms| f64::from(ms) / 1000.0),
            };
            (*encoding, made)
        });
        let mut metrics = lecture(sfu, duration);
        metrics.encodings = made.collect();
        metrics.send_delay = HashMap::from([
            ("all", quantiles(&sfu.send_delay, &mut self.send_delay)),
            ("audio", quantiles(&sfu.sound_delay, &mut self.audio_delay)),
        ]);
        LastSecond { stats, metrics, dropped: self.dropped(sfu) }
    }

    fn dropped(&mut self, sfu: &SfuStats) -> u64 {
        let dropped = sfu.dropped.saturating_sub(std::mem::replace(&mut self.dropped, sfu.dropped));
        let refused = sfu.refused.saturating_sub(std::mem::replace(&mut self.refused, sfu.refused));
        if refused > 0 { dropped.max(1) } else { dropped }
    }
}

/// Median and 99th percentile since `before`, in seconds.
fn quantiles(now: &Delays, before: &mut Delays) -> [Option<f64>; 2] {
    let recent = now.since(before);
    *before = now.clone();
    crate::report::QUANTILES.map(|share| recent.percentile(share).map(|delay| delay.as_secs_f64()))
}

/// The part of the metrics that the SFU counts.
fn lecture(sfu: &SfuStats, duration: Duration) -> LectureMetrics {
    LectureMetrics {
        seconds: duration.as_secs_f64(),
        connecting: sfu.connecting,
        watching: sfu.students,
        disturbed: sfu.disturbed,
        viewers: sfu.watched.clone(),
        packets: sfu.packets,
        bytes: sfu.bytes,
        send_calls: sfu.calls,
        refused: sfu.refused,
        lost: sfu.totals.lost,
        nacked: sfu.totals.nacked,
        resent: sfu.totals.resent,
        picture_losses: sfu.totals.picture_losses,
        tier_changes: sfu.totals.changes,
        dropped: sfu.dropped,
        unread: sfu.totals.unread,
        ..LectureMetrics::default()
    }
}

/// Queues in the form of the metrics: name, length, capacity.
pub(super) fn queues(queues: &[Queue]) -> Vec<(&'static str, usize, usize)> {
    queues.iter().map(|queue| (queue.name, queue.length, queue.capacity)).collect()
}

/// The number of students who watch each encoding. `tracks` are the tracks of the lecture with their codecs.
fn watched(viewers: &[(Encoding, usize)], tracks: &[(Track, Codec)]) -> Vec<Watched> {
    let watched = |&(encoding, students): &(Encoding, usize)| Watched {
        encoding,
        students,
        is_class_codec: tracks.contains(&(encoding.track, encoding.codec)),
    };
    viewers.iter().map(watched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_measured_over_the_last_second() {
        let (mut now, mut before) = (Delays::default(), Delays::default());
        now.record(Duration::from_millis(500), 100);
        assert!(quantiles(&now, &mut before)[0].unwrap() > 0.4);
        now.record(Duration::from_millis(2), 100);
        let [median, most] = quantiles(&now, &mut before).map(Option::unwrap);
        assert!(median < 0.003 && most < 0.003, "{median} {most}");
        assert_eq!(quantiles(&now, &mut before), [None, None], "nothing was sent");
    }

    #[test]
    fn frames_that_the_kernel_refused_count_as_dropped() {
        let mut rates = Rates::default();
        let sfu = |dropped, refused| SfuStats { dropped, refused, ..SfuStats::default() };
        let counted = [(0, 0), (5, 0), (5, 3), (5, 3)].map(|(dropped, refused)| rates.dropped(&sfu(dropped, refused)));
        assert_eq!(counted, [0, 5, 1, 0]);
    }
}
