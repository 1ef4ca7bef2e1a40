//! The API key of a LiveKit server, and the tokens that it signs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::access::{SigningKey, TokenError};
use crate::id::KeyId;

/// The life of a student's token. LiveKit checks a token only when somebody joins.
const STUDENT_TTL: Duration = Duration::from_secs(60);

/// The life of the publisher's token, with which LiveKit also checks restarts of ICE: longer than any lecture.
const PUBLISHER_TTL: Duration = Duration::from_secs(24 * 3600);

/// How much the clock of LiveKit may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// An API key of a LiveKit server with its secret, written `KEY: SECRET` as in LiveKit's own `LIVEKIT_KEYS`. `Debug`
/// hides the secret.
#[derive(Clone)]
pub struct LiveKitKey {
    id: KeyId,
    signs: Arc<SigningKey>,
}

/// Why a text is no API key. None of the sentences has the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveKitKeyError {
    /// There is no colon, or nothing on one side.
    #[error("is not an API key of LiveKit: write KEY: SECRET, as in the variable LIVEKIT_KEYS of the LiveKit server")]
    Form,
    /// The key has characters that no key of LiveKit has.
    #[error("has a key with other characters than letters, digits, '.', '-' and '_'")]
    Key,
}

/// What the holder of a token may do in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Publish,
    /// To receive, and to be seen by nobody.
    Subscribe,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    nbf: u64,
    exp: u64,
    video: VideoGrant<'a>,
}

/// The claim `video` (livekit/protocol, `auth/grants.go`). An absent right to publish would be granted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VideoGrant<'a> {
    room: &'a str,
    room_join: bool,
    can_publish: bool,
    can_subscribe: bool,
    can_publish_data: bool,
    hidden: bool,
}

impl LiveKitKey {
    /// A token for one room, valid from `now` on.
    ///
    /// # Errors
    /// If the library can't sign.
    pub(super) fn token(
        &self,
        now: SystemTime,
        (room, identity): (&str, &str),
        right: Right,
    ) -> Result<String, TokenError> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let publishes = right == Right::Publish;
        let life = if publishes { PUBLISHER_TTL } else { STUDENT_TTL };
        let video = VideoGrant {
            room,
            room_join: true,
            can_publish: publishes,
            can_subscribe: !publishes,
            can_publish_data: false,
            hidden: !publishes,
        };
        let (nbf, exp) = (seconds(now - CLOCK_SKEW), seconds(now + life));
        self.signs.sign_claims(&Claims { iss: self.id.as_str(), sub: identity, nbf, exp, video })
    }
}

impl FromStr for LiveKitKey {
    type Err = LiveKitKeyError;

    fn from_str(text: &str) -> Result<Self, LiveKitKeyError> {
        let (id, secret) = text.split_once(':').ok_or(LiveKitKeyError::Form)?;
        let (id, secret) = (id.trim(), secret.trim());
        if id.is_empty() || secret.is_empty() {
            return Err(LiveKitKeyError::Form);
        }
        let id: KeyId = id.parse().map_err(|_| LiveKitKeyError::Key)?;
        Ok(Self { signs: Arc::new(SigningKey::from_secret(id.clone(), secret.as_bytes())), id })
    }
}

impl fmt::Debug for LiveKitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveKitKey({})", self.id)
    }
}

impl PartialEq for LiveKitKey {
    /// Keys of one id are those of one server.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for LiveKitKey {}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    fn claims(right: Right) -> Value {
        let key: LiveKitKey = "devkey: secret".parse().unwrap();
        let token = key.token(UNIX_EPOCH + Duration::from_secs(1_000), ("10013", "1001"), right).unwrap();
        let part = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_student_only_receives_in_one_room_and_for_a_minute() {
        let student = json!({
            "iss": "devkey", "sub": "1001", "nbf": 970, "exp": 1_060,
            "video": {"room": "10013", "roomJoin": true, "canPublish": false, "canSubscribe": true,
                "canPublishData": false, "hidden": true},
        });
        assert_eq!(claims(Right::Subscribe), student);
        let publisher = claims(Right::Publish);
        let video = &publisher["video"];
        assert_eq!(
            (&video["canPublish"], &video["canSubscribe"], &video["hidden"]),
            (&json!(true), &json!(false), &json!(false))
        );
        assert_eq!(publisher["exp"], 1_000 + 24 * 3600);
    }

    #[test]
    fn a_key_is_written_as_livekit_writes_it_and_shows_no_secret() {
        let key: LiveKitKey = " APIabc:s3cret ".parse().unwrap();
        assert_eq!(format!("{key:?}"), "LiveKitKey(APIabc)");
        for (bad, error) in [
            ("devkey", LiveKitKeyError::Form),
            (": s3cret", LiveKitKeyError::Form),
            ("devkey:", LiveKitKeyError::Form),
            ("dev key: s3cret", LiveKitKeyError::Key),
        ] {
            assert_eq!(bad.parse::<LiveKitKey>().unwrap_err(), error, "{bad}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
