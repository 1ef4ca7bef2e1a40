//! The lecture of a VideoRoom of a Janus server: Janus offers, and the student answers.

use tokio::time::Instant;

use super::Session;
use super::connection::PublisherConnection;
use crate::commands::negotiation::candidate_init;
use crate::exit::Failure;
use crate::id::{MAX_ID_CHARS, Nickname, UserId};
use crate::janus::{JanusEvent, JanusOffer, JanusPublisher};
use crate::protocol::{LeaveReason, User};
use crate::viewer::{Viewer, ViewerConfig};

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
                self.ice_servers = self.relays.update(&self.watch.member, Vec::new());
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

    /// Janus offers the streams of the publisher, directly or by way of the server that has placed this student there.
    pub(super) async fn on_janus_offer(&mut self, offer: JanusOffer) -> Result<(), Failure> {
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
        self.signalling.answer(&publisher, answer.sdp);
        let is_of_engine = self.watch.janus.is_none();
        self.connection = Some(PublisherConnection { viewer, events, publisher, answered: true, is_of_engine });
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
