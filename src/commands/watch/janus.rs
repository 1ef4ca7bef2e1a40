//! The lecture of a VideoRoom of a Janus server: Janus offers, and the student answers.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Session;
use super::connection::PublisherConnection;
use super::signalling::Signalling;
use crate::cli::{Watch, WatchedJanus};
use crate::commands::janus::{janus_failure, janus_room};
use crate::commands::negotiation::candidate_init;
use crate::commands::or_never;
use crate::exit::Failure;
use crate::id::{MAX_ID_CHARS, Nickname, UserId};
use crate::janus::{JanusError, JanusEvent, JanusOffer, JanusPublisher, Subscriber};
use crate::protocol::{IceCandidate, LeaveReason, User};
use crate::report::Reporter;
use crate::signal::ServerUrl;
use crate::viewer::{Viewer, ViewerConfig};

/// The connection to a Janus server.
pub(super) struct JanusConnection<'a> {
    subscriber: Subscriber,
    server: ServerUrl,
    reporter: &'a Reporter,
    /// `--timeout`, up to the first join.
    limit: Option<(Instant, Duration)>,
    /// Why the room can't be used yet.
    why: Option<JanusError>,
}

impl<'a> JanusConnection<'a> {
    /// Starts to connect.
    ///
    /// # Errors
    /// If a file of the flags can't be read.
    pub(super) fn start(
        watch: &Watch,
        janus: &WatchedJanus,
        begun: Instant,
        reporter: &'a Reporter,
    ) -> Result<Self, Failure> {
        let WatchedJanus { access, feed } = janus;
        let member = &watch.member;
        let room = janus_room((access, &member.room), &member.nickname, &member.trust, reporter)?;
        reporter.status("connecting to the Janus server");
        let limit = member.timeout.map(|timeout| (begun + timeout, timeout));
        let server = access.url.server().clone();
        Ok(Self { subscriber: Subscriber::start(room, feed.clone()), server, reporter, limit, why: None })
    }

    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// If Janus refuses this student, or the room can't be joined in time.
    pub(super) async fn next(&mut self) -> Result<JanusEvent, Failure> {
        loop {
            let event = tokio::select! {
                event = self.subscriber.next() => event,
                () = or_never(self.limit.map(|(at, _)| sleep_until(at))) => return Err(self.too_late()),
            };
            match event {
                Some(JanusEvent::Waiting(why)) => {
                    if self.why.as_ref() != Some(&why) {
                        self.reporter.notice(format!("waiting: {why}"));
                    }
                    self.why = Some(why);
                }
                Some(JanusEvent::Ended(error)) => return Err(janus_failure(error)),
                Some(event) => {
                    if matches!(event, JanusEvent::Joined(_)) {
                        self.limit = None;
                    }
                    return Ok(event);
                }
                None => return std::future::pending().await,
            }
        }
    }

    fn too_late(&self) -> Failure {
        let seconds = self.limit.map_or(0.0, |(_, timeout)| timeout.as_secs_f32());
        let within = format!("within {seconds} s (--timeout)");
        match &self.why {
            Some(why) if why.is_refusal() => {
                Failure::nobody_taught(anyhow::anyhow!("nobody published {within}: {why}"))
            }
            Some(why) => Failure::unreachable(anyhow::anyhow!("no Janus server {within}: {why}; check --janus")),
            None => Failure::unreachable(anyhow::anyhow!("no answer of {} {within}; check --janus", self.server)),
        }
    }

    pub(super) fn server(&self) -> &ServerUrl {
        &self.server
    }

    pub(super) fn subscribe(&self, is_again: bool) {
        self.subscriber.subscribe(is_again);
    }

    pub(super) fn answer(&self, sdp: String) {
        self.subscriber.answer(sdp);
    }

    pub(super) fn candidate(&self, candidate: IceCandidate) {
        self.subscriber.candidate(candidate);
    }

    pub(super) fn probe(&self) {
        self.subscriber.probe();
    }

    pub(super) async fn leave(self) {
        self.subscriber.leave().await;
    }
}

/// A publisher of a VideoRoom as a user of this program.
fn user(publisher: &JanusPublisher) -> User {
    User {
        user_id: user_id(publisher),
        nickname: Nickname::from(publisher.display.clone()),
        publishes: true,
        epoch: publisher.generation,
        client: None,
        moderates: false,
    }
}

/// Janus with `string_ids` allows more characters than we do; the others are left out.
fn user_id(publisher: &JanusPublisher) -> UserId {
    let text = publisher.id.to_string();
    let valid = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let short: String = text.chars().filter(valid).take(MAX_ID_CHARS).collect();
    let named = if short.is_empty() { "publisher" } else { &short };
    named.parse().unwrap_or_else(|_| unreachable!("{named} is an id"))
}

impl Session<'_> {
    /// Handles an event of a Janus server.
    pub(super) async fn on_janus(&mut self, event: JanusEvent) -> Result<(), Failure> {
        match event {
            JanusEvent::Joined(publisher) => {
                self.on_joined(&publisher.iter().map(user).collect::<Vec<_>>());
                publisher.iter().for_each(|publisher| self.note_choice(publisher));
            }
            JanusEvent::Publisher(publisher) => {
                self.find_publisher(&[user(&publisher)]);
                self.note_choice(&publisher);
            }
            JanusEvent::PublisherLeft => {
                self.on_publisher_left(LeaveReason::Left);
            }
            JanusEvent::Undecodable(codecs) => self.reporter.warn(format!(
                "a publisher of the room sends {}, which this program does not decode; let it send H.264 or VP8, and \
                 Opus",
                codecs.join(" and ")
            )),
            JanusEvent::Offer(offer) => self.on_janus_offer(offer).await?,
            JanusEvent::Candidate(candidate) => {
                if let Some(connection) = &self.connection {
                    connection.viewer.candidate(candidate_init(candidate)).await;
                }
            }
            JanusEvent::Unsubscribed(why) => {
                self.reporter.detail(why);
                self.drop_connection();
                self.lesson.failed(Instant::now());
            }
            JanusEvent::Lost(error) => {
                self.lesson.server_lost();
                self.reporter.warn(format!("{error}; trying to reconnect"));
            }
            // The connection handles these.
            JanusEvent::Waiting(_) | JanusEvent::Ended(_) => {}
        }
        Ok(())
    }

    /// Says what of the room is not shown.
    fn note_choice(&self, publisher: &JanusPublisher) {
        if !publisher.unknown.is_empty() {
            let codecs = publisher.unknown.join(" and ");
            self.reporter.warn(format!("the publisher also sends {codecs}, which this program does not decode"));
        }
        if publisher.others > 0 {
            let others = publisher.others;
            self.reporter.notice(format!("the room has {others} other publishers: --janus-feed ID chooses one"));
        }
    }

    /// Janus offers the streams of the publisher.
    async fn on_janus_offer(&mut self, offer: JanusOffer) -> Result<(), Failure> {
        let Some(publisher) = self.lesson.publisher().cloned() else { return Ok(()) };
        let JanusOffer { sdp, tracks } = offer;
        let config = ViewerConfig { bind: self.bind_addresses(), ice_servers: self.ice_servers.clone() };
        let sink = self.packet_sink();
        let (viewer, answer, events) = match Viewer::answer_to((sdp, &tracks), config, sink).await {
            Ok(answered) => answered,
            Err(error) => {
                self.reporter.detail(format!("can't use the offer of Janus: {error}"));
                self.lesson.failed(Instant::now());
                return Ok(());
            }
        };
        if let Signalling::Janus(janus) = &self.signalling {
            janus.answer(answer.sdp);
        }
        self.connection = Some(PublisherConnection { viewer, events, publisher, answered: true });
        self.start_render(answer.tracks).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::janus::JanusId;

    #[test]
    fn any_id_of_janus_becomes_a_user_id() {
        let publisher = |id: &str| JanusPublisher {
            id: JanusId::from(id),
            display: String::new(),
            generation: 1,
            unknown: Vec::new(),
            others: 0,
        };
        let shown = |id: &str| user_id(&publisher(id)).to_string();
        assert_eq!(shown("4503599627370495"), "4503599627370495");
        assert_eq!(shown("ann@example.org"), "annexample.org");
        assert_eq!(shown(&"x".repeat(200)).len(), MAX_ID_CHARS);
        assert_eq!(shown("老师"), "publisher");
    }
}
