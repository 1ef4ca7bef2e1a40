//! The router's work for publishers: answers their offers, sends their frames, and passes requests on to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use crate::id::UserId;
use crate::network::NetworkTag;
use crate::rtp::{Codec, Encoding, Track};
use crate::sdp::publish::PublishOffer;
use crate::sfu::event::PublisherStats;
use crate::sfu::peer::{Departure, Peer};
use crate::sfu::publishing::{Ended, Passage, Publication};
use crate::sfu::watchdog::caught;
use crate::sfu::worker::WorkerCommand;
use crate::sfu::{OfferRefusal, PeerId, SfuEvent};

/// The interval between two checks of the encodings of the publisher.
const MONITOR_EVERY: Duration = Duration::from_millis(100);

/// A publisher's offer.
pub(super) struct PublisherOffer {
    pub(super) user: UserId,
    pub(super) sdp: String,
    pub(super) tracks: Option<BTreeMap<String, Track>>,
    pub(super) network: Option<NetworkTag>,
}

impl Router {
    /// Answers or refuses a publisher's offer. It does not wait behind the offers of students.
    pub(super) fn publish(&mut self, offer: PublisherOffer) {
        let user = offer.user.clone();
        if let Err(why) = self.answer_publisher(offer) {
            self.events.push(SfuEvent::Refused { user, why });
        }
    }

    fn answer_publisher(&mut self, offer: PublisherOffer) -> Result<(), OfferRefusal> {
        let PublisherOffer { user, sdp, tracks, network } = offer;
        let now = Instant::now();
        self.publishing.admit(now, &user)?;
        // Students keep their codecs if the new publisher has them.
        let preferred: Vec<(Track, Codec)> = self.encodings.iter().map(|e| (e.track, e.codec)).collect();
        let (context, addresses) = (&self.context, &self.advertised);
        let answering = || -> Result<_, OfferRefusal> {
            let offer = PublishOffer::parse(&sdp, tracks.as_ref(), &preferred)?;
            let answered = Peer::answer_publisher(user.clone(), &offer, context, addresses, now);
            let (peer, answer) = answered.map_err(|e| OfferRefusal::Unanswerable(e.to_string()))?;
            Ok((peer, answer, offer.encodings()))
        };
        let (peer, answer, encodings) =
            caught(answering).ok_or_else(|| OfferRefusal::Unanswerable("it can't be processed".to_owned()))??;
        let credentials = (peer.ufrag.clone(), peer.password.clone());
        let id = self.peers.add_publisher(now, user.clone(), network, credentials, peer.place.clone());
        if let Some(displaced) = self.publishing.begin(Publication::new(id, user.clone(), encodings)) {
            self.remove_peer(displaced.id, 0);
            if displaced.user != user {
                self.events.push(SfuEvent::Gone { user: displaced.user, why: Departure::NeverConnected });
            }
        }
        // The answer is sent first: an event of the connection must not overtake it.
        self.events.push(SfuEvent::Answer { user, sdp: answer });
        self.own_worker.handle(WorkerCommand::Add(id, Box::new(peer)));
        Ok(())
    }

    /// A peer is connected. A publisher takes over at once if nobody else publishes.
    pub(super) fn on_publisher_connected(&mut self, id: PeerId) {
        if self.publishing.connected(Instant::now(), id) {
            self.take_over();
        }
    }

    /// Sends the new frames of publishers to the students. Their last packets arrived at `arrived`, or later.
    pub(super) fn send_ingested(&mut self, arrived: Instant) {
        for (id, mut frame) in self.own_worker.take_ingested(Instant::now()) {
            let now = Instant::now();
            match self.publishing.on_frame(now, id, &frame) {
                Passage::Drop => continue,
                Passage::Send => {}
                Passage::TakeOver => self.take_over(),
            }
            self.monitor.on_frame(now, frame.encoding(), frame.bytes());
            self.publishing.continue_timestamps(&mut frame);
            self.ingest_delays.record(now.saturating_duration_since(arrived), 1);
            frame.arrived = Some(arrived);
            self.frame(frame);
        }
    }

    /// Makes the next publisher the current one. Every student's video goes on with a key frame of the new publisher.
    fn take_over(&mut self) {
        let older = self.publishing.take_over();
        if let Some(older) = older {
            self.remove_peer(older.id, 0);
        }
        self.monitor.restart();
        let promised = self.publishing.current().map(|current| current.encodings.clone()).unwrap_or_default();
        self.active.set_encodings(&promised);
        self.encodings = promised;
        self.set_available(Instant::now());
        self.events.push(SfuEvent::Encodings(self.encodings.clone()));
        for track in [Track::Screen, Track::Camera] {
            self.gap(track);
        }
        self.ask_for_key_frames();
    }

    /// Checks the encodings of the publisher, and asks the next publisher for its first key frame. Due every 5 ms.
    pub(super) fn look_after_publishers(&mut self, now: Instant) {
        self.send_ingested(now);
        if let Some((id, encodings)) = self.publishing.awaits_key_frame(now) {
            for encoding in encodings {
                self.own_worker.handle(WorkerCommand::KeyFrame { id, encoding });
            }
        }
        let is_due = self.monitored.is_none_or(|at| now.saturating_duration_since(at) >= MONITOR_EVERY);
        if is_due && self.publishing.current().is_some() {
            self.monitored = Some(now);
            if self.set_available(now) {
                let available = self.available.iter().map(|(encoding, _)| *encoding).collect();
                self.events.push(SfuEvent::Encodings(available));
            }
        }
    }

    /// Tells the workers which encodings students may get, and at which rates, if that has changed. Returns whether
    /// other encodings are available.
    fn set_available(&mut self, now: Instant) -> bool {
        let (active, worker) = (&self.active, &self.own_worker);
        let current = self.publishing.current().map(|current| current.id);
        let heard = |encoding| worker.last_packet(current?, encoding);
        let available = self.monitor.available(now, &self.encodings, |encoding| active.is_wanted(encoding), heard);
        if available == self.available {
            return false;
        }
        let names = |encodings: &[(Encoding, u32)]| encodings.iter().map(|(e, _)| *e).collect::<Vec<_>>();
        let has_changed = names(&available) != names(&self.available);
        self.available = available;
        let shared: Arc<[(Encoding, u32)]> = self.available.clone().into();
        self.give_to_all(|| WorkerCommand::Encodings(Arc::clone(&shared)));
        has_changed
    }

    /// Returns whether an encoding comes from a publisher, and asks the publisher, if there is one, for a key frame.
    pub(super) fn ask_publisher(&mut self, encoding: Encoding) -> bool {
        if !self.publishing.has(encoding) {
            return false;
        }
        if let Some(id) = self.publishing.current().map(|current| current.id) {
            self.own_worker.handle(WorkerCommand::KeyFrame { id, encoding });
        }
        true
    }

    /// Announces the departure of a peer if it was a publisher. Returns whether it was.
    pub(super) fn on_publisher_departed(&mut self, id: PeerId, user: &UserId, why: Departure) -> bool {
        let user = user.clone();
        match self.publishing.ended(id) {
            None => return false,
            Some(Ended::Gone) => self.events.push(SfuEvent::Gone { user, why }),
            Some(Ended::Continues) => {}
            Some(Ended::NeverTookOver) => {
                self.events.push(SfuEvent::Refused { user, why: OfferRefusal::NeverTookOver });
            }
        }
        if self.publishing.next_is_connected() {
            self.take_over();
        }
        true
    }

    /// Ends the publishers of a user that has left. Returns whether there were any.
    pub(super) fn remove_publisher(&mut self, user: &UserId) -> bool {
        let removed = self.publishing.remove(user);
        removed.iter().for_each(|publication| self.remove_peer(publication.id, 0));
        !removed.is_empty()
    }

    /// Passes a command to the worker of a user's peer, or to that of the user's newest connection that publishes. A
    /// refused candidate does no harm: there are others.
    pub(super) fn give_for(&mut self, user: &UserId, command: impl FnOnce(PeerId) -> WorkerCommand) {
        let publisher = self.publishing.of_user(user).next().map(|id| (id, 0));
        let known = publisher.or_else(|| self.peers.of_user(user).map(|(id, known)| (id, known.worker)));
        if let Some((id, worker)) = known {
            self.give(worker, command(id));
        }
    }

    /// Sends a message to a user over the data channel of each of its connections.
    pub(super) fn tell(&mut self, user: &UserId, text: &Arc<str>) {
        let publishers: Vec<PeerId> = self.publishing.of_user(user).collect();
        // The connection that is about to be replaced.
        for id in publishers.into_iter().skip(1) {
            self.give(0, WorkerCommand::Tell { id, text: Arc::clone(text) });
        }
        self.give_for(user, |id| WorkerCommand::Tell { id, text: Arc::clone(text) });
    }

    /// The statistics of the current publisher.
    pub(super) fn publisher_stats(&self) -> Option<PublisherStats> {
        let current = self.publishing.current()?;
        let (stats, now) = (self.own_worker.ingest_stats(current.id)?, Instant::now());
        let silent = current.encodings.iter().copied().filter(|encoding| self.monitor.is_silent(now, *encoding));
        Some(PublisherStats { user: current.user.clone(), stats, silent: silent.collect() })
    }
}
