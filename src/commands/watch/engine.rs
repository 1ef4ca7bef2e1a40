//! A student that the server has placed at an engine: the engine offers.

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
}
