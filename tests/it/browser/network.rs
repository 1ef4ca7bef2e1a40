//! Chromium behind the network emulator: its pictures go on under loss, and get smaller on a narrow line.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use classroom::peer::emulator::{Emulator, PathConfig};
use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;
use super::sight::SCREEN;
use crate::support::{LECTURE_FPS, Process};

const SEED: u64 = 5;

/// How long loss is watched.
const WATCHED_MS: f64 = 10_000.0;

/// How soon the hub must have found a narrow line, by the page's clock.
const SMALLER_WITHIN_MS: f64 = 10_000.0;

/// And that it is wide again: a step up waits until peace has held, and is probed for.
const FULL_AGAIN_WITHIN_MS: f64 = 20_000.0;

/// A test picture that takes some 900 kbit/s, because all of it moves. The low tier has a quarter.
const DEMANDING: [&str; 7] = ["--test", "--size", "640x360", "--fps", "30", "--bitrate", "1200k"];

const TRANSPORT_NUMBERS: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Stands before the hub of this teacher.
fn emulator(teacher: &Process, down: PathConfig, up: PathConfig) -> Emulator {
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    let port = listening["udp"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
    Emulator::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), down, up, SEED).unwrap()
}

impl Lab {
    /// Somebody follows the link from behind the emulator.
    #[track_caller]
    fn enters_behind(&self, emulator: &Emulator, user: u32, nickname: &str) -> Page<'_> {
        let address = emulator.address().to_string();
        self.browser.open_as(&self.link(user, nickname), json!({ "emulator": address }))
    }
}

impl Page<'_> {
    /// The browser's clock, in milliseconds.
    #[track_caller]
    fn clock(&self) -> f64 {
        self.value("performance.now()").as_f64().unwrap()
    }

    /// Waits until the large picture is so wide, and gives how long that took.
    #[track_caller]
    fn is_wide(&self, width: u32) -> f64 {
        let since = self.clock();
        let look = format!("witness.video('{SCREEN}')");
        self.wait(&format!("picture {width} wide"), &look, |video| video["width"] == width);
        self.clock() - since
    }
}

/// How much a number of `witness.pictures()` has grown.
fn grown(before: &Value, after: &Value, field: &str) -> f64 {
    after[field].as_f64().unwrap() - before[field].as_f64().unwrap()
}

#[test]
fn chromium_repairs_what_a_bad_network_loses() {
    let Some(lab) = Lab::new("Chromium under loss", Kind::Chromium) else { return };
    let teacher = lab.lecturer(&[]);
    let bad = PathConfig { loss: 0.05, delay: Duration::from_millis(25), ..PathConfig::default() };
    let emulator = emulator(&teacher, bad.clone(), bad);
    let anna = lab.enters_behind(&emulator, 2001, "Anna");
    anna.screen_is("live");
    anna.sees_the_lecture();

    let agreed = anna.value("witness.agreed()");
    let has = |list: &str, wanted: &str| agreed[list].as_array().is_some_and(|list| list.contains(&wanted.into()));
    assert!(has("codecs", "video/rtx") && has("extensions", TRANSPORT_NUMBERS), "{agreed}");

    let before = anna.value("witness.pictures()");
    let after = anna.wait("ten seconds", "witness.pictures()", |now| grown(&before, now, "at") >= WATCHED_MS);
    let grown = |field: &str| grown(&before, &after, field);
    let seconds = grown("at") / 1000.0;
    let (decoded, taught) = (grown("decoded"), seconds * f64::from(LECTURE_FPS));
    let counts = emulator.counts();
    println!(
        "5 % loss, 50 ms round trip, {seconds:.1} s: {decoded} of {taught:.0} pictures decoded, {} freezes of {:.2} s, \
         {} dropped; {} packets, {} of them repairs, {} NACKs, {} PLIs; {counts:?}",
        grown("freezes"),
        grown("frozenSeconds"),
        grown("dropped"),
        grown("packets"),
        grown("repaired"),
        grown("nacks"),
        grown("plis"),
    );
    // Nothing went another way.
    assert!(counts.down.passed > 500 && counts.down.lost > 20, "{counts:?}");
    assert!(grown("repaired") > 0.0, "nothing came by RTX");
    // Coarse: a busy machine shows less than it gets, and may get the low tier for a while, which has half of the
    // pictures. An idle one shows 99 % and more.
    assert!(decoded > 0.4 * taught, "{decoded} of {taught} pictures");
    assert!(grown("frozenSeconds") < 0.1 * seconds, "it stood still for {} s", grown("frozenSeconds"));
    anna.clicks_for_sound();
    anna.hears_the_lecture();
}

#[test]
fn chromium_gets_a_smaller_picture_on_a_narrow_line_and_is_told_why() {
    let Some(lab) = Lab::new("Chromium on a narrow line", Kind::Chromium) else { return };
    let teacher = lab.class.teacher(&DEMANDING);
    let wide = PathConfig { delay: Duration::from_millis(10), ..PathConfig::default() };
    let narrow = PathConfig { rate: Some(600_000), ..wide.clone() };
    let emulator = emulator(&teacher, wide.clone(), wide.clone());
    let anna = lab.enters_behind(&emulator, 2001, "Anna");
    anna.screen_is("live");
    anna.is_wide(640);
    anna.sees_moving(SCREEN);
    anna.banner_is("");

    let before = anna.value("witness.pictures()");
    emulator.set(narrow, wide.clone());
    let smaller = anna.is_wide(320);
    let banner = anna.wait("a banner that says why", "witness.text('#banner:not([hidden])')", |banner| {
        banner.as_str().is_some_and(|text| text.starts_with("A smaller picture: your line carries "))
    });
    anna.sees_moving(SCREEN);
    anna.screen_is("live");
    let after = anna.value("witness.pictures()");

    emulator.set(wide.clone(), wide);
    let full_again = anna.is_wide(640);
    anna.banner_is("");
    anna.sees_moving(SCREEN);
    println!(
        "600 kbit/s: smaller after {smaller:.0} ms, {} freezes of {:.2} s, {banner}; restored: full after {full_again:.0} ms; {:?}",
        grown(&before, &after, "freezes"),
        grown(&before, &after, "frozenSeconds"),
        emulator.counts(),
    );
    assert!(smaller < SMALLER_WITHIN_MS, "{smaller} ms");
    assert!(full_again < FULL_AGAIN_WITHIN_MS, "{full_again} ms");
}
