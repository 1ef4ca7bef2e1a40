//! The breakout rooms of a meeting, at a terminal: this member follows by itself, and reads where it is.

use std::time::Duration;

use crate::protocol::Breakouts;

/// Where this member is.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    at: u32,
    is_recalled: bool,
}

impl Whereabouts {
    /// The server tells of the breakout rooms. Returns the sentences about what has changed.
    pub(super) fn told(&mut self, breakouts: &Breakouts) -> Vec<String> {
        let before = std::mem::replace(self, Self { at: breakouts.at, is_recalled: breakouts.is_recalled });
        let left = breakouts.ends_in_ms.map(|ms| format!(" ({} s)", Duration::from_millis(ms).as_secs_f64().ceil()));
        let left = left.unwrap_or_default();
        let moved = (before.at != breakouts.at).then(|| match breakouts.at {
            0 => "you are back in the meeting".to_owned(),
            at => format!("you are in breakout room {at} of {}{left}", breakouts.rooms),
        });
        let recalled = (breakouts.is_recalled && !before.is_recalled)
            .then(|| format!("everybody is called back to the meeting{left}"));
        moved.into_iter().chain(recalled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_reads_what_has_changed() {
        let mut here = Whereabouts::default();
        let mut told = |rooms, at, ends_in_ms, is_recalled| {
            here.told(&Breakouts { rooms, at, ends_in_ms, is_recalled, ..Breakouts::default() })
        };
        assert_eq!(told(3, 2, Some(59_500), false), ["you are in breakout room 2 of 3 (60 s)"]);
        assert!(told(3, 2, Some(50_000), false).is_empty());
        assert_eq!(told(3, 2, Some(30_000), true), ["everybody is called back to the meeting (30 s)"]);
        assert_eq!(told(0, 0, None, false), ["you are back in the meeting"]);
    }
}
