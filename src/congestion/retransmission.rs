//! Limits the retransmissions to one peer: a budget of its own, and a share of one for the whole class.
//!
//! A NACK beyond the budgets is not answered. So a peer that loses, or claims to lose, everything costs the class
//! little.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Retransmissions per packet sent, for each peer on its own: twice what 5 % loss needs, and enough for 12 %, the
/// threshold of [`PathTrouble`](super::PathTrouble).
const SHARE: f32 = 0.15;

/// The same while packets queue in front of the peer's link: retransmissions would lengthen the queue.
const SHARE_WHEN_DELAYED: f32 = 0.05;

/// Retransmissions that a peer can save up: one lost key frame. With the share this also covers 2 s of 20 % loss at 4
/// Mbit/s, lost retransmissions included (830 packets, 207 retransmissions, 124 of them from the share).
const BURST: f32 = 100.0;

/// The share that one peer may take from the class's budget, per packet sent to it and only while it reports
/// [`MUCH_LOSS`]. Together with its own share this is what 20 % loss needs.
const SHARE_OF_CLASS: f32 = 0.10;

/// The reported loss above which a peer may use the class's budget. A peer that reports it for long is in trouble and
/// gets fewer layers, so a false report has a price.
const MUCH_LOSS: f32 = 0.08;

/// The most that one peer can save up from the class's budget.
const BURST_OF_CLASS: f32 = 50.0;

/// Retransmissions beyond the peers' own budgets for all peers together, per packet sent. With [`SHARE`], NACKs can
/// raise the total by a fifth.
const CLASS_SHARE: f32 = 0.05;

/// Retransmissions that the class can save up: enough for four peers at once.
const CLASS_BURST: f32 = 200.0;

/// The retransmission budget of a class, for peers that have used up their own.
#[derive(Debug)]
pub(crate) struct ClassRetransmissions {
    left: f32,
    /// Packets sent at the last update.
    counted: u64,
}

impl Default for ClassRetransmissions {
    /// A full budget.
    fn default() -> Self {
        Self { left: CLASS_BURST, counted: 0 }
    }
}

impl ClassRetransmissions {
    /// The class was sent `packets` packets in total.
    pub(crate) fn have_left(&mut self, packets: u64) {
        let new = packets.saturating_sub(self.counted);
        self.counted = self.counted.max(packets);
        self.left = (self.left + new as f32 * CLASS_SHARE).min(CLASS_BURST);
    }
}

/// The state that determines a peer's share.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PathState {
    /// Whether packets queue in front of its link.
    pub(super) is_delayed: bool,
    /// The fraction lost that it reports, 0 to 1.
    pub(super) lost: f32,
}

/// The retransmission budget of one user, or what one of its peers has earned for it.
#[derive(Debug)]
pub(super) struct RetransmissionBudget {
    own: f32,
    of_class: f32,
}

impl Default for RetransmissionBudget {
    /// A full budget of its own, and nothing from the class.
    fn default() -> Self {
        Self { own: BURST, of_class: 0.0 }
    }
}

impl RetransmissionBudget {
    /// An empty budget.
    pub(super) fn empty() -> Self {
        Self { own: 0.0, of_class: 0.0 }
    }

    /// Takes over what a peer has earned.
    pub(super) fn collect(&mut self, earned: &mut Self) {
        let Self { own, of_class } = std::mem::replace(earned, Self::empty());
        self.own = (self.own + own).min(BURST);
        self.of_class = (self.of_class + of_class).min(BURST_OF_CLASS);
    }

    /// Packets were sent for the first time.
    pub(super) fn sent(&mut self, packets: usize, path: PathState) {
        let (own, of_class) = match path {
            PathState { is_delayed: true, .. } => (SHARE_WHEN_DELAYED, 0.0),
            PathState { lost, .. } if lost < MUCH_LOSS => (SHARE, 0.0),
            PathState { .. } => (SHARE, SHARE_OF_CLASS),
        };
        self.own = (self.own + packets as f32 * own).min(BURST);
        self.of_class = (self.of_class + packets as f32 * of_class).min(BURST_OF_CLASS);
    }

    /// Whether the budget allows one retransmission.
    pub(super) fn has(&self, class: &ClassRetransmissions) -> bool {
        self.own >= 1.0 || self.of_class.min(class.left) >= 1.0
    }

    /// Pays for one packet; returns false if the budget does not allow it.
    pub(super) fn take(&mut self, class: &mut ClassRetransmissions) -> bool {
        let passes = self.has(class);
        if self.own >= 1.0 {
            self.own -= 1.0;
        } else if passes {
            self.of_class -= 1.0;
            class.left -= 1.0;
        }
        passes
    }
}

/// The number of retransmissions remembered: slightly more than one second of 20 % loss needs.
const REMEMBERED: usize = 128;

/// The round trip assumed until one is known.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(30);

/// The longest round trip that counts.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(500);

/// The outcome of the last retransmission of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastRetransmission {
    /// There was none.
    None,
    /// It may still arrive.
    UnderWay,
    /// It is overdue and taken as lost. Time is short by now, so the next one is sent as two copies.
    Lost,
}

/// Recent retransmissions. A receiver repeats its NACK until the packet arrives, which takes a round trip.
#[derive(Debug, Default)]
pub(super) struct RecentRetransmissions {
    packets: VecDeque<(u32, u16, Instant)>,
    round_trip: Option<Duration>,
}

impl RecentRetransmissions {
    /// A round trip was measured.
    pub(super) fn on_round_trip(&mut self, time: Duration) {
        self.round_trip = Some(time.min(LONGEST_ROUND_TRIP));
    }

    /// The outcome of the last retransmission of this packet.
    pub(super) fn last(&self, now: Instant, ssrc: u32, sequence_number: u16) -> LastRetransmission {
        let within = self.round_trip.unwrap_or(USUAL_ROUND_TRIP);
        let mut newest_first = self.packets.iter().rev();
        match newest_first.find(|(known, number, _)| (*known, *number) == (ssrc, sequence_number)) {
            None => LastRetransmission::None,
            Some((.., at)) if now.saturating_duration_since(*at) < within => LastRetransmission::UnderWay,
            Some(_) => LastRetransmission::Lost,
        }
    }

    /// This packet is retransmitted now.
    pub(super) fn note(&mut self, now: Instant, ssrc: u32, sequence_number: u16) {
        if self.packets.len() == REMEMBERED {
            self.packets.pop_front();
        }
        self.packets.push_back((ssrc, sequence_number, now));
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Ten peers, each sent `packets` packets in each of 30 frames per second. A peer loses the share given by `lost`,
    /// of retransmissions too, sends NACKs for all of it, and with `reports` reports it a second later. Returns for
    /// each peer the packets sent for the first time, the packets requested, and the retransmissions.
    fn class(seconds: usize, packets: usize, reports: bool, lost: &dyn Fn(usize, usize) -> f64) -> [Vec<usize>; 3] {
        const PEERS: usize = 10;
        let (mut rng, mut common) = (StdRng::seed_from_u64(7), ClassRetransmissions::default());
        let mut budgets: Vec<RetransmissionBudget> = (0..PEERS).map(|_| RetransmissionBudget::default()).collect();
        let [mut sent, mut asked, mut retransmitted] = [(); 3].map(|()| vec![0; PEERS]);
        for frame in 0..seconds * 30 {
            for (peer, budget) in budgets.iter_mut().enumerate() {
                let share = lost(peer, frame);
                let before = frame.checked_sub(30).filter(|_| reports).map_or(0.0, |then| lost(peer, then));
                budget.sent(packets, PathState { is_delayed: false, lost: before as f32 });
                sent[peer] += packets;
                let mut missing = packets;
                // A lost retransmission is requested again, but not by a peer that claims to lose everything.
                while missing > 0 {
                    missing = (0..missing).filter(|_| rng.random_bool(share)).count();
                    asked[peer] += missing;
                    let again = (0..missing).filter(|_| budget.has(&common) && budget.take(&mut common)).count();
                    retransmitted[peer] += again;
                    missing = if share < 1.0 { again } else { 0 };
                }
            }
            common.have_left((sent.iter().sum::<usize>() + retransmitted.iter().sum::<usize>()) as u64);
        }
        [sent, asked, retransmitted]
    }

    #[test]
    fn a_peer_that_nacks_everything_is_limited_to_its_share() {
        let one = |peer: usize, _: usize| if peer == 0 { 1.0 } else { 0.0 };
        for (reports, share) in [(false, SHARE), (true, SHARE + SHARE_OF_CLASS)] {
            let [sent, _, retransmitted] = class(60, 9, reports, &one);
            let least = (sent[0] as f32 * share) as usize;
            assert!((least - 1..=least + 150).contains(&retransmitted[0]), "{retransmitted:?} of {}", sent[0]);
        }
        let mut budget = RetransmissionBudget::default();
        (0..10_000).for_each(|_| budget.sent(1, PathState { is_delayed: true, lost: 1.0 }));
        assert!(budget.own <= BURST && budget.of_class == 0.0);
    }

    #[test]
    fn retransmissions_to_all_peers_stay_within_a_fifth() {
        let [sent, _, retransmitted] = class(60, 9, true, &|_, _| 1.0);
        let (sent, retransmitted) = (sent.iter().sum::<usize>() as f32, retransmitted.iter().sum::<usize>() as f32);
        // Retransmissions also count as packets sent.
        let most = sent * SHARE + (sent + retransmitted) * CLASS_SHARE + 10.0 * BURST + CLASS_BURST;
        assert!((sent * (SHARE + CLASS_SHARE)..=most).contains(&retransmitted), "{retransmitted} of {sent}");
    }

    #[test]
    fn honest_peers_get_every_retransmission() {
        // 2.2 Mbit/s, and 4.
        for packets in [8, 14] {
            let all_get_all = |reports: bool, lost: &dyn Fn(usize, usize) -> f64| {
                let [_, asked, retransmitted] = class(60, packets, reports, lost);
                assert!(asked == retransmitted && asked[0] > 0, "{asked:?} {retransmitted:?}");
            };
            // The whole class.
            all_get_all(false, &|_, _| 0.05);
            all_get_all(false, &|_, _| 0.10);
            let burst = |frame: usize| (300..360).contains(&frame);
            all_get_all(true, &|_, frame| if burst(frame) { 0.20 } else { 0.0 });
            all_get_all(true, &|_, frame| if burst(frame) { 0.20 } else { 0.05 });
            // A few peers may lose many packets permanently.
            all_get_all(true, &|peer, _| if peer < 3 { 0.18 } else { 0.0 });
            let [_, asked, retransmitted] = class(60, packets, true, &|peer, _| if peer < 3 { 1.0 } else { 0.05 });
            assert_eq!(asked[3..], retransmitted[3..], "also where other peers ask for everything");
        }
    }

    #[test]
    fn what_several_peers_of_a_user_earn_fills_one_budget() {
        let (mut budget, mut class) = (RetransmissionBudget::default(), ClassRetransmissions::default());
        let mut taken = |earned: &mut RetransmissionBudget| {
            budget.collect(earned);
            (0..1_000).filter(|_| budget.take(&mut class)).count()
        };
        let [mut first, mut second] = [(); 2].map(|()| RetransmissionBudget::empty());
        assert_eq!(taken(&mut first), BURST as usize);
        assert_eq!(taken(&mut second), 0, "another connection gets no budget of its own");
        second.sent(200, PathState::default());
        assert_eq!(taken(&mut second), 30);
        first.sent(10_000, PathState::default());
        assert_eq!(taken(&mut first), BURST as usize);
    }

    #[test]
    fn a_retransmission_is_in_flight_for_a_round_trip() {
        let (mut retransmitted, now) = (RecentRetransmissions::default(), Instant::now());
        let ms = Duration::from_millis;
        retransmitted.on_round_trip(ms(80));
        retransmitted.note(now, 7, 1);
        assert_eq!(retransmitted.last(now + ms(79), 7, 1), LastRetransmission::UnderWay);
        assert_eq!(retransmitted.last(now + ms(80), 7, 1), LastRetransmission::Lost);
        assert_eq!(
            (retransmitted.last(now, 7, 2), retransmitted.last(now, 8, 1)),
            (LastRetransmission::None, LastRetransmission::None)
        );
        (2..1_000).for_each(|number| retransmitted.note(now + ms(1), 7, number));
        assert_eq!(retransmitted.packets.len(), REMEMBERED);
    }
}
