//! Which encodings are needed: at once by who comes, and some time longer than by the last who goes. Whoever encodes is
//! told what is needed now, not each change: what could not be said is not lost, and nothing is said that is over.

use std::time::{Duration, Instant};

use crate::rtp::{Encoding, PerEncoding};

/// An encoder runs this long without anybody: who comes back, or goes up and down, finds it running.
const LINGER: Duration = Duration::from_secs(10);

/// Who needs what, over all threads.
pub(super) struct ActiveEncodings {
    /// Of each thread.
    students: Vec<PerEncoding<usize>>,
    state: PerEncoding<State>,
    /// Made also for an empty room: the first student sees a picture at once, and the teacher that it is captured.
    always: Vec<Encoding>,
    /// What was said last.
    announced: PerEncoding<bool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Stopped,
    Running,
    /// Nobody needs it since then.
    Lingering(Instant),
}

impl ActiveEncodings {
    /// Of threads that have nobody yet. The best of each track runs from the beginning.
    pub(super) fn new(threads: usize, encodings: &[Encoding]) -> Self {
        let mut always: Vec<Encoding> = Vec::new();
        for encoding in encodings {
            if always.iter().all(|known| known.track != encoding.track) {
                always.push(*encoding);
            }
        }
        let (mut state, mut announced) = (PerEncoding::default(), PerEncoding::default());
        for encoding in &always {
            (state[*encoding], announced[*encoding]) = (State::Running, true);
        }
        Self { students: (0..threads).map(|_| PerEncoding::default()).collect(), state, always, announced }
    }

    /// So many students of a thread need it.
    pub(super) fn set_peers(&mut self, thread: usize, encoding: Encoding, students: usize) {
        self.students[thread][encoding] = students;
        if students > 0 {
            self.state[encoding] = State::Running;
        }
    }

    /// What should run now, and what should not, where that is not what was said last.
    pub(super) fn unannounced(&self) -> Vec<(Encoding, bool)> {
        let needed = |encoding: Encoding| (encoding, self.state[encoding] != State::Stopped);
        Encoding::all().map(needed).filter(|(encoding, needed)| self.announced[*encoding] != *needed).collect()
    }

    /// That was said.
    pub(super) fn set_announced(&mut self, encoding: Encoding, needed: bool) {
        self.announced[encoding] = needed;
    }

    /// Whether somebody needs it.
    pub(super) fn is_needed(&self, encoding: Encoding) -> bool {
        self.students.iter().any(|thread| thread[encoding] > 0)
    }

    /// What has been needed by nobody for long enough.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Encoding> {
        let is_empty = !Encoding::all().any(|encoding| self.is_needed(encoding));
        let mut expired = Vec::new();
        for encoding in Encoding::all() {
            let needed = self.is_needed(encoding) || (is_empty && self.always.contains(&encoding));
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

    /// In an empty room what always runs does so again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Tier, Track};

    /// What is said, all of which is heard.
    fn said(needs: &mut ActiveEncodings) -> Vec<(Encoding, bool)> {
        let said = needs.unannounced();
        said.iter().for_each(|(encoding, needed)| needs.set_announced(*encoding, *needed));
        said
    }

    #[test]
    fn what_nobody_watches_is_not_encoded_for_long() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut needs = ActiveEncodings::new(2, &[full, low]);
        let now = Instant::now();
        assert!(needs.expired(now + LINGER).is_empty() && needs.expired(now + LINGER * 3).is_empty(), "an empty room");
        needs.set_peers(0, full, 1);
        assert_eq!(said(&mut needs), [], "it runs");
        needs.set_peers(1, low, 1);
        needs.set_peers(0, low, 1);
        assert_eq!(said(&mut needs), [(low, true)], "once for all threads");
        needs.set_peers(0, full, 0);
        assert!(needs.expired(now).is_empty());
        assert!(needs.expired(now + LINGER - Duration::from_millis(1)).is_empty());
        assert_eq!(needs.expired(now + LINGER), [full], "all watch the other one");
        assert_eq!(said(&mut needs), [(full, false)]);
        assert!(needs.expired(now + LINGER * 2).is_empty() && said(&mut needs).is_empty(), "said once");
        needs.set_peers(0, low, 0);
        needs.restart();
        assert!(needs.is_needed(low) && said(&mut needs).is_empty());
        needs.set_peers(1, low, 0);
        needs.restart();
        assert_eq!(said(&mut needs), [(full, true)], "the room is empty again");
        needs.expired(now);
        assert_eq!(needs.expired(now + LINGER), [low]);
        assert_eq!(said(&mut needs), [(low, false)]);
        needs.set_peers(0, low, 1);
        assert_eq!(said(&mut needs), [(low, true)]);
    }

    #[test]
    fn what_could_not_be_said_is_said_later_if_it_is_still_true() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut needs = ActiveEncodings::new(1, &[full, low]);
        let now = Instant::now();
        needs.set_peers(0, low, 1);
        assert_eq!(needs.unannounced(), [(low, true)]);
        assert_eq!(needs.unannounced(), [(low, true)], "nobody has heard it");
        needs.set_peers(0, low, 0);
        needs.expired(now);
        assert_eq!(needs.unannounced(), [(low, true)], "it lingers");
        needs.expired(now + LINGER);
        assert_eq!(needs.unannounced(), [], "it never ran");
        needs.set_peers(0, low, 1);
        assert_eq!(said(&mut needs), [(low, true)]);
    }
}
