//! A student's numbers: rates of the last second, and the whole run for `--expect`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::diagnosis::Second;
use crate::expect::Run;
use crate::media::{Render, TrackFormat, TrackStats};
use crate::report::WatchStats;
use crate::rtp::Track;
use crate::viewer::ViewerStats;

/// How soon after the last picture of a lecture its end is told: a picture that stands still for longer was a freeze.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// The shortest time without a picture between two renders that is a freeze: as long as one at 30 pictures a second.
const BLANK_FROM: Duration = Duration::from_millis(183);

/// Bytes and packets that arrived, by track; counted where packets come in.
#[derive(Debug, Default)]
pub(super) struct Arrived([(AtomicU64, AtomicU64); 3]);

impl Arrived {
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
struct Before {
    frames: u64,
    bytes: u64,
    packets: u64,
    lost: u64,
    skipped: u64,
}

/// The numbers of the last second.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// One for each track.
    pub(super) stats: Vec<WatchStats>,
    /// One for each track.
    pub(super) seconds: Vec<Second>,
    /// Packets that were asked for again.
    pub(super) asked: u64,
}

/// How long the first frame of a track took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    /// Since the teacher and this student were both in the room.
    pub(super) teacher: Duration,
    /// Since this process began.
    pub(super) start: Duration,
}

/// All measuring points of a student.
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    /// Since when the teacher of now and this student are both in the room.
    taught: Option<Instant>,
    arrived: Arc<Arrived>,
    tracks: Vec<Track>,
    before: [Before; 3],
    stepped: Option<Instant>,
    /// When the first picture of the run came, how long it took, and the bytes before it.
    first: Option<(Instant, After, u64)>,
    ended: Option<Instant>,
    /// No render has a picture since then, though an earlier one had.
    blank: Option<Blank>,
    /// Of renders that are gone: frames, lost, freezes and their time, of the main track.
    earlier: Run,
    links: ViewerStats,
    link_before: ViewerStats,
    size: Option<(u32, u32)>,
}

impl Meter {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            taught: None,
            arrived: Arc::default(),
            tracks: Vec::new(),
            before: [Before::default(); 3],
            stepped: None,
            first: None,
            ended: None,
            blank: None,
            earlier: Run::default(),
            links: ViewerStats::default(),
            link_before: ViewerStats::default(),
            size: None,
        }
    }

    /// Where arriving packets are counted.
    pub(super) fn arrived(&self) -> Arc<Arrived> {
        Arc::clone(&self.arrived)
    }

    /// A teacher is in the room who was not before.
    pub(super) fn teacher_came(&mut self) {
        self.taught = Some(Instant::now());
    }

    /// A render begins.
    pub(super) fn begin(&mut self, formats: &[TrackFormat]) {
        self.tracks = formats.iter().map(|format| format.track).collect();
        for before in &mut self.before {
            (before.frames, before.lost, before.skipped) = (0, 0, 0);
        }
    }

    /// A render ends: its numbers go into the sum of the run. A picture that stands still at the end is a freeze, unless
    /// the lecture is over and said so at once.
    pub(super) fn end(&mut self, render: &Render, is_over: bool) {
        let Some(main) = self.main() else { return };
        let stats = render.stats(main);
        self.see(stats);
        let frozen = stats.frozen.filter(|frozen| !is_over || *frozen > GOODBYE_WITHIN);
        self.earlier = with(self.earlier, &stats, frozen);
        let now = Instant::now();
        self.ended = Some(now);
        if self.first.is_some() && stats.frames_decoded > 0 && !is_over {
            let counted = frozen.is_some() || stats.is_withheld;
            self.blank = Some(Blank { since: now, counted });
        }
    }

    /// The first frame of a track came, from a teacher who may have been preceded by others.
    pub(super) fn first_frame(&mut self, track: Track) -> After {
        let now = Instant::now();
        let after = After { teacher: now - self.taught.unwrap_or(self.begun), start: now - self.begun };
        if self.main() == Some(track) && self.first.is_none() {
            self.first = Some((now, after, self.arrived.bytes(track)));
        }
        if self.main() == Some(track)
            && let Some(blank) = self.blank.take()
        {
            self.earlier = blank.until(now, self.earlier);
        }
        after
    }

    /// The track that expectations are about: the screen, or the camera, or else the sound.
    fn main(&self) -> Option<Track> {
        [Track::Screen, Track::Camera, Track::Audio].into_iter().find(|track| self.tracks.contains(track))
    }

    fn see(&mut self, stats: TrackStats) {
        if stats.width > 0 {
            self.size = Some((stats.width, stats.height));
        }
    }

    /// The numbers of the last second.
    pub(super) fn step(&mut self, render: &Render, link: ViewerStats) -> Step {
        let now = Instant::now();
        let seconds = self.stepped.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        // A new link counts from 0.
        let grown = |now: u64, before: u64| if now >= before { now - before } else { now };
        let mut step = Step { asked: grown(link.nacks, self.link_before.nacks), ..Step::default() };
        self.links.nacks += step.asked;
        self.links.plis += grown(link.plis, self.link_before.plis);
        self.link_before = link;
        for track in self.tracks.clone() {
            let stats = render.stats(track);
            let now = Before {
                frames: stats.frames_decoded,
                bytes: self.arrived.bytes(track),
                packets: self.arrived.packets(track),
                lost: stats.lost,
                skipped: stats.skipped,
            };
            let before = std::mem::replace(&mut self.before[track as usize], now);
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            if self.main() == Some(track) {
                self.see(stats);
            }
            step.seconds.push(Second {
                track,
                packets: now.packets.saturating_sub(before.packets),
                lost: now.lost.saturating_sub(before.lost),
                skipped: now.skipped.saturating_sub(before.skipped),
            });
            let frozen = stats.freeze_total + stats.withheld + stats.frozen.unwrap_or_default();
            step.stats.push(WatchStats {
                track,
                fps: rate(now.frames, before.frames),
                width: stats.width,
                height: stats.height,
                kbps: rate(now.bytes, before.bytes) * 8.0 / 1000.0,
                lost: stats.lost,
                nacks: self.links.nacks,
                plis: self.links.plis,
                freezes: stats.freezes + stats.withholdings + u64::from(stats.frozen.is_some()),
                freeze_ms: millis(frozen),
                withheld_ms: millis(stats.withheld),
                skipped: stats.skipped,
                concealed_ms: millis(stats.concealed),
                delay_ms: millis(render.delay()),
                jitter_ms: stats.jitter_ms.into(),
            });
        }
        step
    }

    /// The whole run.
    pub(super) fn run(&self) -> Run {
        let Some((first, after, bytes_before)) = self.first else { return Run::default() };
        let bytes = self.main().map_or(0, |track| self.arrived.bytes(track).saturating_sub(bytes_before));
        let sum = match (self.blank, self.ended) {
            (Some(blank), Some(ended)) => blank.until(ended, self.earlier),
            _ => self.earlier,
        };
        Run {
            bytes,
            size: self.size,
            first_frame: Some(after.teacher),
            start_to_frame: Some(after.start),
            live: self.ended.map_or(Duration::ZERO, |ended| ended - first),
            ..sum
        }
    }
}

/// A run with the numbers of one more render in it, whose picture stood still at its end for this time.
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
struct Blank {
    since: Instant,
    /// The picture stood still before, and that was counted as a freeze.
    counted: bool,
}

impl Blank {
    /// The sum with this time, which ends at `now`, in it.
    fn until(self, now: Instant, sum: Run) -> Run {
        let time = now.saturating_duration_since(self.since);
        if time < BLANK_FROM {
            return sum;
        }
        Run { freezes: sum.freezes + u64::from(!self.counted), frozen: sum.frozen + time, ..sum }
    }
}

/// 584 million years and more don't happen.
fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_away_is_a_freeze_whatever_the_reason() {
        let seconds = Duration::from_secs;
        let withheld =
            TrackStats { frames_decoded: 300, withholdings: 1, withheld: seconds(8), ..TrackStats::default() };
        let run = Run { live: seconds(20), ..with(Run::default(), &withheld, None) };
        for (met, text) in
            [(false, "freezes==0"), (true, "freezes==1"), (true, "freeze_percent==40"), (true, "withheld_percent==40")]
        {
            let expectation: crate::expect::Expectation = text.parse().unwrap();
            assert_eq!(expectation.check(&run).is_ok(), met, "{text}");
        }
        let broken = TrackStats { freezes: 1, freeze_total: seconds(2), ..withheld };
        let run = with(run, &broken, Some(seconds(3)));
        assert_eq!((run.freezes, run.frozen, run.withheld), (4, seconds(21), seconds(16)));
    }

    #[test]
    fn the_time_between_two_renders_is_a_freeze_once() {
        let since = Instant::now();
        let at = |ms| since + Duration::from_millis(ms);
        let sum = Run { freezes: 2, frozen: Duration::from_secs(1), ..Run::default() };
        let found = |counted, ms| {
            let run = Blank { since, counted }.until(at(ms), sum);
            (run.freezes, run.frozen.as_millis())
        };
        assert_eq!(found(false, 100), (2, 1_000), "nobody sees so little");
        assert_eq!(found(false, 8_000), (3, 9_000));
        assert_eq!(found(true, 8_000), (2, 9_000), "the freeze before goes on");
    }
}
