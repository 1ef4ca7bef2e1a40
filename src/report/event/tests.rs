use serde_json::json;

use super::*;
use crate::protocol::TrackName;
use crate::report::{HostState, StageEnd};
use crate::rtp::{Codec, Tier};

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

#[test]
fn scripts_read_stable_names_and_fields() {
    let low = Watched {
        encoding: Encoding { track: Track::Screen, tier: Tier::Low, codec: Codec::Vp8 },
        students: 28,
        is_class_codec: false,
    };
    let watch = WatchStats {
        track: Track::Screen,
        fps: 29.969_999,
        width: 1280,
        height: 720,
        kbps: 2512.34,
        lost: 1,
        nacks: 2,
        plis: 3,
        freezes: 4,
        freeze_ms: 800,
        withheld_ms: 300,
        skipped: 5,
        concealed_ms: 60,
        delay_ms: 80,
        jitter_ms: 0.123,
    };
    for (event, expected) in [
        (
            Event::Listening {
                ws: Some("ws://a/ws".into()),
                page: Some("http://a/".into()),
                room_page: Some("http://a/room/1".into()),
                code: None,
                fingerprint: None,
                udp: Some(18080),
            },
            json!({"event": "listening", "ws": "ws://a/ws", "page": "http://a/",
                "room_page": "http://a/room/1", "code": null, "fingerprint": null, "udp": 18080}),
        ),
        (
            Event::Joined { user: user("1001"), nickname: "Anna".into(), server: "ws://a".into() },
            json!({"event": "joined", "user": "1001", "nickname": "Anna", "server": "ws://a"}),
        ),
        (
            Event::Waiting { user: user("1001"), nickname: "Anna".into(), server: "ws://a".into() },
            json!({"event": "waiting", "user": "1001", "nickname": "Anna", "server": "ws://a"}),
        ),
        (
            Event::Student { user: user("1001"), nickname: "Anna".into(), state: StudentState::Watching },
            json!({"event": "student", "user": "1001", "nickname": "Anna", "state": "watching"}),
        ),
        (
            Event::Publisher { user: Some(user("9999")), nickname: Some("Ms Li".into()) },
            json!({"event": "publisher", "user": "9999", "nickname": "Ms Li"}),
        ),
        (
            Event::Allowed { comments: true, reactions: false, chat: true, slow_ms: 10_000 },
            json!({"event": "allowed", "comments": true, "reactions": false, "chat": true, "slow_ms": 10000}),
        ),
        (
            Event::Order {
                by: user("9999"),
                by_nickname: "Ms Li".into(),
                order: Order::Mute,
                user: Some(user("1001")),
                nickname: Some("Anna".into()),
                code: None,
            },
            json!({"event": "order", "by": "9999", "by_nickname": "Ms Li", "order": "mute", "user": "1001",
                "nickname": "Anna"}),
        ),
        (
            Event::Order {
                by: user("9999"),
                by_nickname: "".into(),
                order: Order::UnmuteAll,
                user: None,
                nickname: None,
                code: None,
            },
            json!({"event": "order", "by": "9999", "by_nickname": "", "order": "unmute-all", "user": null,
                "nickname": null}),
        ),
        (
            Event::Order {
                by: user("9999"),
                by_nickname: "".into(),
                order: Order::Code,
                user: None,
                nickname: None,
                code: Some("472913".into()),
            },
            json!({"event": "order", "by": "9999", "by_nickname": "", "order": "code", "user": null,
                "nickname": null, "code": "472913"}),
        ),
        (
            Event::Stage {
                user: user("1001"),
                nickname: "Anna".into(),
                state: StageState::Live { tracks: vec![TrackName::Audio, TrackName::Camera] },
            },
            json!({"event": "stage", "user": "1001", "nickname": "Anna", "state": "live",
                "tracks": ["audio", "camera"]}),
        ),
        (
            Event::Stage {
                user: user("1001"),
                nickname: "Anna".into(),
                state: StageState::Ended { reason: StageEnd::NoAnswer },
            },
            json!({"event": "stage", "user": "1001", "nickname": "Anna", "state": "ended", "reason": "no-answer"}),
        ),
        (
            Event::Lobby { waiting: vec![Waiting { user: user("1001"), nickname: "Anna".into() }], count: 1 },
            json!({"event": "lobby", "waiting": [{"user": "1001", "nickname": "Anna"}], "count": 1}),
        ),
        (
            Event::Whip {
                number: 2,
                server: "https://live.example".into(),
                state: HostState::Waiting { reason: "it is away".into(), retry_s: 4 },
            },
            json!({"event": "whip", "number": 2, "server": "https://live.example", "state": "waiting",
                "reason": "it is away", "retry_s": 4}),
        ),
        (
            Event::Janus { server: "room 1234 of ws://janus:8188".into(), state: HostState::Live },
            json!({"event": "janus", "server": "room 1234 of ws://janus:8188", "state": "live"}),
        ),
        (Event::ChatCleared, json!({"event": "chat-cleared"})),
        (
            Event::Source { track: Track::Camera, state: SourceState::Stopped },
            json!({"event": "source", "track": "camera", "state": "stopped"}),
        ),
        (
            Event::Playing { file: "b.mp4".into(), index: 2, of: 3 },
            json!({"event": "playing", "file": "b.mp4", "index": 2, "of": 3}),
        ),
        (
            Event::Slide(SlideReport { page: 3, pages: 12, black: false, notes: "Ask Anna".into() }),
            json!({"event": "slide", "page": 3, "pages": 12, "black": false, "notes": "Ask Anna"}),
        ),
        (
            Event::FirstFrame { track: Track::Screen, after_ms: 281.26, after_start_ms: 61_000.0 },
            json!({"event": "first-frame", "track": "screen", "after_ms": 281.3, "after_start_ms": 61000.0}),
        ),
        (
            Event::TeachStats(TeachStats {
                students: 28,
                fps: 30.0,
                packets: 7,
                watched: vec![low],
                stage: vec![user("1001")],
                ..TeachStats::default()
            }),
            json!({"event": "stats", "students": 28, "fps": 30.0, "kbps_per_student": 0.0, "kbps_up": 0.0,
                "packets": 7, "dropped": 0, "encode_ms": null, "key_frames": 0,
                "watched": [{"track": "screen", "tier": "low", "codec": "vp8", "students": 28}],
                "stage": ["1001"]}),
        ),
        (
            Event::WatchStats(watch),
            json!({"event": "stats", "track": "screen", "fps": 30.0, "width": 1280, "height": 720,
                "kbps": 2512.3, "lost": 1, "nacks": 2, "plis": 3, "freezes": 4, "freeze_ms": 800, "withheld_ms": 300,
                "skipped": 5, "concealed_ms": 60, "delay_ms": 80, "jitter_ms": 0.1}),
        ),
        (
            Event::SpeakerStats(SpeakerStats {
                user: user("1001"),
                track: Track::Camera,
                frames: 250,
                width: 640,
                height: 360,
                lost: 1,
                freezes: 2,
            }),
            json!({"event": "speaker-stats", "user": "1001", "track": "camera", "frames": 250, "width": 640,
                "height": 360, "lost": 1, "freezes": 2}),
        ),
        (
            Event::Chat {
                id: 17,
                user: user("1001"),
                nickname: "S-01".into(),
                teacher: false,
                text: "hello".into(),
                to: None,
            },
            json!({"event": "chat", "id": 17, "user": "1001", "nickname": "S-01", "teacher": false, "text": "hello"}),
        ),
        (
            Event::Hand { user: user("1001"), nickname: "".into(), raised: true, hands: vec![user("7"), user("1001")] },
            json!({"event": "hand", "user": "1001", "nickname": "", "raised": true, "hands": ["7", "1001"]}),
        ),
        (
            Event::Reaction { user: user("1001"), nickname: "S-01".into(), reaction: "clap" },
            json!({"event": "reaction", "user": "1001", "nickname": "S-01", "reaction": "clap"}),
        ),
        (
            Event::Trouble { kind: TroubleKind::Loss, track: None, text: "5 % are lost".into() },
            json!({"event": "trouble", "kind": "loss", "track": null, "text": "5 % are lost"}),
        ),
        (
            Event::TroubleOver { kind: TroubleKind::Decoder, track: Some(Track::Screen) },
            json!({"event": "trouble-over", "kind": "decoder", "track": "screen"}),
        ),
        (
            Event::Ended { reason: EndReason::EndOfFile, exit: 0, message: None },
            json!({"event": "ended", "reason": "end-of-file", "exit": 0}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }
}
