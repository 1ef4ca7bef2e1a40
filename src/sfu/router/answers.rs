//! The router's answers to offers: they get the time that is left in a round.

use std::time::{Duration, Instant};

use super::Router;
use crate::rtp::{Codec, Encoding, Track};
use crate::sdp::offer;
use crate::sfu::peer::{Departure, Peer};
use crate::sfu::peer_table::Added;
use crate::sfu::pending_offers::PendingOffer;
use crate::sfu::watchdog::{caught, cpu_time};
use crate::sfu::worker::WorkerCommand;
use crate::sfu::{OfferRefusal, SfuEvent};

impl Router {
    /// Answers offers for about this long, but at least one that waits.
    pub(super) fn answer_offers(&mut self, slice: Duration) {
        let mut now = Instant::now();
        let until = now + slice;
        while self.answering.allows(now)
            && let Some(offer) = self.pending.pop()
        {
            let (user, before) = (offer.user.clone(), cpu_time());
            if let Err(why) = self.answer(offer) {
                self.events.push(SfuEvent::Refused { user, why });
            }
            self.answering.spend(cpu_time().saturating_sub(before));
            now = Instant::now();
            if now >= until {
                break;
            }
        }
    }

    fn answer(&mut self, offer: PendingOffer) -> Result<(), OfferRefusal> {
        let (now, origin) = (Instant::now(), offer.origin());
        let PendingOffer { user, sdp, video, candidates, is_edge, received, .. } = offer;
        let mut join = self.context.tracer.offered(received, &user);
        if self.encodings.is_empty() {
            return Err(OfferRefusal::NotLive);
        }
        let older = self.peers.admit(now, &user, &self.context.places)?;
        let mut codecs: Vec<(Track, Codec)> = self.encodings.iter().map(|e| (e.track, e.codec)).collect();
        codecs.dedup();
        let tiers: Vec<Encoding> = self.available.iter().map(|(encoding, _)| *encoding).collect();
        let tracks = offer::tracks_for(&sdp, video, &codecs)?;
        let (context, addresses) = (&self.context, &self.advertised);
        let answering = || {
            Peer::answer(user.clone(), sdp, &tracks, &tiers, context, addresses, now).map(|(mut peer, answer)| {
                candidates.into_iter().for_each(|candidate| peer.add_candidate(candidate));
                (peer, answer)
            })
        };
        let (mut peer, answer) = caught(answering)
            .ok_or_else(|| OfferRefusal::Unanswerable("it can't be processed".to_owned()))?
            .map_err(|e| OfferRefusal::Unanswerable(e.to_string()))?;
        if let Some(older) = older {
            if older.is_connected {
                peer.place.keep();
            }
            self.remove_peer(older.id, older.worker);
        }
        join.iter_mut().for_each(|join| join.step("answer"));
        peer.join = join;
        let credentials = (peer.ufrag.clone(), peer.password.clone());
        let Added { id, worker, evicted } = self.peers.add(now, user.clone(), credentials, origin, peer.place.clone());
        if let Some(known) = self.peers.get(id) {
            peer.share(&known.budgets);
        }
        if is_edge {
            peer.channel.carry_many();
        }
        if let Some((id, worker)) = evicted.and_then(|id| Some((id, self.peers.get(id)?.worker))) {
            // It is announced gone once its worker has closed it.
            self.give(worker, WorkerCommand::Evict { id });
        }
        // The answer is sent first: an event of the connection must not overtake it.
        self.events.push(SfuEvent::Answer { user: user.clone(), sdp: answer });
        if !self.give(worker, WorkerCommand::Add(id, Box::new(peer))) {
            self.peers.remove(id);
            self.events.push(SfuEvent::Gone { user: user.clone(), why: Departure::Lost });
        }
        Ok(())
    }
}
