//! What has arrived from the other participants, from the start to the end. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::expect::Metric;
use crate::id::UserId;
use crate::media::TrackStats;
use crate::rtp::Track;

/// A picture may stand still for this long before its end. After that it is a freeze.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Frames per second mean nothing over a shorter time.
const LEAST_INTERVAL: Duration = Duration::from_millis(500);

/// The tracks of all who have taken part.
#[derive(Debug, Default)]
pub(in crate::commands) struct Received {
    tracks: BTreeMap<(UserId, Track), Arrived>,
    /// The most participants at one time from whom something arrived.
    most: usize,
}

/// A track of a participant.
#[derive(Debug, Default)]
struct Arrived {
    /// Of the render that runs, at the last look.
    now: Counters,
    /// Of the renders before.
    earlier: Counters,
    /// The last look that counts, and the frames until then, if the track was sent then.
    looked: Option<(Instant, u64)>,
    /// Frames between two looks at a track that was sent, and the time between them.
    frames: u64,
    time: Duration,
    /// Width and height of the last picture in pixels.
    size: (u32, u32),
}

#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    frames: u64,
    lost: u64,
    freezes: u64,
    frozen: Duration,
    skipped: u64,
}

impl Counters {
    fn of(stats: &TrackStats) -> Self {
        let frozen = stats.frozen.filter(|frozen| *frozen > END_WITHIN);
        Self {
            frames: stats.frames_decoded,
            lost: stats.lost,
            freezes: stats.freezes + u64::from(frozen.is_some()),
            frozen: stats.freeze_total + frozen.unwrap_or_default(),
            skipped: stats.skipped,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            lost: self.lost + other.lost,
            freezes: self.freezes + other.freezes,
            frozen: self.frozen + other.frozen,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Arrived {
    fn all(&self) -> Counters {
        self.earlier.plus(self.now)
    }

    /// Counts the frames and the time since the last look, from the first frame on.
    fn count(&mut self, now: Instant) {
        let frames = self.all().frames;
        match self.looked {
            Some((at, before)) if now.saturating_duration_since(at) >= LEAST_INTERVAL => {
                self.frames += frames - before;
                self.time += now - at;
                self.looked = Some((now, frames));
            }
            None if frames > 0 => self.looked = Some((now, frames)),
            _ => {}
        }
    }
}

impl Received {
    /// Looks at the tracks that are sent at present, about once a second. Returns whether a decoder has left out frames
    /// since the last look.
    pub(super) fn look(&mut self, now: Instant, tracks: &[(UserId, Track, TrackStats)]) -> bool {
        let (mut arriving, mut has_skipped) = (BTreeSet::new(), false);
        for (user, track, stats) in tracks {
            let arrived = self.tracks.entry((user.clone(), *track)).or_default();
            let counters = Counters::of(stats);
            // A new render counts from 0.
            if counters.frames < arrived.now.frames || counters.lost < arrived.now.lost {
                arrived.earlier = arrived.all();
                arrived.now = Counters::default();
            }
            let grown = counters.frames - arrived.now.frames;
            if grown > 0 {
                arriving.insert(user);
            }
            has_skipped |= counters.skipped > arrived.now.skipped;
            arrived.now = counters;
            arrived.count(now);
            if stats.width > 0 {
                arrived.size = (stats.width, stats.height);
            }
        }
        for ((user, track), arrived) in &mut self.tracks {
            if !tracks.iter().any(|(known, of, _)| (known, of) == (user, track)) {
                arrived.looked = None;
            }
        }
        self.most = self.most.max(arriving.len());
        has_skipped
    }

    /// The value of a metric: of the worst picture, or the sum of all. `None` if nothing arrived that has one.
    pub(in crate::commands) fn value(&self, metric: Metric) -> Option<f64> {
        let all = || self.tracks.values().filter(|arrived| arrived.all().frames > 0);
        let videos = || self.tracks.iter().filter(|((_, track), _)| track.is_video()).map(|(_, arrived)| arrived);
        let videos = || videos().filter(|arrived| arrived.all().frames > 0);
        let share = |of: f64, arrived: &Arrived| {
            let seconds = arrived.time.as_secs_f64();
            (seconds > 0.0).then(|| of / seconds)
        };
        match metric {
            Metric::Fps => videos().filter_map(|arrived| share(arrived.frames as f64, arrived)).reduce(f64::min),
            Metric::FreezePercent => {
                let percent = |arrived: &Arrived| share(arrived.all().frozen.as_secs_f64() * 100.0, arrived);
                videos().filter_map(percent).reduce(f64::max)
            }
            Metric::Freezes => videos().map(|arrived| arrived.all().freezes as f64).reduce(|a, b| a + b),
            Metric::Lost => all().map(|arrived| arrived.all().lost as f64).reduce(|a, b| a + b),
            Metric::Width => videos().map(|arrived| f64::from(arrived.size.0)).reduce(f64::min),
            Metric::Height => videos().map(|arrived| f64::from(arrived.size.1)).reduce(f64::min),
            Metric::Participants => Some(self.most as f64),
            Metric::Kbps | Metric::WithheldPercent | Metric::FirstFrameMs | Metric::StartToFrameMs => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: u32) -> UserId {
        user.to_string().parse().unwrap()
    }

    fn stats(frames_decoded: u64, lost: u64) -> TrackStats {
        TrackStats { frames_decoded, lost, width: 640, height: 360, ..TrackStats::default() }
    }

    #[test]
    fn the_worst_picture_counts_and_losses_are_summed() {
        let (start, mut received) = (Instant::now(), Received::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(received.value(Metric::Fps), None);
        assert_eq!(received.value(Metric::Participants), Some(0.0));
        for second in 0..=10 {
            let (fast, slow) = (stats(30 * second, second), stats(12 * second, 0));
            let tracks = [
                (user(1001), Track::Camera, fast),
                (user(1002), Track::Camera, slow),
                (user(1002), Track::Audio, fast),
            ];
            assert!(!received.look(at(second), &tracks));
            // The last look may follow at once.
            received.look(at(second) + Duration::from_millis(5), &tracks);
        }
        let value = |metric| received.value(metric).unwrap();
        assert_eq!((value(Metric::Fps), value(Metric::Lost), value(Metric::Width)), (12.0, 20.0, 640.0));
        assert_eq!((value(Metric::Participants), value(Metric::Freezes)), (2.0, 0.0));
    }

    #[test]
    fn a_picture_that_is_not_sent_for_a_while_is_no_slow_picture() {
        let (start, mut received) = (Instant::now(), Received::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let camera = |frames, lost| [(user(1001), Track::Camera, stats(frames, lost))];
        received.look(at(0), &camera(30, 5));
        received.look(at(1), &camera(60, 5));
        received.look(at(2), &[]);
        // Another render after a minute.
        received.look(at(60), &camera(10, 0));
        let frozen = TrackStats { frozen: Some(Duration::from_secs(3)), skipped: 4, ..stats(40, 1) };
        assert!(received.look(at(61), &[(user(1001), Track::Camera, frozen)]), "frames were left out");
        let value = |metric| received.value(metric).unwrap();
        assert_eq!((value(Metric::Fps), value(Metric::Lost), value(Metric::Freezes)), (30.0, 6.0, 1.0));
        assert_eq!((value(Metric::FreezePercent), value(Metric::Participants)), (150.0, 1.0), "three of two seconds");
    }
}
