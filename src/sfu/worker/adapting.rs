//! Who gets what, and which encodings that needs.

use std::time::Instant;

use super::{ADAPT_EVERY, Report, Seat, Shard, Wishes, guarded};
use crate::rtp::{Encoding, PerEncoding};
use crate::sfu::peer::{ClassNow, Peer};

impl Shard {
    /// Tells how many students need which encoding, where that has changed.
    pub(super) fn look_who_needs_what(&mut self) {
        let mut needed = PerEncoding::<usize>::default();
        for encoding in self.seats.iter().flatten().flat_map(|peer| peer.lanes.needed()) {
            needed[encoding] += 1;
        }
        for encoding in Encoding::all() {
            let students = needed[encoding];
            if students != std::mem::replace(&mut self.needed[encoding], students) {
                self.report(Report::Needs { worker: self.worker, encoding, students });
            }
        }
    }

    /// Lets every student get what its way carries; does something ten times a second.
    pub(in crate::sfu) fn adapt(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.adapted) < ADAPT_EVERY {
            return;
        }
        self.adapted = now;
        self.rates = self.traffic.rates(now);
        self.common.look(now, self.seats.iter().flatten().filter_map(Peer::troubled_since));
        for seat in 0..self.seats.len() {
            self.adapt_one(now, seat);
        }
    }

    pub(super) fn adapt_one(&mut self, now: Instant, seat: Seat) {
        let mut wishes = Wishes::default();
        let Some(peer) = self.seats[seat].as_mut() else { return };
        let class = ClassNow { rates: &self.rates, common: &self.common };
        let (rings, outlet) = (&self.rings, &mut self.outlet);
        match guarded(peer, |peer| peer.adapt(now, class, rings, outlet, &mut wishes)) {
            None => return self.end_failed(vec![seat]),
            Some(true) => {
                if !std::mem::replace(&mut peer.is_to_be_told, true) {
                    self.to_tell.push_back(seat);
                }
                self.let_catch_up(seat);
            }
            Some(false) => {}
        }
        self.wish(wishes);
    }
}
