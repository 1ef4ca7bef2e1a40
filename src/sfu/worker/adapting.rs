//! Who gets what, and which encodings that needs.

use std::time::Instant;

use super::{ADAPT_EVERY, Wishes, Worker, WorkerReport, guarded};
use crate::rtp::{Encoding, PerEncoding};
use crate::sfu::peer::{ClassNow, Peer};

impl Worker {
    /// Tells how many students need which encoding, where that has changed.
    pub(super) fn look_who_needs_what(&mut self) {
        let mut needed = PerEncoding::<usize>::default();
        for encoding in self.peers.iter().flatten().flat_map(|peer| peer.lanes.needed()) {
            needed[encoding] += 1;
        }
        for encoding in Encoding::all() {
            let students = needed[encoding];
            if students != std::mem::replace(&mut self.needed[encoding], students) {
                self.report(WorkerReport::Active { worker: self.worker, encoding, students });
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
        self.common.look(now, self.peers.iter().flatten().filter_map(Peer::troubled_since));
        for index in 0..self.peers.len() {
            self.adapt_one(now, index);
        }
    }

    pub(super) fn adapt_one(&mut self, now: Instant, index: usize) {
        let mut wishes = Wishes::default();
        let Some(peer) = self.peers[index].as_mut() else { return };
        let class = ClassNow { rates: &self.rates, common: &self.common };
        let (rings, outlet) = (&self.rings, &mut self.outlet);
        match guarded(peer, |peer| peer.adapt(now, class, rings, outlet, &mut wishes)) {
            None => return self.end_failed(vec![index]),
            Some(true) => {
                if !std::mem::replace(&mut peer.is_to_be_told, true) {
                    self.to_tell.push_back(index);
                }
                self.let_catch_up(index);
            }
            Some(false) => {}
        }
        self.wish(wishes);
    }
}
