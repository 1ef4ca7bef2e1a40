//! A teacher's Chromium behind the network emulator, and a student on a perfect line.
//!
//! The test prints its measurements: `cargo test --test it browser::uplink -- --ignored --nocapture`. The assertions
//! are far coarser, because a busy machine encodes fewer frames than it could send.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use classroom::bench::emulator::{Burst, Emulator, PathConfig};
use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;
use super::shown::{Shown, Span};
use crate::support::ROOM;

const SEED: u64 = 5;
const CAMERA: &str = "#camera-video";

/// How long a line is observed.
const WATCHED_MS: f64 = 12_000.0;

/// How often a line is observed at most: a busy machine stops the picture sometimes, and a mistake each time.
const RUNS: usize = 4;

/// The page's own bitrate after which the congestion control no longer limits the picture.
const STARTED: u64 = 800_000;

/// The sum of the layers that Chromium sends, and its estimate.
const SENT: &str = "(async () => { \
    const sum = { packets: 0, retransmitted: 0, nacks: 0, plis: 0, bytes: 0, estimate: 0, width: 0, fps: 0 }; \
    for (const connection of witness.connections) { \
      for (const of of (await connection.getStats()).values()) { \
        if (of.type === 'candidate-pair' && of.availableOutgoingBitrate) sum.estimate = of.availableOutgoingBitrate; \
        if (of.type !== 'outbound-rtp' || of.kind !== 'video') continue; \
        sum.packets += of.packetsSent; \
        sum.bytes += of.bytesSent; \
        sum.retransmitted += of.retransmittedPacketsSent ?? 0; \
        sum.nacks += of.nackCount ?? 0; \
        sum.plis += of.pliCount ?? 0; \
        sum.width = Math.max(sum.width, of.active ? (of.frameWidth ?? 0) : 0); \
        sum.fps = Math.max(sum.fps, of.framesPerSecond ?? 0); \
      } \
    } \
    return sum; })()";

fn usual() -> PathConfig {
    PathConfig { delay: Duration::from_millis(25), ..PathConfig::default() }
}

fn grown(before: &Value, after: &Value, field: &str) -> f64 {
    after[field].as_f64().unwrap() - before[field].as_f64().unwrap()
}

#[track_caller]
fn clock(page: &Page<'_>) -> f64 {
    page.value("performance.now()").as_f64().unwrap()
}

#[track_caller]
fn watches_until(page: &Page<'_>, time: f64) {
    page.wait("that time", "performance.now()", |now| now.as_f64().is_some_and(|now| now >= time));
}

#[test]
#[ignore = "takes the machine for a minute: cargo test --test it browser::uplink -- --ignored --nocapture"]
fn a_teacher_on_a_bad_line_reaches_the_class() {
    let Some(lab) = Lab::undisturbed("Chromium teaches on a bad line", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let port = lab.site().rsplit(':').next().unwrap().parse().unwrap();
    let sfu = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let emulator = Emulator::start(sfu, usual(), usual(), SEED).unwrap();
    let options = json!({ "emulator": emulator.address().to_string() });
    let url = format!("{}/room/{ROOM}?userId=9999&pub=pub&nickname=Ms%20Li", lab.site());
    let teacher = lab.browser.open_as(&url, options);
    teacher.clicks("button", "Start teaching");
    let badge = "document.querySelector('#room-state').textContent.startsWith('On air')";
    teacher.wait_until("the badge \"On air\"", badge);
    let anna = lab.enters(1001, "Anna");
    anna.sees_moving(CAMERA);
    teacher.wait("the whole bitrate", SENT, |sent| sent["estimate"].as_u64().is_some_and(|rate| rate > STARTED));

    let outage = Burst { loss: 1.0, at: Duration::from_secs(3), length: Duration::from_millis(500), every: None };
    let lines = [
        ("perfect, 50 ms", usual(), 5.0),
        ("5 % loss, 50 ms", PathConfig { loss: 0.05, ..usual() }, 20.0),
        ("0.5 s of nothing", PathConfig { bursts: vec![outage], ..usual() }, 30.0),
        ("1 Mbit/s", PathConfig { rate: Some(1_000_000), ..usual() }, 40.0),
    ];
    // Puts the teacher behind a line, and returns the share of the time in which the picture stood still.
    let watch = |name: &str, line: &PathConfig| {
        let looks = format!("witness.shown('{CAMERA}')");
        anna.value(&looks);
        let (from, before, counts) = (clock(&anna), teacher.value(SENT), emulator.counts().up);
        emulator.begin();
        emulator.set(line.clone(), line.clone());
        watches_until(&anna, from + WATCHED_MS);
        let span = Span { from, to: clock(&anna) };
        let (after, counts_after) = (teacher.value(SENT), emulator.counts().up);
        let shown = Shown::of(&anna.value(&looks)).unwrap();
        let (pictures, frozen) = (shown.of_all(span, 1, 1).0, shown.frozen_percent(span));
        let grown = |field: &str| grown(&before, &after, field);
        println!(
            "{name}: {:.1} pictures/s, frozen {frozen:.1} % of the time, {:.0} ms at the most; the teacher sent \
             {:.0} packets, {:.0} kbit/s, {:.0} of them again, got {:.0} NACKs and {:.0} PLIs, is {} wide, \
             estimates {:.0} kbit/s; the line lost {} and dropped {}",
            pictures * 1000.0 / span.millis(),
            shown.longest_freeze(span),
            grown("packets"),
            grown("bytes") * 8.0 / span.millis(),
            grown("retransmitted"),
            grown("nacks"),
            grown("plis"),
            after["width"],
            after["estimate"].as_f64().unwrap() / 1000.0,
            counts_after.lost - counts.lost,
            counts_after.dropped - counts.dropped,
        );
        anna.sees_moving(CAMERA);
        emulator.set(usual(), usual());
        frozen
    };
    for (name, line, most_frozen) in lines {
        let mut frozen = watch(name, &line);
        for _ in 1..RUNS {
            if frozen < most_frozen {
                break;
            }
            frozen = watch(name, &line);
        }
        assert!(frozen < most_frozen, "{name}: it stood still for {frozen} % of the time in the last of {RUNS} runs");
    }
    assert!(emulator.counts().up.lost > 20, "something bypassed the emulator");
}
