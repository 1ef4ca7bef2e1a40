//! The request that opens the WebSocket: who asks to join which room, and from which page.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::RoomKind;
use crate::id::{IdError, Nickname, RoomId, RoomName, UserId};

/// The fewest characters of a session secret: 95 bits of randomness.
const MIN_SESSION_CHARS: usize = 16;

/// The most characters of a session secret.
const MAX_SESSION_CHARS: usize = 64;

/// The secret by which a client proves that it is the same as before: 16 to 64 of `A-Z a-z 0-9`.
///
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionSecret(Box<str>);

impl SessionSecret {
    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not a session secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session must have {MIN_SESSION_CHARS} to {MAX_SESSION_CHARS} letters and digits")]
pub struct SessionSecretError;

impl TryFrom<String> for SessionSecret {
    type Error = SessionSecretError;
    fn try_from(text: String) -> Result<Self, SessionSecretError> {
        text.parse()
    }
}

impl From<SessionSecret> for String {
    fn from(secret: SessionSecret) -> String {
        secret.0.into()
    }
}

impl FromStr for SessionSecret {
    type Err = SessionSecretError;
    fn from_str(text: &str) -> Result<Self, SessionSecretError> {
        let fits = (MIN_SESSION_CHARS..=MAX_SESSION_CHARS).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(text.into()))
        } else {
            Err(SessionSecretError)
        }
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

/// The kind of client, by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// The page in a browser.
    Browser,
    /// `classroom watch`.
    Watch,
    /// A player that speaks WHEP.
    Whep,
    /// A publisher that speaks WHIP.
    Whip,
    /// `classroom call`.
    Call,
    /// `classroom meet`.
    Meet,
}

/// The host of a publisher's media, which answers the offers of students and sends to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaHost {
    /// The publisher's own process.
    #[default]
    Publisher,
    /// The server, to which the publisher sends its media.
    Server,
}

impl MediaHost {
    /// The word on the wire and in lists.
    pub fn name(self) -> &'static str {
        match self {
            MediaHost::Publisher => "publisher",
            MediaHost::Server => "server",
        }
    }
}

impl ClientKind {
    const ALL: [ClientKind; 6] = [
        ClientKind::Browser,
        ClientKind::Watch,
        ClientKind::Whep,
        ClientKind::Whip,
        ClientKind::Call,
        ClientKind::Meet,
    ];

    /// The word on the wire and in lists.
    pub fn name(self) -> &'static str {
        match self {
            ClientKind::Browser => "browser",
            ClientKind::Watch => "watch",
            ClientKind::Whep => "whep",
            ClientKind::Whip => "whip",
            ClientKind::Call => "call",
            ClientKind::Meet => "meet",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.name() == name)
    }
}

/// Reads the kind of a client; none for a kind that this version does not know.
pub(crate) fn known_client<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClientKind>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.as_deref().and_then(ClientKind::from_name))
}

/// Why a query is not a join request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A required parameter is missing.
    #[error("{0} is missing, connect to /ws?roomId=ROOM&userId=USER")]
    Missing(&'static str),
    /// Not an id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Neither `pub` nor `no`.
    #[error("pub is {0:?}, give 'pub' to teach and 'no' to watch")]
    Publishes(String),
    /// Not an epoch.
    #[error("epoch must be a number from 0 to 4294967295")]
    Epoch,
    /// Not a kind of room.
    #[error("kind is {0:?}, give 'lecture', 'meeting' or 'call'")]
    Kind(String),
    /// Neither `server` nor `publisher`.
    #[error("media is {0:?}, give 'server' or 'publisher'")]
    Media(String),
    /// A student asks to host media.
    #[error("media=server is for publishers, add pub=pub to teach")]
    MediaOfStudent,
}

/// A client's request to join a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The room; it is opened if it does not exist.
    pub room: RoomId,
    /// The room's name, from a publisher; an empty name is none.
    pub room_name: Option<RoomName>,
    /// The kind of a room that does not exist yet; absent: a lecture. A room that exists keeps its kind.
    pub kind: Option<RoomKind>,
    /// The user id that the client asks for.
    pub user: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Whether the client publishes.
    pub publishes: bool,
    /// The host of the client's media; always [`MediaHost::Publisher`] for a client that does not publish.
    pub media: MediaHost,
    /// A random number, drawn once per process; 0 if absent.
    pub epoch: u32,
    /// The kind of client, if given.
    pub client: Option<ClientKind>,
    /// Whether the client's [`Credentials`](super::Credentials) follow as the first message.
    pub auth: bool,
}

impl JoinRequest {
    /// Parses a URL's query, without the `?`. Unknown parameters are ignored; of a repeated parameter the first counts.
    pub fn parse(query: &str) -> Result<Self, JoinError> {
        let get = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let publishes = get("pub").map_or(Ok(false), |word| parse_publishes(&word))?;
        let media = get("media").map_or(Ok(MediaHost::Publisher), |word| parse_media(&word))?;
        if media == MediaHost::Server && !publishes {
            return Err(JoinError::MediaOfStudent);
        }
        Ok(Self {
            room: get("roomId").ok_or(JoinError::Missing("roomId"))?.parse()?,
            room_name: get("roomName").and_then(|name| name.parse().ok()),
            kind: get("kind").map(|word| parse_kind(&word)).transpose()?,
            user: get("userId").ok_or(JoinError::Missing("userId"))?.parse()?,
            nickname: Nickname::from(&*get("nickname").unwrap_or_default()),
            publishes,
            media,
            epoch: get("epoch").map_or(Ok(0), |number| number.parse()).map_err(|_| JoinError::Epoch)?,
            client: get("client").and_then(|name| ClientKind::from_name(&name)),
            auth: get("auth").is_some_and(|flag| flag == "1"),
        })
    }

    /// The query that [`JoinRequest::parse`] parses, without the `?`.
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("roomId", self.room.as_str());
        query.append_pair("userId", self.user.as_str());
        query.append_pair("nickname", self.nickname.as_str());
        query.append_pair("pub", publishes_word(self.publishes));
        if self.media == MediaHost::Server {
            query.append_pair("media", self.media.name());
        }
        query.append_pair("epoch", &self.epoch.to_string());
        if let Some(name) = &self.room_name {
            query.append_pair("roomName", name.as_str());
        }
        if let Some(kind) = self.kind {
            query.append_pair("kind", kind.name());
        }
        if let Some(client) = self.client {
            query.append_pair("client", client.name());
        }
        if self.auth {
            query.append_pair("auth", "1");
        }
        query.finish()
    }
}

pub(super) fn publishes_word(publishes: bool) -> &'static str {
    if publishes { "pub" } else { "no" }
}

pub(super) fn parse_publishes(word: &str) -> Result<bool, JoinError> {
    match word {
        "pub" => Ok(true),
        "no" | "" => Ok(false),
        other => Err(JoinError::Publishes(other.chars().take(20).collect())),
    }
}

fn parse_kind(word: &str) -> Result<RoomKind, JoinError> {
    RoomKind::from_name(word).ok_or_else(|| JoinError::Kind(word.chars().take(20).collect()))
}

fn parse_media(word: &str) -> Result<MediaHost, JoinError> {
    match word {
        "server" => Ok(MediaHost::Server),
        "publisher" | "" => Ok(MediaHost::Publisher),
        other => Err(JoinError::Media(other.chars().take(20).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_url() {
        let request = JoinRequest {
            room: "10013".parse().unwrap(),
            room_name: "线性代数 & Co".parse().ok(),
            kind: Some(RoomKind::Meeting),
            user: "1001".parse().unwrap(),
            nickname: "张 三 & Co %+=".into(),
            publishes: true,
            media: MediaHost::Server,
            epoch: u32::MAX,
            client: Some(ClientKind::Browser),
            auth: true,
        };
        assert_eq!(JoinRequest::parse(&request.to_query()).unwrap(), request);
        let short = JoinRequest::parse("roomId=1&userId=2&x&nickname=a+b%zz%f&roomName=+").unwrap();
        assert_eq!((short.room_name, short.client, short.media), (None, None, MediaHost::Publisher));
        assert_eq!(JoinRequest::parse("roomId=1&userId=2&client=hologram").unwrap().client, None);
        assert_eq!((short.nickname.as_str(), short.publishes, short.epoch), ("a b%zz%f", false, 0));
    }

    #[test]
    fn a_bad_request_is_refused_with_the_cause() {
        assert_eq!(JoinRequest::parse("").unwrap_err(), JoinError::Missing("roomId"));
        assert_eq!(JoinRequest::parse("roomId=1").unwrap_err(), JoinError::Missing("userId"));
        assert!(matches!(JoinRequest::parse("roomId=..%2f&userId=1").unwrap_err(), JoinError::Id(_)));
        assert_eq!(JoinRequest::parse("roomId=1&userId=1&pub=x").unwrap_err(), JoinError::Publishes("x".into()));
        assert_eq!(JoinRequest::parse("roomId=1&userId=1&kind=disco").unwrap_err(), JoinError::Kind("disco".into()));
        assert_eq!(JoinRequest::parse("roomId=1&userId=1&epoch=-1").unwrap_err(), JoinError::Epoch);
        let media =
            |query: &str| JoinRequest::parse(&format!("roomId=1&userId=1&{query}")).map(|request| request.media);
        assert_eq!(media("pub=pub&media=cloud").unwrap_err(), JoinError::Media("cloud".into()));
        for student in ["media=server", "pub=no&media=server"] {
            assert_eq!(media(student).unwrap_err(), JoinError::MediaOfStudent, "{student}");
        }
        assert_eq!(media("pub=pub&media=server"), Ok(MediaHost::Server));
    }
}
