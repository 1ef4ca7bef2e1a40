//! How much of the lecture this student has seen, for the attendance list of the teacher. Pure.

use crate::protocol::channel::Viewing;
use crate::report::WatchStats;

/// A second counts as seen if a picture was decoded in the last so many: slides come once a second.
const RECENT_SECONDS: u32 = 3;

/// Counts what was seen.
#[derive(Debug, Default)]
pub(super) struct ViewingCounter {
    viewing: Viewing,
    /// The seconds since the last picture; `None` before the first.
    since_picture: Option<u32>,
    /// The freezes of the current render.
    freezes: u64,
}

impl ViewingCounter {
    /// Takes the statistics of a second, one for each track.
    pub(super) fn second(&mut self, tracks: &[WatchStats]) {
        let videos = || tracks.iter().filter(|stats| stats.track.is_video());
        self.count(videos().any(|stats| stats.fps > 0.0), videos().map(|stats| stats.freezes).sum());
    }

    /// `has_picture` says whether a picture was decoded in this second; `freezes` are those of the render.
    fn count(&mut self, has_picture: bool, freezes: u64) {
        self.since_picture = if has_picture { Some(0) } else { self.since_picture.map(|seconds| seconds + 1) };
        if self.since_picture.is_some_and(|seconds| seconds < RECENT_SECONDS) {
            self.viewing.seen_ms += 1_000;
        }
        // A new render counts from 0. A freeze that turns out to be a lost connection is taken back.
        let new = freezes.saturating_sub(self.freezes);
        self.freezes = freezes;
        self.viewing.freezes = self.viewing.freezes.saturating_add(new.try_into().unwrap_or(u32::MAX));
    }

    /// The count so far.
    pub(super) fn viewing(&self) -> Viewing {
        self.viewing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slide_that_comes_once_a_second_counts_and_a_lost_lecture_does_not() {
        let mut counter = ViewingCounter::default();
        let mut second = |has_picture, freezes| {
            counter.count(has_picture, freezes);
            (counter.viewing().seen_ms / 1_000, counter.viewing().freezes)
        };
        assert_eq!(second(false, 0), (0, 0), "no picture yet");
        assert_eq!([second(true, 0), second(false, 0), second(true, 1)], [(1, 0), (2, 0), (3, 1)]);
        assert_eq!([second(false, 1), second(false, 1), second(false, 1)], [(4, 1), (5, 1), (5, 1)], "lost");
        assert_eq!(second(true, 0), (6, 1), "a new render");
        assert_eq!(second(true, 1), (7, 2));
        assert_eq!([second(true, 4), second(true, 3), second(true, 4)], [(8, 5), (9, 5), (10, 6)], "taken back");
    }
}
