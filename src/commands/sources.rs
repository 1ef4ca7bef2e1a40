//! Which sources of pictures have stopped, pure: a camera that was unplugged, a screen that is not shared any more.
//!
//! What counts is whether the source gives pictures, not whether they differ: a still screen goes on giving them.

use std::time::Duration;

use crate::protocol::channel::Stopped;
use crate::rtp::Track;

/// Seconds without a picture, after which a source has stopped. They are counted by looks and not by the clock: a
/// process that was suspended itself knows nothing of its sources.
const STOPPED_SECONDS: u32 = 3;

/// Seconds that the first picture may take: some cameras and encoders start slowly.
const FIRST_SECONDS: u32 = 8;

/// A source that gives a picture now and then may leave out so many.
const LEFT_OUT: u32 = 3;

/// What a source has done by now.
#[derive(Debug, Clone, Copy)]
struct Source {
    track: Track,
    pictures: u64,
    silent_seconds: u32,
    stopped: bool,
}

/// All sources of a teacher.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// A second has passed; `pulses` are the pictures of each source so far, and the time from one to the next that it
    /// has announced. Gives what has changed: the track, and whether it has stopped.
    pub(super) fn second(&mut self, pulses: impl Iterator<Item = (Track, u64, Duration)>) -> Vec<(Track, bool)> {
        let mut changed = Vec::new();
        for (track, pictures, interval) in pulses {
            let known = self.0.iter().position(|source| source.track == track);
            let at = known.unwrap_or_else(|| {
                self.0.push(Source { track, pictures: 0, silent_seconds: 0, stopped: false });
                self.0.len() - 1
            });
            let Some(source) = self.0.get_mut(at) else { continue };
            let lives = std::mem::replace(&mut source.pictures, pictures) != pictures;
            source.silent_seconds = if lives { 0 } else { source.silent_seconds.saturating_add(1) };
            let usual = if pictures > 0 { STOPPED_SECONDS } else { FIRST_SECONDS };
            let slow = (interval * LEFT_OUT).as_secs().try_into().unwrap_or(u32::MAX);
            let stopped = source.silent_seconds >= usual.max(slow);
            if std::mem::replace(&mut source.stopped, stopped) != stopped {
                changed.push((track, stopped));
            }
        }
        changed
    }

    /// All that have stopped.
    pub(super) fn stopped(&self) -> Stopped {
        let has = |track| self.0.iter().any(|source| source.track == track && source.stopped);
        Stopped { screen: has(Track::Screen), camera: has(Track::Camera) }
    }
}

/// Whether the source of this track has stopped. That of sound is not watched.
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

    /// Looks at a camera once a second; the seconds in which its state changed, and to what.
    fn looks(pictures: impl IntoIterator<Item = u64>, interval: Duration) -> Vec<(usize, bool)> {
        let mut sources = Sources::default();
        let mut changes = Vec::new();
        for (second, count) in pictures.into_iter().enumerate() {
            let changed = sources.second(
                [(Track::Camera, count, interval), (Track::Screen, second as u64 + 1, NOT_ANNOUNCED)].into_iter(),
            );
            changes.extend(changed.into_iter().map(|(track, stopped)| {
                assert_eq!(track, Track::Camera, "the screen lives");
                assert_eq!(sources.stopped(), Stopped { camera: stopped, screen: false });
                assert!(has_stopped(sources.stopped(), Track::Camera) == stopped);
                (second, stopped)
            }));
        }
        changes
    }

    #[test]
    fn a_camera_has_stopped_after_three_seconds_and_is_back_with_its_next_picture() {
        assert_eq!(looks([30, 60, 60, 60, 60, 60, 60, 61, 90], NOT_ANNOUNCED), [(4, true), (7, false)]);
        assert_eq!(looks([30, 30, 30, 31, 31, 31, 32], NOT_ANNOUNCED), [], "slow is not stopped");
    }

    #[test]
    fn one_that_has_never_given_a_picture_gets_more_time() {
        assert_eq!(looks([0; 7], NOT_ANNOUNCED), []);
        assert_eq!(looks([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], NOT_ANNOUNCED), [(7, true), (9, false)]);
    }

    #[test]
    fn one_that_has_announced_a_picture_every_five_seconds_is_believed() {
        let every_five = (0..60).map(|second| 1 + second / 5);
        assert_eq!(looks(every_five, Duration::from_secs(5)), []);
        assert_eq!(looks([1; 20], Duration::from_secs(5)), [(15, true)]);
    }
}
