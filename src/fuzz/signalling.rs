//! Signalling and chat: the query that joins a room, the messages of both ends, the names in them.

use super::input::MAX_REASON_BYTES;
use crate::access::JoinCode;
use crate::http::Origin;
use crate::id::{
    MAX_ID_CHARS, MAX_NICKNAME_CHARS, MAX_ROOM_NAME_CHARS, Nickname, RoomId, RoomName, UserId, is_printable,
};
use crate::protocol::channel::{MAX_TEXT_CHARS, PublisherMessage, StudentMessage};
use crate::protocol::{
    ClientMessage, Credentials, FileChannelMessage, FileName, JoinRequest, MAX_FILE_NAME_CHARS, PairFileMessage,
    ServerMessage,
};
use crate::signal::ServerUrl;
use crate::tls::{Fingerprint, Identity};

/// JSON and quoted text have a control character in six bytes.
const MAX_GROWTH: usize = 6;

/// The growth of a message over the text that it was parsed from: absent fields with their defaults.
const MAX_DEFAULTS: usize = 512;

/// The query of the WebSocket: an accepted query survives a round trip.
pub(super) fn join_query(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match JoinRequest::parse(&text) {
        Ok(request) => {
            let query = request.to_query();
            // No secret stands in a URL twice, and no query grows beyond its fields.
            assert!(query.len() <= 16 * (MAX_ID_CHARS + MAX_NICKNAME_CHARS + MAX_ROOM_NAME_CHARS), "{query}");
            assert_eq!(JoinRequest::parse(&query), Ok(request));
            true
        }
        Err(error) => {
            assert!(error.to_string().len() <= MAX_REASON_BYTES, "{error}");
            false
        }
    }
}

/// A message to the server, or the credentials before it: it survives a round trip, and a refusal is hardly longer than
/// the message.
pub(super) fn client_message(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(credentials) = Credentials::parse(&text) {
        assert_eq!(Credentials::parse(&credentials.to_json()).as_ref(), Ok(&credentials));
        let shown = format!("{credentials:?} {:?}", credentials.room);
        let secrets = [&credentials.code, &credentials.token, &credentials.key].into_iter().flatten();
        let is_shown = |secret: &String| secret.len() >= 8 && shown.contains(secret.as_str());
        assert!(!secrets.into_iter().any(is_shown), "{shown}");
        return true;
    }
    match ClientMessage::parse(&text) {
        Ok(message) => {
            let again = message.to_json();
            assert!(again.len() <= MAX_GROWTH * text.len() + MAX_DEFAULTS, "{} from {}", again.len(), text.len());
            assert_eq!(ClientMessage::parse(&again), Ok(message));
            true
        }
        Err(reason) => {
            assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}");
            false
        }
    }
}

/// A message from a server to a client.
pub(super) fn server_message(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match ServerMessage::parse(&text) {
        Ok(message) => {
            let again = message.to_json();
            assert!(again.len() <= MAX_GROWTH * text.len() + MAX_DEFAULTS, "{} from {}", again.len(), text.len());
            assert_eq!(ServerMessage::parse(&again), Ok(message));
            true
        }
        Err(reason) => {
            assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}");
            false
        }
    }
}

/// A message on the data channel, from either end.
pub(super) fn channel_message(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let of_student = match StudentMessage::parse(&text) {
        Ok(message) => {
            if let StudentMessage::Msg { text, .. } = &message {
                assert!(text.as_str().chars().count() <= MAX_TEXT_CHARS && text.as_str().chars().all(is_printable));
            }
            assert_eq!(StudentMessage::parse(&message.to_json()), Ok(message));
            true
        }
        Err((_, reason)) => {
            assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}");
            false
        }
    };
    let of_publisher = match PublisherMessage::parse(&text) {
        Ok(message) => {
            let again = message.to_json();
            assert!(again.len() <= MAX_GROWTH * text.len() + MAX_DEFAULTS, "{} from {}", again.len(), text.len());
            assert_eq!(PublisherMessage::parse(&again), Ok(message));
            true
        }
        Err(reason) => {
            assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}");
            false
        }
    };
    of_student || of_publisher || about_file(&text)
}

/// A message about a file, over the data channel of a pair or over that of the file.
fn about_file(text: &str) -> bool {
    let of_pair = PairFileMessage::parse(text);
    if let Some(message) = &of_pair {
        assert_eq!(PairFileMessage::parse(&message.to_json()).as_ref(), Some(message));
    }
    let of_channel = FileChannelMessage::parse(text);
    if let Some(message) = &of_channel {
        assert_eq!(FileChannelMessage::parse(&message.to_json()).as_ref(), Some(message));
    }
    of_pair.is_some() || of_channel.is_some()
}

/// Ids, the names of people and rooms, join codes, the address and the fingerprint of a server, the origin of a page.
/// DNS-SD, links and QR codes carry them too.
pub(super) fn names(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (room, user) = (text.parse::<RoomId>(), text.parse::<UserId>());
    assert_eq!(room.is_ok(), user.is_ok());
    if let (Ok(room), Ok(user)) = (&room, &user) {
        assert!(room.as_str() == text && user.as_str() == text && text.len() <= MAX_ID_CHARS && text.is_ascii());
    }
    let nickname = Nickname::from(&*text);
    let is_clean = |name: &str, most: usize| {
        name.chars().count() <= most && name.chars().all(is_printable) && name.trim().len() == name.len()
    };
    assert!(is_clean(nickname.as_str(), MAX_NICKNAME_CHARS), "{nickname:?}");
    let file = FileName::from(&*text);
    let is_short = (1..=MAX_FILE_NAME_CHARS).contains(&file.as_str().chars().count());
    assert!(is_short && !file.as_str().contains(['/', '\\']) && !file.as_str().starts_with('.'), "{file:?}");
    assert_eq!(FileName::from(file.as_str()), file);
    assert_eq!(Nickname::from(nickname.as_str()), nickname);
    if let Ok(name) = text.parse::<RoomName>() {
        assert!(is_clean(name.as_str(), MAX_ROOM_NAME_CHARS) && !name.as_str().is_empty(), "{name:?}");
        assert_eq!(name.as_str().parse(), Ok(name));
    }
    if let Ok(code) = text.parse::<JoinCode>() {
        assert!(code.matches(&text) && code.matches(code.as_str()) && code.matches(&code.shown()), "{text:?}");
        assert_eq!(code.as_str().parse().as_ref(), Ok(&code));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }
    match text.parse::<Identity>() {
        Ok(identity) => assert_eq!(identity.to_string().parse(), Ok(identity)),
        Err(error) => assert!(error.to_string().len() <= MAX_GROWTH * text.len() + MAX_REASON_BYTES, "{error}"),
    }
    let url = text.parse::<ServerUrl>();
    match &url {
        Ok(url) => assert_eq!(url.to_string().parse().as_ref(), Ok(url), "{url}"),
        Err(error) => assert!(error.to_string().len() <= MAX_GROWTH * text.len() + MAX_REASON_BYTES, "{error}"),
    }
    // A page of another host is never taken for one of this host.
    let own = "http://lab.example:18080".parse::<Origin>();
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse().as_ref(), Ok(&origin));
        let is_own = text.to_ascii_lowercase().starts_with("http://lab.example") && text.contains(":18080");
        assert!(own.as_ref() != Ok(&origin) || is_own, "{text:?}");
    }
    room.is_ok() || url.is_ok()
}
