//! The requests and events of Janus's VideoRoom plugin. Pure.
//!
//! Source: Janus 1.1.2, `src/plugins/janus_videoroom.c`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::Text;
use crate::id::{RoomId, UserId};

/// The name of the plugin.
pub(super) const PLUGIN: &str = "janus.plugin.videoroom";

/// The most publishers of a room that are remembered, and the most streams of each.
const MAX_PUBLISHERS: usize = 200;
const MAX_STREAMS: usize = 32;

/// The most bytes of an id in text.
const MAX_ID_BYTES: usize = 256;

/// The publishers that a room of ours admits: the one, and those whose end Janus has not noticed yet.
const PUBLISHERS_OF_OWN_ROOM: u32 = 6;

/// The id of a room or of a publisher: a number, or a text where Janus has `string_ids = true`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JanusId {
    /// The default.
    Number(u64),
    /// With `string_ids = true`.
    Text(String),
}

impl JanusId {
    /// The other form of the same id, for a Janus that refuses the first one.
    pub(super) fn other_form(&self) -> Option<Self> {
        match self {
            Self::Number(number) => Some(Self::Text(number.to_string())),
            Self::Text(_) => None,
        }
    }

    /// The id as a user id of this program, if it has its characters.
    pub fn user_id(&self) -> Option<UserId> {
        self.to_string().parse().ok()
    }
}

impl From<&str> for JanusId {
    fn from(text: &str) -> Self {
        // Jansson, the JSON library of Janus, has signed numbers of 64 bits.
        let number = text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| number.to_string() == text) {
            Some(number) => Self::Number(number),
            None => Self::Text(text.to_owned()),
        }
    }
}

impl From<&RoomId> for JanusId {
    fn from(room: &RoomId) -> Self {
        room.as_str().into()
    }
}

impl fmt::Display for JanusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => Text::from(text.as_str()).fmt(f),
        }
    }
}

/// A stream of a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct FeedStream {
    #[serde(rename = "type")]
    pub(super) kind: StreamKind,
    pub(super) mid: String,
    #[serde(default)]
    pub(super) codec: Text,
    #[serde(default)]
    pub(super) description: Text,
    #[serde(default)]
    pub(super) disabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StreamKind {
    Audio,
    Video,
    #[serde(other)]
    Other,
}

/// A publisher of a room: a feed to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Feed {
    pub(super) id: JanusId,
    #[serde(default)]
    pub(super) display: Text,
    #[serde(default)]
    pub(super) streams: Vec<FeedStream>,
    /// A stand-in that never sends.
    #[serde(default)]
    pub(super) dummy: bool,
}

/// The access to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access<'a> {
    pub(super) room: &'a JanusId,
    pub(super) pin: Option<&'a str>,
    pub(super) token: Option<&'a str>,
}

/// A request to the plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub(super) enum RoomRequest<'a> {
    /// Makes the handle a participant, who publishes or only learns who does, or a subscriber of one participant.
    Join(Join<'a>),
    /// `join` of a publisher with its offer.
    JoinAndConfigure(Join<'a>),
    /// The answer of a subscriber.
    Start,
    Create {
        room: &'a JanusId,
        #[serde(skip_serializing_if = "Option::is_none")]
        pin: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<&'a str>,
        publishers: u32,
        videocodec: &'a str,
        is_private: bool,
    },
    /// Ends the room for everybody.
    Destroy {
        room: &'a JanusId,
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<&'a str>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Join<'a> {
    ptype: &'static str,
    room: &'a JanusId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    descriptions: Vec<Description<'a>>,
    /// The bits per second that Janus tells the publisher by REMB; 0 for none, where the room lets publishers choose.
    /// A publisher finds by transport-wide feedback what its path carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<Wanted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_id: Option<u64>,
    /// Whether Janus offers again when a publisher leaves: the connection ends then, so there is nothing to offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    autoupdate: Option<bool>,
}

/// The description of a published stream, for example `screen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Description<'a> {
    pub(super) mid: &'a str,
    pub(super) description: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Wanted<'a> {
    feed: &'a JanusId,
    mid: &'a str,
}

impl<'a> Join<'a> {
    /// A participant.
    pub(super) fn participant(access: Access<'a>, display: &'a str) -> Self {
        let Access { room, pin, token } = access;
        Self {
            ptype: "publisher",
            room,
            pin,
            token,
            display: Some(display),
            descriptions: Vec::new(),
            bitrate: None,
            streams: Vec::new(),
            private_id: None,
            autoupdate: None,
        }
    }

    /// A participant that publishes.
    pub(super) fn publisher(access: Access<'a>, display: &'a str, descriptions: Vec<Description<'a>>) -> Self {
        Self { descriptions, bitrate: Some(0), ..Self::participant(access, display) }
    }

    /// A subscriber of these streams of a feed; `private_id` is that of the participant who subscribes.
    pub(super) fn subscriber<'b: 'a>(
        access: Access<'a>,
        private_id: Option<u64>,
        feed: &'a JanusId,
        mids: impl IntoIterator<Item = &'b str>,
    ) -> Self {
        let streams = mids.into_iter().map(|mid| Wanted { feed, mid }).collect();
        let participant = Self::participant(access, "");
        Self { ptype: "subscriber", display: None, streams, private_id, autoupdate: Some(false), ..participant }
    }
}

impl<'a> RoomRequest<'a> {
    /// A room for the codecs of this program.
    pub(super) fn create(access: Access<'a>, secret: Option<&'a str>) -> Self {
        Self::Create {
            room: access.room,
            pin: access.pin,
            secret,
            publishers: PUBLISHERS_OF_OWN_ROOM,
            videocodec: "h264,vp8",
            is_private: access.pin.is_some(),
        }
    }

    /// The body of a message.
    pub(super) fn to_body(&self) -> Value {
        // Maps with keys of text alone always serialize.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// An error of the plugin, which has numbers of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomError {
    pub(super) code: i64,
    pub(super) reason: Text,
}

/// An event of the plugin, or its reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RoomEvent {
    /// The participant is in the room; its feeds so far.
    Joined { private_id: Option<u64>, feeds: Vec<Feed> },
    /// Feeds that are new, or whose streams have changed.
    Feeds(Vec<Feed>),
    /// A publisher publishes no more, or has left.
    Gone(JanusId),
    /// Somebody with the room's secret has removed the participant.
    Kicked,
    /// The room is gone.
    Destroyed,
    /// The subscription, whose offer comes along: the mids of its sections, each with that of the feed's stream.
    Attached(Vec<(String, String)>),
    /// `create` has created the room.
    Created,
    /// Nothing that matters here.
    Other,
}

/// Parses the data of the plugin.
///
/// # Errors
/// The plugin's own error; one without a number if this is no data of the plugin.
pub(super) fn parse(data: Value) -> Result<RoomEvent, RoomError> {
    #[derive(Deserialize)]
    struct Data {
        videoroom: String,
        error_code: Option<i64>,
        #[serde(default)]
        error: Text,
        private_id: Option<u64>,
        publishers: Option<Vec<Feed>>,
        unpublished: Option<JanusId>,
        leaving: Option<JanusId>,
        kicked: Option<JanusId>,
        reason: Option<String>,
        #[serde(default)]
        streams: Vec<Attached>,
    }
    #[derive(Deserialize)]
    struct Attached {
        mid: String,
        feed_mid: Option<String>,
    }
    let data: Data =
        serde_json::from_value(data).map_err(|error| RoomError { code: 0, reason: Text::from(error.to_string()) })?;
    if let Some(code) = data.error_code {
        return Err(RoomError { code, reason: data.error });
    }
    let feeds =
        |feeds: Option<Vec<Feed>>| feeds.unwrap_or_default().into_iter().filter_map(checked).take(MAX_PUBLISHERS);
    Ok(match (data.videoroom.as_str(), data.leaving.or(data.kicked), data.unpublished) {
        ("joined", ..) => RoomEvent::Joined { private_id: data.private_id, feeds: feeds(data.publishers).collect() },
        ("attached", ..) => {
            let mids =
                data.streams.into_iter().take(MAX_STREAMS).filter_map(|stream| Some((stream.mid, stream.feed_mid?)));
            RoomEvent::Attached(mids.collect())
        }
        ("created", ..) => RoomEvent::Created,
        ("destroyed", ..) => RoomEvent::Destroyed,
        // About the participant itself the id is `ok`.
        ("event", Some(leaving), _) if data.reason.as_deref() == Some("kicked") && is_own(&leaving) => {
            RoomEvent::Kicked
        }
        ("event", Some(id), _) | ("event", None, Some(id)) if !is_own(&id) => RoomEvent::Gone(id),
        ("event", None, None) if data.publishers.is_some() => RoomEvent::Feeds(feeds(data.publishers).collect()),
        _ => RoomEvent::Other,
    })
}

fn is_own(id: &JanusId) -> bool {
    *id == JanusId::Text("ok".to_owned())
}

/// A feed within limits; none if its id is too long.
fn checked(mut feed: Feed) -> Option<Feed> {
    feed.streams.retain(|stream| stream.mid.len() <= MAX_ID_BYTES);
    feed.streams.truncate(MAX_STREAMS);
    match &feed.id {
        JanusId::Text(text) if text.len() > MAX_ID_BYTES => None,
        _ if feed.dummy => None,
        _ => Some(feed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn room() -> JanusId {
        JanusId::from("1234")
    }

    #[test]
    fn an_id_of_digits_is_a_number_and_others_are_text() {
        assert_eq!(room(), JanusId::Number(1234));
        for text in ["lab", "007", "1.5", "-4", "99999999999999999999"] {
            assert_eq!(JanusId::from(text), JanusId::Text(text.to_owned()), "{text}");
        }
        assert_eq!(room().other_form(), Some(JanusId::Text("1234".to_owned())));
        assert_eq!(JanusId::from("lab").other_form(), None);
    }

    #[test]
    fn requests_are_those_of_the_documentation() {
        let room = room();
        let access = Access { room: &room, pin: Some("1111"), token: None };
        let participant = RoomRequest::Join(Join::participant(access, "Ann")).to_body();
        assert_eq!(
            participant,
            json!({"request": "join", "ptype": "publisher", "room": 1234, "pin": "1111", "display": "Ann"})
        );
        let descriptions = vec![Description { mid: "1", description: "screen" }];
        let publisher = RoomRequest::JoinAndConfigure(Join::publisher(access, "Ann", descriptions)).to_body();
        assert_eq!(
            publisher,
            json!({
                "request": "joinandconfigure", "ptype": "publisher", "room": 1234, "pin": "1111", "display": "Ann",
                "descriptions": [{"mid": "1", "description": "screen"}], "bitrate": 0,
            })
        );
        let feed = JanusId::Number(5);
        let subscriber = RoomRequest::Join(Join::subscriber(access, Some(9), &feed, ["0", "1"])).to_body();
        assert_eq!(
            subscriber,
            json!({
                "request": "join", "ptype": "subscriber", "room": 1234, "pin": "1111", "private_id": 9,
                "autoupdate": false, "streams": [{"feed": 5, "mid": "0"}, {"feed": 5, "mid": "1"}],
            })
        );
        assert_eq!(RoomRequest::Start.to_body(), json!({"request": "start"}));
        let created = RoomRequest::create(Access { pin: None, ..access }, Some("s")).to_body();
        assert_eq!((&created["request"], &created["room"], created.get("pin")), (&json!("create"), &json!(1234), None));
        assert_eq!(created["secret"], "s");
        let destroyed = RoomRequest::Destroy { room: &room, secret: Some("s") }.to_body();
        assert_eq!(destroyed, json!({"request": "destroy", "room": 1234, "secret": "s"}));
    }

    #[test]
    fn a_room_tells_its_publishers() {
        let feed = json!({
            "id": 5, "display": "Ann\u{7}", "audio_codec": "opus",
            "streams": [
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "fec": true},
                {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8", "description": "screen"},
                {"type": "data", "mindex": 2, "mid": "2"},
                {"type": "video", "mindex": 3, "mid": "3", "disabled": true},
            ],
        });
        let joined = json!({"videoroom": "joined", "room": 1234, "id": 4, "private_id": 77, "publishers": [feed]});
        let Ok(RoomEvent::Joined { private_id: Some(77), feeds }) = parse(joined) else { panic!() };
        assert_eq!((&feeds[0].id, feeds[0].display.as_str()), (&JanusId::Number(5), "Ann"));
        let streams: Vec<_> = feeds[0].streams.iter().map(|s| (s.kind, s.mid.as_str(), s.codec.as_str())).collect();
        let expected = [
            (StreamKind::Audio, "0", "opus"),
            (StreamKind::Video, "1", "vp8"),
            (StreamKind::Other, "2", ""),
            (StreamKind::Video, "3", ""),
        ];
        assert_eq!((streams, feeds[0].streams[3].disabled), (expected.to_vec(), true));
        assert_eq!(
            parse(json!({"videoroom": "event", "room": 1234, "publishers": [feed]})),
            Ok(RoomEvent::Feeds(feeds))
        );
        let gone = RoomEvent::Gone(JanusId::Number(5));
        assert_eq!(parse(json!({"videoroom": "event", "room": 1234, "unpublished": 5})), Ok(gone.clone()));
        assert_eq!(parse(json!({"videoroom": "event", "room": 1234, "leaving": 5})), Ok(gone.clone()));
        let kicked = json!({"videoroom": "event", "room": 1234, "kicked": 5});
        assert_eq!(parse(kicked), Ok(gone), "somebody else was removed");
    }

    #[test]
    fn other_events_errors_and_nonsense() {
        let event = |value: Value| parse(value).unwrap();
        let own = json!({"videoroom": "event", "room": 1234, "leaving": "ok", "reason": "kicked"});
        assert_eq!(event(own), RoomEvent::Kicked);
        assert_eq!(event(json!({"videoroom": "event", "leaving": "ok"})), RoomEvent::Other);
        assert_eq!(event(json!({"videoroom": "event", "unpublished": "ok"})), RoomEvent::Other);
        assert_eq!(event(json!({"videoroom": "event", "started": "ok"})), RoomEvent::Other);
        assert_eq!(event(json!({"videoroom": "destroyed", "room": 1234})), RoomEvent::Destroyed);
        assert_eq!(event(json!({"videoroom": "created", "room": 1234})), RoomEvent::Created);
        let streams = json!([{"mid": "0", "feed_mid": "a", "type": "video"}, {"mid": "1", "type": "data"}]);
        let attached = event(json!({"videoroom": "attached", "room": 1234, "streams": streams}));
        assert_eq!(attached, RoomEvent::Attached(vec![("0".to_owned(), "a".to_owned())]));
        let refused = json!({"videoroom": "event", "error_code": 426, "error": "No such room (1234)"});
        assert_eq!(parse(refused), Err(RoomError { code: 426, reason: Text::from("No such room (1234)") }));
        for bad in [json!(7), json!({}), json!({"videoroom": "event", "publishers": 7})] {
            assert_eq!(parse(bad.clone()).unwrap_err().code, 0, "{bad}");
        }
        let long = json!({"id": "x".repeat(300), "streams": []});
        let many: Vec<Value> = (0..500).map(|id| json!({"id": id})).chain([long]).collect();
        let Ok(RoomEvent::Feeds(feeds)) = parse(json!({"videoroom": "event", "publishers": many})) else { panic!() };
        assert_eq!(feeds.len(), MAX_PUBLISHERS);
        let dummy = json!({"videoroom": "event", "publishers": [{"id": 1, "dummy": true}]});
        assert_eq!(parse(dummy), Ok(RoomEvent::Feeds(Vec::new())), "a stand-in sends nothing");
    }
}
