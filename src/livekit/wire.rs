//! LiveKit's signalling in its JSON form: the requests of a student, and LiveKit's responses. Pure.
//!
//! Source: LiveKit 1.13.5, `pkg/service/wsprotocol.go` (text frames are JSON, and are answered in JSON), and
//! livekit/protocol, `livekit_rtc.proto`; the names are those of protobuf's JSON form, which leaves out zeros.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};

use crate::id::printable;
use crate::protocol::IceCandidate;

/// The largest message of LiveKit: an answer has some 10 kB. Students are hidden from each other, so lists of
/// participants stay short.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// The most candidates that LiveKit may send after its answer.
pub(super) const MAX_CANDIDATES: usize = 32;

/// The most sections that a mapping of an answer may have.
const MAX_SECTIONS: usize = 8;

/// The most characters of a text for people.
const MAX_TEXT_CHARS: usize = 100;

/// A `WrappedJoinRequest` in the binary form: one peer connection, for which the client offers; no subscription by
/// itself; the signalling protocol 16.
const JOIN_REQUEST: [u8; 8] = [
    0x12, 0x06, // join_request, 6 bytes:
    0x0a, 0x02, 0x18, 0x10, // client_info { protocol: 16 }
    0x12, 0x00, // connection_settings { }
];

/// The path and the query of the WebSocket.
pub(super) fn path() -> String {
    format!("/rtc/v1?join_request={}", URL_SAFE.encode(JOIN_REQUEST).replace('=', "%3D"))
}

/// A request to LiveKit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Request<'a> {
    /// Subscribes to tracks. LiveKit then says how many sections the offer needs for them.
    #[serde(rename_all = "camelCase")]
    Subscription { track_sids: Vec<&'a str>, subscribe: bool },
    /// The student's offer.
    Offer(Description<'a>),
    /// A candidate of the student.
    #[serde(rename_all = "camelCase")]
    Trickle { candidate_init: String, target: &'static str },
    /// A check of the connection.
    PingReq { timestamp: String },
    /// Goodbye.
    Leave { reason: &'static str },
}

#[derive(Debug, Serialize)]
pub(super) struct Description<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sdp: &'a str,
    id: u32,
}

impl<'a> Request<'a> {
    pub(super) fn offer(sdp: &'a str) -> Self {
        Self::Offer(Description { kind: "offer", sdp, id: 1 })
    }

    pub(super) fn candidate(candidate: &IceCandidate) -> Self {
        // A struct of text and numbers always serializes.
        let candidate_init = serde_json::to_string(candidate).unwrap_or_default();
        Self::Trickle { candidate_init, target: "PUBLISHER" }
    }

    pub(super) fn ping() -> Self {
        // The time has a meaning for the sender alone.
        Self::PingReq { timestamp: "1".to_owned() }
    }

    pub(super) fn leave() -> Self {
        Self::Leave { reason: "CLIENT_INITIATED" }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A response of LiveKit that matters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Response {
    /// The subscriptions need so many more sections of the offer.
    Sections { audio: u32, video: u32 },
    /// The answer, with the id of the track of each section by mid.
    Answer { sdp: String, tracks: BTreeMap<String, String> },
    /// A candidate of LiveKit.
    Candidate(IceCandidate),
    /// A track can't be had.
    NoSubscription,
    /// The session ends, with LiveKit's reason.
    Leave(String),
    /// Nothing that matters here.
    Other,
}

/// Parses a text message.
///
/// # Errors
/// What LiveKit does, for example `sends a message that is not JSON`.
pub(super) fn parse(text: &str) -> Result<Response, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        answer: Option<Answer>,
        trickle: Option<Trickle>,
        leave: Option<Leave>,
        media_sections_requirement: Option<Sections>,
        subscription_response: Option<SubscriptionResponse>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        sdp: String,
        #[serde(default)]
        mid_to_track_id: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Trickle {
        #[serde(default)]
        candidate_init: String,
    }
    #[derive(Deserialize)]
    struct Leave {
        #[serde(default)]
        reason: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Sections {
        num_audios: u32,
        num_videos: u32,
    }
    #[derive(Deserialize)]
    struct SubscriptionResponse {
        #[serde(default)]
        err: String,
    }
    let message: Message =
        serde_json::from_str(text).map_err(|_| "sends a message that is not of LiveKit's signalling".to_owned())?;
    Ok(if let Some(Answer { sdp, mid_to_track_id: tracks }) = message.answer {
        if tracks.len() > MAX_SECTIONS {
            return Err("answers with more sections than were offered".to_owned());
        }
        Response::Answer { sdp, tracks }
    } else if let Some(trickle) = message.trickle {
        // A candidate that this program can't read does no harm: the student's checks come anyway.
        match serde_json::from_str::<IceCandidate>(&trickle.candidate_init).ok().filter(|one| one.check().is_ok()) {
            Some(candidate) => Response::Candidate(candidate),
            None => Response::Other,
        }
    } else if let Some(sections) = message.media_sections_requirement {
        Response::Sections { audio: sections.num_audios, video: sections.num_videos }
    } else if let Some(leave) = message.leave {
        Response::Leave(printable(leave.reason.chars()).take(MAX_TEXT_CHARS).collect())
    } else if message.subscription_response.is_some_and(|response| !response.err.is_empty()) {
        Response::NoSubscription
    } else {
        Response::Other
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_those_of_the_protocol() {
        let json = |request: Request<'_>| serde_json::from_str::<serde_json::Value>(&request.to_json()).unwrap();
        let subscription = Request::Subscription { track_sids: vec!["TR_a", "TR_s"], subscribe: true };
        assert_eq!(json(subscription), json!({"subscription": {"trackSids": ["TR_a", "TR_s"], "subscribe": true}}));
        assert_eq!(json(Request::offer("v=0")), json!({"offer": {"type": "offer", "sdp": "v=0", "id": 1}}));
        let candidate: IceCandidate =
            serde_json::from_value(json!({"candidate": "candidate:1", "sdpMid": "0"})).unwrap();
        let trickle = json(Request::candidate(&candidate));
        assert_eq!(trickle["trickle"]["target"], "PUBLISHER");
        let init = trickle["trickle"]["candidateInit"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<IceCandidate>(init).unwrap(), candidate);
        assert_eq!(json(Request::ping()), json!({"pingReq": {"timestamp": "1"}}));
        assert_eq!(json(Request::leave()), json!({"leave": {"reason": "CLIENT_INITIATED"}}));
        assert_eq!(path(), "/rtc/v1?join_request=EgYKAhgQEgA%3D");
    }

    #[test]
    fn responses_are_read() {
        let read = |value: serde_json::Value| parse(&value.to_string()).unwrap();
        assert_eq!(
            read(json!({"mediaSectionsRequirement": {"numVideos": 2}})),
            Response::Sections { audio: 0, video: 2 },
            "zeros are left out"
        );
        let answer = json!({"answer": {"type": "answer", "sdp": "v=0", "id": 1, "midToTrackId": {"0": "TR_a"}}});
        let tracks = BTreeMap::from([("0".to_owned(), "TR_a".to_owned())]);
        assert_eq!(read(answer), Response::Answer { sdp: "v=0".into(), tracks });
        let update = json!({"update": {"participants": [{"sid": "PA_me", "state": "ACTIVE"}]}});
        assert_eq!(read(update), Response::Other);
        let leave = json!({"leave": {"reason": "DUPLICATE_IDENTITY\u{7}", "action": "DISCONNECT"}});
        assert_eq!(read(leave), Response::Leave("DUPLICATE_IDENTITY".into()));
        assert_eq!(
            read(json!({"subscriptionResponse": {"trackSid": "TR", "err": "SE_CODEC"}})),
            Response::NoSubscription
        );
        for other in [json!({}), json!({"pongResp": {}}), json!({"trickle": {"candidateInit": "nonsense"}})] {
            assert_eq!(read(other), Response::Other);
        }
        let many: BTreeMap<String, String> = (0..9).map(|n| (n.to_string(), String::new())).collect();
        assert!(parse(&json!({"answer": {"sdp": "v=0", "midToTrackId": many}}).to_string()).is_err());
        assert!(parse("nonsense").is_err() && parse("{\"answer\": 7}").is_err());
    }
}
