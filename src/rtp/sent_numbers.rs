//! The transport-wide numbers that sound was sent with, so that it can be sent again as it was.
//!
//! No browser has a stream of its own for retransmissions of sound, and neither has the library. So sound goes again under
//! its own number, and then it must be the same packet bit for bit, see [`crate::sfu::seal`]: the header extension included.

use std::collections::VecDeque;

/// Packets that are remembered: those of 1.3 s. What is older is not waited for any more.
const REMEMBERED: usize = 64;

/// By the index of a packet the number that it was sent with, oldest first; none for a track that is repaired otherwise.
#[derive(Debug, Default)]
pub(crate) struct Numbers(VecDeque<(u64, u16)>);

impl Numbers {
    /// A packet is sealed for the first time.
    pub(crate) fn note(&mut self, index: u64, number: u16) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((index, number));
    }

    /// The number that a packet had.
    pub(crate) fn of(&self, index: u64) -> Option<u16> {
        let at = self.0.binary_search_by_key(&index, |(known, _)| *known).ok()?;
        self.0.get(at).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_is_remembered_and_nothing_else() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.of(1), None);
        for index in 65_500..65_700u64 {
            numbers.note(index, (3 * index) as u16);
        }
        for index in 65_636..65_700 {
            assert_eq!(numbers.of(index), Some((3 * index) as u16));
        }
        assert_eq!((numbers.of(65_635), numbers.of(65_700)), (None, None));
    }
}
