//! One timeline for many files: how far each track of the current file has been fed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer::ClockTime;

/// Drops frames down to a maximum rate.
#[derive(Debug)]
pub(in crate::media) struct RateLimit {
    period: ClockTime,
    due: ClockTime,
}

impl RateLimit {
    /// How early a frame may come and still be kept: files round times to milliseconds.
    const TOLERANCE: ClockTime = ClockTime::from_useconds(1_500);

    /// At most `fps` frames per second.
    pub(in crate::media) fn new(fps: u32) -> Self {
        Self { period: period(fps), due: ClockTime::ZERO }
    }

    /// Whether to keep the frame of this time.
    pub(in crate::media) fn takes(&mut self, time: ClockTime) -> bool {
        if time + Self::TOLERANCE < self.due {
            return false;
        }
        // Advance from the due time, not from this frame: then 30 of 50 frames are kept, and not 25.
        self.due = (self.due + self.period).max(time);
        true
    }
}

/// The duration of a frame.
pub(super) fn period(fps: u32) -> ClockTime {
    ClockTime::SECOND / u64::from(fps.max(1))
}

/// The progress of a file: per track, the time up to which it has been fed, and whether it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    base: ClockTime,
    tracks: Vec<(ClockTime, bool)>,
    /// The earliest end, for a still image. None: never.
    least_end: Option<ClockTime>,
}

impl Progress {
    /// A file that starts at `base`.
    pub(super) fn new(base: ClockTime, tracks: usize) -> Self {
        Self { base, tracks: vec![(base, false); tracks], least_end: Some(base) }
    }

    /// Notes that a track has been fed up to a time.
    pub(super) fn fed(&mut self, track: usize, until: ClockTime) {
        let fed = &mut self.tracks[track].0;
        *fed = (*fed).max(until);
    }

    /// The time up to which a track has been fed.
    pub(super) fn of(&self, track: usize) -> ClockTime {
        self.tracks[track].0
    }

    /// Notes that the file has no more of a track.
    pub(super) fn ended(&mut self, track: usize) {
        self.tracks[track].1 = true;
    }

    /// Notes that the file is a still image, to be shown for `length`. None: for ever.
    pub(super) fn set_still(&mut self, length: Option<ClockTime>) {
        self.least_end = length.map(|length| self.base + length);
    }

    /// Whether all tracks have ended.
    pub(super) fn is_read(&self) -> bool {
        self.tracks.iter().all(|(_, ended)| *ended)
    }

    /// The end of the file, from which the next one continues. None while the file goes on.
    pub(super) fn end(&self) -> Option<ClockTime> {
        let fed = self.furthest();
        let least_end = self.least_end?;
        (self.is_read() && fed >= least_end).then_some(fed)
    }

    /// The latest time of any track. Other tracks are filled up to it.
    pub(super) fn furthest(&self) -> ClockTime {
        self.tracks.iter().map(|(fed, _)| *fed).max().unwrap_or(self.base)
    }

    /// The earliest end. None: never.
    pub(super) fn least_end(&self) -> Option<ClockTime> {
        self.least_end
    }
}

/// How often to check whether a file has ended or failed. The buffers in the teaching pipeline last ten times as long.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The playback of one file, shared by its feeders and the playlist's thread.
pub(super) struct Playback {
    progress: Mutex<Progress>,
    changed: Condvar,
    given_up: AtomicBool,
}

impl Playback {
    pub(super) fn new(base: ClockTime, tracks: usize) -> Self {
        let progress = Mutex::new(Progress::new(base, tracks));
        Self { progress, changed: Condvar::new(), given_up: AtomicBool::new(false) }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the progress and wakes those that wait for it.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }

    /// Waits for a change, at most [`POLL_INTERVAL`].
    pub(super) fn wait(&self) {
        let _ = self.changed.wait_timeout(self.progress(), POLL_INTERVAL);
    }

    /// Ends the playback of this file.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_given_up() || self.progress().end().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    #[test]
    fn the_rate_limit_drops_no_more_frames_than_necessary() {
        for (given, most, taken) in [(25, 30, 25), (30, 30, 30), (50, 30, 30), (60, 30, 30), (60, 1, 1), (24, 120, 24)]
        {
            let mut limit = RateLimit::new(most);
            // Files have times in whole milliseconds.
            let count = (0..given * 10).filter(|n| limit.takes(ms(n * 1_000 / given))).count();
            assert!(count.abs_diff(taken * 10) <= 1, "{count} of {given}/s at {most}/s");
        }
    }

    #[test]
    fn a_file_ends_with_its_last_track() {
        let mut file = Progress::new(ms(1000), 2);
        file.fed(0, ms(1500));
        file.ended(0);
        assert_eq!((file.end(), file.furthest()), (None, ms(1500)));
        file.fed(1, ms(1400));
        file.ended(1);
        assert_eq!(file.end(), Some(ms(1500)));
    }

    #[test]
    fn a_still_image_ends_after_its_duration_or_never() {
        let mut still = Progress::new(ms(1000), 1);
        still.set_still(Some(ms(200)));
        still.ended(0);
        still.fed(0, ms(1100));
        assert_eq!(still.end(), None);
        still.fed(0, ms(1200));
        assert_eq!(still.end(), Some(ms(1200)));
        still.set_still(None);
        assert_eq!((still.end(), still.is_read()), (None, true));
    }
}
