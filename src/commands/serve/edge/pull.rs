//! One connection of an edge to the holder of the media: for the full tier with audio, or for the low tier.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::feed::Feed;
use crate::commands::negotiation::{candidate_init, wire_candidate};
use crate::protocol::{ClientMessage, ServerMessage, User};
use crate::rtp::{Tier, Track};
use crate::viewer::{IceServers, Viewer, ViewerConfig, ViewerEvent, answered_tracks};

/// A connection that is not established within this time is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// The pause before the next connection.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The meaning of an event of a connection.
pub(super) enum PullEvent {
    /// Nothing for the caller.
    Nothing,
    /// A message for the publisher.
    Send(ClientMessage),
    /// Media flows.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// The SFU says this.
    Heard(String),
    /// The connection is gone.
    Gone,
}

/// A connection to the holder of the media.
pub(super) struct Pull {
    viewer: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
    publisher: User,
    tier: Tier,
    feed: Feed,
    /// The end of the wait for media.
    connects_until: Option<Instant>,
    /// Whether the other end knows the students.
    has_announced: bool,
}

impl Pull {
    /// Makes a connection, and the offer for the publisher.
    ///
    /// # Errors
    /// If no socket can be bound.
    pub(super) async fn offer(
        publisher: User,
        tier: Tier,
        feed: &Feed,
        (bind, ice_servers): (Vec<String>, IceServers),
    ) -> Result<(Self, ClientMessage), String> {
        let (config, sink) = (ViewerConfig { bind, ice_servers }, feed.sink());
        let offered = match tier {
            Tier::Full => Viewer::offer(config, sink).await,
            Tier::Low => Viewer::offer_videos(config, sink).await,
        };
        let (viewer, sdp, events) = offered.map_err(|error| error.to_string())?;
        let target_uid = publisher.user_id.clone();
        let offer = ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: None };
        let connects_until = Some(Instant::now() + CONNECT_WITHIN);
        Ok((Self { viewer, events, publisher, tier, feed: feed.clone(), connects_until, has_announced: false }, offer))
    }

    /// The publisher whose media this is.
    pub(super) fn publisher(&self) -> &User {
        &self.publisher
    }

    /// Whether media has flowed.
    pub(super) fn is_connected(&self) -> bool {
        self.connects_until.is_none()
    }

    /// Whether the other end does not know the students yet. From now on it does.
    pub(super) fn announces(&mut self) -> bool {
        !std::mem::replace(&mut self.has_announced, true)
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> PullEvent {
        let event = match self.connects_until {
            Some(until) => match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(event) => event,
                Err(_) => return PullEvent::Gone,
            },
            None => self.events.recv().await,
        };
        match event {
            Some(ViewerEvent::Candidate(candidate)) => {
                let (target_uid, candidate) = (self.publisher.user_id.clone(), wire_candidate(candidate));
                PullEvent::Send(ClientMessage::Candidate { entry: None, target_uid, candidate, source: None })
            }
            Some(ViewerEvent::Connected) => {
                self.connects_until = None;
                PullEvent::Connected
            }
            Some(ViewerEvent::ChannelOpen) => PullEvent::ChannelOpen,
            Some(ViewerEvent::Heard(text)) => PullEvent::Heard(text),
            // The feed requests key frames.
            Some(ViewerEvent::BeginningMissed(_) | ViewerEvent::Disturbed) => PullEvent::Nothing,
            Some(ViewerEvent::Gone) | None => PullEvent::Gone,
        }
    }

    /// A message of the publisher about this connection. False if the connection has failed.
    pub(super) async fn on_message(&mut self, message: ServerMessage) -> bool {
        match message {
            ServerMessage::Answer { sdp, .. } => {
                let Ok(answered) = answered_tracks(&sdp) else { return false };
                self.feed.assign(self.tier, &answered);
                self.viewer.answer(sdp).await.is_ok()
            }
            ServerMessage::Candidate { candidate, .. } => {
                self.viewer.candidate(candidate_init(candidate)).await;
                true
            }
            ServerMessage::Hangup { .. } => false,
            // Media that flows is not concerned.
            ServerMessage::Error { .. } => self.is_connected(),
            _ => true,
        }
    }

    /// Sends a message to the SFU. It is lost while there is no data channel.
    pub(super) async fn say(&self, text: &str) {
        self.viewer.say(text).await;
    }

    /// Requests a key frame.
    pub(super) async fn request_key_frame(&self, track: Track) {
        self.viewer.request_key_frame(track).await;
    }

    /// Closes the connection in the background.
    pub(super) fn close(self) {
        tokio::spawn(self.viewer.close());
    }
}
