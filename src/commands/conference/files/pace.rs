//! How fast files may be sent, so that picture and sound do not suffer: all files of this program together get what the
//! line carries besides the media, as on the page (`file_pace.js`). Pure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The first rate, the least and the most, in bytes per second. Nothing tells how the media to the server fares, so a
/// file to the server leaves room for it.
const FIRST: f64 = 500_000.0;
const LEAST: f64 = 32_000.0;
const MOST: f64 = 12_500_000.0;
const MOST_TO_SERVER: f64 = 1_000_000.0;
const GROWTH: f64 = 1.4;

/// The rate of all files. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct FilePace(Arc<Mutex<Pace>>);

#[derive(Debug)]
struct Pace {
    rate: f64,
    to_server: bool,
    /// When what has been sent so far is through at the rate.
    through: Option<Instant>,
}

impl Default for FilePace {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Pace { rate: FIRST, to_server: false, through: None })))
    }
}

impl FilePace {
    /// These bytes are to be sent. Returns the time until they may.
    pub(super) fn take(&self, now: Instant, bytes: usize) -> Duration {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = if pace.to_server { pace.rate.min(MOST_TO_SERVER) } else { pace.rate };
        let begins = pace.through.map_or(now, |through| through.max(now));
        pace.through = Some(begins + Duration::from_secs_f64(bytes as f64 / rate));
        begins - now
    }

    /// A second has passed. `is_bad`: the media suffers; `to_server`: files go to the server.
    pub(super) fn second(&self, is_bad: bool, to_server: bool) {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pace.to_server = to_server;
        pace.rate = if is_bad { (pace.rate / 2.0).max(LEAST) } else { (pace.rate * GROWTH).min(MOST) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_gives_way_when_the_media_suffers_and_leaves_room_on_the_way_to_the_server() {
        let pace = FilePace::default();
        // The time for a second's worth of bytes at the rate.
        let spent = |pace: &FilePace, rate: f64| {
            let start = Instant::now() + Duration::from_secs(3_600);
            pace.take(start, rate as usize);
            let next = pace.take(start, 0).as_secs_f64();
            pace.0.lock().unwrap().through = None;
            next
        };
        assert!((spent(&pace, FIRST) - 1.0).abs() < 0.01);
        (0..60).for_each(|_| pace.second(true, false));
        assert!((spent(&pace, LEAST) - 1.0).abs() < 0.01);
        (0..60).for_each(|_| pace.second(false, false));
        assert!((spent(&pace, MOST) - 1.0).abs() < 0.01);
        pace.second(false, true);
        assert!((spent(&pace, MOST_TO_SERVER) - 1.0).abs() < 0.01);
    }
}
