//! What a student's feedback does: repairs, a picture that begins anew, and what is known of its way.

use super::Peer;
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
            Feedback::Nack(ssrc, numbers) => {
                for number in numbers {
                    self.stats.nacked += 1;
                    let find = || self.senders.on_nack(cx.rings, ssrc, number);
                    let found = self.adaptation.on_nack(now, (ssrc, number), cx.shared_rtx, find);
                    if let Some((request, copies)) = found {
                        self.stats.resent += copies as u64;
                        outcome.retransmissions.extend(std::iter::repeat_n(request, copies));
                    }
                }
            }
            Feedback::Pli(ssrc) => {
                outcome.recovers |= self.on_key_frame_request(cx, ssrc);
            }
            Feedback::ReceiverReport(blocks) => {
                let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max() else { return };
                let round_trip = blocks.iter().filter_map(|b| round_trip(b.last_sender_report, b.delay)).min();
                self.stats.fraction_lost = f32::from(worst) / 256.0;
                blocks.iter().for_each(|block| self.senders.on_total_lost(block.ssrc, block.total_lost));
                self.adaptation.on_report(now, worst, round_trip);
                outcome.reported = true;
            }
            Feedback::Transport(arrivals) => {
                let (base, reference) = (arrivals.base, arrivals.reference);
                self.adaptation.estimate().on_feedback(now, base, reference, arrivals.statuses());
                outcome.reported = true;
            }
            Feedback::Remb(bits_per_second) => {
                self.adaptation.estimate().on_remb(now, bits_per_second);
                outcome.reported = true;
            }
        }
    }

    /// Gives whether there is something to send for it.
    fn on_key_frame_request(&mut self, cx: &mut SendContext<'_>, ssrc: u32) -> bool {
        let Some(tier) = self.senders.tier_of(ssrc) else { return false };
        let allows = self.adaptation.may_restart(cx.now, tier);
        let Some(response) = self.senders.on_key_frame_request(cx, ssrc, allows) else { return false };
        self.stats.picture_losses += 1;
        if response == KeyFrameResponse::Restarted {
            self.adaptation.restarted(cx.now, tier);
        }
        response != KeyFrameResponse::Limited
    }
}
