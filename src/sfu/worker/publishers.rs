//! Publishers among the peers of a worker: their RTCP, and their frames, which the router takes.

use std::time::Instant;

use rtc::shared::error::Error;

use super::Worker;
use crate::ingest::IngestStats;
use crate::rtp::{Encoding, Frame};
use crate::sfu::PeerId;
use crate::sfu::peer::Peer;
use crate::sfu::transport::SendContext;

/// The local side of a restart of ICE.
pub(in crate::sfu) struct RestartedIce {
    /// For the publisher, in the form of `application/trickle-ice-sdpfrag`.
    pub(in crate::sfu) fragment: String,
    /// The new local user name fragment and password.
    pub(in crate::sfu) credentials: (String, String),
}

impl Worker {
    /// Whether a peer is served before newcomers, as connected peers and publishers are. There are few publishers, and
    /// a flood of newcomers must not keep them out.
    pub(super) fn has_priority(&self, index: usize) -> bool {
        self.peers[index].as_ref().is_some_and(|peer| peer.is_connected() || peer.is_publisher())
    }

    /// Sends the RTCP of a publisher that is due, and takes its complete frames. Does nothing for a student.
    pub(super) fn ingest(&mut self, now: Instant, index: usize) {
        if !self.peers[index].as_ref().is_some_and(Peer::is_publisher) {
            return;
        }
        let mut frames = Vec::new();
        let ingest = |peer: &mut Peer, cx: &mut SendContext<'_>| {
            peer.ingest(cx, &mut frames);
            peer.deadline
        };
        let Some(deadline) = self.with_peer(now, index, ingest) else { return };
        self.deadlines[index] = Some(deadline);
        let id = self.ids[index];
        self.ingested.extend(frames.into_iter().map(|frame| (id, frame)));
    }

    /// Restarts the ICE session of a publisher. `None` if there is no such peer, or if it was removed because it panicked
    /// or took too long.
    pub(in crate::sfu) fn restart_ice(
        &mut self,
        now: Instant,
        id: PeerId,
        ufrag: &str,
        password: &str,
    ) -> Option<Result<RestartedIce, Error>> {
        let index = *self.by_id.get(&id)?;
        let restart = |peer: &mut Peer, _: &mut SendContext<'_>| {
            let fragment = peer.restart_ice(now, ufrag, password)?;
            Ok(RestartedIce { fragment, credentials: (peer.ufrag.clone(), peer.password.clone()) })
        };
        let restarted = self.with_peer(now, index, restart)?;
        self.poll(now, index);
        Some(restarted)
    }

    /// Asks a publisher for a key frame.
    pub(super) fn ask_publisher(&mut self, now: Instant, id: PeerId, encoding: Encoding) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        self.with_peer(now, index, |peer, cx| peer.ask_for_key_frame(cx.now, encoding));
        self.ingest(now, index);
    }

    /// A publisher's media has arrived. [`take_ingested`](Self::take_ingested) does the rest, once for all datagrams
    /// that are read together.
    pub(super) fn media_arrived(&mut self, index: usize) {
        if !self.heard.contains(&index) {
            self.heard.push(index);
        }
    }

    /// The frames of publishers that have become complete since the last call, in order. Sends the RTCP that is due.
    pub(in crate::sfu) fn take_ingested(&mut self, now: Instant) -> Vec<(PeerId, Frame)> {
        while let Some(index) = self.heard.pop() {
            self.ingest(now, index);
        }
        std::mem::take(&mut self.ingested)
    }

    /// The arrival of the last packet of a publisher's encoding.
    pub(in crate::sfu) fn last_packet(&self, id: PeerId, encoding: Encoding) -> Option<Instant> {
        self.peers[*self.by_id.get(&id)?].as_ref()?.last_packet(encoding)
    }

    /// The statistics of a publisher, and when it was heard last.
    pub(in crate::sfu) fn ingest_stats(&self, id: PeerId) -> Option<(IngestStats, Instant)> {
        self.peers[*self.by_id.get(&id)?].as_ref()?.ingest_stats()
    }
}
