//! Many students ask for a key frame, the encoder is asked once.

use std::time::{Duration, Instant};

/// The least time between two requests to the encoder. A key frame is some ten times a usual frame: two a second are
/// what a class of beginners and losers may cost.
const INTERVAL: Duration = Duration::from_millis(500);

/// The open wish for a key frame of one track.
#[derive(Debug, Default)]
pub struct KeyFrameRequests {
    wanted: bool,
    asked: Option<Instant>,
    count: u64,
}

impl KeyFrameRequests {
    /// Somebody wants a key frame.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame came, so nobody waits any more.
    pub fn fulfilled(&mut self) {
        self.wanted = false;
    }

    /// Whether the encoder is to be asked now. An encoder that did not answer is asked again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.wanted && self.asked.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL)
    }

    /// The encoder was asked.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
        self.count += 1;
    }

    /// How often the encoder was asked.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is asked for, at this time.
    fn asks(requests: &mut KeyFrameRequests, now: Instant) -> bool {
        let due = requests.is_due(now);
        if due {
            requests.asked(now);
        }
        due
    }

    #[test]
    fn thirty_wishes_are_one_request() {
        let mut requests = KeyFrameRequests::default();
        let now = Instant::now();
        assert!(!requests.is_due(now));
        let asked = (0..30)
            .filter(|n| {
                requests.want();
                asks(&mut requests, now + Duration::from_millis(*n))
            })
            .count();
        assert_eq!(asked, 1);
        requests.fulfilled();
        assert!(!requests.is_due(now + INTERVAL), "it came");
        requests.want();
        assert!(requests.is_due(now + INTERVAL) && requests.is_due(now + INTERVAL), "nobody could be asked");
        assert!(asks(&mut requests, now + INTERVAL));
        assert!(asks(&mut requests, now + INTERVAL * 2), "no answer: asked again");
        assert_eq!(requests.count(), 3);
    }
}
