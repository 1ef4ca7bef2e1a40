//! The wire format of the data channel, word for word.

use super::*;
use crate::protocol::TrackName;

#[test]
fn messages_look_as_specified() {
    let said = StudentMessage::Msg { text: "hello".into(), to: None };
    assert_eq!(said.to_json(), r#"{"type":"msg","text":"hello"}"#);
    assert_eq!(StudentMessage::parse(r#"{"type":"msg","text":"hello","userId":"9999"}"#).unwrap(), said);
    let hand = StudentMessage::parse(r#"{"type":"hand","raised":true}"#).unwrap();
    assert_eq!(hand, StudentMessage::Hand { raised: true });
    for reaction in Reaction::ALL {
        let text = format!(r#"{{"type":"reaction","reaction":"{}"}}"#, reaction.name());
        assert_eq!(StudentMessage::parse(&text).unwrap(), StudentMessage::Reaction { reaction });
        assert_eq!(Reaction::from_name(reaction.name()), Some(reaction));
    }
    assert_eq!(PublisherMessage::ReportViewing.to_json(), r#"{"type":"reportViewing"}"#);
    let text = r#"{"type":"viewing","seenMs":14000,"awayMs":3000,"freezes":1}"#;
    let viewing = Viewing { seen_ms: 14_000, away_ms: 3_000, freezes: 1 };
    assert_eq!(StudentMessage::parse(text).unwrap(), StudentMessage::Viewing(viewing));
    assert_eq!(StudentMessage::Viewing(viewing).to_json(), text);
    assert!(StudentMessage::parse(r#"{"type":"viewing","seenMs":-1}"#).is_err());
    assert_eq!(StudentMessage::parse(r#"{"type":"poll","n":1}"#).unwrap(), StudentMessage::Unknown);
    let message = ChatMessage {
        id: 17,
        user_id: "1001".parse().unwrap(),
        nickname: "S-01".into(),
        publishes: false,
        text: "hello".into(),
        at: 5,
        to: None,
    };
    let text = r#"{"type":"msg","id":17,"userId":"1001","nickname":"S-01","pub":"no","text":"hello","at":5}"#;
    assert_eq!(PublisherMessage::Msg(message.clone()).to_json(), text);
    assert_eq!(PublisherMessage::parse(text).unwrap(), PublisherMessage::Msg(message));
    assert_eq!(PublisherMessage::parse(r#"{"type":"poll"}"#).unwrap(), PublisherMessage::Unknown);
}

#[test]
fn a_tier_message_has_the_tiers_and_the_reason() {
    let less = PublisherMessage::Tier {
        tiers: SentTiers { screen: Some(SentTier::Low), camera: Some(SentTier::None) },
        estimate_kbps: Some(600),
        reason: Some(TierReason::Bandwidth),
    };
    let text = r#"{"type":"tier","tiers":{"screen":"low","camera":"none"},"estimateKbps":600,"reason":"bandwidth"}"#;
    assert_eq!(less.to_json(), text);
    assert_eq!(PublisherMessage::parse(text).unwrap(), less);
    let all = PublisherMessage::Tier {
        tiers: SentTiers { screen: Some(SentTier::Full), camera: None },
        estimate_kbps: None,
        reason: None,
    };
    let text = r#"{"type":"tier","tiers":{"screen":"full"},"estimateKbps":null,"reason":null}"#;
    assert_eq!(all.to_json(), text);
    assert_eq!(PublisherMessage::parse(r#"{"type":"tier","tiers":{"screen":"full"}}"#).unwrap(), all);
    let newer = r#"{"type":"tier","tiers":{"screen":"half","film":"low"},"estimateKbps":1,"reason":"weather"}"#;
    assert_eq!(
        PublisherMessage::parse(newer).unwrap(),
        PublisherMessage::Tier {
            tiers: SentTiers { screen: Some(SentTier::Unknown), camera: None },
            estimate_kbps: Some(1),
            reason: Some(TierReason::Unknown),
        }
    );
    for text in [r#"{"type":"tier"}"#, r#"{"type":"tier","tiers":{},"estimateKbps":-1}"#] {
        assert!(PublisherMessage::parse(text).is_err(), "{text}");
    }
}

#[test]
fn allows_and_stopped_look_as_specified() {
    let allows = PublisherMessage::Allows(Allowed { reactions: false, ..Allowed::default() });
    assert_eq!(allows.to_json(), r#"{"type":"allows","comments":true,"reactions":false}"#);
    assert_eq!(PublisherMessage::parse(&allows.to_json()).unwrap(), allows);
    let muted =
        PublisherMessage::Allows(Allowed { chat: false, mute_all: true, slow_ms: 10_000, ..Allowed::default() });
    let text = r#"{"type":"allows","comments":true,"reactions":true,"chat":false,"muteAll":true,"slowMs":10000}"#;
    assert_eq!(muted.to_json(), text);
    assert_eq!(PublisherMessage::parse(text).unwrap(), muted);
    let default = PublisherMessage::Allows(Allowed::default());
    assert_eq!(PublisherMessage::parse(r#"{"type":"allows","polls":false}"#).unwrap(), default);
    let stopped = Stopped { screen: false, camera: true, unsent: Unsent::default() };
    assert_eq!(PublisherMessage::Stopped(stopped).to_json(), r#"{"type":"stopped","screen":false,"camera":true}"#);
    assert_eq!(
        PublisherMessage::parse(r#"{"type":"stopped","camera":true}"#).unwrap(),
        PublisherMessage::Stopped(stopped)
    );
}

#[test]
fn messages_to_and_from_a_publisher_look_as_specified() {
    let allow = StudentMessage::Allow { comments: Some(false), reactions: None };
    assert_eq!(allow.to_json(), r#"{"type":"allow","comments":false}"#);
    assert_eq!(StudentMessage::parse(&allow.to_json()).unwrap(), allow);
    let (track, tier) = (TrackName::Screen, SentTier::Full);
    let encodings = PublisherMessage::Encodings { needed: vec![NeededEncoding { track, tier }] };
    assert_eq!(encodings.to_json(), r#"{"type":"encodings","needed":[{"track":"screen","tier":"full"}]}"#);
    let ingest = PublisherMessage::Ingest(IngestReport {
        bitrate: 1_290_000,
        round_trip_ms: Some(20),
        trouble: vec![IngestTrouble::NoKeyFrame],
        tracks: vec![IngestTrack { track, bitrate: 1_200_000, loss_percent: 1, fps: 30, audio_level: None }],
        watched: vec![WatchedEncoding { track, tier, students: 12 }],
        students: 14,
    });
    let text = concat!(
        r#"{"type":"ingest","bitrate":1290000,"roundTripMs":20,"trouble":["noKeyFrame"],"#,
        r#""tracks":[{"track":"screen","bitrate":1200000,"lossPercent":1,"fps":30}],"#,
        r#""watched":[{"track":"screen","tier":"full","students":12}],"students":14}"#
    );
    assert_eq!(ingest.to_json(), text);
    for message in [encodings, ingest] {
        assert_eq!(PublisherMessage::parse(&message.to_json()).unwrap(), message);
    }
}

#[test]
fn orders_look_as_specified_and_an_omitted_user_is_not_everybody() {
    let user_id: UserId = "1001".parse().unwrap();
    for (order, text) in [
        (Moderation::Mute { user_id: user_id.clone() }, r#""order":"mute","userId":"1001"}"#),
        (Moderation::Unmute { user_id: user_id.clone() }, r#""order":"unmute","userId":"1001"}"#),
        (Moderation::MuteAll, r#""order":"muteAll"}"#),
        (Moderation::UnmuteAll, r#""order":"unmuteAll"}"#),
        (Moderation::Clear, r#""order":"clear"}"#),
        (Moderation::Slow { ms: 10_000 }, r#""order":"slow","ms":10000}"#),
        (Moderation::Lower { user_id }, r#""order":"lower","userId":"1001"}"#),
        (Moderation::LowerAll, r#""order":"lowerAll"}"#),
    ] {
        let (message, text) = (StudentMessage::Moderate(order), format!(r#"{{"type":"moderate",{text}"#));
        assert_eq!(message.to_json(), text);
        assert_eq!(StudentMessage::parse(&text).unwrap(), message);
    }
    for text in ["", r#","order":"mute""#, r#","order":"slow","ms":-1"#, r#","order":"shout""#] {
        let text = format!(r#"{{"type":"moderate"{text}}}"#);
        assert_eq!(StudentMessage::parse(&text).unwrap_err().0, ErrorCode::MalformedMessage, "{text}");
    }
}

#[test]
fn a_cleared_chat_and_an_error_look_as_specified() {
    let welcome = |cleared_up_to| PublisherMessage::Welcome { history: vec![], hands: vec![], cleared_up_to };
    for (message, text) in [
        (PublisherMessage::Cleared { up_to: 17 }, r#"{"type":"cleared","upTo":17}"#),
        (welcome(17), r#"{"type":"welcome","history":[],"hands":[],"clearedUpTo":17}"#),
        (welcome(0), r#"{"type":"welcome","history":[],"hands":[]}"#),
        (
            PublisherMessage::Error { code: ErrorCode::SlowMode, message: "wait".into(), retry_after_ms: Some(7_000) },
            r#"{"type":"error","code":"slowMode","message":"wait","retryAfterMs":7000}"#,
        ),
        (
            PublisherMessage::Error { code: ErrorCode::Muted, message: "no".into(), retry_after_ms: None },
            r#"{"type":"error","code":"muted","message":"no"}"#,
        ),
    ] {
        assert_eq!(message.to_json(), text);
        assert_eq!(PublisherMessage::parse(text).unwrap(), message);
    }
}

#[test]
fn a_malformed_message_is_refused_with_a_code() {
    for text in ["", "{", "[]", "1", r#"{"type":"msg"}"#, r#"{"type":"hand","raised":"yes"}"#, r#"{"text":"x"}"#] {
        assert_eq!(StudentMessage::parse(text).unwrap_err().0, ErrorCode::MalformedMessage, "{text}");
    }
    let long = format!(r#"{{"type":"msg","text":"{}"}}"#, "x".repeat(MAX_CHANNEL_MESSAGE_BYTES));
    assert_eq!(StudentMessage::parse(&long).unwrap_err().0, ErrorCode::MessageTooLarge);
}

#[test]
fn chat_text_is_cleaned() {
    assert_eq!(ChatText::from(" a\r\nb\tc\u{202e}d\u{7}\u{1b}[2J ").as_str(), "a  b cd[2J");
    assert_eq!(ChatText::from("<script>").as_str(), "<script>", "text stays text; who shows it escapes it");
    assert_eq!(ChatText::from("学".repeat(2_000).as_str()).as_str().chars().count(), MAX_TEXT_CHARS);
    assert!(ChatText::from("\u{200f}\n").is_empty());
    assert_eq!(ChatText::from("a\u{200b}b\u{2060}c\u{3164}").as_str(), "abc");
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f} 1\u{fe0f}\u{20e3}";
    assert_eq!(ChatText::from(family).as_str(), family, "what belongs to an emoji stays");
    let cut = format!("{}\u{1f468}\u{200d}\u{1f469}", "x".repeat(MAX_TEXT_CHARS - 2));
    assert!(ChatText::from(cut.as_str()).as_str().ends_with('\u{1f468}'), "a cut text ends with no joiner");
}

#[test]
fn the_longest_text_fits_into_a_message() {
    let text: ChatText = "\u{10000}\"".repeat(MAX_TEXT_CHARS / 2).as_str().into();
    assert!(StudentMessage::Msg { text, to: None }.to_json().len() < MAX_CHANNEL_MESSAGE_BYTES);
}
