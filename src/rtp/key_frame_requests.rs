//! Merges the key frame requests of all peers into one request to the encoder.

use std::time::{Duration, Instant};

/// The minimum time between two requests to the encoder. A key frame is as large as about ten frames, so this limits
/// the cost to the class of peers that join or lose packets.
const INTERVAL: Duration = Duration::from_millis(500);

/// The key frame requests of one encoding.
#[derive(Debug, Default)]
pub struct KeyFrameRequests {
    wanted: bool,
    asked: Option<Instant>,
    count: u64,
}

impl KeyFrameRequests {
    /// A peer needs a key frame.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame was encoded, so no peer waits any more.
    pub fn fulfilled(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask the encoder now. An encoder that did not respond is asked again.
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

    /// Whether the encoder is asked at this time.
    fn asks(requests: &mut KeyFrameRequests, now: Instant) -> bool {
        let due = requests.is_due(now);
        if due {
            requests.asked(now);
        }
        due
    }

    #[test]
    fn thirty_peers_make_one_request() {
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
