//! The times at which a publisher is asked for a key frame (PLI; RFC 4585, 6.3.1).

use std::time::{Duration, Instant};

/// The time between two requests while packets arrive.
const INTERVAL: Duration = Duration::from_millis(500);

/// The longest time between two requests to a stream that sends nothing. A paused layer of simulcast gives a key frame
/// when it goes on, but a request to it may cost the others one.
const LONGEST_INTERVAL: Duration = Duration::from_secs(8);

/// The joined requests of all students for a key frame of one encoding.
#[derive(Debug)]
pub(super) struct KeyFrameDemand {
    wanted: bool,
    asked: Option<Instant>,
    /// Whether packets have come since the last request.
    heard: bool,
    /// The interval to the next request if no packets come.
    interval: Duration,
}

impl Default for KeyFrameDemand {
    fn default() -> Self {
        Self { wanted: false, asked: None, heard: false, interval: INTERVAL * 2 }
    }
}

impl KeyFrameDemand {
    /// A key frame is wanted.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame arrives.
    pub(super) fn fulfilled(&mut self) {
        self.wanted = false;
    }

    /// A packet has come.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// The time of the next request: `now` if it is due, `None` if no key frame is wanted.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let interval = if self.heard { INTERVAL } else { self.interval };
        self.wanted.then(|| self.asked.map_or(now, |at| at + interval))
    }

    /// The publisher has been asked.
    pub(super) fn asked(&mut self, now: Instant) {
        self.interval = if self.heard { INTERVAL * 2 } else { (self.interval * 2).min(LONGEST_INTERVAL) };
        (self.asked, self.heard) = (Some(now), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The milliseconds at which the publisher is asked within 20 s.
    fn asks(demand: &mut KeyFrameDemand, sends: bool) -> Vec<u64> {
        let begin = Instant::now();
        let mut asked = Vec::new();
        for ms in 0..20_000 {
            let now = begin + Duration::from_millis(ms);
            if sends {
                demand.heard();
            }
            if demand.due(now).is_some_and(|due| due <= now) {
                demand.asked(now);
                asked.push(ms);
            }
        }
        asked
    }

    #[test]
    fn a_publisher_is_asked_twice_a_second_until_the_key_frame_comes() {
        let mut demand = KeyFrameDemand::default();
        assert_eq!(demand.due(Instant::now()), None);
        demand.want();
        assert_eq!(asks(&mut demand, true), (0..40).map(|n| n * 500).collect::<Vec<_>>());
        demand.fulfilled();
        assert!(asks(&mut demand, true).is_empty());
    }

    #[test]
    fn a_stream_that_sends_nothing_is_asked_less_often() {
        let mut demand = KeyFrameDemand::default();
        demand.want();
        assert_eq!(asks(&mut demand, false), [0, 2_000, 6_000, 14_000]);
    }
}
