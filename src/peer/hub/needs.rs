//! Which encodings are needed: at once by who comes, and some time longer than by the last who goes.

use std::time::{Duration, Instant};

use crate::rtp::{Encoding, PerEncoding};

/// An encoder runs this long without anybody: who comes back, or goes up and down, finds it running.
const LINGER: Duration = Duration::from_secs(10);

/// Who needs what, over all threads.
pub(super) struct Needs {
    /// Of each thread.
    students: Vec<PerEncoding<usize>>,
    state: PerEncoding<State>,
    /// Made also for an empty room: the first student sees a picture at once, and the teacher that it is captured.
    always: Vec<Encoding>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Stopped,
    Running,
    /// Nobody needs it since then.
    Lingering(Instant),
}

impl Needs {
    /// Of threads that have nobody yet. The best of each track runs from the beginning.
    pub(super) fn new(threads: usize, encodings: &[Encoding]) -> Self {
        let mut always: Vec<Encoding> = Vec::new();
        for encoding in encodings {
            if always.iter().all(|known| known.track != encoding.track) {
                always.push(*encoding);
            }
        }
        let mut state = PerEncoding::default();
        always.iter().for_each(|encoding| state[*encoding] = State::Running);
        Self { students: (0..threads).map(|_| PerEncoding::default()).collect(), state, always }
    }

    /// So many students of a thread need it; says whether it has to begin.
    pub(super) fn on_change(&mut self, thread: usize, encoding: Encoding, students: usize) -> bool {
        self.students[thread][encoding] = students;
        students > 0 && std::mem::replace(&mut self.state[encoding], State::Running) == State::Stopped
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

    /// What runs again because the room is empty.
    pub(super) fn restarted(&mut self) -> Vec<Encoding> {
        if Encoding::all().any(|encoding| self.is_needed(encoding)) {
            return Vec::new();
        }
        let state = &mut self.state;
        let stopped = self.always.iter().copied().filter(|encoding| state[*encoding] == State::Stopped);
        let restarted: Vec<Encoding> = stopped.collect();
        restarted.iter().for_each(|encoding| self.state[*encoding] = State::Running);
        restarted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Tier, Track};

    #[test]
    fn what_nobody_watches_is_not_encoded_for_long() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut needs = Needs::new(2, &[full, low]);
        let now = Instant::now();
        assert!(needs.expired(now + LINGER).is_empty() && needs.expired(now + LINGER * 3).is_empty(), "an empty room");
        assert!(!needs.on_change(0, full, 1), "it runs");
        assert!(needs.on_change(1, low, 1) && !needs.on_change(0, low, 1), "once for all threads");
        needs.on_change(0, full, 0);
        assert!(needs.expired(now).is_empty());
        assert!(needs.expired(now + LINGER - Duration::from_millis(1)).is_empty());
        assert_eq!(needs.expired(now + LINGER), [full], "all watch the other one");
        assert!(needs.expired(now + LINGER * 2).is_empty(), "said once");
        needs.on_change(0, low, 0);
        assert!(needs.is_needed(low) && needs.restarted().is_empty());
        needs.on_change(1, low, 0);
        assert_eq!(needs.restarted(), [full], "the room is empty again");
        needs.expired(now);
        assert_eq!(needs.expired(now + LINGER), [low]);
        assert!(needs.on_change(0, low, 1));
    }
}
