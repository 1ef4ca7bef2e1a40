//! A source of media that this process hosts for a publisher: an SFU, the state of the publisher's media, and the
//! offers that wait for that media. The publisher of a room is one, and so is each speaker on the stage.

mod publisher_media;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::publisher_media::{PublisherMedia, Start};
use super::negotiation::{candidate_init, rejection};
use super::waiting_offers::WaitingOffers;
use crate::id::UserId;
use crate::network::NetworkTag;
use crate::protocol::channel::{PublisherMessage, Stopped};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, OfferedTracks, TrackName, VideoTrack};
use crate::rtp::{Encoding, Track};
use crate::sfu::{
    AudioFloor, IceRestart, MediaPort, SessionId, SessionOffer, Sfu, SfuConfig, SfuError, SfuEvent, SfuStats,
    SharedThreads, UdpBinding,
};
use crate::trace::Tracer;

/// The longest wait for the SFU's statistics.
const STATS_WITHIN: Duration = Duration::from_secs(1);

/// The settings of a process for its sources.
#[derive(Debug, Clone)]
pub(super) struct SourceSettings {
    /// The UDP port that all of them share.
    pub(super) port: MediaPort,
    /// Further addresses by which clients reach the port.
    pub(super) advertise: Vec<IpAddr>,
    /// The number of sending threads of each source.
    pub(super) workers: NonZeroUsize,
    /// The most receivers of a source.
    pub(super) max_receivers: usize,
    /// The audio floor of a meeting.
    pub(super) floor: Option<AudioFloor>,
    /// The threads that sources share; none if each has its own.
    pub(super) threads: Option<SharedThreads>,
    /// Takes the steps of each student's join.
    pub(super) tracer: Tracer,
}

/// Whose media a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKind {
    /// The media of the room's publisher.
    Lecture,
    /// The media of a speaker: signalling messages name the speaker as their `source`.
    Speaker,
}

/// A publisher's offer.
#[derive(Debug)]
pub(super) struct PublishOffer {
    pub(super) sdp: String,
    pub(super) tracks: Option<OfferedTracks>,
    pub(super) network: Option<NetworkTag>,
}

/// A source of media. The owner reads the SFU's events and passes them to [`HostedSource::on_event`].
pub(super) struct HostedSource {
    sfu: Sfu,
    publisher: UserId,
    kind: SourceKind,
    media: PublisherMedia,
    /// Offers that wait for the publisher's media.
    waiting: WaitingOffers,
}

/// The consequences of an event.
pub(super) struct Handled {
    /// A message for signalling.
    pub(super) message: Option<ClientMessage>,
    /// The event, if the owner has to handle it too: somebody is connected or gone, a channel is open, a message was
    /// heard, the event is about a session, or the SFU has a notice.
    pub(super) event: Option<SfuEvent>,
}

impl HostedSource {
    /// Starts the SFU, which takes some milliseconds. Also returns its events.
    ///
    /// # Errors
    /// [`SfuError`] if the certificate or a thread can't be created.
    pub(super) fn open(
        publisher: UserId,
        kind: SourceKind,
        settings: SourceSettings,
    ) -> Result<(Self, mpsc::Receiver<SfuEvent>), SfuError> {
        let SourceSettings { port, advertise, workers, max_receivers, floor, threads, tracer } = settings;
        let config = SfuConfig {
            user: publisher.clone(),
            udp: UdpBinding::Shared(port),
            advertise,
            stun: Vec::new(),
            max_students: max_receivers,
            encodings: Vec::new(),
            workers,
            adapts: true,
        };
        let (sfu, events) = match threads {
            Some(threads) => Sfu::start_on(&threads, config)?,
            None => Sfu::start(config)?,
        };
        floor.into_iter().for_each(|floor| sfu.join_floor(floor));
        sfu.trace(tracer);
        let start = match kind {
            SourceKind::Lecture => Start::EvenSilent,
            SourceKind::Speaker => Start::WithMedia,
        };
        let (media, waiting) = (PublisherMedia::new(start), WaitingOffers::default());
        Ok((Self { sfu, publisher, kind, media, waiting }, events))
    }

    /// The SFU, for messages over its data channels.
    pub(super) fn sfu(&self) -> &Sfu {
        &self.sfu
    }

    /// The publisher offers its media.
    pub(super) fn publish(&self, offer: PublishOffer) {
        let PublishOffer { sdp, tracks, network } = offer;
        let tracks: Option<BTreeMap<String, Track>> =
            tracks.map(|tracks| tracks.into_iter().map(|(mid, track)| (mid, track.into())).collect());
        self.sfu.publish(self.publisher.clone(), sdp, tracks, network);
    }

    /// A client offers one of the videos of the publisher.
    pub(super) fn open_session(&self, offer: SessionOffer) {
        self.sfu.open_session(offer);
    }

    /// A candidate of a session's client.
    pub(super) fn session_candidate(&self, number: SessionId, candidate: IceCandidate) {
        self.sfu.session_candidate(number, candidate_init(candidate));
    }

    /// The client of a session restarts ICE.
    pub(super) fn restart_ice(&self, restart: IceRestart) {
        self.sfu.restart_ice(restart);
    }

    /// The client of a session has ended it.
    pub(super) fn end_session(&self, number: SessionId) {
        self.sfu.end_session(number);
    }

    /// A receiver's offer, which may wait for the publisher's media. Returns a rejection if there is no space.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        user: UserId,
        sdp: String,
        video: Option<VideoTrack>,
        network: Option<NetworkTag>,
    ) -> Option<ClientMessage> {
        if self.media.takes_students() {
            self.sfu.offer(user, sdp, video, network);
        } else if !self.waiting.push(now, user.clone(), sdp, video, network) {
            return Some(self.not_live(user));
        }
        None
    }

    /// The offer of an edge. Returns a rejection while the publisher's media has not arrived.
    pub(super) fn offer_edge(&self, user: UserId, sdp: String) -> Option<ClientMessage> {
        if !self.media.takes_students() {
            return Some(self.not_live(user));
        }
        self.sfu.offer_edge(user, sdp);
        None
    }

    /// The encodings that the publisher sends.
    pub(super) fn encodings(&self) -> Vec<Encoding> {
        self.media.encodings()
    }

    /// A candidate of a receiver or of the publisher.
    pub(super) fn candidate(&mut self, user: UserId, candidate: IceCandidate) {
        if let Some(candidate) = self.waiting.add_candidate(&user, candidate) {
            self.sfu.candidate(user, candidate_init(candidate));
        }
    }

    /// Signalling has lost a receiver: an answer would not reach it.
    pub(super) fn signalling_lost(&mut self, user: UserId) {
        self.waiting.remove(&user);
        self.sfu.signalling_lost(user);
    }

    /// Signalling has a receiver back.
    pub(super) fn signalling_back(&self, user: UserId) {
        self.sfu.signalling_back(user);
    }

    /// A receiver has left.
    pub(super) fn remove(&mut self, user: UserId) {
        self.waiting.remove(&user);
        self.sfu.remove(user);
    }

    /// Handles an event of the SFU.
    pub(super) fn on_event(&mut self, now: Instant, event: SfuEvent) -> Handled {
        let message = match &event {
            SfuEvent::Answer { user, sdp } => {
                let (target_uid, sdp) = (user.clone(), sdp.clone());
                Some(ClientMessage::Answer { entry: None, target_uid, sdp, source: self.source() })
            }
            SfuEvent::Refused { user, why } => Some(rejection(user.clone(), self.source(), why)),
            SfuEvent::Gone { user, .. } => {
                if *user == self.publisher {
                    self.media.gone();
                }
                // The room drops this message if the user has left.
                Some(ClientMessage::Hangup { target_uid: user.clone(), source: self.source() })
            }
            SfuEvent::Encodings(encodings) => {
                self.media.available(now, encodings.clone());
                None
            }
            SfuEvent::Needed(encoding, is_needed) => {
                if self.media.need(now, *encoding, *is_needed) {
                    self.tell_needed();
                }
                None
            }
            // The SFU asks the publisher itself.
            SfuEvent::KeyFrameNeeded(_) => None,
            SfuEvent::Connected(_) | SfuEvent::ChannelOpen(_) | SfuEvent::Heard { .. } | SfuEvent::Notice(_) => None,
            SfuEvent::Session { .. } => None,
        };
        let event = match event {
            SfuEvent::Answer { .. } | SfuEvent::Refused { .. } | SfuEvent::Encodings(_) => None,
            SfuEvent::Needed(..) | SfuEvent::KeyFrameNeeded(_) => None,
            event => Some(event),
        };
        Handled { message, event }
    }

    /// Tells the publisher which encodings somebody needs. To be called when its data channel opens; later changes are
    /// told by themselves.
    pub(super) fn tell_needed(&self) {
        self.tell_publisher(&PublisherMessage::Encodings { needed: self.media.needed() });
    }

    /// Whether [`HostedSource::look_for_media`] is due several times a second.
    pub(super) fn awaits_media(&self) -> bool {
        self.is_starting() || !self.waiting.is_empty()
    }

    /// Whether the publisher is connected and its first key frame is awaited.
    pub(super) fn is_starting(&self) -> bool {
        self.media.is_starting()
    }

    /// Whether the publisher is connected, and its media has arrived.
    pub(super) fn is_live(&self) -> bool {
        self.media.is_live()
    }

    /// Looks for the first key frame of the publisher, and answers the receivers that wait for it. Returns rejections
    /// of offers that have waited too long.
    pub(super) fn look_for_media(&mut self, now: Instant, stats: Option<&SfuStats>) -> Vec<ClientMessage> {
        if let Some(stats) = stats {
            self.media.look_for_key_frame(now, stats);
        }
        if self.media.takes_students() {
            for (user, offer) in self.waiting.take() {
                self.sfu.offer(user.clone(), offer.sdp, offer.video, offer.network);
                for candidate in offer.candidates {
                    self.sfu.candidate(user.clone(), candidate_init(candidate));
                }
            }
        }
        self.waiting.expired(now).into_iter().map(|user| self.not_live(user)).collect()
    }

    /// Tells the publisher how its media arrived in the last second. To be called once a second.
    pub(super) fn report(&mut self, now: Instant, stats: &SfuStats) {
        let report = self.media.report(now, stats);
        self.tell_publisher(&PublisherMessage::Ingest(report));
    }

    /// The tracks that the publisher has promised.
    pub(super) fn tracks(&self) -> Vec<TrackName> {
        self.media.tracks()
    }

    /// The tracks that deliver nothing.
    pub(super) fn silent_tracks(&self, now: Instant, stats: Option<&SfuStats>) -> Vec<TrackName> {
        self.media.silent_tracks(now, stats.and_then(|stats| stats.ingest.as_ref()))
    }

    /// The videos that have stopped.
    pub(super) fn stopped(&mut self, now: Instant, stats: Option<&SfuStats>) -> Stopped {
        if let Some(stats) = stats {
            self.media.count(stats);
        }
        self.media.stopped(now, stats.and_then(|stats| stats.ingest.as_ref()))
    }

    /// Asks for the SFU's statistics.
    pub(super) fn request_stats(&self) -> oneshot::Receiver<SfuStats> {
        self.sfu.request_stats()
    }

    /// The SFU's statistics; none if it does not answer soon.
    pub(super) async fn stats(&self) -> Option<SfuStats> {
        let stats = tokio::time::timeout(STATS_WITHIN, self.request_stats()).await.ok()?.ok()?;
        let ingest = stats.ingest.filter(|ingest| ingest.user == self.publisher);
        Some(SfuStats { ingest, ..stats })
    }

    /// Says goodbye to everybody and ends the SFU.
    pub(super) async fn close(self) {
        self.sfu.close().await;
    }

    /// The `source` of messages.
    fn source(&self) -> Option<UserId> {
        (self.kind == SourceKind::Speaker).then(|| self.publisher.clone())
    }

    fn tell_publisher(&self, message: &PublisherMessage) {
        self.sfu.tell(self.publisher.clone(), &message.to_json());
    }

    fn not_live(&self, user: UserId) -> ClientMessage {
        let message = match self.kind {
            SourceKind::Lecture => "the teacher's picture and sound have not arrived yet, try again in a moment",
            SourceKind::Speaker => "the speaker's picture and sound have not arrived yet, try again in a moment",
        };
        ClientMessage::Reject {
            target_uid: user,
            code: ErrorCode::TargetBusy,
            message: message.to_owned(),
            codec: None,
            source: self.source(),
        }
    }
}
