//! How the times of many files become one timeline. Pure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer::ClockTime;

/// When pictures are left out, so that no more come than are wanted.
#[derive(Debug)]
pub(super) struct RateLimit {
    period: ClockTime,
    due: ClockTime,
}

impl RateLimit {
    /// What a picture may come too early: times in files are rounded to milliseconds.
    const TOLERANCE: ClockTime = ClockTime::from_useconds(1_500);

    /// At most `fps` pictures a second.
    pub(super) fn new(fps: u32) -> Self {
        Self { period: period(fps), due: ClockTime::ZERO }
    }

    /// Whether a picture of this time is taken.
    pub(super) fn takes(&mut self, time: ClockTime) -> bool {
        if time + Self::TOLERANCE < self.due {
            return false;
        }
        // Not from this picture on: of 50 pictures 30 are taken and not 25.
        self.due = (self.due + self.period).max(time);
        true
    }
}

/// How long a picture is shown at a rate.
pub(super) fn period(fps: u32) -> ClockTime {
    ClockTime::SECOND / u64::from(fps.max(1))
}

/// How far a file has come: of each track that is fed, up to when it has been fed and whether the file has more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    base: ClockTime,
    tracks: Vec<(ClockTime, bool)>,
    /// When the file end_of_stream at the earliest: a still is shown for some time. None: never.
    least_end: Option<ClockTime>,
}

impl Progress {
    /// Of a file that begins at `base`, with so many tracks.
    pub(super) fn new(base: ClockTime, tracks: usize) -> Self {
        Self { base, tracks: vec![(base, false); tracks], least_end: Some(base) }
    }

    /// A track has been fed up to this time.
    pub(super) fn fed(&mut self, track: usize, until: ClockTime) {
        let fed = &mut self.tracks[track].0;
        *fed = (*fed).max(until);
    }

    /// Up to when a track has been fed.
    pub(super) fn of(&self, track: usize) -> ClockTime {
        self.tracks[track].0
    }

    /// The file has no more of a track.
    pub(super) fn ended(&mut self, track: usize) {
        self.tracks[track].1 = true;
    }

    /// The file is a still, to be shown for so long; none: for ever.
    pub(super) fn stands(&mut self, length: Option<ClockTime>) {
        self.least_end = length.map(|length| self.base + length);
    }

    /// Whether the file has no more of any track.
    pub(super) fn is_read(&self) -> bool {
        self.tracks.iter().all(|(_, ended)| *ended)
    }

    /// The time from which the next file goes on; none while this one goes on.
    pub(super) fn end(&self) -> Option<ClockTime> {
        let fed = self.furthest();
        let least_end = self.least_end?;
        (self.is_read() && fed >= least_end).then_some(fed)
    }

    /// The furthest that a track has come. What fills a gap in another track goes so far, and not further.
    pub(super) fn furthest(&self) -> ClockTime {
        self.tracks.iter().map(|(fed, _)| *fed).max().unwrap_or(self.base)
    }

    /// When a still end_of_stream; none: it does not.
    pub(super) fn least_end(&self) -> Option<ClockTime> {
        self.least_end
    }
}

/// How often to check whether a file is over or broken. What waits in the teaching graph bridges ten times as much.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A file that is being played, as its feeders and whoever watches over them share it.
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

    /// Changes how far the file has come, and tells whoever waits for that.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }

    /// Waits until something update, or for a [`POLL_INTERVAL`].
    pub(super) fn wait(&self) {
        let _ = self.changed.wait_timeout(self.progress(), POLL_INTERVAL);
    }

    /// Nothing more of this file is played.
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
    fn no_more_pictures_are_taken_than_wanted_and_none_is_left_out_without_need() {
        for (given, most, taken) in [(25, 30, 25), (30, 30, 30), (50, 30, 30), (60, 30, 30), (60, 1, 1), (24, 120, 24)]
        {
            let mut limit = RateLimit::new(most);
            // Times as a file has them, in whole milliseconds.
            let count = (0..given * 10).filter(|n| limit.takes(ms(n * 1_000 / given))).count();
            assert!(count.abs_diff(taken * 10) <= 1, "{count} of {given}/s at {most}/s");
        }
    }

    #[test]
    fn a_file_is_over_when_all_its_tracks_are() {
        let mut file = Progress::new(ms(1000), 2);
        file.fed(0, ms(1500));
        file.ended(0);
        assert_eq!((file.end(), file.furthest()), (None, ms(1500)));
        file.fed(1, ms(1400));
        file.ended(1);
        assert_eq!(file.end(), Some(ms(1500)));
    }

    #[test]
    fn a_still_is_over_after_its_time_or_never() {
        let mut still = Progress::new(ms(1000), 1);
        still.stands(Some(ms(200)));
        still.ended(0);
        still.fed(0, ms(1100));
        assert_eq!(still.end(), None);
        still.fed(0, ms(1200));
        assert_eq!(still.end(), Some(ms(1200)));
        still.stands(None);
        assert_eq!((still.end(), still.is_read()), (None, true));
    }
}
