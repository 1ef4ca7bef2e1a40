//! What a student suffers from, in words: found in the numbers of each second, and in what the SFU says.

use std::collections::VecDeque;

use crate::protocol::channel::{SentTier, SentTiers, TierReason};
use crate::report::{Event, TroubleKind};
use crate::rtp::Track;

/// Seconds without any packet, before it is said: Wi-Fi is silent for one while it looks around.
const SILENT_SECONDS: u32 = 2;

/// The share of packets that are missing at first, in percent, from which loss is worth a word: less is repaired, or
/// concealed, without being seen or heard.
const LOSS_PERCENT: f64 = 1.5;

/// Seconds that losses are counted over, because they come in bursts.
const LOSS_SECONDS: usize = 3;

/// Packets in that time below which a share of them means nothing.
const FEW_PACKETS: u64 = 50;

/// Seconds without trouble, until it is over.
const QUIET_SECONDS: u32 = 3;

/// Seconds after a pause of this process in which nothing is said of line and computer: what came meanwhile was lost or
/// is late, and the SFU has heard nothing of this student.
const PARDONED_SECONDS: u32 = 5;

/// What a track did in the last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Second {
    /// Which.
    pub(super) track: Track,
    /// Packets that came, repeated ones too.
    pub(super) packets: u64,
    /// Packets that were given up.
    pub(super) lost: u64,
    /// Pictures that were thrown away, because the decoder had no time for them.
    pub(super) skipped: u64,
}

/// What the SFU says it sends to this student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// How much of each picture.
    pub(super) tiers: SentTiers,
    /// What the line carries, in thousands of bits per second.
    pub(super) estimate_kbps: Option<u32>,
    /// Why not everything.
    pub(super) reason: Option<TierReason>,
}

/// Something that a student suffers from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    kind: TroubleKind,
    track: Option<Track>,
    text: String,
}

/// What is suffered from now. It says what begins, and what is over.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// What the SFU says.
    told: Option<Trouble>,
    /// What is seen here, each with the seconds since it was last seen.
    seen: Vec<(Trouble, u32)>,
    silent: u32,
    /// Seconds in which nothing more is said, after a pause of this process; and what the SFU said in these.
    pardoned: u32,
    held: Option<Told>,
    /// Packets and losses of the last seconds, the newest last.
    losses: VecDeque<(u64, u64)>,
}

impl Diagnosis {
    /// The SFU says what it sends.
    pub(super) fn told(&mut self, told: &Told) -> Vec<Event> {
        self.held = Some(*told).filter(|_| self.pardoned > 0);
        let trouble = told.trouble();
        if self.held.is_some() && trouble.is_some() {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.told, trouble);
        if before == self.told {
            return Vec::new();
        }
        let same = |one: &Trouble, other: &Trouble| (one.kind, one.track) == (other.kind, other.track);
        let goes_on = before.as_ref().zip(self.told.as_ref()).is_some_and(|(before, now)| same(before, now));
        let over = before.filter(|_| !goes_on).map(|before| before.over());
        over.into_iter().chain(self.told.as_ref().map(Trouble::begins)).collect()
    }

    /// This process stood still until now.
    pub(super) fn stood_still(&mut self) {
        self.pardoned = PARDONED_SECONDS;
        self.silent = 0;
        self.losses.clear();
    }

    /// The link is gone, and with it all that was wrong with it.
    pub(super) fn forget(&mut self) -> Vec<Event> {
        let pardoned = self.pardoned;
        let Self { told, seen, .. } = std::mem::replace(self, Self { pardoned, ..Self::default() });
        told.into_iter().chain(seen.into_iter().map(|(trouble, _)| trouble)).map(|trouble| trouble.over()).collect()
    }

    /// A second has passed on a link that stands. `asked` is how many packets were asked for again in it.
    pub(super) fn second(&mut self, tracks: &[Second], asked: u64) -> Vec<Event> {
        for (_, quiet) in &mut self.seen {
            *quiet += 1;
        }
        let mut events = Vec::new();
        let found = if self.pardoned == 0 { self.find(tracks, asked) } else { self.pardon(&mut events) };
        for trouble in found {
            let same = |(seen, _): &&mut (Trouble, u32)| (seen.kind, seen.track) == (trouble.kind, trouble.track);
            // The share of a loss is another each second, and nobody wants to read each.
            if let Some((_, quiet)) = self.seen.iter_mut().find(same) {
                *quiet = 0;
            } else {
                events.push(trouble.begins());
                self.seen.push((trouble, 0));
            }
        }
        self.seen.retain(|(trouble, quiet)| {
            let stays = *quiet < QUIET_SECONDS;
            if !stays {
                events.push(trouble.over());
            }
            stays
        });
        events
    }

    /// Nothing is called wrong in the seconds after a pause; after them, what the SFU says counts again.
    fn pardon(&mut self, events: &mut Vec<Event>) -> Vec<Trouble> {
        self.pardoned -= 1;
        if self.pardoned == 0
            && let Some(held) = self.held.take()
        {
            events.extend(self.told(&held));
        }
        Vec::new()
    }

    /// What is wrong in this second.
    fn find(&mut self, tracks: &[Second], asked: u64) -> Vec<Trouble> {
        let packets: u64 = tracks.iter().map(|second| second.packets).sum();
        let lost: u64 = tracks.iter().map(|second| second.lost).sum();
        let was_silent = self.silent > 0;
        self.silent = if packets == 0 { self.silent + 1 } else { 0 };
        if packets == 0 || was_silent {
            // Packets that a silence took are found missing when it is over; the line that works again has not lost
            // them.
            self.losses.clear();
        } else {
            self.losses.push_back((packets, lost.max(asked)));
        }
        if self.losses.len() > LOSS_SECONDS {
            self.losses.pop_front();
        }
        let mut found = Vec::new();
        if self.silent >= SILENT_SECONDS {
            let text = "nothing arrives from the teacher, is the network still there?".to_owned();
            found.push(Trouble { kind: TroubleKind::Network, track: None, text });
        }
        // What waited for a silence to end comes all at once.
        for second in tracks.iter().filter(|second| second.skipped > 0 && !was_silent) {
            let text = format!("this computer is too slow for the {}, pictures are left out", second.track);
            found.push(Trouble { kind: TroubleKind::Decoder, track: Some(second.track), text });
        }
        let (packets, lost) = self.losses.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let percent = 100.0 * lost as f64 / (packets + lost).max(1) as f64;
        if packets + lost >= FEW_PACKETS && percent >= LOSS_PERCENT {
            let text = format!("{percent:.0} % of the packets are lost on the way");
            found.push(Trouble { kind: TroubleKind::Loss, track: None, text });
        }
        found
    }
}

impl Trouble {
    fn begins(&self) -> Event {
        Event::Trouble { kind: self.kind, track: self.track, text: self.text.clone() }
    }

    fn over(&self) -> Event {
        Event::TroubleOver { kind: self.kind, track: self.track }
    }
}

impl Told {
    /// Whether pictures of a track are sent.
    pub(super) fn sends(&self, track: Track) -> bool {
        self.sent(track) != Some(SentTier::None)
    }

    /// Whether a track is sent in the low tier.
    pub(super) fn has_low(&self, track: Track) -> bool {
        self.sent(track) == Some(SentTier::Low)
    }

    fn sent(&self, track: Track) -> Option<SentTier> {
        match track {
            Track::Audio => None,
            Track::Screen => self.tiers.screen,
            Track::Camera => self.tiers.camera,
        }
    }

    /// What the student suffers from; none where everything is sent.
    fn trouble(&self) -> Option<Trouble> {
        let SentTiers { screen, camera } = self.tiers;
        let pictures = [(Track::Screen, screen), (Track::Camera, camera)];
        let sent = |wanted: SentTier| pictures.iter().find(|(_, sent)| *sent == Some(wanted)).map(|(track, _)| *track);
        let all_wait = pictures.iter().all(|(_, sent)| matches!(sent, None | Some(SentTier::None)));
        let (track, what) = match (sent(SentTier::None), sent(SentTier::Low)) {
            (None, None) => return None,
            (Some(first), _) if all_wait => (first, "no picture for now"),
            (Some(Track::Camera), Some(low)) => (low, "a reduced picture, and no camera"),
            (Some(Track::Camera), None) => (Track::Camera, "no camera"),
            (Some(waits), _) => (waits, "no screen"),
            (None, Some(Track::Camera)) => (Track::Camera, "a reduced picture of the camera"),
            (None, Some(low)) => (low, "a reduced picture"),
        };
        let (kind, why) = match (self.reason, self.estimate_kbps) {
            (Some(TierReason::Loss), _) => (TroubleKind::Loss, "too much is lost on the way".to_owned()),
            (Some(TierReason::Silence), _) => (TroubleKind::Network, "your connection was interrupted".to_owned()),
            (Some(TierReason::Class), _) => {
                (TroubleKind::Class, "the teacher has no more bandwidth for this class".to_owned())
            }
            (_, None) => (TroubleKind::Bandwidth, "your line carries no more".to_owned()),
            (_, Some(kbps)) => (TroubleKind::Bandwidth, format!("your line carries {}", mbit(kbps))),
        };
        let is_narrow = matches!(kind, TroubleKind::Bandwidth | TroubleKind::Loss);
        let sound = if all_wait && is_narrow { ", and sound comes first" } else { "" };
        Some(Trouble { kind, track: Some(track), text: format!("{what}: {why}{sound}") })
    }
}

/// `0.6 Mbit/s`, `0.09 Mbit/s`
fn mbit(kbps: u32) -> String {
    let mbit = f64::from(kbps) / 1000.0;
    if kbps < 95 { format!("{mbit:.2} Mbit/s") } else { format!("{mbit:.1} Mbit/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [Second; 2] = [
        Second { track: Track::Audio, packets: 50, lost: 0, skipped: 0 },
        Second { track: Track::Screen, packets: 250, lost: 0, skipped: 0 },
    ];

    fn told(screen: Option<SentTier>, camera: Option<SentTier>, kbps: Option<u32>, reason: Option<TierReason>) -> Told {
        Told { tiers: SentTiers { screen, camera }, estimate_kbps: kbps, reason }
    }

    fn texts(events: &[Event]) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Trouble { kind, text, .. } => format!("{kind:?}: {text}"),
            Event::TroubleOver { kind, .. } => format!("{kind:?} over"),
            other => format!("{other:?}"),
        };
        events.iter().map(text).collect()
    }

    #[test]
    fn a_good_line_is_not_talked_about() {
        let mut diagnosis = Diagnosis::default();
        for _ in 0..100 {
            assert_eq!(diagnosis.second(&GOOD, 1), []);
        }
        let all = told(Some(SentTier::Full), Some(SentTier::Full), Some(9000), None);
        assert_eq!(diagnosis.told(&all), []);
    }

    #[test]
    fn silence_is_said_after_two_seconds_and_its_end_after_three() {
        let mut diagnosis = Diagnosis::default();
        let silent = GOOD.map(|second| Second { packets: 0, ..second });
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        assert_eq!(diagnosis.second(&silent, 0), []);
        let said = texts(&diagnosis.second(&silent, 0));
        assert_eq!(said, ["Network: nothing arrives from the teacher, is the network still there?"]);
        assert_eq!(diagnosis.second(&silent, 0), []);
        // What was missed meanwhile is asked for in the first second after, and some of it is too late.
        let rush = GOOD.map(|second| Second { skipped: 1, ..second });
        let after = [texts(&diagnosis.second(&rush, 900))];
        let after: Vec<_> = after.into_iter().chain((0..3).map(|_| texts(&diagnosis.second(&GOOD, 0)))).collect();
        assert_eq!(after.concat(), ["Network over"]);
        assert_eq!(after[2], ["Network over"]);
    }

    #[test]
    fn losses_are_those_that_were_repaired_too() {
        let mut diagnosis = Diagnosis::default();
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        let said = [diagnosis.second(&GOOD, 3), diagnosis.second(&GOOD, 13)].map(|events| texts(&events));
        assert_eq!(said, [vec![], vec!["Loss: 2 % of the packets are lost on the way".to_owned()]]);
        assert_eq!(diagnosis.second(&GOOD, 20), [], "said once");
        let mut diagnosis = Diagnosis::default();
        let lossy = GOOD.map(|second| Second { lost: 20, ..second });
        assert_eq!(texts(&diagnosis.second(&lossy, 0)), ["Loss: 12 % of the packets are lost on the way"]);
        let few = Second { track: Track::Audio, packets: 5, lost: 1, skipped: 0 };
        assert_eq!(Diagnosis::default().second(&[few], 0), []);
    }

    #[test]
    fn a_slow_computer_is_told_from_a_bad_line() {
        let mut diagnosis = Diagnosis::default();
        let slow = GOOD.map(|second| Second { skipped: u64::from(second.track == Track::Screen) * 20, ..second });
        let said = texts(&diagnosis.second(&slow, 0));
        assert_eq!(said, ["Decoder: this computer is too slow for the screen, pictures are left out"]);
        assert_eq!(texts(&diagnosis.forget()), ["Decoder over"]);
        assert_eq!(diagnosis.second(&GOOD, 0), []);
    }

    #[test]
    fn what_the_hub_sends_less_of_is_said_with_its_reason() {
        use SentTier::{Full, Low, None as Nothing};
        let words = |screen, camera, kbps, reason| {
            texts(&Diagnosis::default().told(&told(screen, camera, kbps, reason))).concat()
        };
        let bandwidth = Some(TierReason::Bandwidth);
        for (said, expected) in [
            (
                words(Some(Low), None, Some(600), bandwidth),
                "Bandwidth: a reduced picture: your line carries 0.6 Mbit/s",
            ),
            (
                words(Some(Nothing), Some(Nothing), Some(120), bandwidth),
                "Bandwidth: no picture for now: your line carries 0.1 Mbit/s, and sound comes first",
            ),
            (
                words(None, Some(Nothing), Some(64), None),
                "Bandwidth: no picture for now: your line carries 0.06 Mbit/s, and sound comes first",
            ),
            (
                words(Some(Low), Some(Nothing), None, bandwidth),
                "Bandwidth: a reduced picture, and no camera: your line carries no more",
            ),
            (
                words(Some(Full), Some(Nothing), None, Some(TierReason::Loss)),
                "Loss: no camera: too much is lost on the way",
            ),
            (
                words(Some(Full), Some(Low), None, Some(TierReason::Class)),
                "Class: a reduced picture of the camera: the teacher has no more bandwidth for this class",
            ),
            (
                words(Some(Nothing), None, None, Some(TierReason::Silence)),
                "Network: no picture for now: your connection was interrupted",
            ),
            (words(Some(Full), Some(Full), Some(5000), None), ""),
            (words(None, None, None, bandwidth), ""),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_pause_of_this_process_is_blamed_on_nobody() {
        let mut diagnosis = Diagnosis::default();
        let bad = GOOD.map(|second| Second { packets: 0, lost: 50, skipped: 20, ..second });
        let waits = told(Some(SentTier::None), None, None, Some(TierReason::Silence));
        let all = told(Some(SentTier::Full), None, None, None);
        diagnosis.stood_still();
        assert_eq!(diagnosis.second(&bad, 100), []);
        assert_eq!(diagnosis.told(&waits), []);
        assert_eq!(diagnosis.second(&bad, 100), []);
        assert_eq!(diagnosis.told(&all), [], "and it is over before it was said");
        for _ in 0..3 {
            assert_eq!(diagnosis.second(&bad, 100), []);
        }
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        diagnosis.stood_still();
        assert_eq!(diagnosis.told(&waits), []);
        let said: Vec<_> = (0..6).flat_map(|_| texts(&diagnosis.second(&GOOD, 0))).collect();
        assert_eq!(said, ["Network: no picture for now: your connection was interrupted"], "it lasts");
    }

    #[test]
    fn what_the_hub_says_counts_until_it_says_something_else() {
        let mut diagnosis = Diagnosis::default();
        let low = |kbps| told(Some(SentTier::Low), None, Some(kbps), Some(TierReason::Bandwidth));
        assert_eq!(diagnosis.told(&low(600)).len(), 1);
        assert_eq!(diagnosis.told(&low(610)), [], "the same in words");
        assert_eq!(texts(&diagnosis.told(&low(400))), ["Bandwidth: a reduced picture: your line carries 0.4 Mbit/s"]);
        for _ in 0..10 {
            assert_eq!(diagnosis.second(&GOOD, 0), []);
        }
        let lossy = told(Some(SentTier::Low), None, Some(400), Some(TierReason::Loss));
        assert_eq!(
            texts(&diagnosis.told(&lossy)),
            ["Bandwidth over", "Loss: a reduced picture: too much is lost on the way"]
        );
        let all = told(Some(SentTier::Full), None, Some(4000), None);
        let none = told(Some(SentTier::None), None, None, None);
        assert!(!none.sends(Track::Screen) && none.sends(Track::Camera) && none.sends(Track::Audio));
        assert_eq!(texts(&diagnosis.told(&all)), ["Loss over"]);
    }
}
