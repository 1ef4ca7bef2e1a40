//! A LiveKit server, and the rooms that this program makes there.

use std::time::SystemTime;

use super::error::LiveKitError;
use super::key::{LiveKitKey, Right};
use super::url::LiveKitUrl;
use crate::http::whip_client::{Bearer, Endpoint};
use crate::tls::Trust;

/// The identity of the participant that publishes a lecture. Those of students have a prefix.
pub(super) const PUBLISHER: &str = "lecture";

/// A LiveKit server, and the key that opens its rooms.
#[derive(Debug, Clone)]
pub struct LiveKitServer {
    /// The address.
    pub url: LiveKitUrl,
    /// The API key.
    pub key: LiveKitKey,
    /// The trust, if the address has TLS.
    pub trust: Trust,
}

/// A room of LiveKit for one lecture. A room of LiveKit is on one server, so a lecture at several servers has a room at
/// each of them.
#[derive(Debug, Clone)]
pub struct LiveKitRoom {
    /// The server.
    pub server: LiveKitServer,
    /// The name of the room there.
    pub name: String,
}

impl LiveKitRoom {
    /// The WHIP endpoint that publishes the lecture in this room, with a new token. LiveKit makes the room if it does
    /// not exist.
    ///
    /// # Errors
    /// If no token can be signed.
    pub fn endpoint(&self) -> Result<Endpoint, LiveKitError> {
        let token = self.token(PUBLISHER, Right::Publish)?;
        let bearer = Some(Bearer::new(&token)?);
        Ok(Endpoint { url: self.server.url.whip()?, bearer, trust: self.server.trust.clone() })
    }

    /// A new token for this room.
    pub(super) fn token(&self, identity: &str, right: Right) -> Result<String, LiveKitError> {
        Ok(self.server.key.token(SystemTime::now(), (&self.name, identity), right)?)
    }
}
