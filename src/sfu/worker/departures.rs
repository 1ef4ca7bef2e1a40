//! The departure of peers from a worker: removed by the router, ended by themselves, or expelled because they harmed
//! the others.

use std::time::{Duration, Instant};

use super::{Worker, WorkerReport};
use crate::rtp::Encoding;
use crate::sfu::SfuEvent;
use crate::sfu::peer::{Departure, Peer};
use crate::sfu::watchdog::caught;

impl Worker {
    /// Removes a peer from all tables and queues.
    fn take(&mut self, index: usize) -> Option<Peer> {
        let peer = self.peers.get_mut(index)?.take()?;
        peer.place.give_up();
        let id = self.ids[index];
        self.by_id.remove(&id);
        self.deadlines[index] = None;
        for queue in [&mut self.newest, &mut self.behind, &mut self.with_messages, &mut self.newcomers] {
            queue.retain(|other| *other != index);
        }
        self.dropped_by_departed += peer.senders.dropped();
        if !peer.is_publisher() {
            self.totals_of_departed.add(&peer.numbers());
        }
        self.report_active_encodings();
        Some(peer)
    }

    /// Removes a peer and closes its connection.
    pub(super) fn close(&mut self, index: usize) {
        if let Some(peer) = self.take(index) {
            let udp = &mut self.media.udp;
            caught(|| peer.close(udp));
        }
    }

    /// Closes the connections of students that can get none of these encodings of a track: they offer again at once.
    pub(super) fn end_with_other_codec(&mut self, encodings: &[Encoding]) {
        for index in 0..self.peers.len() {
            if self.peers[index].as_ref().is_some_and(|peer| peer.has_other_codec(encodings)) {
                self.depart(index, Departure::OtherCodec);
                self.close(index);
            }
        }
    }

    /// Reports the departure of a peer, which the router announces. The caller removes the peer.
    pub(super) fn depart(&mut self, index: usize, why: Departure) {
        self.departures.push(WorkerReport::Departed { id: self.ids[index], why });
        self.report_departures();
    }

    /// Reports departures after the events of these peers have been sent, so that no announcement overtakes them.
    pub(super) fn report_departures(&mut self) {
        if self.events.is_empty() {
            for departure in self.departures.drain(..) {
                let _ = self.reports.send(departure);
            }
        }
    }

    /// Removes a peer that has panicked. Its connection is not closed, because none of its state may be used any more.
    pub(super) fn end_failed(&mut self, index: usize) {
        self.media.udp.discard();
        if self.peers[index].is_some() {
            self.depart(index, Departure::Failed);
            self.take(index);
        }
    }

    /// Removes a peer that kept the thread busy for too long. Its connection is not closed, which might take as long
    /// again.
    pub(super) fn end_slow(&mut self, index: usize, cpu_time: Duration) {
        self.media.udp.discard();
        let millis = cpu_time.as_millis();
        self.expel(index, &format!("what it sent kept this computer busy for {millis} ms"));
        self.take(index);
    }

    /// Announces the departure of a student that harmed the others. The caller removes the peer.
    pub(super) fn expel(&mut self, index: usize, why: &str) {
        let Some(user) = self.peers[index].as_ref().map(|peer| peer.user.clone()) else { return };
        if self.notices.take(Instant::now()).is_ok() {
            self.events.push(SfuEvent::Notice(format!("{user} was disconnected: {why}")));
        }
        self.depart(index, Departure::Misbehaved);
    }
}
