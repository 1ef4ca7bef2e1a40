//! The life of a lecture at one WHIP server: offer, session, connection, loss, and the way back.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::outputs::FrameOutputs;
use crate::commands::negotiation::candidate_init;
use crate::commands::uplink_connection::{Delays, UplinkConnection, UplinkEvent};
use crate::http::whip_client::{Endpoint, Opened, Session, WhipError};
use crate::protocol::channel::{NeededEncoding, SentTier};
use crate::publisher::{Layering, MediaReceiver, PublisherConfig, PublisherEvent};
use crate::report::WhipState;
use crate::rtp::{Encoding, Tier};
use crate::sdp::ice::IceServer;
use crate::sdp::restart;

/// A server that is gone may be back soon, or tomorrow. One that accepts offers and then fails gets no more of them.
const DELAYS: Delays =
    Delays { first: Duration::from_secs(1), longest: Duration::from_secs(30), works_after: Duration::from_secs(30) };

/// The longest wait for the answers of STUN and TURN servers before an offer. Later candidates follow it.
const GATHER_WITHIN: Duration = Duration::from_secs(1);

/// The most candidates that follow an offer.
const MAX_LATER_CANDIDATES: usize = 16;

/// What a server gets, and from where.
#[derive(Debug, Clone)]
pub(super) struct TargetMedia {
    pub(super) bind: Vec<String>,
    pub(super) ice_servers: Vec<IceServer>,
    pub(super) encodings: Vec<(Encoding, u32)>,
    pub(super) layering: Layering,
}

/// An event for the lecture.
pub(super) enum TargetEvent {
    State(WhipState),
    /// Exactly these encodings of videos are sent.
    Sends(Vec<Encoding>),
    KeyFrameNeeded(Encoding),
}

/// The lecture at one server.
pub(super) struct Target {
    number: usize,
    endpoint: Endpoint,
    media: TargetMedia,
    outputs: FrameOutputs,
    events: mpsc::Sender<(usize, TargetEvent)>,
    uplink: UplinkConnection,
    open: Option<Open>,
    /// The STUN and TURN servers that the server itself named.
    named: Vec<IceServer>,
    has_been_live: bool,
    /// The last reason that was told.
    told: Option<String>,
}

/// An accepted offer.
struct Open {
    session: Option<Session>,
    offer: String,
    answer: String,
    /// Candidates that may still follow the offer.
    more_candidates: usize,
}

impl Target {
    pub(super) fn new(
        number: usize,
        endpoint: Endpoint,
        media: TargetMedia,
        outputs: FrameOutputs,
        events: mpsc::Sender<(usize, TargetEvent)>,
    ) -> Self {
        let uplink = UplinkConnection::new(Instant::now(), DELAYS);
        let (open, named, told) = (None, Vec::new(), None);
        Self { number, endpoint, media, outputs, events, uplink, open, named, has_been_live: false, told }
    }

    /// Publishes until `stop`, for ever if need be.
    pub(super) async fn run(mut self, stop: oneshot::Receiver<()>) {
        tokio::select! {
            _ = stop => {}
            () = self.publish() => {}
        }
        self.outputs.detach(self.number);
        let session = self.open.take().and_then(|open| open.session);
        let goodbye = async {
            if let Some(session) = session {
                session.end().await;
            }
        };
        tokio::join!(goodbye, self.uplink.close());
    }

    async fn publish(&mut self) {
        loop {
            match self.uplink.next().await {
                UplinkEvent::Due if self.uplink.publisher().is_some() => {
                    self.lose("no connection for media came about: its UDP port may be blocked".to_owned()).await;
                }
                UplinkEvent::Due => self.offer().await,
                UplinkEvent::Publisher(Some(event)) => self.on_event(event).await,
                UplinkEvent::Publisher(None) => self.lose("the connection has ended".to_owned()).await,
            }
        }
    }

    async fn offer(&mut self) {
        let TargetMedia { bind, mut ice_servers, encodings, layering } = self.media.clone();
        ice_servers.extend(self.named.clone());
        let config = PublisherConfig { bind, ice_servers, encodings, layering, receiver: MediaReceiver::Whip };
        if let Err(cause) = self.uplink.offer(Instant::now(), config).await {
            return self.lose(format!("no connection can be made: {cause}")).await;
        }
        let Some(publisher) = self.uplink.publisher() else { return };
        let offer = match publisher.whole_offer(GATHER_WITHIN).await {
            Ok(offer) => offer,
            Err(cause) => return self.lose(format!("no connection can be made: {cause}")).await,
        };
        match self.endpoint.open(&offer).await {
            Ok(opened) => self.opened(offer, opened).await,
            Err(error) if error.is_final() && !self.has_been_live => self.refuse(error.to_string()).await,
            Err(error) => self.wait(&error).await,
        }
    }

    async fn opened(&mut self, offer: String, Opened { answer, session, ice_servers }: Opened) {
        self.named = ice_servers;
        self.open = Some(Open { session, offer, answer: answer.clone(), more_candidates: MAX_LATER_CANDIDATES });
        self.uplink.answer(Instant::now(), answer).await;
        let Some(publisher) = self.uplink.publisher() else {
            return self.lose("its answer does not fit the offer".to_owned()).await;
        };
        let mut tracks: Vec<_> = self.media.encodings.iter().map(|(encoding, _)| encoding.track).collect();
        tracks.dedup();
        let missing: Vec<String> =
            tracks.into_iter().filter(|track| !publisher.sends(*track)).map(|track| track.to_string()).collect();
        if !missing.is_empty() {
            return self.refuse(format!("it does not take the codec of {}", missing.join(" and "))).await;
        }
        if self.media.layering == Layering::Simulcast {
            publisher.need(&all_tiers(&self.media.encodings));
        }
        self.outputs.attach(self.number, publisher.input());
        self.uplink.expect_connection(Instant::now());
    }

    async fn on_event(&mut self, event: PublisherEvent) {
        match event {
            PublisherEvent::Candidate(candidate) => self.add_candidate(&candidate.candidate).await,
            PublisherEvent::Connected => {
                self.uplink.connected();
                (self.has_been_live, self.told) = (true, None);
                self.tell(TargetEvent::State(WhipState::Live)).await;
            }
            PublisherEvent::KeyFrameNeeded(encoding) => self.tell(TargetEvent::KeyFrameNeeded(encoding)).await,
            PublisherEvent::Encodings(encodings) => self.tell(TargetEvent::Sends(encodings)).await,
            PublisherEvent::Disturbed => self.restart_ice().await,
            PublisherEvent::Gone => self.lose("the connection was lost".to_owned()).await,
            PublisherEvent::ChannelOpen | PublisherEvent::Heard(_) => {}
        }
    }

    /// A candidate that was not in the offer.
    async fn add_candidate(&mut self, candidate: &str) {
        let Some(open) = self.open.as_mut() else { return };
        if candidate.is_empty() || open.offer.contains(candidate) || open.more_candidates == 0 {
            return;
        }
        open.more_candidates -= 1;
        if let Some(session) = &mut open.session {
            session.add_candidates(&restart::fragment_of(&open.offer, candidate)).await;
        }
    }

    /// Nothing has arrived for some seconds: this computer may have another address now.
    async fn restart_ice(&mut self) {
        self.tell(TargetEvent::State(WhipState::Disturbed)).await;
        if self.restarted().await.is_some() {
            self.uplink.expect_connection(Instant::now());
        } else {
            self.lose("the connection was lost".to_owned()).await;
        }
    }

    async fn restarted(&mut self) -> Option<()> {
        let open = self.open.as_mut()?;
        let publisher = self.uplink.publisher()?;
        let session = open.session.as_mut()?;
        let offer = publisher.restart_ice(GATHER_WITHIN).await.ok()?;
        let other = session.restart_ice(&restart::fragment(&offer)).await?;
        let candidates = other.candidates.iter().map(|candidate| candidate.candidate.as_str());
        let credentials = (other.ufrag.as_str(), other.password.as_str());
        let answer = restart::restarted_answer(&open.answer, credentials, candidates);
        publisher.answer(answer.clone()).await.ok()?;
        for candidate in other.candidates {
            publisher.candidate(candidate_init(candidate)).await;
        }
        (open.offer, open.answer) = (offer, answer);
        Some(())
    }

    /// The connection is lost, or did not come about: another offer follows.
    async fn lose(&mut self, reason: String) {
        self.end_session().await;
        let delay = self.uplink.retry_after(Instant::now(), Duration::ZERO);
        self.tell_waiting(reason, delay).await;
    }

    /// The server does not accept the offer at present.
    async fn wait(&mut self, error: &WhipError) {
        self.end_session().await;
        let delay = self.uplink.retry_after(Instant::now(), error.retry_after().unwrap_or_default());
        self.tell_waiting(error.to_string(), delay).await;
    }

    /// The server will not accept the lecture, whatever the time.
    async fn refuse(&mut self, reason: String) {
        self.end_session().await;
        self.uplink.give_up();
        self.tell(TargetEvent::State(WhipState::Refused { reason })).await;
    }

    async fn tell_waiting(&mut self, reason: String, delay: Duration) {
        if self.told.as_ref() != Some(&reason) {
            self.told = Some(reason.clone());
            let retry_s = delay.as_secs().max(1);
            self.tell(TargetEvent::State(WhipState::Waiting { reason, retry_s })).await;
        }
    }

    /// Ends the session, so that the server takes another offer at once.
    async fn end_session(&mut self) {
        self.outputs.detach(self.number);
        self.tell(TargetEvent::Sends(Vec::new())).await;
        if let Some(session) = self.open.take().and_then(|open| open.session) {
            session.end().await;
        }
    }

    async fn tell(&self, event: TargetEvent) {
        // This fails only at the end of the lecture.
        _ = self.events.send((self.number, event)).await;
    }
}

/// All tiers of the videos, for a server that chooses among them.
fn all_tiers(encodings: &[(Encoding, u32)]) -> Vec<NeededEncoding> {
    let videos = encodings.iter().map(|(encoding, _)| encoding).filter(|encoding| encoding.track.is_video());
    let needed = |encoding: &Encoding| NeededEncoding {
        track: encoding.track.into(),
        tier: match encoding.tier {
            Tier::Full => SentTier::Full,
            Tier::Low => SentTier::Low,
        },
    };
    videos.map(needed).collect()
}
