//! Finds video sources that have stopped, for example an unplugged camera or a screen that is no longer shared. Pure.
//!
//! A source has stopped when it delivers no pictures. A still screen delivers the same picture again and again.

use std::time::Duration;

use crate::protocol::channel::{Stopped, Unsent};
use crate::rtp::Track;

/// A source without a picture for this many seconds has stopped. Seconds are counted by calls, not by the clock, so
/// that a suspended process does not report its sources as stopped.
const STOPPED_SECONDS: u32 = 3;

/// How many seconds the first picture may take. Some cameras and encoders start slowly.
const FIRST_SECONDS: u32 = 8;

/// How many pictures in a row a source with a low frame rate may miss.
const LEFT_OUT: u32 = 3;

/// The state of a source.
#[derive(Debug, Clone, Copy)]
struct Source {
    track: Track,
    pictures: u64,
    silent_seconds: u32,
    stopped: bool,
    /// Whether nobody has sent the source yet. Its start and its end are no news.
    is_unsent: bool,
}

/// The video sources of a capture.
#[derive(Debug, Default)]
pub(super) struct SourceMonitor(Vec<Source>);

impl SourceMonitor {
    /// To be called once a second. `pulses` has for each source the number of pictures so far, and the announced time
    /// between two pictures. Returns the sources whose state has changed, and whether they have stopped.
    pub(super) fn second(&mut self, pulses: impl Iterator<Item = (Track, u64, Duration)>) -> Vec<(Track, bool)> {
        let mut changed = Vec::new();
        for (track, pictures, interval) in pulses {
            let known = self.0.iter().position(|source| source.track == track);
            let at = known.unwrap_or_else(|| {
                self.0.push(Source::new(track));
                self.0.len() - 1
            });
            let Some(source) = self.0.get_mut(at) else { continue };
            let lives = std::mem::replace(&mut source.pictures, pictures) != pictures;
            source.silent_seconds = if lives { 0 } else { source.silent_seconds.saturating_add(1) };
            let usual = if pictures > 0 { STOPPED_SECONDS } else { FIRST_SECONDS };
            let slow = (interval * LEFT_OUT).as_secs().try_into().unwrap_or(u32::MAX);
            let stopped = source.silent_seconds >= usual.max(slow);
            let is_unsent = source.is_unsent;
            source.is_unsent &= stopped;
            if std::mem::replace(&mut source.stopped, stopped) != stopped && !is_unsent {
                changed.push((track, stopped));
            }
        }
        changed
    }

    /// The sources of these tracks have ended. One without a picture so far has not been sent. Returns those that had
    /// not stopped before.
    pub(super) fn end(&mut self, tracks: impl Iterator<Item = Track>) -> Vec<(Track, bool)> {
        let tracks: Vec<Track> = tracks.filter(|track| track.is_video()).collect();
        let mut changed = Vec::new();
        for track in &tracks {
            if self.0.iter().all(|source| source.track != *track) {
                let (stopped, is_unsent) = (true, true);
                self.0.push(Source { stopped, is_unsent, ..Source::new(*track) });
            }
        }
        for source in self.0.iter_mut().filter(|source| tracks.contains(&source.track)) {
            source.silent_seconds = u32::MAX;
            if !std::mem::replace(&mut source.stopped, true) {
                changed.push((source.track, true));
            }
        }
        changed
    }

    /// The sources that have stopped.
    pub(super) fn stopped(&self) -> Stopped {
        let has = |track| self.0.iter().any(|source| source.track == track && source.stopped);
        let is_unsent = |track| self.0.iter().any(|source| source.track == track && source.is_unsent);
        let unsent = Unsent { screen: is_unsent(Track::Screen), camera: is_unsent(Track::Camera) };
        Stopped { screen: has(Track::Screen), camera: has(Track::Camera), unsent }
    }
}

impl Source {
    /// A source that has just begun.
    fn new(track: Track) -> Self {
        Self { track, pictures: 0, silent_seconds: 0, stopped: false, is_unsent: false }
    }
}

/// Whether the source of this track has stopped. Audio sources are not monitored.
pub(super) fn has_stopped(stopped: Stopped, track: Track) -> bool {
    match track {
        Track::Audio => false,
        Track::Screen => stopped.screen,
        Track::Camera => stopped.camera,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_ANNOUNCED: Duration = Duration::ZERO;

    /// Monitors a camera: the seconds in which its state changes, and whether it has stopped then.
    fn monitor(pictures: impl IntoIterator<Item = u64>, interval: Duration) -> Vec<(usize, bool)> {
        let mut sources = SourceMonitor::default();
        let mut changes = Vec::new();
        for (second, count) in pictures.into_iter().enumerate() {
            let changed = sources.second(
                [(Track::Camera, count, interval), (Track::Screen, second as u64 + 1, NOT_ANNOUNCED)].into_iter(),
            );
            changes.extend(changed.into_iter().map(|(track, stopped)| {
                assert_eq!(track, Track::Camera, "the screen delivers pictures");
                assert_eq!(sources.stopped(), Stopped { camera: stopped, ..Stopped::default() });
                assert!(has_stopped(sources.stopped(), Track::Camera) == stopped);
                (second, stopped)
            }));
        }
        changes
    }

    #[test]
    fn a_camera_stops_after_three_seconds_and_returns_with_its_next_picture() {
        assert_eq!(monitor([30, 60, 60, 60, 60, 60, 60, 61, 90], NOT_ANNOUNCED), [(4, true), (7, false)]);
        assert_eq!(monitor([30, 30, 30, 31, 31, 31, 32], NOT_ANNOUNCED), [], "slow is not stopped");
    }

    #[test]
    fn a_source_that_has_ended_stops_at_once_and_returns_with_its_next_picture() {
        let mut sources = SourceMonitor::default();
        assert_eq!(sources.second([(Track::Screen, 30, NOT_ANNOUNCED)].into_iter()), []);
        assert_eq!(sources.end([Track::Audio, Track::Screen].into_iter()), [(Track::Screen, true)]);
        assert_eq!(sources.end([Track::Screen].into_iter()), []);
        assert_eq!(sources.second([(Track::Screen, 30, NOT_ANNOUNCED)].into_iter()), []);
        assert_eq!(sources.second([(Track::Screen, 31, NOT_ANNOUNCED)].into_iter()), [(Track::Screen, false)]);
    }

    #[test]
    fn the_first_picture_may_take_longer() {
        assert_eq!(monitor([0; 7], NOT_ANNOUNCED), []);
        assert_eq!(monitor([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], NOT_ANNOUNCED), [(7, true), (9, false)]);
    }

    #[test]
    fn a_source_that_announces_a_low_frame_rate_gets_more_time() {
        let every_five = (0..60).map(|second| 1 + second / 5);
        assert_eq!(monitor(every_five, Duration::from_secs(5)), []);
        assert_eq!(monitor([1; 20], Duration::from_secs(5)), [(15, true)]);
    }
}
