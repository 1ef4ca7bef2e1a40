//! The active encodings: an encoder runs only while somebody watches its output.
//!
//! An encoding becomes active with the first peer that needs it, and inactive some time after the last such peer has
//! left. The reader of the events is told the current state, not each change: an announcement that finds no room is not
//! lost, and an outdated one is never made.

use std::time::{Duration, Instant};

use crate::rtp::{Encoding, PerEncoding};

/// The time for which an encoder runs without a peer, so that a peer that reconnects or changes its tier twice finds it
/// running.
const LINGER: Duration = Duration::from_secs(10);

/// The peers' requests to the encoders in one turn.
#[derive(Debug, Default)]
pub(super) struct EncoderRequests {
    /// Encodings that need a key frame.
    pub(super) key_frames: Vec<Encoding>,
    /// The set of encodings that some peer gets has changed.
    pub(super) encodings_changed: bool,
}

/// The active encodings of an SFU.
pub(super) struct ActiveEncodings {
    /// The number of peers of each worker that need an encoding.
    peers: Vec<PerEncoding<usize>>,
    state: PerEncoding<State>,
    /// Encodings that are active in an empty room too: the first student sees video at once, and the teacher sees that
    /// it is captured.
    always: Vec<Encoding>,
    /// The last announced state of each encoding.
    announced: PerEncoding<bool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Stopped,
    Running,
    /// No peer has needed the encoding since this time.
    Lingering(Instant),
}

impl ActiveEncodings {
    /// The state of an SFU without peers: the best encoding of each track is active from the start.
    pub(super) fn new(workers: usize, encodings: &[Encoding]) -> Self {
        let always = best_of_each_track(encodings);
        let (mut state, mut announced) = (PerEncoding::default(), PerEncoding::default());
        for encoding in &always {
            (state[*encoding], announced[*encoding]) = (State::Running, true);
        }
        Self { peers: (0..workers).map(|_| PerEncoding::default()).collect(), state, always, announced }
    }

    /// Replaces the encodings by those of another source: the best one of each track is active in an empty room.
    pub(super) fn set_encodings(&mut self, encodings: &[Encoding]) {
        self.always = best_of_each_track(encodings);
        for encoding in &self.always {
            self.state[*encoding] = State::Running;
        }
        for encoding in Encoding::all().filter(|encoding| !encodings.contains(encoding)) {
            self.state[encoding] = State::Stopped;
        }
    }

    /// Sets the number of peers of a worker that need an encoding.
    pub(super) fn set_peers(&mut self, worker: usize, encoding: Encoding, peers: usize) {
        self.peers[worker][encoding] = peers;
        if peers > 0 {
            self.state[encoding] = State::Running;
        }
    }

    /// The encodings whose current state differs from the announced one, and whether they are active.
    pub(super) fn unannounced(&self) -> Vec<(Encoding, bool)> {
        let active = |encoding: Encoding| (encoding, self.state[encoding] != State::Stopped);
        Encoding::all().map(active).filter(|(encoding, active)| self.announced[*encoding] != *active).collect()
    }

    /// Records that a state was announced.
    pub(super) fn set_announced(&mut self, encoding: Encoding, active: bool) {
        self.announced[encoding] = active;
    }

    /// Whether a peer needs an encoding.
    pub(super) fn is_needed(&self, encoding: Encoding) -> bool {
        self.peers.iter().any(|worker| worker[encoding] > 0)
    }

    /// Whether an encoder should run: a peer needs it, or the room is empty and it is the best one of its track.
    pub(super) fn is_wanted(&self, encoding: Encoding) -> bool {
        let is_empty = !Encoding::all().any(|encoding| self.is_needed(encoding));
        self.is_needed(encoding) || is_empty && self.always.contains(&encoding)
    }

    /// Stops the encodings that no peer has needed for [`LINGER`], and returns them.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Encoding> {
        let mut expired = Vec::new();
        for encoding in Encoding::all() {
            let needed = self.is_wanted(encoding);
            match self.state[encoding] {
                State::Stopped => {}
                _ if needed => self.state[encoding] = State::Running,
                State::Running => self.state[encoding] = State::Lingering(now),
                State::Lingering(since) if now.saturating_duration_since(since) >= LINGER => {
                    self.state[encoding] = State::Stopped;
                    expired.push(encoding);
                }
                State::Lingering(_) => {}
            }
        }
        expired
    }

    /// If no peer needs any encoding, restarts the encodings that are active in an empty room.
    pub(super) fn restart(&mut self) {
        if Encoding::all().any(|encoding| self.is_needed(encoding)) {
            return;
        }
        for encoding in &self.always {
            if self.state[*encoding] == State::Stopped {
                self.state[*encoding] = State::Running;
            }
        }
    }
}

fn best_of_each_track(encodings: &[Encoding]) -> Vec<Encoding> {
    let mut best: Vec<Encoding> = Vec::new();
    for encoding in encodings {
        if best.iter().all(|known| known.track != encoding.track) {
            best.push(*encoding);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Tier, Track};

    /// Announces all states that are not announced yet, and returns them.
    fn announce(active: &mut ActiveEncodings) -> Vec<(Encoding, bool)> {
        let announced = active.unannounced();
        announced.iter().for_each(|(encoding, is_active)| active.set_announced(*encoding, *is_active));
        announced
    }

    #[test]
    fn an_encoding_that_nobody_watches_stops_after_a_while() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut active = ActiveEncodings::new(2, &[full, low]);
        let now = Instant::now();
        assert!(
            active.expired(now + LINGER).is_empty() && active.expired(now + LINGER * 3).is_empty(),
            "an empty room"
        );
        active.set_peers(0, full, 1);
        assert_eq!(announce(&mut active), [], "it runs");
        active.set_peers(1, low, 1);
        active.set_peers(0, low, 1);
        assert_eq!(announce(&mut active), [(low, true)], "once for all workers");
        active.set_peers(0, full, 0);
        assert!(active.expired(now).is_empty());
        assert!(active.expired(now + LINGER - Duration::from_millis(1)).is_empty());
        assert_eq!(active.expired(now + LINGER), [full], "all peers have the other tier");
        assert_eq!(announce(&mut active), [(full, false)]);
        assert!(active.expired(now + LINGER * 2).is_empty() && announce(&mut active).is_empty(), "announced once");
        active.set_peers(0, low, 0);
        active.restart();
        assert!(active.is_needed(low) && announce(&mut active).is_empty());
        active.set_peers(1, low, 0);
        active.restart();
        assert_eq!(announce(&mut active), [(full, true)], "the room is empty again");
        active.expired(now);
        assert_eq!(active.expired(now + LINGER), [low]);
        assert_eq!(announce(&mut active), [(low, false)]);
        active.set_peers(0, low, 1);
        assert_eq!(announce(&mut active), [(low, true)]);
    }

    #[test]
    fn an_announcement_that_finds_no_room_is_repeated_while_it_is_true() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut active = ActiveEncodings::new(1, &[full, low]);
        let now = Instant::now();
        active.set_peers(0, low, 1);
        assert_eq!(active.unannounced(), [(low, true)]);
        assert_eq!(active.unannounced(), [(low, true)], "it was not announced");
        active.set_peers(0, low, 0);
        active.expired(now);
        assert_eq!(active.unannounced(), [(low, true)], "it lingers");
        active.expired(now + LINGER);
        assert_eq!(active.unannounced(), [], "it never ran");
        active.set_peers(0, low, 1);
        assert_eq!(announce(&mut active), [(low, true)]);
    }
}
