//! The media of a meeting on the server: this participant publishes there once, and receives each of the others from
//! there. The pairs of before go on until media arrives this way.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use super::own_media::{SERVER, SentVideo};
use super::pair::PairContext;
use crate::commands::negotiation::{candidate_init, wire_candidate};
use crate::commands::or_never;
use crate::commands::speaker_views::{SpeakerViews, StartedRender, ViewContext, ViewInput, ViewOutput};
use crate::commands::uplink_connection::{Delays, UplinkConnection, UplinkEvent};
use crate::id::UserId;
use crate::media::{MediaError, Render, SpeakerOptions};
use crate::protocol::channel::PublisherMessage;
use crate::protocol::{ClientMessage, IceCandidate, Participant};
use crate::publisher::{Layering, MediaReceiver, PublisherConfig, PublisherEvent};
use crate::rtp::{Latency, Track};
use crate::viewer::ViewerConfig;

/// The media on the server.
pub(super) struct ServerMedia {
    me: UserId,
    context: Arc<PairContext>,
    /// The own media on its way to the server.
    uplink: Option<UplinkConnection>,
    views: SpeakerViews,
    /// Those who are received from the server, with their entries.
    viewed: Vec<(UserId, u32)>,
    /// Those whose media has arrived from the server.
    arrived: BTreeSet<UserId>,
}

/// An event of the media on the server.
pub(super) enum ServerMediaEvent {
    Uplink(UplinkEvent),
    View(UserId, ViewOutput),
}

impl ViewContext for PairContext {
    fn viewer(&self) -> ViewerConfig {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn latency(&self) -> Latency {
        self.latency
    }

    fn start(&self, options: SpeakerOptions) -> Result<Option<StartedRender>, MediaError> {
        self.stage.start(&options).map(Some)
    }

    /// Participants are in one window, whose end is the end of this program.
    fn window_closed(&self, name: &str) -> String {
        format!("the window of {name} was closed")
    }
}

impl ServerMedia {
    pub(super) fn new(me: UserId, context: Arc<PairContext>) -> Self {
        let (uplink, views) = (None, SpeakerViews::new());
        Self { me, context, uplink, views, viewed: Vec::new(), arrived: BTreeSet::new() }
    }

    /// The other participants of a conference whose media is on the server.
    pub(super) fn listed<'a>(&mut self, others: impl Iterator<Item = &'a Participant>) {
        if self.uplink.is_none() && !self.context.media.sends().is_empty() {
            self.uplink = Some(UplinkConnection::new(Instant::now(), Delays::OF_CLASSROOM));
        }
        let others: Vec<&Participant> = others.collect();
        let is_there = |user: &UserId, entry: u32| others.iter().any(|o| (&o.user_id, o.entry) == (user, entry));
        let gone = self.viewed.extract_if(.., |(user, entry)| !is_there(user, *entry));
        for (user, _) in gone {
            self.views.close(&user);
            self.arrived.remove(&user);
        }
        for other in others.into_iter().filter(|other| other.published) {
            let viewed = (other.user_id.clone(), other.entry);
            if !self.viewed.contains(&viewed) {
                let (user, context) = (&other.user_id, Arc::clone(&self.context));
                self.views.open(user, &other.nickname, u64::from(other.entry), context);
                self.views.hold(user, true);
                self.viewed.push(viewed);
            }
            self.views.silent(&other.user_id, super::own_media::all_but(&other.sends));
        }
    }

    /// The media is with the participants: closes everything.
    pub(super) fn end(&mut self) {
        for (user, _) in self.viewed.drain(..) {
            self.views.close(&user);
        }
        self.arrived.clear();
        if let Some(uplink) = self.uplink.take() {
            self.context.media.detach(SERVER);
            tokio::spawn(uplink.close());
        }
    }

    /// Whether somebody's media has not arrived yet.
    pub(super) fn awaits_media(&self) -> bool {
        self.viewed.len() > self.arrived.len()
    }

    /// Those whose media has arrived from the server since the last call. Until then a participant is not heard and
    /// seen from there as long as its pair works.
    pub(super) fn newly_arrived<'a>(
        &mut self,
        others: impl Iterator<Item = &'a Participant>,
        has_pair: impl Fn(&UserId) -> bool,
    ) -> Vec<UserId> {
        // Of the voices only the loudest come, so audio proves nothing.
        let has_video = |render: &Render, other: &Participant| {
            let mut videos = other.sends.iter().copied().map(Track::from).filter(|track| track.is_video()).peekable();
            videos.peek().is_none() || videos.any(|track| render.stats(track).frames_decoded > 0)
        };
        let mut newly = Vec::new();
        for other in others {
            let user = &other.user_id;
            if !self.viewed.iter().any(|(viewed, _)| viewed == user) || self.arrived.contains(user) {
                continue;
            }
            let has_video = || self.views.with_render(user, |render| has_video(render, other)) == Some(true);
            let has_arrived = self.views.is_connected(user) && has_video();
            self.views.hold(user, !has_arrived && has_pair(user));
            if has_arrived {
                newly.push(user.clone());
            }
        }
        self.arrived.extend(newly.iter().cloned());
        newly
    }

    /// Calls `look` with the render of a participant, if one runs.
    pub(super) fn with_render<T>(&self, other: &UserId, look: impl FnOnce(&Render) -> T) -> Option<T> {
        self.views.with_render(other, look)
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> ServerMediaEvent {
        tokio::select! {
            event = or_never(self.uplink.as_mut().map(UplinkConnection::next)) => ServerMediaEvent::Uplink(event),
            (user, output) = self.views.next() => ServerMediaEvent::View(user, output),
        }
    }

    /// Handles an event of the own media. Returns a message for the server.
    pub(super) async fn on_uplink(&mut self, event: UplinkEvent) -> Option<ClientMessage> {
        let (now, target_uid, media) = (Instant::now(), self.me.clone(), &self.context.media);
        let uplink = self.uplink.as_mut()?;
        match event {
            UplinkEvent::Due => {
                let ViewerConfig { bind, ice_servers } = ViewContext::viewer(&*self.context);
                let encodings = media.encodings();
                let (layering, receiver) = (Layering::Simulcast, MediaReceiver::Classroom);
                let config = PublisherConfig { bind, ice_servers, encodings, layering, receiver };
                media.detach(SERVER);
                match uplink.offer(now, config).await {
                    Ok((sdp, tracks)) => {
                        if let Some(publisher) = uplink.publisher() {
                            media.attach(SERVER, publisher.input());
                        }
                        let tracks = Some(tracks);
                        return Some(ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks });
                    }
                    Err(_) => uplink.retry(now),
                }
            }
            UplinkEvent::Publisher(Some(event)) => match event {
                PublisherEvent::Candidate(candidate) => {
                    let candidate = wire_candidate(candidate);
                    return Some(ClientMessage::Candidate { target_uid, candidate, entry: None, source: None });
                }
                PublisherEvent::Connected => uplink.connected(),
                PublisherEvent::KeyFrameNeeded(encoding) => media.request_key_frame(encoding),
                PublisherEvent::Encodings(encodings) => {
                    media.set_sent(SERVER, SentVideo { encodings, is_narrow: false });
                }
                PublisherEvent::Heard(text) => {
                    if let Ok(PublisherMessage::Encodings { needed }) = PublisherMessage::parse(&text)
                        && let Some(publisher) = uplink.publisher()
                    {
                        publisher.need(&needed);
                    }
                }
                PublisherEvent::ChannelOpen => {}
                PublisherEvent::Disturbed | PublisherEvent::Gone => uplink.retry(now),
            },
            UplinkEvent::Publisher(None) => uplink.retry(now),
        }
        None
    }

    /// An answer of the server, about the own media or that of another participant.
    pub(super) async fn answered(&mut self, user: &UserId, sdp: String) {
        if *user != self.me {
            self.views.pass(user, ViewInput::Answer(sdp));
        } else if let Some(uplink) = &mut self.uplink {
            uplink.answer(Instant::now(), sdp).await;
        }
    }

    /// A candidate of the server.
    pub(super) async fn candidate(&self, user: &UserId, candidate: IceCandidate) {
        if *user != self.me {
            self.views.pass(user, ViewInput::Candidate(candidate));
        } else if let Some(publisher) = self.uplink.as_ref().and_then(UplinkConnection::publisher) {
            publisher.candidate(candidate_init(candidate)).await;
        }
    }

    /// The server does not take an offer at present, or has ended a connection. Returns whether that is about media on
    /// the server.
    pub(super) fn failed(&mut self, user: Option<&UserId>) -> bool {
        match user {
            Some(user) if *user == self.me => match &mut self.uplink {
                Some(uplink) => uplink.retry(Instant::now()),
                None => return false,
            },
            Some(user) if self.viewed.iter().any(|(viewed, _)| viewed == user) => {
                self.views.pass(user, ViewInput::Lost);
            }
            _ => return false,
        }
        true
    }

    /// An offer for another participant's media did not reach the server.
    pub(super) fn not_sent(&self, user: &UserId) {
        self.views.pass(user, ViewInput::NotSent);
    }

    /// Closes everything, and waits for the ends.
    pub(super) async fn finish(mut self) {
        if let Some(uplink) = self.uplink.take() {
            self.context.media.detach(SERVER);
            uplink.close().await;
        }
        self.views.end().await;
    }
}
