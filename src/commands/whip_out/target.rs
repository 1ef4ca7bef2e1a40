//! The life of a lecture at one server: offer, session, connection, loss, and the way back.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::host::{Accepted, Host, HostError, HostOffer, HostSession};
use super::outputs::FrameOutputs;
use crate::commands::negotiation::{candidate_init, wire_candidate};
use crate::commands::or_never;
use crate::commands::uplink_connection::{UplinkConnection, UplinkEvent};
use crate::protocol::IceCandidate;
use crate::protocol::channel::{NeededEncoding, SentTier};
use crate::publisher::{Layering, MediaReceiver, PublisherConfig, PublisherEvent};
use crate::report::HostState;
use crate::rtp::{Encoding, Tier};
use crate::sdp::ice::{IceServer, IceServers};
use crate::sdp::restart;

/// The longest wait for the answers of STUN and TURN servers before an offer. Later candidates follow it.
const GATHER_WITHIN: Duration = Duration::from_secs(1);

/// The most candidates that follow an offer.
const MAX_LATER_CANDIDATES: usize = 16;

/// The media for a server, and the addresses that send it.
#[derive(Debug, Clone)]
pub(in crate::commands) struct TargetMedia {
    pub(in crate::commands) bind: Vec<String>,
    pub(in crate::commands) ice_servers: IceServers,
    pub(in crate::commands) encodings: Vec<(Encoding, u32)>,
    pub(in crate::commands) layering: Layering,
}

/// An event for the lecture.
pub(in crate::commands) enum TargetEvent {
    State(HostState),
    /// Exactly these encodings of videos are sent.
    Sends(Vec<Encoding>),
    KeyFrameNeeded(Encoding),
}

/// The lecture at one server.
pub(in crate::commands) struct Target {
    number: usize,
    host: Host,
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
    session: Option<HostSession>,
    offer: String,
    answer: String,
    /// Candidates that may still follow the offer.
    more_candidates: usize,
}

impl Target {
    pub(in crate::commands) fn new(
        number: usize,
        host: Host,
        media: TargetMedia,
        outputs: FrameOutputs,
        events: mpsc::Sender<(usize, TargetEvent)>,
    ) -> Self {
        let uplink = UplinkConnection::new(Instant::now(), host.delays());
        let (open, named, told) = (None, Vec::new(), None);
        Self { number, host, media, outputs, events, uplink, open, named, has_been_live: false, told }
    }

    /// Publishes until `stop`, for ever if need be.
    pub(in crate::commands) async fn run(mut self, stop: oneshot::Receiver<()>) {
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
            let session = self.open.as_mut().and_then(|open| open.session.as_mut());
            let event = tokio::select! {
                event = self.uplink.next() => event,
                lost = or_never(session.map(HostSession::lost)) => {
                    self.on_lost(&lost).await;
                    continue;
                }
            };
            match event {
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
        ice_servers.servers.extend(self.named.clone());
        let config = PublisherConfig { bind, ice_servers, encodings, layering, receiver: MediaReceiver::Foreign };
        let tracks = match self.uplink.offer(Instant::now(), config).await {
            Ok((_, tracks)) => tracks,
            Err(cause) => return self.lose(format!("no connection can be made: {cause}")).await,
        };
        let Some(publisher) = self.uplink.publisher() else { return };
        let offer = match publisher.whole_offer(GATHER_WITHIN).await {
            Ok(offer) => offer,
            Err(cause) => return self.lose(format!("no connection can be made: {cause}")).await,
        };
        match self.host.open(HostOffer { sdp: &offer, tracks: &tracks }).await {
            Ok(accepted) => self.accepted(offer, accepted).await,
            Err(error) => self.on_lost(&error).await,
        }
    }

    /// The server does not take the lecture, or has ended the session.
    async fn on_lost(&mut self, error: &HostError) {
        if error.is_final(self.has_been_live) {
            self.refuse(error.to_string()).await;
        } else {
            self.wait(error).await;
        }
    }

    async fn accepted(&mut self, offer: String, Accepted { answer, session, ice_servers }: Accepted) {
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
            let (missing, advice) = (missing.join(" and "), self.host.codec_advice());
            return self.refuse(format!("it does not take the codec of {missing}{advice}")).await;
        }
        if self.media.layering == Layering::Simulcast {
            publisher.need(&all_tiers(&self.media.encodings));
        }
        self.outputs.attach(self.number, publisher.input());
        self.uplink.expect_connection(Instant::now());
    }

    async fn on_event(&mut self, event: PublisherEvent) {
        match event {
            PublisherEvent::Candidate(candidate) => self.add_candidate(wire_candidate(candidate)).await,
            PublisherEvent::Connected => {
                self.uplink.connected();
                (self.has_been_live, self.told) = (true, None);
                self.tell(TargetEvent::State(HostState::Live)).await;
            }
            PublisherEvent::KeyFrameNeeded(encoding) => self.tell(TargetEvent::KeyFrameNeeded(encoding)).await,
            PublisherEvent::Encodings(encodings) => self.tell(TargetEvent::Sends(encodings)).await,
            PublisherEvent::Disturbed => self.restart_ice().await,
            PublisherEvent::Gone => self.lose("the connection was lost".to_owned()).await,
            PublisherEvent::ChannelOpen | PublisherEvent::Heard(_) => {}
        }
    }

    /// A candidate that was not in the offer.
    async fn add_candidate(&mut self, candidate: IceCandidate) {
        let Some(open) = self.open.as_mut() else { return };
        let line = &candidate.candidate;
        if line.is_empty() || open.offer.contains(line) || open.more_candidates == 0 {
            return;
        }
        open.more_candidates -= 1;
        if let Some(session) = &mut open.session {
            session.add_candidate(&open.offer, candidate).await;
        }
    }

    /// Nothing has arrived for some seconds: this computer may have another address now.
    async fn restart_ice(&mut self) {
        self.tell(TargetEvent::State(HostState::Disturbed)).await;
        let session = self.open.as_ref().and_then(|open| open.session.as_ref());
        if session.is_some_and(|session| !session.restarts_ice()) {
            return self.uplink.expect_connection(Instant::now());
        }
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
    async fn wait(&mut self, error: &HostError) {
        self.end_session().await;
        let delay = self.uplink.retry_after(Instant::now(), error.retry_after().unwrap_or_default());
        self.tell_waiting(error.to_string(), delay).await;
    }

    /// The server will not accept the lecture, whatever the time.
    async fn refuse(&mut self, reason: String) {
        self.end_session().await;
        self.uplink.give_up();
        self.tell(TargetEvent::State(HostState::Refused { reason })).await;
    }

    async fn tell_waiting(&mut self, reason: String, delay: Duration) {
        if self.told.as_ref() != Some(&reason) {
            self.told = Some(reason.clone());
            let retry_s = delay.as_secs().max(1);
            self.tell(TargetEvent::State(HostState::Waiting { reason, retry_s })).await;
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
