//! The counters of a worker, summed over its peers. A publisher is no student and does not count.

use super::Worker;
use crate::id::UserId;
use crate::rtp::PerEncoding;
use crate::sfu::peer::Peer;
use crate::sfu::stats::{PeerStats, WorkerStats};

impl Worker {
    pub(super) fn stats(&self) -> WorkerStats {
        let peers = || self.peers.iter().flatten().filter(|peer| !peer.is_publisher());
        let connected: Vec<&Peer> = peers().filter(|peer| peer.is_connected()).collect();
        let numbers: Vec<(UserId, PeerStats)> =
            connected.iter().map(|peer| (peer.user.clone(), peer.numbers())).collect();
        let mut totals = self.totals_of_departed;
        numbers.iter().for_each(|(_, numbers)| totals.add(numbers));
        let mut watched = PerEncoding::default();
        connected.iter().flat_map(|peer| peer.senders.watched()).for_each(|encoding| watched[encoding] += 1);
        let udp = &self.media.udp;
        WorkerStats {
            students: connected.len(),
            connecting: peers().count() - connected.len(),
            disturbed: connected.iter().filter(|peer| peer.is_disturbed()).count(),
            sent: udp.sent,
            delays: udp.delays.clone(),
            sound_delays: udp.sound_delays.clone(),
            sealed_by_core: connected.iter().filter(|peer| peer.is_sealed_by_core()).count(),
            watched,
            dropped: self.dropped_by_departed + connected.iter().map(|peer| peer.stats.dropped).sum::<u64>(),
            peers: numbers,
            totals,
        }
    }
}
