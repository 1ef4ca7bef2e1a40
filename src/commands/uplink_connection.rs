//! The sending connection of an own capture to the host of the media, and its return after a loss. The host is that of
//! a stage or of a meeting, or a WHIP server; the caller carries offers and answers.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::or_never;
use crate::protocol::OfferedTracks;
use crate::publisher::{Publisher, PublisherConfig, PublisherEvent, PublisherOffer};

/// The time limit of an offer, from its start to the connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// The delays before another offer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delays {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// A connection that lasts this long has worked: the next delay is the first one again.
    pub(super) works_after: Duration,
}

impl Delays {
    /// For a host of this program, which waits 10 s for media that is lost.
    pub(super) const OF_CLASSROOM: Self =
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(2), works_after: Duration::ZERO };
}

/// A connection that is missing for this long is given up. The host has given up before, and has said so unless the own
/// network is gone.
const GIVES_UP_AFTER: Duration = Duration::from_secs(30);

/// The connection, or the wait for the next one.
pub(super) struct UplinkConnection {
    link: Option<Link>,
    /// When the next offer is due.
    due: Option<Instant>,
    delays: Delays,
    delay: Duration,
    /// When the current connection was there first.
    connected: Option<Instant>,
    /// The time at which the last connection was lost, or the start.
    lost_since: Option<Instant>,
}

struct Link {
    publisher: Publisher,
    events: mpsc::Receiver<PublisherEvent>,
    answered: bool,
}

/// An event of the connection.
pub(super) enum UplinkEvent {
    Publisher(Option<PublisherEvent>),
    /// Another offer is due.
    Due,
}

impl UplinkConnection {
    /// The first offer is due at once.
    pub(super) fn new(now: Instant, delays: Delays) -> Self {
        let (link, delay, connected) = (None, delays.first, None);
        Self { link, due: Some(now), delays, delay, connected, lost_since: Some(now) }
    }

    /// Waits for the next event. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> UplinkEvent {
        tokio::select! {
            event = or_never(self.link.as_mut().map(|link| link.events.recv())) => UplinkEvent::Publisher(event),
            () = or_never(self.due.map(tokio::time::sleep_until)) => UplinkEvent::Due,
        }
    }

    /// Whether the connection has been missing for too long.
    pub(super) fn gives_up(&self, now: Instant) -> bool {
        self.lost_since.is_some_and(|since| now.saturating_duration_since(since) >= GIVES_UP_AFTER)
    }

    /// Makes an offer, which replaces the connection.
    ///
    /// # Errors
    /// If no socket can be bound or the URL of a server is wrong.
    pub(super) async fn offer(
        &mut self,
        now: Instant,
        config: PublisherConfig,
    ) -> Result<(String, OfferedTracks), String> {
        self.drop_link();
        self.count_end(now);
        self.expect_connection(now);
        let (publisher, PublisherOffer { sdp, tracks }, events) =
            Publisher::offer(config).await.map_err(|error| error.to_string())?;
        self.link = Some(Link { publisher, events, answered: false });
        Ok((sdp, tracks))
    }

    /// The offer could not be sent, was refused for now, or the connection is gone: another offer follows.
    pub(super) fn retry(&mut self, now: Instant) {
        self.retry_after(now, Duration::ZERO);
    }

    /// The same, at least `least` from now. Returns the delay.
    pub(super) fn retry_after(&mut self, now: Instant, least: Duration) -> Duration {
        self.drop_link();
        self.lost_since.get_or_insert(now);
        self.count_end(now);
        let delay = self.delay.max(least);
        self.due = Some(now + delay);
        self.delay = (self.delay * 2).min(self.delays.longest);
        delay
    }

    /// The connection must be there, or back, within the usual time, or else another offer is due.
    pub(super) fn expect_connection(&mut self, now: Instant) {
        self.due = Some(now + CONNECT_WITHIN);
    }

    /// No other offer follows.
    pub(super) fn give_up(&mut self) {
        self.drop_link();
        self.due = None;
    }

    /// Whether an offer waits for its answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.answered)
    }

    /// The answer to the offer. One that can't be used counts as a loss of the connection.
    pub(super) async fn answer(&mut self, now: Instant, sdp: String) {
        let Some(link) = self.link.as_mut().filter(|link| !link.answered) else { return };
        link.answered = true;
        if link.publisher.answer(sdp).await.is_err() {
            self.retry(now);
        }
    }

    /// The publisher of the current connection.
    pub(super) fn publisher(&self) -> Option<&Publisher> {
        self.link.as_ref().map(|link| &link.publisher)
    }

    /// The connection is there.
    pub(super) fn connected(&mut self) {
        self.connected.get_or_insert(Instant::now());
        (self.due, self.lost_since) = (None, None);
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        if let Some(link) = self.link.take() {
            link.publisher.close().await;
        }
    }

    /// A connection has ended: after one that has worked, the next delay is the first one again.
    fn count_end(&mut self, now: Instant) {
        let lasted = self.connected.take().map(|at| now.saturating_duration_since(at));
        if lasted.is_some_and(|lasted| lasted >= self.delays.works_after) {
            self.delay = self.delays.first;
        }
    }

    fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            // The other end may be gone, so don't wait for the goodbye.
            tokio::spawn(link.publisher.close());
        }
    }
}
