//! Finds out what disturbs a student, from the statistics of each second and from the SFU's reports, and says it in
//! words.

use std::collections::VecDeque;

use crate::protocol::channel::{SentTier, SentTiers, TierReason};
use crate::report::{Event, TroubleKind};
use crate::rtp::Track;

/// Silence is reported after this many seconds without a packet. Wi-Fi is silent for a second when it scans.
const SILENT_SECONDS: u32 = 2;

/// Loss is reported from this percentage on, before retransmission. Retransmission and concealment hide less.
const LOSS_PERCENT: f64 = 1.5;

/// The number of seconds over which loss is averaged, because losses come in bursts.
const LOSS_SECONDS: usize = 3;

/// With fewer packets than this in that time, the percentage means nothing.
const MIN_PACKETS: u64 = 50;

/// A trouble is over after this many seconds without it.
const QUIET_SECONDS: u32 = 3;

/// For this many seconds after a suspension of this process no trouble is reported. Packets were lost or are late, and
/// the SFU has not heard from this student, but nothing is wrong with the network or the computer.
const GRACE_SECONDS: u32 = 5;

/// The packets of a track in the last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrackSecond {
    /// The track.
    pub(super) track: Track,
    /// Packets received, including retransmissions.
    pub(super) packets: u64,
    /// Packets that never arrived.
    pub(super) lost: u64,
    /// Frames that were dropped because the decoder was too slow.
    pub(super) skipped: u64,
}

/// The tiers that the SFU sends to this student, by its own report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TierReport {
    /// The tier of each video track.
    pub(super) tiers: SentTiers,
    /// The estimated bandwidth in kbit/s.
    pub(super) estimate_kbps: Option<u32>,
    /// Why the student does not get everything.
    pub(super) reason: Option<TierReason>,
}

/// Something that disturbs a student.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    kind: TroubleKind,
    track: Option<Track>,
    text: String,
}

/// The current troubles. Each method returns the events for troubles that begin or end.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// The trouble that the SFU reports.
    reported: Option<Trouble>,
    /// The troubles that the statistics show, each with the seconds since it was last seen.
    seen: Vec<(Trouble, u32)>,
    silent: u32,
    /// The seconds left in which no trouble is reported after a suspension.
    grace_seconds: u32,
    /// The SFU's last report within these seconds.
    held: Option<TierReport>,
    /// Packets and losses of the last seconds, the newest last.
    losses: VecDeque<(u64, u64)>,
}

impl Diagnosis {
    /// The SFU reports other tiers.
    pub(super) fn tiers(&mut self, report: &TierReport) -> Vec<Event> {
        self.held = Some(*report).filter(|_| self.grace_seconds > 0);
        let trouble = report.trouble();
        if self.held.is_some() && trouble.is_some() {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.reported, trouble);
        if before == self.reported {
            return Vec::new();
        }
        let same = |one: &Trouble, other: &Trouble| (one.kind, one.track) == (other.kind, other.track);
        let goes_on = before.as_ref().zip(self.reported.as_ref()).is_some_and(|(before, now)| same(before, now));
        let over = before.filter(|_| !goes_on).map(|before| before.over());
        over.into_iter().chain(self.reported.as_ref().map(Trouble::begins)).collect()
    }

    /// This process was suspended until now.
    pub(super) fn paused(&mut self) {
        self.grace_seconds = GRACE_SECONDS;
        self.silent = 0;
        self.losses.clear();
    }

    /// The connection is gone, and its troubles with it.
    pub(super) fn connection_closed(&mut self) -> Vec<Event> {
        let grace_seconds = self.grace_seconds;
        let Self { reported, seen, .. } = std::mem::replace(self, Self { grace_seconds, ..Self::default() });
        reported.into_iter().chain(seen.into_iter().map(|(trouble, _)| trouble)).map(|trouble| trouble.over()).collect()
    }

    /// A second has passed on an established connection. `nacked` is the number of packets requested again in it.
    pub(super) fn second(&mut self, tracks: &[TrackSecond], nacked: u64) -> Vec<Event> {
        for (_, quiet) in &mut self.seen {
            *quiet += 1;
        }
        let mut events = Vec::new();
        let found = if self.grace_seconds == 0 { self.find(tracks, nacked) } else { self.grace(&mut events) };
        for trouble in found {
            let same = |(seen, _): &&mut (Trouble, u32)| (seen.kind, seen.track) == (trouble.kind, trouble.track);
            // The percentage changes every second, so it is reported only once.
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

    /// Finds no trouble in the seconds after a suspension. After the last one the SFU's report counts again.
    fn grace(&mut self, events: &mut Vec<Event>) -> Vec<Trouble> {
        self.grace_seconds -= 1;
        if self.grace_seconds == 0
            && let Some(held) = self.held.take()
        {
            events.extend(self.tiers(&held));
        }
        Vec::new()
    }

    /// Finds the troubles of this second.
    fn find(&mut self, tracks: &[TrackSecond], nacked: u64) -> Vec<Trouble> {
        let packets: u64 = tracks.iter().map(|second| second.packets).sum();
        let lost: u64 = tracks.iter().map(|second| second.lost).sum();
        let was_silent = self.silent > 0;
        self.silent = if packets == 0 { self.silent + 1 } else { 0 };
        if packets == 0 || was_silent {
            // The packets of a silence are only found missing after it. They don't count as loss of a working path.
            self.losses.clear();
        } else {
            self.losses.push_back((packets, lost.max(nacked)));
        }
        if self.losses.len() > LOSS_SECONDS {
            self.losses.pop_front();
        }
        let mut found = Vec::new();
        if self.silent >= SILENT_SECONDS {
            let text = "nothing arrives from the teacher; check the network connection".to_owned();
            found.push(Trouble { kind: TroubleKind::Network, track: None, text });
        }
        // After a silence many frames arrive at once, which is no sign of a slow computer.
        for second in tracks.iter().filter(|second| second.skipped > 0 && !was_silent) {
            let text = format!("this computer is too slow for the {}, so pictures are skipped", second.track);
            found.push(Trouble { kind: TroubleKind::Decoder, track: Some(second.track), text });
        }
        let (packets, lost) = self.losses.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let percent = 100.0 * lost as f64 / (packets + lost).max(1) as f64;
        if packets + lost >= MIN_PACKETS && percent >= LOSS_PERCENT {
            let text = format!("{percent:.0} % of the packets are lost in the network");
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

impl TierReport {
    /// Whether the SFU sends a track at all.
    pub(super) fn sends(&self, track: Track) -> bool {
        self.sent(track) != Some(SentTier::None)
    }

    /// Whether the SFU sends a track in the low tier.
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

    /// The trouble that follows from the report; `None` if the SFU sends everything.
    fn trouble(&self) -> Option<Trouble> {
        let SentTiers { screen, camera } = self.tiers;
        let pictures = [(Track::Screen, screen), (Track::Camera, camera)];
        let sent = |wanted: SentTier| pictures.iter().find(|(_, sent)| *sent == Some(wanted)).map(|(track, _)| *track);
        let all_wait = pictures.iter().all(|(_, sent)| matches!(sent, None | Some(SentTier::None)));
        let (track, what) = match (sent(SentTier::None), sent(SentTier::Low)) {
            (None, None) => return None,
            (Some(first), _) if all_wait => (first, "no picture for now"),
            (Some(Track::Camera), Some(low)) => (low, "reduced picture, and no camera"),
            (Some(Track::Camera), None) => (Track::Camera, "no camera"),
            (Some(waits), _) => (waits, "no screen"),
            (None, Some(Track::Camera)) => (Track::Camera, "reduced camera picture"),
            (None, Some(low)) => (low, "reduced picture"),
        };
        let (kind, why) = match (self.reason, self.estimate_kbps) {
            (Some(TierReason::Loss), _) => (TroubleKind::Loss, "too many packets are lost in the network".to_owned()),
            (Some(TierReason::Silence), _) => (TroubleKind::Network, "your connection was interrupted".to_owned()),
            (Some(TierReason::Class), _) => {
                (TroubleKind::Class, "the teacher's connection is too slow for this class".to_owned())
            }
            (_, None) => (TroubleKind::Bandwidth, "your connection is too slow".to_owned()),
            (_, Some(kbps)) => (TroubleKind::Bandwidth, format!("your connection carries only {}", mbit(kbps))),
        };
        let is_narrow = matches!(kind, TroubleKind::Bandwidth | TroubleKind::Loss);
        let sound = if all_wait && is_narrow { ", so only sound is sent" } else { "" };
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

    const GOOD: [TrackSecond; 2] = [
        TrackSecond { track: Track::Audio, packets: 50, lost: 0, skipped: 0 },
        TrackSecond { track: Track::Screen, packets: 250, lost: 0, skipped: 0 },
    ];

    fn report(
        screen: Option<SentTier>,
        camera: Option<SentTier>,
        kbps: Option<u32>,
        reason: Option<TierReason>,
    ) -> TierReport {
        TierReport { tiers: SentTiers { screen, camera }, estimate_kbps: kbps, reason }
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
    fn a_good_connection_has_no_troubles() {
        let mut diagnosis = Diagnosis::default();
        for _ in 0..100 {
            assert_eq!(diagnosis.second(&GOOD, 1), []);
        }
        let all = report(Some(SentTier::Full), Some(SentTier::Full), Some(9000), None);
        assert_eq!(diagnosis.tiers(&all), []);
    }

    #[test]
    fn silence_is_reported_after_two_seconds_and_its_end_after_three() {
        let mut diagnosis = Diagnosis::default();
        let silent = GOOD.map(|second| TrackSecond { packets: 0, ..second });
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        assert_eq!(diagnosis.second(&silent, 0), []);
        let said = texts(&diagnosis.second(&silent, 0));
        assert_eq!(said, ["Network: nothing arrives from the teacher; check the network connection"]);
        assert_eq!(diagnosis.second(&silent, 0), []);
        // In the first second after the silence, missing packets are requested again and some frames are too late.
        let rush = GOOD.map(|second| TrackSecond { skipped: 1, ..second });
        let after = [texts(&diagnosis.second(&rush, 900))];
        let after: Vec<_> = after.into_iter().chain((0..3).map(|_| texts(&diagnosis.second(&GOOD, 0)))).collect();
        assert_eq!(after.concat(), ["Network over"]);
        assert_eq!(after[2], ["Network over"]);
    }

    #[test]
    fn retransmitted_packets_count_as_lost() {
        let mut diagnosis = Diagnosis::default();
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        let said = [diagnosis.second(&GOOD, 3), diagnosis.second(&GOOD, 13)].map(|events| texts(&events));
        assert_eq!(said, [vec![], vec!["Loss: 2 % of the packets are lost in the network".to_owned()]]);
        assert_eq!(diagnosis.second(&GOOD, 20), [], "reported once");
        let mut diagnosis = Diagnosis::default();
        let lossy = GOOD.map(|second| TrackSecond { lost: 20, ..second });
        assert_eq!(texts(&diagnosis.second(&lossy, 0)), ["Loss: 12 % of the packets are lost in the network"]);
        let few = TrackSecond { track: Track::Audio, packets: 5, lost: 1, skipped: 0 };
        assert_eq!(Diagnosis::default().second(&[few], 0), []);
    }

    #[test]
    fn a_slow_computer_is_not_a_bad_network() {
        let mut diagnosis = Diagnosis::default();
        let slow = GOOD.map(|second| TrackSecond { skipped: u64::from(second.track == Track::Screen) * 20, ..second });
        let said = texts(&diagnosis.second(&slow, 0));
        assert_eq!(said, ["Decoder: this computer is too slow for the screen, so pictures are skipped"]);
        assert_eq!(texts(&diagnosis.connection_closed()), ["Decoder over"]);
        assert_eq!(diagnosis.second(&GOOD, 0), []);
    }

    #[test]
    fn reduced_tiers_are_reported_with_the_reason() {
        use SentTier::{Full, Low, None as Nothing};
        let words = |screen, camera, kbps, reason| {
            texts(&Diagnosis::default().tiers(&report(screen, camera, kbps, reason))).concat()
        };
        let bandwidth = Some(TierReason::Bandwidth);
        for (said, expected) in [
            (
                words(Some(Low), None, Some(600), bandwidth),
                "Bandwidth: reduced picture: your connection carries only 0.6 Mbit/s",
            ),
            (
                words(Some(Nothing), Some(Nothing), Some(120), bandwidth),
                "Bandwidth: no picture for now: your connection carries only 0.1 Mbit/s, so only sound is sent",
            ),
            (
                words(None, Some(Nothing), Some(64), None),
                "Bandwidth: no picture for now: your connection carries only 0.06 Mbit/s, so only sound is sent",
            ),
            (
                words(Some(Low), Some(Nothing), None, bandwidth),
                "Bandwidth: reduced picture, and no camera: your connection is too slow",
            ),
            (
                words(Some(Full), Some(Nothing), None, Some(TierReason::Loss)),
                "Loss: no camera: too many packets are lost in the network",
            ),
            (
                words(Some(Full), Some(Low), None, Some(TierReason::Class)),
                "Class: reduced camera picture: the teacher's connection is too slow for this class",
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
    fn a_suspension_of_this_process_is_no_trouble() {
        let mut diagnosis = Diagnosis::default();
        let bad = GOOD.map(|second| TrackSecond { packets: 0, lost: 50, skipped: 20, ..second });
        let waits = report(Some(SentTier::None), None, None, Some(TierReason::Silence));
        let all = report(Some(SentTier::Full), None, None, None);
        diagnosis.paused();
        assert_eq!(diagnosis.second(&bad, 100), []);
        assert_eq!(diagnosis.tiers(&waits), []);
        assert_eq!(diagnosis.second(&bad, 100), []);
        assert_eq!(diagnosis.tiers(&all), [], "over before it was reported");
        for _ in 0..3 {
            assert_eq!(diagnosis.second(&bad, 100), []);
        }
        assert_eq!(diagnosis.second(&GOOD, 0), []);
        diagnosis.paused();
        assert_eq!(diagnosis.tiers(&waits), []);
        let said: Vec<_> = (0..6).flat_map(|_| texts(&diagnosis.second(&GOOD, 0))).collect();
        assert_eq!(said, ["Network: no picture for now: your connection was interrupted"], "the trouble lasts");
    }

    #[test]
    fn a_report_of_the_sfu_counts_until_the_next_one() {
        let mut diagnosis = Diagnosis::default();
        let low = |kbps| report(Some(SentTier::Low), None, Some(kbps), Some(TierReason::Bandwidth));
        assert_eq!(diagnosis.tiers(&low(600)).len(), 1);
        assert_eq!(diagnosis.tiers(&low(610)), [], "the same in words");
        assert_eq!(
            texts(&diagnosis.tiers(&low(400))),
            ["Bandwidth: reduced picture: your connection carries only 0.4 Mbit/s"]
        );
        for _ in 0..10 {
            assert_eq!(diagnosis.second(&GOOD, 0), []);
        }
        let lossy = report(Some(SentTier::Low), None, Some(400), Some(TierReason::Loss));
        assert_eq!(
            texts(&diagnosis.tiers(&lossy)),
            ["Bandwidth over", "Loss: reduced picture: too many packets are lost in the network"]
        );
        let all = report(Some(SentTier::Full), None, Some(4000), None);
        let none = report(Some(SentTier::None), None, None, None);
        assert!(!none.sends(Track::Screen) && none.sends(Track::Camera) && none.sends(Track::Audio));
        assert_eq!(texts(&diagnosis.tiers(&all)), ["Loss over"]);
    }
}
