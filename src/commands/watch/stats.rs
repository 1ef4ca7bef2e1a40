//! Statistics of a student: rates of the last second, and the totals of the run for `--expect`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::diagnosis::TrackSecond;
use crate::expect::Run;
use crate::media::{Render, TrackFormat, TrackStats};
use crate::report::WatchStats;
use crate::rtp::Track;
use crate::viewer::ViewerStats;

/// A picture may stand still for this long at the end of a lecture. After that it is a freeze.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A gap between two renders that is at least this long is a freeze: the shortest freeze at 30 pictures a second.
const MIN_GAP: Duration = Duration::from_millis(183);

/// Received bytes and packets of each track, counted where packets arrive.
#[derive(Debug, Default)]
pub(super) struct Received([(AtomicU64, AtomicU64); 3]);

impl Received {
    /// Counts a packet.
    pub(super) fn count(&self, track: Track, bytes: usize) {
        let (all_bytes, packets) = &self.0[track as usize];
        all_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        packets.fetch_add(1, Ordering::Relaxed);
    }

    fn bytes(&self, track: Track) -> u64 {
        self.0[track as usize].0.load(Ordering::Relaxed)
    }

    fn packets(&self, track: Track) -> u64 {
        self.0[track as usize].1.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    frames: u64,
    bytes: u64,
    packets: u64,
    lost: u64,
    skipped: u64,
}

/// The statistics of the last second.
#[derive(Debug, Default)]
pub(super) struct LastSecond {
    /// For the status line and scripts, one for each track.
    pub(super) stats: Vec<WatchStats>,
    /// For the diagnosis, one for each track.
    pub(super) tracks: Vec<TrackSecond>,
    /// Packets that were requested again.
    pub(super) nacked: u64,
}

/// How long the first frame of a track took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstFrameDelay {
    /// Since teacher and student were both in the room.
    pub(super) since_teacher: Duration,
    /// Since the start of this process.
    pub(super) since_start: Duration,
}

/// Collects the statistics of a student.
#[derive(Debug)]
pub(super) struct StatsCollector {
    begun: Instant,
    /// Since when this student and the current teacher are both in the room.
    taught: Option<Instant>,
    received: Arc<Received>,
    tracks: Vec<Track>,
    before: [Totals; 3],
    stepped: Option<Instant>,
    /// The first picture of the run: its time, its delay, and the bytes before it.
    first: Option<(Instant, FirstFrameDelay, u64)>,
    ended: Option<Instant>,
    /// The gap since the last render, which had a picture.
    gap: Option<Gap>,
    /// The sums of earlier renders, of the main track.
    earlier: Run,
    viewers: ViewerStats,
    viewer_before: ViewerStats,
    size: Option<(u32, u32)>,
}

impl StatsCollector {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            taught: None,
            received: Arc::default(),
            tracks: Vec::new(),
            before: [Totals::default(); 3],
            stepped: None,
            first: None,
            ended: None,
            gap: None,
            earlier: Run::default(),
            viewers: ViewerStats::default(),
            viewer_before: ViewerStats::default(),
            size: None,
        }
    }

    /// The counter of arriving packets.
    pub(super) fn received(&self) -> Arc<Received> {
        Arc::clone(&self.received)
    }

    /// A new teacher is in the room.
    pub(super) fn teacher_joined(&mut self) {
        self.taught = Some(Instant::now());
    }

    /// A render starts.
    pub(super) fn render_started(&mut self, formats: &[TrackFormat]) {
        self.tracks = formats.iter().map(|format| format.track).collect();
        for before in &mut self.before {
            (before.frames, before.lost, before.skipped) = (0, 0, 0);
        }
    }

    /// A render ends: adds its totals to the run. A picture that stands still at the end is a freeze, unless the
    /// lecture is over and its end was reported within [`END_WITHIN`].
    pub(super) fn render_ended(&mut self, render: &Render, is_over: bool) {
        let Some(main) = self.main() else { return };
        let stats = render.stats(main);
        self.see(stats);
        let frozen = stats.frozen.filter(|frozen| !is_over || *frozen > END_WITHIN);
        self.earlier = with(self.earlier, &stats, frozen);
        let now = Instant::now();
        self.ended = Some(now);
        if self.first.is_some() && stats.frames_decoded > 0 && !is_over {
            let counted = frozen.is_some() || stats.is_withheld;
            self.gap = Some(Gap { since: now, counted });
        }
    }

    /// The first frame of a track arrived from the current teacher.
    pub(super) fn first_frame(&mut self, track: Track) -> FirstFrameDelay {
        let now = Instant::now();
        let after =
            FirstFrameDelay { since_teacher: now - self.taught.unwrap_or(self.begun), since_start: now - self.begun };
        if self.main() == Some(track) && self.first.is_none() {
            self.first = Some((now, after, self.received.bytes(track)));
        }
        if self.main() == Some(track)
            && let Some(gap) = self.gap.take()
        {
            self.earlier = gap.until(now, self.earlier);
        }
        after
    }

    /// The track that expectations refer to: the screen, else the camera, else the audio.
    fn main(&self) -> Option<Track> {
        [Track::Screen, Track::Camera, Track::Audio].into_iter().find(|track| self.tracks.contains(track))
    }

    fn see(&mut self, stats: TrackStats) {
        if stats.width > 0 {
            self.size = Some((stats.width, stats.height));
        }
    }

    /// The statistics of the second that ends now.
    pub(super) fn step(&mut self, render: &Render, viewer: ViewerStats) -> LastSecond {
        let now = Instant::now();
        let seconds = self.stepped.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        // A new connection counts from 0.
        let grown = |now: u64, before: u64| if now >= before { now - before } else { now };
        let nacked = grown(viewer.nacks, self.viewer_before.nacks);
        let mut last = LastSecond { nacked, ..LastSecond::default() };
        self.viewers.nacks += last.nacked;
        self.viewers.plis += grown(viewer.plis, self.viewer_before.plis);
        self.viewer_before = viewer;
        for track in self.tracks.clone() {
            let stats = render.stats(track);
            let now = Totals {
                frames: stats.frames_decoded,
                bytes: self.received.bytes(track),
                packets: self.received.packets(track),
                lost: stats.lost,
                skipped: stats.skipped,
            };
            let before = std::mem::replace(&mut self.before[track as usize], now);
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            if self.main() == Some(track) {
                self.see(stats);
            }
            last.tracks.push(TrackSecond {
                track,
                packets: now.packets.saturating_sub(before.packets),
                lost: now.lost.saturating_sub(before.lost),
                skipped: now.skipped.saturating_sub(before.skipped),
            });
            let frozen = stats.freeze_total + stats.withheld + stats.frozen.unwrap_or_default();
            last.stats.push(WatchStats {
                track,
                fps: rate(now.frames, before.frames),
                width: stats.width,
                height: stats.height,
                kbps: rate(now.bytes, before.bytes) * 8.0 / 1000.0,
                lost: stats.lost,
                nacks: self.viewers.nacks,
                plis: self.viewers.plis,
                freezes: stats.freezes + stats.withholdings + u64::from(stats.frozen.is_some()),
                freeze_ms: millis(frozen),
                withheld_ms: millis(stats.withheld),
                skipped: stats.skipped,
                concealed_ms: millis(stats.concealed),
                delay_ms: millis(render.delay()),
                jitter_ms: stats.jitter_ms.into(),
            });
        }
        last
    }

    /// The totals of the whole run.
    pub(super) fn run(&self) -> Run {
        let Some((first, delay, bytes_before)) = self.first else { return Run::default() };
        let bytes = self.main().map_or(0, |track| self.received.bytes(track).saturating_sub(bytes_before));
        let sum = match (self.gap, self.ended) {
            (Some(gap), Some(ended)) => gap.until(ended, self.earlier),
            _ => self.earlier,
        };
        Run {
            bytes,
            size: self.size,
            first_frame: Some(delay.since_teacher),
            start_to_frame: Some(delay.since_start),
            live: self.ended.map_or(Duration::ZERO, |ended| ended - first),
            ..sum
        }
    }
}

/// Adds the totals of a render to a run. `frozen` is how long its picture stood still at its end.
fn with(sum: Run, stats: &TrackStats, frozen: Option<Duration>) -> Run {
    Run {
        frames: sum.frames + stats.frames_decoded,
        lost: sum.lost + stats.lost,
        freezes: sum.freezes + stats.freezes + stats.withholdings + u64::from(frozen.is_some()),
        frozen: sum.frozen + stats.freeze_total + stats.withheld + frozen.unwrap_or_default(),
        withheld: sum.withheld + stats.withheld,
        ..sum
    }
}

/// The time between two renders in which there is no picture.
#[derive(Debug, Clone, Copy)]
struct Gap {
    since: Instant,
    /// Whether the picture was already frozen before, so that the freeze has been counted.
    counted: bool,
}

impl Gap {
    /// Adds the gap, which ends at `now`, to a run.
    fn until(self, now: Instant, sum: Run) -> Run {
        let time = now.saturating_duration_since(self.since);
        if time < MIN_GAP {
            return sum;
        }
        Run { freezes: sum.freezes + u64::from(!self.counted), frozen: sum.frozen + time, ..sum }
    }
}

/// Milliseconds as `u64`, which holds 584 million years.
fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_picture_is_a_freeze_for_any_reason() {
        let seconds = Duration::from_secs;
        let withheld =
            TrackStats { frames_decoded: 300, withholdings: 1, withheld: seconds(8), ..TrackStats::default() };
        let run = Run { live: seconds(20), ..with(Run::default(), &withheld, None) };
        for (met, text) in
            [(false, "freezes==0"), (true, "freezes==1"), (true, "freeze_percent==40"), (true, "withheld_percent==40")]
        {
            let expectation: crate::expect::Expectation = text.parse().unwrap();
            assert_eq!(expectation.check(run.value(expectation.metric())).is_ok(), met, "{text}");
        }
        let broken = TrackStats { freezes: 1, freeze_total: seconds(2), ..withheld };
        let run = with(run, &broken, Some(seconds(3)));
        assert_eq!((run.freezes, run.frozen, run.withheld), (4, seconds(21), seconds(16)));
    }

    #[test]
    fn a_gap_between_two_renders_is_one_freeze() {
        let since = Instant::now();
        let at = |ms| since + Duration::from_millis(ms);
        let sum = Run { freezes: 2, frozen: Duration::from_secs(1), ..Run::default() };
        let found = |counted, ms| {
            let run = Gap { since, counted }.until(at(ms), sum);
            (run.freezes, run.frozen.as_millis())
        };
        assert_eq!(found(false, 100), (2, 1_000), "too short to be seen");
        assert_eq!(found(false, 8_000), (3, 9_000));
        assert_eq!(found(true, 8_000), (2, 9_000), "the same freeze continues");
    }
}
