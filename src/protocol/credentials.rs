//! The secrets of a client that joins, and what a publisher sets for its room. They travel in the first message of the
//! WebSocket, because a URL is written to logs, histories and the `Referer` of other requests.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SessionSecret;
use crate::id::UserId;

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4_096;

/// The longest join code and the longest teaching key, in bytes.
const MAX_SECRET_BYTES: usize = 256;

/// The most ids in [`RoomSettings::banned`].
pub const MAX_BANNED: usize = 256;

/// The secrets of a client that joins; each may be absent. `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The secret by which a client resumes; without one, the client can't resume after a lost connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSecret>,
    /// The join code of the room, as a person typed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A signed token (JWT, RFC 7519).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The teaching key of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The settings of the room; only a publisher's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomSettings>,
}

/// A publisher's settings for its room. `Debug` hides the code.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomSettings {
    /// The join code that students must give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether students wait until the teacher admits them.
    pub lobby: bool,
    /// Whether nobody else may join.
    pub locked: bool,
    /// User ids that are refused, at most [`MAX_BANNED`]: a server that has restarted does not know who was put out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<UserId>,
}

/// The first message of a client that asked for `auth=1`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum FirstMessage {
    Auth(Credentials),
}

impl Credentials {
    /// Parses the first message. The error is a sentence for [`ErrorCode::MalformedMessage`](super::ErrorCode).
    pub fn parse(text: &str) -> Result<Self, String> {
        let first = serde_json::from_str(text);
        let FirstMessage::Auth(credentials) = first.map_err(|e| format!("malformed message, auth comes first: {e}"))?;
        credentials.check()?;
        Ok(credentials)
    }

    /// The JSON text of the first message.
    pub fn to_json(&self) -> String {
        super::to_json(&FirstMessage::Auth(self.clone()))
    }

    fn check(&self) -> Result<(), String> {
        let of_room = self.room.as_ref().and_then(|room| room.code.as_ref());
        let fields = [
            ("code", &self.code, MAX_SECRET_BYTES),
            ("token", &self.token, MAX_TOKEN_BYTES),
            ("key", &self.key, MAX_SECRET_BYTES),
            ("room.code", &of_room.cloned(), MAX_SECRET_BYTES),
        ];
        for (name, text, most) in fields {
            if text.as_ref().is_some_and(|text| text.len() > most) {
                return Err(format!("{name} has more than {most} bytes"));
            }
        }
        if self.room.as_ref().is_some_and(|room| room.banned.len() > MAX_BANNED) {
            return Err(format!("room.banned has more than {MAX_BANNED} ids"));
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |name, is_given| if is_given { Some(name) } else { None };
        let names = [
            given("session", self.session.is_some()),
            given("code", self.code.is_some()),
            given("token", self.token.is_some()),
            given("key", self.key.is_some()),
        ];
        f.write_str("Credentials")?;
        f.debug_set().entries(names.into_iter().flatten()).finish()
    }
}

impl fmt::Debug for RoomSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomSettings")
            .field("has_code", &self.code.is_some())
            .field("lobby", &self.lobby)
            .field("locked", &self.locked)
            .field("banned", &self.banned)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_json_and_debug_hides_them() {
        let credentials = Credentials {
            session: Some("0123456789abcdef".parse().unwrap()),
            code: Some("472 913".into()),
            token: Some("a.b.c".into()),
            key: Some("open sesame".into()),
            room: Some(RoomSettings {
                code: Some("472913".into()),
                lobby: true,
                locked: false,
                banned: vec!["1001".parse().unwrap()],
            }),
        };
        let text = credentials.to_json();
        assert!(text.starts_with(r#"{"type":"auth","session":"0123456789abcdef""#), "{text}");
        assert_eq!(Credentials::parse(&text).unwrap(), credentials);
        assert_eq!(Credentials::parse(r#"{"type":"auth"}"#).unwrap(), Credentials::default());
        let shown = format!("{credentials:?} {:?}", credentials.room);
        for secret in ["0123", "472", "a.b", "open"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn other_messages_and_long_secrets_are_refused() {
        for text in ["", "{}", r#"{"type":"ping"}"#, r#"{"type":"auth","session":"short"}"#] {
            assert!(Credentials::parse(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"type":"auth","code":"{}"}}"#, "9".repeat(MAX_SECRET_BYTES + 1));
        assert!(Credentials::parse(&long).unwrap_err().contains("code has more than 256 bytes"));
    }
}
