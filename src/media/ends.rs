//! When a lecture is at its end: all tracks that come from its file, or from a graph that ends, have sent their last.

use std::sync::{Mutex, PoisonError};

use crate::rtp::Track;

/// Counts the tracks that still go on.
pub(super) struct Ends {
    open: Mutex<Vec<Track>>,
    at_end: Box<dyn Fn() + Send + Sync>,
}

impl Ends {
    /// Calls `at_end` once, when all of these tracks have ended. Others may go on for ever.
    pub(super) fn new(tracks: Vec<Track>, at_end: impl Fn() + Send + Sync + 'static) -> Self {
        Self { open: Mutex::new(tracks), at_end: Box::new(at_end) }
    }

    /// A track has ended; it may say so in each of its encodings.
    pub(super) fn ended(&self, track: Track) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.len();
        open.retain(|other| *other != track);
        let last = before > 0 && open.is_empty();
        drop(open);
        if last {
            (self.at_end)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_last_track_ends_it_once() {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let ends = Ends::new(vec![Track::Audio, Track::Screen], move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        for track in [Track::Camera, Track::Screen, Track::Screen] {
            ends.ended(track);
            assert_eq!(count.load(Ordering::SeqCst), 0);
        }
        ends.ended(Track::Audio);
        ends.ended(Track::Audio);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
