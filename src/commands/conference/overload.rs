//! Whether this computer or its line carries a connection to each participant. Pure.

use std::collections::VecDeque;

/// The seconds that are looked at, and how many of them must be bad: as a browser does.
const WINDOW: usize = 15;
const BAD: usize = 10;

/// With fewer pairs, the server would not spare this computer anything.
const LEAST_PAIRS: usize = 2;

/// A second of the pairs of this participant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// The pairs that are connected.
    pub(super) pairs: usize,
    /// Those whose path carries less than the best tier of each video.
    pub(super) narrow: usize,
    /// Whether this computer encodes or decodes too slowly.
    pub(super) is_late: bool,
}

impl Load {
    /// A slow line of one other participant concerns one pair; a slow line of this computer concerns more than half.
    fn is_bad(self) -> bool {
        self.pairs >= LEAST_PAIRS && (self.is_late || self.is_narrow())
    }

    /// Whether the line of this computer is slow.
    pub(super) fn is_narrow(self) -> bool {
        2 * self.narrow > self.pairs
    }
}

/// The load of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Overload {
    bad: VecDeque<bool>,
    is_told: bool,
}

impl Overload {
    /// A second has passed. Returns whether the load is too high, once.
    pub(super) fn second(&mut self, load: Load) -> bool {
        if self.bad.len() == WINDOW {
            self.bad.pop_front();
        }
        self.bad.push_back(load.is_bad());
        let is_too_high = self.bad.iter().filter(|is_bad| **is_bad).count() >= BAD;
        is_too_high && !std::mem::replace(&mut self.is_told, true)
    }

    /// The media does not go from each to each.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(overload: &mut Overload, load: Load, count: usize) -> usize {
        (0..count).filter(|_| overload.second(load)).count()
    }

    #[test]
    fn a_load_that_lasts_is_told_once() {
        let late = Load { pairs: 3, narrow: 0, is_late: true };
        let mut overload = Overload::default();
        assert_eq!(seconds(&mut overload, late, BAD - 1), 0);
        assert_eq!(seconds(&mut overload, late, 2 * WINDOW), 1);
        overload.clear();
        assert_eq!(seconds(&mut overload, late, BAD), 1, "another meeting");
    }

    #[test]
    fn one_slow_line_of_three_and_a_short_load_are_no_overload() {
        let narrow = |narrow| Load { pairs: 3, narrow, is_late: false };
        let mut overload = Overload::default();
        assert_eq!(seconds(&mut overload, narrow(1), 60), 0);
        for _ in 0..10 {
            assert_eq!(seconds(&mut overload, narrow(3), 4) + seconds(&mut overload, narrow(0), 6), 0);
        }
        assert_eq!(seconds(&mut overload, narrow(2), WINDOW), 1);
        let alone = Load { pairs: 1, narrow: 1, is_late: true };
        assert_eq!(seconds(&mut Overload::default(), alone, 60), 0, "nothing would be spared");
    }
}
