//! Short-lived credentials for TURN servers, as coturn's `use-auth-secret` and draft-uberti-behave-turn-rest-00 have
//! them: the user name is the end of the life and a name, the password is the HMAC-SHA1 of the user name.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::secret::TurnSecret;
use crate::id::{RoomId, UserId};

/// How long credentials are valid. A browser uses them again when it restarts ICE, so they must outlive a lecture; a
/// client that joins anew gets new ones.
pub const TURN_TTL: Duration = Duration::from_secs(4 * 60 * 60);

/// The longest user name that a TURN server of ours reads: an end, a room and a user.
const MAX_USERNAME_BYTES: usize = 256;

/// A user name and a password for a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `<Unix time of the end>:<room id>/<user id>`.
    pub username: String,
    /// The HMAC-SHA1 of the user name in base64; `Debug` hides it.
    pub credential: String,
}

/// Why a user name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnDenied {
    /// The credentials have expired.
    Expired,
    /// No server of ours makes such names.
    Malformed,
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Credentials for `user` of `room`, valid for `ttl` from `now`. coturn compares their end with its own clock.
pub fn turn_credentials(
    secret: &TurnSecret,
    (room, user): (&RoomId, &UserId),
    ttl: Duration,
    now: SystemTime,
) -> TurnCredentials {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let username = format!("{}:{room}/{user}", since_epoch.saturating_add(ttl).as_secs());
    let credential = password(secret, &username);
    TurnCredentials { username, credential }
}

/// The member in a user name that is valid at `now`, and the password that belongs to the user name.
///
/// # Errors
/// [`TurnDenied`].
pub fn turn_password<'a>(
    secret: &TurnSecret,
    username: &'a str,
    now: SystemTime,
) -> Result<(&'a str, String), TurnDenied> {
    let malformed = TurnDenied::Malformed;
    let (end, member) = username.split_once(':').filter(|_| username.len() <= MAX_USERNAME_BYTES).ok_or(malformed)?;
    let end: u64 = end.parse().map_err(|_| malformed)?;
    if now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() >= end {
        return Err(TurnDenied::Expired);
    }
    Ok((member, password(secret, username)))
}

fn password(secret: &TurnSecret, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}
