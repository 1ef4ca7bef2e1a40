//! Peers that have not connected are served after all others, and only for the time of a slice.
//!
//! Each of them may cost as much CPU time as ten students that watch: ICE checks each candidate pair every 50 ms, and a
//! DTLS handshake is public-key cryptography. Hundreds of them must delay neither media nor feedback.

use std::time::{Duration, Instant};

use super::Worker;
use crate::sfu::peer::Peer;
use crate::sfu::watchdog::cpu_time;

impl Worker {
    /// Whether a datagram of a peer that has not connected waits and may be handled.
    pub(in crate::sfu) fn has_newcomers(&self) -> bool {
        self.newcomer_time.has_left() && !self.newcomers.is_empty()
    }

    /// Handles datagrams of peers that have not connected, one of each peer in turn, and then their timers.
    pub(in crate::sfu) fn serve_newcomers(&mut self, slice: Duration) {
        let begun = Instant::now();
        if !self.newcomer_time.allows(begun) {
            return;
        }
        let (mut now, before) = (begun, cpu_time());
        while now.saturating_duration_since(begun) < slice / 2 {
            let Some(index) = self.newcomers.pop_front() else { break };
            let Some((path, bytes)) = self.peers[index].as_mut().and_then(Peer::next_waiting) else { continue };
            self.receive(now, index, path, bytes);
            if self.peers[index].as_ref().is_some_and(Peer::has_waiting) {
                self.newcomers.push_back(index);
            }
            now = Instant::now();
        }
        self.tick_newcomers(now, begun + slice);
        self.newcomer_time.spend(cpu_time().saturating_sub(before));
        self.pass_on_requests();
    }

    /// Runs the due timers of peers that have not connected, starting after the last one that had its turn.
    fn tick_newcomers(&mut self, mut now: Instant, until: Instant) {
        let count = self.deadlines.len();
        for _ in 0..count {
            if now >= until {
                break;
            }
            let index = self.next_newcomer % count;
            self.next_newcomer = index + 1;
            if self.deadlines[index].is_some_and(|at| at <= now) && !self.is_connected(index) {
                self.tick_peer(now, index);
                now = Instant::now();
            }
        }
    }
}
