use std::collections::BTreeSet;

use super::*;
use crate::rtp::{Codec, Tier, Track};

/// A class of 28 students with all metrics.
fn full() -> Metrics {
    let screen = Encoding::full(Track::Screen, Codec::H264);
    let made = EncodingMetrics {
        frames: 900,
        key_frames: 3,
        key_requests: 2,
        bytes: 9_000_000,
        fps: 30.0,
        delay: Some(0.004),
    };
    Metrics {
        process: ProcessMetrics {
            start_time_seconds: 1_772_438_400.0,
            cpu_seconds: Some(12.5),
            resident_bytes: Some(50_000_000),
            open_fds: Some(80),
            max_fds: Some(1_048_576),
        },
        server: Some(ServerMetrics {
            rooms: vec![(RoomKind::Lecture, RoomState::Live, 1), (RoomKind::Meeting, RoomState::Waiting, 0)],
            participants: vec![(RoomKind::Meeting, MediaHost::Server, 7)],
            refusals: Refusals { meeting: 2, ..Default::default() },
            teachers: 1,
            students: 28,
            connections: 29,
            ..Default::default()
        }),
        media: Some(MediaMetrics { rooms: 2, students: 60, ingest_packets: 900, ingest_lost: 9, ..Default::default() }),
        speakers: Some(SpeakerMetrics { speakers: 2, ingest_packets: 70, ..Default::default() }),
        edges: None,
        turn: Some(TurnMetrics { allocations: 3, refused: vec![("expired", 2)], ..Default::default() }),
        lecture: Some(LectureMetrics {
            seconds: 30.0,
            watching: 28,
            viewers: vec![(screen, 25), (screen.with(Tier::Low), 3)],
            packets: 7_000,
            nacked: 12,
            encodings: vec![(screen, made), (Encoding::full(Track::Audio, Codec::Opus), EncodingMetrics::default())],
            send_delay: HashMap::from([("all", [Some(0.002), Some(0.013)]), ("audio", [None, None])]),
            queues: vec![("frames", 2, 256)],
            whip: Some(HostCount { live: 1, servers: 3 }),
            ..Default::default()
        }),
    }
}

/// The names of all samples in a text.
fn samples(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn metrics_are_in_prometheus_format() {
    let text = full().text();
    for line in [
        r#"classroom_build_info{version="0.1.0"} 1"#,
        "process_cpu_seconds_total 12.5",
        "process_resident_memory_bytes 50000000.0",
        r#"classroom_rooms{kind="lecture",state="live"} 1"#,
        r#"classroom_rooms{kind="meeting",state="waiting"} 0"#,
        r#"classroom_participants{kind="meeting",media="server"} 7"#,
        r#"classroom_full_refusals_total{full="meeting"} 2"#,
        r#"classroom_room_members{role="student"} 28"#,
        "classroom_connections 29",
        "classroom_media_rooms 2",
        "classroom_ingest_lost_packets_total 9",
        "classroom_media_speakers 2",
        "classroom_speaker_ingest_packets_total 70",
        r#"classroom_students{state="watching"} 28"#,
        r#"classroom_viewers{track="screen",tier="low",codec="h264"} 3"#,
        "classroom_sent_packets_total 7000",
        "classroom_nacked_packets_total 12",
        r#"classroom_encoded_frames_total{track="screen",tier="full",codec="h264"} 900"#,
        r#"classroom_encoder_delay_seconds{track="screen",tier="full",codec="h264"} 0.004"#,
        r#"classroom_send_delay_seconds{media="all",quantile="0.99"} 0.013"#,
        r#"classroom_queue_length{queue="frames"} 2"#,
        r#"classroom_queue_capacity{queue="frames"} 256"#,
        r#"classroom_whip_servers{state="waiting"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
}

/// The rules that `promtool check metrics` applies.
#[test]
fn names_follow_the_conventions_of_prometheus() {
    let text = full().text();
    let mut families = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, kind) = (words[2], words[3]);
        assert!(families.insert(name.to_owned()), "{name} twice");
        assert!(name.starts_with("classroom_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(!["_ms", "_kb", "_milliseconds", "_kbps"].iter().any(|unit| name.contains(unit)), "{name}: base units");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    assert_eq!(families, samples(&text), "each family has samples, and each sample a family");
}

#[test]
fn missing_values_are_left_out() {
    let text = Metrics::default().text();
    assert_eq!(samples(&text).into_iter().collect::<Vec<_>>(), ["classroom_build_info", "process_start_time_seconds"]);
}

/// The metrics in a PromQL query.
fn queried(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("classroom_") || word.starts_with("process_"))
}

#[test]
fn the_dashboard_queries_all_metrics_and_only_existing_ones() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../../docs/grafana.json")).unwrap();
    let there = samples(&full().text());
    let mut asked = BTreeSet::new();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            let names: Vec<&str> = queried(expression).collect();
            assert!(!names.is_empty(), "{expression}");
            for name in names {
                assert!(there.contains(name), "{}: no {name} in /metrics", panel["title"]);
                asked.insert(name.to_owned());
            }
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|variable| variable["name"] == "datasource").unwrap();
    assert_eq!((&source["type"], &source["query"]), (&"datasource".into(), &"prometheus".into()));
    let instance = variables.iter().find(|variable| variable["name"] == "instance").unwrap();
    assert!(queried(instance["query"].as_str().unwrap()).all(|name| there.contains(name)));
    let forgotten: Vec<&String> = there.iter().filter(|name| !asked.contains(*name)).collect();
    assert!(forgotten.is_empty(), "the dashboard does not show {forgotten:?}");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
}
