//! The wire format, word for word.

use super::media::{MAX_CANDIDATE_BYTES, MAX_MID_BYTES};
use super::*;

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

#[test]
fn messages_look_as_specified() {
    let offer =
        ClientMessage::Offer { entry: None, target_uid: id("9999"), sdp: "v=0".into(), video: None, tracks: None };
    assert_eq!(offer.to_json(), r#"{"type":"offer","targetUid":"9999","sdp":"v=0"}"#);
    let text = r#"{"type":"offer","targetUid":"9999","sdp":"v=0","video":"camera"}"#;
    let video = Some(VideoTrack::Camera);
    let offer = ClientMessage::Offer { entry: None, target_uid: id("9999"), sdp: "v=0".into(), video, tracks: None };
    assert_eq!(ClientMessage::parse(text).unwrap(), offer);
    let text = r#"{"type":"offer","targetUid":"9999","sdp":"v=0","tracks":{"0":"audio","1":"screen"}}"#;
    let tracks = [("0".to_owned(), TrackName::Audio), ("1".to_owned(), TrackName::Screen)];
    let tracks = Some(OfferedTracks::from(tracks));
    let offer = ClientMessage::Offer { entry: None, target_uid: id("9999"), sdp: "v=0".into(), video: None, tracks };
    assert_eq!((ClientMessage::parse(text).unwrap(), offer.to_json()), (offer, text.to_owned()));
    let hangup = ServerMessage::Hangup { user_id: id("9999") };
    assert_eq!(hangup.to_json(), r#"{"type":"hangup","userId":"9999"}"#);
    assert_eq!(ClientMessage::Leave { over: false }.to_json(), r#"{"type":"leave"}"#);
    assert_eq!(ClientMessage::Leave { over: true }.to_json(), r#"{"type":"leave","over":true}"#);
    for (word, reason) in [("left", LeaveReason::Left), ("ended", LeaveReason::Ended), ("evicted", LeaveReason::Lost)] {
        let text = format!(r#"{{"type":"leave","users":["9999"],"reason":"{word}"}}"#);
        let leave = ServerMessage::Leave { users: vec![id("9999")], reason };
        assert_eq!(ServerMessage::parse(&text).unwrap(), leave);
    }
    assert_eq!(ClientMessage::parse(r#"{"type":"roomUserList","extra":1}"#).unwrap(), ClientMessage::RoomUserList);
    assert_eq!(ClientMessage::parse(r#"{"type":"ping"}"#).unwrap(), ClientMessage::Ping);
    assert_eq!(ServerMessage::Pong.to_json(), r#"{"type":"pong"}"#);
    let user = User {
        user_id: id("1001"),
        nickname: "S-01".into(),
        publishes: false,
        epoch: 7,
        client: None,
        moderates: false,
    };
    let join = ServerMessage::Join { users: vec![user] };
    let text = r#"{"type":"join","users":[{"userId":"1001","nickname":"S-01","pub":"no","epoch":7}]}"#;
    assert_eq!(join.to_json(), text);
    assert_eq!(ServerMessage::parse(text).unwrap(), join);
    let client = |word: &str| {
        let text = format!(r#"{{"userId":"1001","nickname":"","pub":"no","client":{word}}}"#);
        serde_json::from_str::<User>(&text).map(|user| (user.client, serde_json::to_string(&user).unwrap()))
    };
    let (whep, written) = client(r#""whep""#).unwrap();
    assert!(whep == Some(ClientKind::Whep) && written.contains(r#""client":"whep""#), "{written}");
    assert_eq!(client(r#""hologram""#).unwrap().0, None, "a newer server may know more");
    let error = ServerMessage::error(ErrorCode::UserIdTaken, "1001 is here");
    assert_eq!(error.to_json(), r#"{"type":"error","code":"userIdTaken","message":"1001 is here"}"#);
    let text = r#"{"type":"reject","targetUid":"1001","code":"noCommonCodec","message":"no","codec":"vp8"}"#;
    let (code, message, codec) = (ErrorCode::NoCommonCodec, "no".into(), Some(VideoCodec::Vp8));
    let reject = ClientMessage::Reject { target_uid: id("1001"), code, message, codec, source: None };
    assert_eq!(ClientMessage::parse(text).unwrap(), reject);
    assert_eq!(reject.to_json(), text);
    let older = text.replace(r#","codec":"vp8""#, "");
    assert!(matches!(ClientMessage::parse(&older).unwrap(), ClientMessage::Reject { codec: None, .. }));
    let newer = text.replace("vp8", "h267");
    let codec = Some(VideoCodec::Unknown);
    assert!(matches!(ClientMessage::parse(&newer).unwrap(), ClientMessage::Reject { codec: c, .. } if c == codec));
}

#[test]
fn a_candidate_is_what_a_browser_writes() {
    let text = r#"{"type":"candidate","targetUid":"9999","candidate":{
        "candidate":"candidate:1 1 udp 1 10.0.0.1 5 typ host","sdpMid":"0","sdpMLineIndex":0,
        "usernameFragment":"abcd"}}"#;
    let ClientMessage::Candidate { candidate, .. } = ClientMessage::parse(text).unwrap() else { panic!() };
    assert_eq!(candidate.sdp_m_line_index, Some(0));
    assert!(serde_json::to_string(&candidate).unwrap().contains("sdpMLineIndex"));
    let nulls =
        r#"{"type":"candidate","targetUid":"9","candidate":{"candidate":"","sdpMid":null,"sdpMLineIndex":null}}"#;
    assert!(ClientMessage::parse(nulls).is_ok());
}

#[test]
fn a_malformed_message_is_refused_with_a_sentence() {
    let long = "x".repeat(MAX_CANDIDATE_BYTES + 1);
    let long = format!(r#"{{"type":"candidate","targetUid":"9","candidate":{{"candidate":"{long}"}}}}"#);
    let tracks = |tracks: &str| format!(r#"{{"type":"offer","targetUid":"9","sdp":"","tracks":{tracks}}}"#);
    let (twice, many) = (tracks(r#"{"0":"screen","1":"screen"}"#), tracks(r#"{"0":"audio","1":"screen","2":"film"}"#));
    let long_mid = tracks(&format!(r#"{{"{}":"screen"}}"#, "1".repeat(MAX_MID_BYTES + 1)));
    for text in [
        &twice,
        &many,
        &long_mid,
        "",
        "{",
        "[]",
        r#"{"type":"call"}"#,
        r#"{"type":"offer"}"#,
        r#"{"type":"offer","targetUid":"a b","sdp":""}"#,
        &long,
    ] {
        assert!(ClientMessage::parse(text).unwrap_err().starts_with("malformed message: "), "{text}");
    }
}

#[test]
fn messages_of_calls_look_as_specified() {
    let sends = vec![TrackName::Audio, TrackName::Camera];
    let call = ClientMessage::Call { target_uid: id("1002"), sends };
    let text = r#"{"type":"call","targetUid":"1002","sends":["camera","audio","camera"]}"#;
    assert_eq!(ClientMessage::parse(text).unwrap(), call, "each track once, in order");
    assert!(ClientMessage::parse(r#"{"type":"participate","sends":["audio","audio","audio","audio"]}"#).is_err());
    let text = r#"{"type":"offer","userId":"1002","sdp":"v=0","entry":8}"#;
    let ServerMessage::Offer { entry, .. } = ServerMessage::parse(text).unwrap() else { panic!("not an offer") };
    assert_eq!(entry, Some(8));
    let participants = Participants {
        participants: vec![Participant {
            user_id: id("1001"),
            nickname: "Ada".into(),
            entry: 7,
            sends: vec![TrackName::Audio],
            published: false,
        }],
        ..Participants::default()
    };
    let text = concat!(
        r#"{"type":"participants","participants":[{"userId":"1001","nickname":"Ada","entry":7,"sends":["audio"]}],"#,
        r#""media":"publisher"}"#
    );
    assert_eq!(ServerMessage::Participants(participants).to_json(), text);
}
