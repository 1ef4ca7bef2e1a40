//! Short-lived credentials for TURN servers, as coturn's `use-auth-secret` and draft-uberti-behave-turn-rest-00 have
//! them: the user name is the end of the life and a name, the password is the HMAC-SHA1 of the user name.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::secret::TurnSecret;
use crate::id::UserId;

/// How long credentials are valid. A browser uses them again when it restarts ICE, so they must outlive a lecture; a
/// client that joins anew gets new ones.
pub const TURN_TTL: Duration = Duration::from_secs(4 * 60 * 60);

/// A user name and a password for a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `<Unix time of the end>:<user id>`.
    pub username: String,
    /// The HMAC-SHA1 of the user name in base64; `Debug` hides it.
    pub credential: String,
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Credentials for `user`, valid for `ttl` from `now`. coturn compares their end with its own clock.
pub fn turn_credentials(secret: &TurnSecret, user: &UserId, ttl: Duration, now: SystemTime) -> TurnCredentials {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let username = format!("{}:{user}", since_epoch.saturating_add(ttl).as_secs());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    TurnCredentials { username, credential }
}
