//! A student that the server has placed at an engine: the engine's offer, and the end of its media.

use tokio::time::Instant;

use super::Session;
use crate::exit::Failure;
use crate::id::UserId;
use crate::janus::JanusOffer;
use crate::protocol::OfferedTracks;
use crate::rtp::Track;

impl Session<'_> {
    /// The engine offers, in the publisher's name: a new connection answers, in place of the offered one.
    pub(super) async fn on_engine_offer(
        &mut self,
        user: &UserId,
        sdp: String,
        tracks: OfferedTracks,
    ) -> Result<(), Failure> {
        // An offer that nobody waits for is about an earlier connection.
        let is_awaited = |of: &super::PublisherConnection| of.publisher == *user && !of.answered;
        if !self.connection.as_ref().is_some_and(is_awaited) {
            return Ok(());
        }
        self.drop_connection();
        let tracks = tracks.into_iter().map(|(mid, track)| (mid, Track::from(track))).collect();
        self.on_janus_offer(JanusOffer { sdp, tracks }).await
    }

    /// The media of a speaker has ended, or that of the publisher. A node of an engine that is gone hangs up for all of
    /// its students; any other connection notices by itself.
    pub(super) fn on_hangup(&mut self, user: &UserId) {
        let is_of_engine = |of: &super::PublisherConnection| of.publisher == *user && of.is_of_engine;
        if self.connection.as_ref().is_some_and(is_of_engine) {
            self.reporter.detail("the media server is gone, connecting elsewhere");
            self.drop_connection();
            self.lesson.failed(Instant::now());
        } else {
            self.on_speaker_hangup(user);
        }
    }
}
