//! The key frames that one peer needs because its video broke, within the budget of its user.

use std::time::Instant;

use super::budgets::RequestBudgets;
use crate::rtp::{Encoding, PerTrack, Tier};

/// The key frames that one peer needs, within the budget of its user.
#[derive(Debug, Default)]
pub(super) struct KeyFrameRecovery {
    budgets: RequestBudgets,
    /// By track: the tier whose key frame is awaited and was requested.
    requested: PerTrack<Option<Tier>>,
}

impl KeyFrameRecovery {
    /// From now on requests count for these budgets of a user.
    pub(super) fn share(&mut self, budgets: &RequestBudgets) {
        self.budgets = budgets.clone();
    }

    /// Key frames of these were requested without charge.
    pub(super) fn requested(&mut self, encodings: impl IntoIterator<Item = Encoding>) {
        encodings.into_iter().for_each(|encoding| self.requested[encoding.track] = Some(encoding.tier));
    }

    /// The peer gets other layers.
    pub(super) fn on_layer_change(&mut self, now: Instant) {
        self.budgets.lock().on_layer_change(now);
    }

    /// The peer passes the media on to so many students.
    pub(super) fn serves(&mut self, students: u32) {
        self.budgets.lock().key_frames.serves(students);
    }

    /// The peer cannot decode (PLI, FIR): returns whether it may restart from a key frame.
    pub(super) fn may_restart(&mut self, now: Instant, tier: Tier) -> bool {
        self.budgets.lock().key_frames.wants(now, tier)
    }

    /// The peer restarted.
    pub(super) fn restarted(&mut self, now: Instant, tier: Tier) {
        self.budgets.lock().key_frames.take(now, tier);
    }

    /// `awaited` are the encodings that cannot continue without a key frame, because frames were late or rejected.
    /// Requests those not requested yet, now or in a later call once the budget allows it.
    pub(super) fn request(
        &mut self,
        now: Instant,
        awaited: impl Iterator<Item = Encoding>,
        key_frames: &mut Vec<Encoding>,
    ) {
        let mut requested = PerTrack::default();
        for encoding in awaited {
            let Encoding { track, tier, .. } = encoding;
            let is_requested = self.requested[track] == Some(tier);
            let allows = || {
                let budget = &mut self.budgets.lock().key_frames;
                budget.wants(now, tier) && budget.take(now, tier)
            };
            if is_requested || allows() {
                requested[track] = Some(tier);
            }
            if !is_requested && requested[track].is_some() {
                key_frames.push(encoding);
            }
        }
        self.requested = requested;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtp::{Codec, Track};

    const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

    /// Checks one peer 50 times a second for a minute. Each requested key frame arrives 100 ms later, and the video
    /// breaks again `breaks_after` milliseconds after that. Returns the times of the requests, in milliseconds.
    fn asked(recovery: &mut KeyFrameRecovery, began: Instant, breaks_after: u64) -> Vec<u64> {
        let (mut awaits_since, mut key) = (Some(0), None);
        let mut all = Vec::new();
        for millis in (0..60_000).step_by(20) {
            let mut key_frames = Vec::new();
            if key.is_some_and(|at| at <= millis) {
                (awaits_since, key) = (Some(millis + breaks_after), None);
            }
            let awaited = awaits_since.is_some_and(|since| since <= millis).then_some(SCREEN);
            recovery.request(began + Duration::from_millis(millis), awaited.into_iter(), &mut key_frames);
            if !key_frames.is_empty() {
                assert_eq!(key_frames, [SCREEN]);
                all.push(millis);
                key = Some(millis + 100);
            }
        }
        all
    }

    #[test]
    fn repeatedly_late_video_costs_no_more_than_repeated_plis() {
        let now = Instant::now();
        // Late again one second after each key frame, as for a peer that reports an overloaded path.
        assert_eq!(asked(&mut KeyFrameRecovery::default(), now, 1_000), [0, 1_100, 4_000, 12_000, 28_000, 44_000]);
        // A peer that rarely needs one gets it at once.
        assert_eq!(asked(&mut KeyFrameRecovery::default(), now, 9_900), [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
    }

    #[test]
    fn a_requested_key_frame_is_not_requested_again() {
        let (mut recovery, now) = (KeyFrameRecovery::default(), Instant::now());
        let low = SCREEN.with(Tier::Low);
        let ask = |recovery: &mut KeyFrameRecovery, awaited: Option<Encoding>| {
            let mut key_frames = Vec::new();
            recovery.request(now, awaited.into_iter(), &mut key_frames);
            key_frames
        };
        recovery.requested([SCREEN]);
        assert_eq!(ask(&mut recovery, Some(SCREEN)), [], "somebody else did");
        assert_eq!(ask(&mut recovery, Some(low)), [low], "another encoding");
        assert_eq!(ask(&mut recovery, Some(low)), []);
        assert_eq!(ask(&mut recovery, None), [], "it came");
        assert_eq!(ask(&mut recovery, Some(low)), [low]);
        assert_eq!(ask(&mut recovery, None), []);
        assert_eq!(ask(&mut recovery, Some(low)), [], "beyond the budget");
        recovery.on_layer_change(now);
        assert_eq!(ask(&mut recovery, Some(low)), [low], "the first after a change of layers");
    }

    #[test]
    fn a_peer_that_connects_anew_has_the_budget_of_its_user() {
        let (budgets, now) = (RequestBudgets::default(), Instant::now());
        let ask = |recovery: &mut KeyFrameRecovery| {
            let mut key_frames = Vec::new();
            recovery.request(now, [SCREEN].into_iter(), &mut key_frames);
            key_frames.len()
        };
        let asked: usize = (0..100)
            .map(|_| {
                let mut recovery = KeyFrameRecovery::default();
                recovery.share(&budgets);
                ask(&mut recovery)
            })
            .sum();
        assert_eq!(asked, 2);
        // Each connection gets other layers at once, which makes one key frame free.
        let asked: usize = (0..100)
            .map(|_| {
                let mut recovery = KeyFrameRecovery::default();
                recovery.share(&budgets);
                recovery.on_layer_change(now);
                ask(&mut recovery)
            })
            .sum();
        assert_eq!(asked, 4);
        assert_eq!(ask(&mut KeyFrameRecovery::default()), 1, "another user");
        let starts = (0..100).filter(|_| budgets.lock().may_start(now)).count();
        assert_eq!(starts, 6);
    }
}
