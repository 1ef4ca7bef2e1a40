//! Hands RTCP feedback of a peer to [`Adaptation`](crate::congestion::Adaptation), and finds the packets to send again.

use std::time::Instant;

use super::{Peer, Wishes};
use crate::congestion::ClassRetransmissions;
use crate::rtcp::Feedback;
use crate::sfu::Rings;
use crate::sfu::senders::{Recovery, Repair, round_trip};

/// What came of some feedback.
#[derive(Debug, Default)]
pub(in crate::sfu) struct Heard {
    /// It reported how packets arrive, so the peer must be adapted.
    pub(in crate::sfu) reported: bool,
    /// A track starts again.
    pub(in crate::sfu) recovers: bool,
    /// Packets to be sent again.
    pub(in crate::sfu) repairs: Vec<Repair>,
}

impl Peer {
    /// Takes one piece of feedback.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        said: Feedback<'_>,
        rings: &Rings,
        class: &mut ClassRetransmissions,
        wishes: &mut Wishes,
        heard: &mut Heard,
    ) {
        match said {
            Feedback::Nack(ssrc, numbers) => {
                for number in numbers {
                    self.stats.nacked += 1;
                    let find = || self.lanes.repair(ssrc, number, rings);
                    if let Some((repair, copies)) = self.adaptation.on_nack(now, (ssrc, number), class, find) {
                        self.stats.resent += copies as u64;
                        heard.repairs.extend(std::iter::repeat_n(repair, copies));
                    }
                }
            }
            Feedback::Pli(ssrc) => {
                heard.recovers |= self.picture_lost(now, ssrc, rings, wishes);
            }
            Feedback::ReceiverReport(blocks) => {
                let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max() else { return };
                let round_trip = blocks.iter().filter_map(|b| round_trip(b.last_sender_report, b.delay)).min();
                self.stats.fraction_lost = f32::from(worst) / 256.0;
                blocks.iter().for_each(|block| self.lanes.on_lost(block.ssrc, block.total_lost));
                self.adaptation.on_report(now, worst, round_trip);
                heard.reported = true;
            }
            Feedback::Transport(arrivals) => {
                let (base, reference) = (arrivals.base, arrivals.reference);
                self.adaptation.estimate().on_feedback(now, base, reference, arrivals.statuses());
                heard.reported = true;
            }
            Feedback::Remb(bits_per_second) => {
                self.adaptation.estimate().on_remb(now, bits_per_second);
                heard.reported = true;
            }
        }
    }

    /// A PLI or FIR. Gives whether there is something to send for it.
    fn picture_lost(&mut self, now: Instant, ssrc: u32, rings: &Rings, wishes: &mut Wishes) -> bool {
        let Some(tier) = self.lanes.tier_of(ssrc) else { return false };
        let may = self.adaptation.may_restart(now, tier);
        let Some(recovery) = self.lanes.picture_lost(now, ssrc, may, rings, wishes) else { return false };
        self.stats.picture_losses += 1;
        if recovery == Recovery::Yes {
            self.adaptation.restarted(now, tier);
        }
        recovery != Recovery::No
    }
}
