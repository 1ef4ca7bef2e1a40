//! The router's work for publishers: answers their offers, sends their frames, and passes requests on to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use crate::id::UserId;
use crate::ingest::IngestStats;
use crate::network::NetworkTag;
use crate::rtp::{Codec, Encoding, Track};
use crate::sdp::publish::PublishOffer;
use crate::sfu::encoding_monitor::STOPPED_AFTER;
use crate::sfu::event::PublisherStats;
use crate::sfu::peer::{Departure, Peer};
use crate::sfu::publishing::{Ended, Passage, Publication};
use crate::sfu::watchdog::caught;
use crate::sfu::worker::{RestartedIce, WorkerCommand};
use crate::sfu::{IceRestart, OfferRefusal, PeerId, PublisherSession, SessionEvent, SessionId, SfuEvent};

/// The interval between two checks of the encodings of the publisher.
const MONITOR_EVERY: Duration = Duration::from_millis(100);

/// A publisher's offer.
pub(super) struct PublisherOffer {
    pub(super) user: UserId,
    /// None for the connection of a page.
    pub(super) session: Option<PublisherSession>,
    pub(super) sdp: String,
    pub(super) tracks: Option<BTreeMap<String, Track>>,
    pub(super) network: Option<NetworkTag>,
}

impl Router {
    /// Answers or refuses a publisher's offer. It does not wait behind the offers of students.
    pub(super) fn publish(&mut self, offer: PublisherOffer) {
        let (user, session) = (offer.user.clone(), offer.session);
        if let Err(why) = self.answer_publisher(offer) {
            self.events.push(match session {
                Some(PublisherSession { number, .. }) => {
                    SfuEvent::Session { number, event: SessionEvent::Refused(why) }
                }
                None => SfuEvent::Refused { user, why },
            });
        }
    }

    fn answer_publisher(&mut self, offer: PublisherOffer) -> Result<(), OfferRefusal> {
        let PublisherOffer { user, session, sdp, tracks, network } = offer;
        let now = Instant::now();
        self.publishing.admit(now, &user, session)?;
        // Students keep their codecs if the new publisher has them.
        let preferred: Vec<(Track, Codec)> = self.encodings.iter().map(|e| (e.track, e.codec)).collect();
        let (context, addresses) = (&self.context, &self.advertised);
        let answering = || -> Result<_, OfferRefusal> {
            let offer = PublishOffer::parse(&sdp, tracks.as_ref(), &preferred)?;
            let encodings = offer.encodings();
            let answered = Peer::answer_publisher(user.clone(), offer, context, addresses, now);
            let (mut peer, answer) = answered.map_err(|e| OfferRefusal::Unanswerable(e.to_string()))?;
            peer.set_session(session);
            Ok((peer, answer, encodings))
        };
        let (mut peer, answer, encodings) =
            caught(answering).ok_or_else(|| OfferRefusal::Unanswerable("it can't be processed".to_owned()))??;
        let credentials = (peer.ufrag.clone(), peer.password.clone());
        let id = self.peers.add_publisher(now, user.clone(), network, credentials, peer.place.clone());
        if let Some(known) = self.peers.get(id) {
            peer.share(&known.budgets);
        }
        for displaced in self.publishing.begin(Publication::new(id, user.clone(), session, encodings)) {
            self.remove_peer(displaced.id, 0);
            let (why, number) = (Departure::NeverConnected, displaced.session.map(|session| session.number));
            if let Some(number) = number {
                self.events.push(SfuEvent::Session { number, event: SessionEvent::Gone(why) });
            } else if displaced.user != user {
                self.events.push(SfuEvent::Gone { user: displaced.user, why });
            }
        }
        // The answer is sent first: an event of the connection must not overtake it.
        self.events.push(match session {
            Some(PublisherSession { number, .. }) => {
                SfuEvent::Session { number, event: SessionEvent::Answer { sdp: answer } }
            }
            None => SfuEvent::Answer { user, sdp: answer },
        });
        self.own_worker.handle(WorkerCommand::Add(id, Box::new(peer)));
        Ok(())
    }

    /// A peer is connected. A publisher takes over at once if it replaces nobody.
    pub(super) fn on_publisher_connected(&mut self, id: PeerId) {
        if self.publishing.connected(Instant::now(), id) {
            self.take_over(id);
        }
    }

    /// Sends the new frames of publishers to the students. Their last packets arrived at `arrived`, or later.
    pub(super) fn send_ingested(&mut self, arrived: Instant) {
        for (id, mut frame) in self.own_worker.take_ingested(Instant::now()) {
            let now = Instant::now();
            match self.publishing.on_frame(now, id, &frame) {
                Passage::Drop => continue,
                Passage::Send => {}
                Passage::TakeOver => self.take_over(id),
            }
            self.monitor.on_frame(now, frame.encoding(), frame.bytes());
            self.publishing.continue_timestamps(&mut frame);
            self.ingest_delays.record(now.saturating_duration_since(arrived), 1);
            frame.arrived = Some(arrived);
            self.frame(frame);
        }
    }

    /// Makes a next publisher, or the next connection of one, a current one.
    fn take_over(&mut self, id: PeerId) {
        let change = self.publishing.take_over(id);
        change.replaced.iter().for_each(|older| self.remove_peer(older.id, 0));
        self.change_sources(&change.tracks);
    }

    /// These tracks have another source, or none. Every student's video goes on with a key frame of the new source.
    fn change_sources(&mut self, tracks: &[Track]) {
        self.monitor.restart(tracks);
        self.encodings = self.publishing.encodings().to_vec();
        self.active.set_encodings(&self.encodings);
        self.set_available(Instant::now());
        self.events.push(SfuEvent::Encodings(self.encodings.clone()));
        // The last frames of a track without a source stay: they are what newcomers see of it.
        for track in tracks {
            if self.publishing.source(*track).is_some() {
                self.gap(*track);
            }
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
        if is_due && !self.publishing.current().is_empty() {
            self.monitored = Some(now);
            if self.set_available(now) {
                let has = |encoding: &Encoding| self.available.iter().any(|(available, _)| available == encoding);
                let is_awaited = |encoding: &Encoding| self.publishing.source(encoding.track).is_none();
                let available = self.encodings.iter().copied().filter(|e| has(e) || is_awaited(e)).collect();
                self.events.push(SfuEvent::Encodings(available));
            }
        }
    }

    /// Tells the workers which encodings students may get, and at which rates, if that has changed. Returns whether
    /// other encodings are available.
    fn set_available(&mut self, now: Instant) -> bool {
        let (active, worker, publishing) = (&self.active, &self.own_worker, &self.publishing);
        let heard = |encoding: Encoding| worker.last_packet(publishing.source(encoding.track)?.id, encoding);
        let available = self.monitor.available(now, &publishing.sent(), |encoding| active.is_wanted(encoding), heard);
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
        if let Some(id) = self.publishing.source(encoding.track).map(|source| source.id) {
            self.own_worker.handle(WorkerCommand::KeyFrame { id, encoding });
        }
        true
    }

    /// Announces the departure of a peer if it was a publisher. Returns whether it was.
    pub(super) fn on_publisher_departed(&mut self, id: PeerId, user: &UserId, why: Departure) -> bool {
        let user = user.clone();
        let Some((publication, ended, change)) = self.publishing.ended(id) else { return false };
        if let Some(PublisherSession { number, .. }) = publication.session {
            self.events.push(SfuEvent::Session { number, event: SessionEvent::Gone(why) });
        }
        match ended {
            Ended::Gone => self.events.push(SfuEvent::Gone { user, why }),
            Ended::NeverTookOver if publication.session.is_none() => {
                self.events.push(SfuEvent::Refused { user, why: OfferRefusal::NeverTookOver });
            }
            Ended::NeverTookOver | Ended::Continues => {}
        }
        self.on_publication_ended(&change.tracks);
        true
    }

    /// Restarts the ICE session of a session.
    pub(super) fn restart_ice(&mut self, restart: IceRestart) {
        let IceRestart { number, ufrag, password, candidates } = restart;
        let id = self.publishing.of_session(number);
        let restarted = id.and_then(|id| self.own_worker.restart_ice(Instant::now(), id, &ufrag, &password));
        let event = match (id, restarted) {
            (Some(id), Some(Ok(RestartedIce { fragment, credentials }))) => {
                self.peers.restarted(id, credentials);
                for candidate in candidates {
                    self.give(0, WorkerCommand::Candidate { id, candidate });
                }
                SessionEvent::Restarted(Ok(fragment))
            }
            (_, Some(Err(error))) => SessionEvent::Restarted(Err(OfferRefusal::Unanswerable(error.to_string()))),
            // A peer that has panicked announces its departure.
            _ => return,
        };
        self.events.push(SfuEvent::Session { number, event });
    }

    /// Ends a session whose client has ended it.
    pub(super) fn end_session(&mut self, number: SessionId) {
        let Some((ended, change)) = self.publishing.end_session(number) else { return };
        self.remove_peer(ended.id, 0);
        if self.publishing.is_empty() {
            self.events.push(SfuEvent::Gone { user: ended.user, why: Departure::Left });
        }
        self.on_publication_ended(&change.tracks);
    }

    /// These tracks have lost their connection: another connection of the publisher may have them too.
    fn on_publication_ended(&mut self, tracks: &[Track]) {
        if !tracks.is_empty() && !self.publishing.current().is_empty() {
            self.change_sources(tracks);
        }
        while let Some(id) = self.publishing.waits_for_none() {
            self.take_over(id);
        }
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

    /// The statistics of the current publisher: of all its connections, and each track as its source sends it.
    pub(super) fn publisher_stats(&self) -> Option<PublisherStats> {
        let (now, current) = (Instant::now(), self.publishing.current());
        let user = current.first()?.user.clone();
        let (mut stats, mut silent_sessions) = (IngestStats::default(), Vec::new());
        let mut silence = Duration::MAX;
        for one in current {
            let (mut of_one, heard_at) = self.own_worker.ingest_stats(one.id)?;
            silence = silence.min(now.saturating_duration_since(heard_at));
            if of_one.is_silent(now, STOPPED_AFTER) {
                silent_sessions.extend(one.session.map(|session| session.number));
            }
            let is_source = |track| self.publishing.source(track).is_some_and(|source| source.id == one.id);
            of_one.encodings.retain(|arrived| is_source(arrived.encoding.track));
            stats.add(of_one);
        }
        let silent = self.encodings.iter().copied().filter(|encoding| self.monitor.is_silent(now, *encoding)).collect();
        Some(PublisherStats { user, stats, silent, silent_sessions, silence })
    }
}
