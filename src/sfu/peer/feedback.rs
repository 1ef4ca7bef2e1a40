//! What a student's feedback does: repairs, a picture that begins anew, and what is known of its way.

use super::Peer;
use crate::congestion::LastRepair;
use crate::rtcp::Feedback;
use crate::sfu::sender::{KeyFrameResponse, round_trip};
use crate::sfu::senders::RetransmissionRequest;
use crate::sfu::transport::SendContext;

/// What came of a student's feedback.
#[derive(Debug, Default)]
pub(in crate::sfu) struct FeedbackOutcome {
    /// It told how its packets come.
    pub(in crate::sfu) reported: bool,
    /// Its picture begins anew.
    pub(in crate::sfu) recovers: bool,
    /// What it gets again.
    pub(in crate::sfu) retransmissions: Vec<RetransmissionRequest>,
}

impl Peer {
    /// Takes what a student says of what it got.
    pub(super) fn on_rtcp(&mut self, cx: &mut SendContext<'_>, feedback: Feedback<'_>, outcome: &mut FeedbackOutcome) {
        let now = cx.now;
        match feedback {
            Feedback::Missing(ssrc, numbers) => {
                for number in numbers {
                    self.stats.nacked += 1;
                    // First the budget: it costs nothing to look at, and a datagram may ask for thousands.
                    if !self.repairs.has(cx.shared_rtx) {
                        continue;
                    }
                    let Some(request) = self.senders.on_nack(cx.rings, ssrc, number) else { continue };
                    let copies = match self.repaired.last(now, ssrc, number) {
                        LastRepair::UnderWay => continue,
                        LastRepair::None => 1,
                        LastRepair::Lost => 2,
                    };
                    self.repaired.note(now, ssrc, number);
                    for _ in 0..copies {
                        if self.repairs.take(cx.shared_rtx) {
                            self.stats.resent += 1;
                            outcome.retransmissions.push(request);
                        }
                    }
                }
            }
            Feedback::PictureLost(ssrc) => {
                outcome.recovers |= self.on_key_frame_request(cx, ssrc);
            }
            Feedback::Report(blocks) => {
                let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max() else { return };
                let round_trip = blocks.iter().filter_map(|b| round_trip(b.last_sender_report, b.delay)).min();
                self.stats.fraction_lost = f32::from(worst) / 256.0;
                blocks.iter().for_each(|block| self.senders.on_total_lost(block.ssrc, block.total_lost));
                round_trip.into_iter().for_each(|time| self.repaired.on_round_trip(time));
                self.control.estimate().on_report(now, worst, round_trip);
                outcome.reported = true;
            }
            Feedback::Arrivals(arrivals) => {
                let (base, reference) = (arrivals.base, arrivals.reference);
                self.control.estimate().on_feedback(now, base, reference, arrivals.statuses());
                outcome.reported = true;
            }
            Feedback::Most(bits_per_second) => {
                self.control.estimate().on_remb(now, bits_per_second);
                outcome.reported = true;
            }
        }
    }

    /// Gives whether there is something to send for it.
    fn on_key_frame_request(&mut self, cx: &mut SendContext<'_>, ssrc: u32) -> bool {
        let Some(tier) = self.senders.tier_of(ssrc) else { return false };
        let allows = self.recoveries.may_begin_anew(cx.now, tier);
        let Some(response) = self.senders.on_key_frame_request(cx, ssrc, allows) else { return false };
        self.stats.picture_losses += 1;
        if response == KeyFrameResponse::Restarted {
            self.recoveries.begun_anew(cx.now, tier);
        }
        response != KeyFrameResponse::Limited
    }
}
