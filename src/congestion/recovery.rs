//! Key frames that one student needs because its picture broke: no more of them than its budget allows.

use std::time::Instant;

use super::budget::KeyFrameBudget;
use crate::rtp::PerTrack;
use crate::rtp::{Encoding, Tier};

/// What one student has asked for, and may.
#[derive(Debug, Default)]
pub(crate) struct KeyFrameRecovery {
    budget: KeyFrameBudget,
    /// The tier of each track whose key frame is awaited and was asked for.
    asked: PerTrack<Option<Tier>>,
}

impl KeyFrameRecovery {
    /// Somebody has asked for key frames of these, as it had to be.
    pub(crate) fn requested(&mut self, encodings: impl IntoIterator<Item = Encoding>) {
        encodings.into_iter().for_each(|encoding| self.asked[encoding.track] = Some(encoding.tier));
    }

    /// The student gets other encodings: these may have to be recovered, too.
    pub(crate) fn on_layer_change(&mut self) {
        self.budget.on_layer_change();
    }

    /// The student says that it can't decode: whether it may begin anew.
    pub(crate) fn may_restart(&mut self, now: Instant, tier: Tier) -> bool {
        self.budget.wants(now, tier)
    }

    /// It has begun anew.
    pub(crate) fn restarted(&mut self, now: Instant, tier: Tier) {
        self.budget.take(now, tier);
    }

    /// These are the pictures that can't go on without a key frame, as they were late or had no room: asks for those that
    /// were not asked for yet, now or as soon as the budget allows. To be called again and again.
    pub(crate) fn ask_for(
        &mut self,
        now: Instant,
        awaited: impl Iterator<Item = Encoding>,
        key_frames: &mut Vec<Encoding>,
    ) {
        let mut asked = PerTrack::default();
        for encoding in awaited {
            let Encoding { track, tier, .. } = encoding;
            let is_asked = self.asked[track] == Some(tier);
            if is_asked || (self.budget.wants(now, tier) && self.budget.take(now, tier)) {
                asked[track] = Some(tier);
            }
            if !is_asked && asked[track].is_some() {
                key_frames.push(encoding);
            }
        }
        self.asked = asked;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtp::{Codec, Track};

    const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

    /// Looks after a student for a minute, 50 times a second; each key frame that is asked for is there 100 ms later, and
    /// its pictures break again after so many milliseconds. Gives when key frames were asked for, in milliseconds.
    fn asked(recoveries: &mut KeyFrameRecovery, began: Instant, breaks_after: u64) -> Vec<u64> {
        let (mut awaits_since, mut key) = (Some(0), None);
        let mut all = Vec::new();
        for millis in (0..60_000).step_by(20) {
            let mut key_frames = Vec::new();
            if key.is_some_and(|at| at <= millis) {
                (awaits_since, key) = (Some(millis + breaks_after), None);
            }
            let awaited = awaits_since.is_some_and(|since| since <= millis).then_some(SCREEN);
            recoveries.ask_for(began + Duration::from_millis(millis), awaited.into_iter(), &mut key_frames);
            if !key_frames.is_empty() {
                assert_eq!(key_frames, [SCREEN]);
                all.push(millis);
                key = Some(millis + 100);
            }
        }
        all
    }

    #[test]
    fn pictures_that_are_late_all_the_time_cost_no_more_than_begging() {
        let now = Instant::now();
        // One second late after each key frame, as a student makes them that tells of a line without room.
        assert_eq!(asked(&mut KeyFrameRecovery::default(), now, 1_000), [0, 1_100, 4_000, 12_000, 28_000, 44_000]);
        // Who needs one now and then has it at once.
        assert_eq!(asked(&mut KeyFrameRecovery::default(), now, 9_900), [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
    }

    #[test]
    fn what_was_asked_for_is_not_asked_for_again() {
        let (mut recoveries, now) = (KeyFrameRecovery::default(), Instant::now());
        let low = SCREEN.with(Tier::Low);
        let ask = |recoveries: &mut KeyFrameRecovery, awaited: Option<Encoding>| {
            let mut key_frames = Vec::new();
            recoveries.ask_for(now, awaited.into_iter(), &mut key_frames);
            key_frames
        };
        recoveries.requested([SCREEN]);
        assert_eq!(ask(&mut recoveries, Some(SCREEN)), [], "by somebody else");
        assert_eq!(ask(&mut recoveries, Some(low)), [low], "that is another one");
        assert_eq!(ask(&mut recoveries, Some(low)), []);
        assert_eq!(ask(&mut recoveries, None), [], "it came");
        assert_eq!(ask(&mut recoveries, Some(low)), [low]);
        assert_eq!(ask(&mut recoveries, None), []);
        assert_eq!(ask(&mut recoveries, Some(low)), [], "beyond the budget");
        recoveries.on_layer_change();
        assert_eq!(ask(&mut recoveries, Some(low)), [low], "the first of a change");
    }
}
