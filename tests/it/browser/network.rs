//! Chromium behind the network emulator: its video continues under loss, recovers afterwards, and gets smaller on a
//! narrow path.
//!
//! Each test prints its measurements; `cargo test --test it browser::network -- --nocapture --test-threads 1` shows
//! them. The assertions are far coarser, because a busy machine renders fewer frames than it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use classroom::bench::emulator::{Burst, Emulator, PathConfig};
use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::{Lab, MARK};
use super::shown::{Shown, Span};
use super::sight::SCREEN;
use crate::support::{LECTURE_FPS, Process, film_file};

const SEED: u64 = 5;

/// A film fills this bandwidth; its low tier takes less than a fifth.
const BITRATE: &str = "2500k";

/// The width of the film, and of its low tier.
const FULL: u32 = 640;
const LOW: u32 = 320;

/// How long Chromium takes to reach the page's jitter buffer target: it moves by 100 ms per second.
const PATIENCE_GROWS_MS: f64 = 3_000.0;

/// How long to observe loss.
const WATCHED_MS: f64 = 10_000.0;

/// How long to observe the time after a short disturbance.
const WATCHED_AFTER_MS: f64 = 3_000.0;

/// How long to observe a narrow path, from the moment when it became narrow.
const NARROW_MS: f64 = 6_000.0;

/// How soon the SFU must detect a narrow path, by the page's clock.
const SMALLER_WITHIN_MS: f64 = 10_000.0;

/// How soon it must detect that the path is wide again: a step up follows a calm time and a probe.
const FULL_AGAIN_WITHIN_MS: f64 = 20_000.0;

const TRANSPORT_NUMBERS: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Half of a round trip of 50 ms, in each direction.
fn usual() -> PathConfig {
    PathConfig { delay: Duration::from_millis(25), ..PathConfig::default() }
}

/// A student watches a film from behind an emulator.
struct Line<'a> {
    page: Page<'a>,
    emulator: Emulator,
    _teacher: Process,
}

impl<'a> Line<'a> {
    /// The video is large and moves, and there is audio.
    #[track_caller]
    fn to(lab: &'a Lab) -> Self {
        let teacher = lab.lecturer_of(film_file(), &["--bitrate", BITRATE]);
        let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
        let port = listening["udp"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
        let sfu = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let emulator = Emulator::start(sfu, usual(), usual(), SEED).unwrap();
        let options = json!({ "emulator": emulator.address().to_string() });
        let page = lab.browser.open_as(&lab.link(2001, "Anna"), options);
        page.screen_is("live");
        let line = Self { page, emulator, _teacher: teacher };
        // Measure from now on: the usual must be known before its absence can be noticed.
        line.shown();
        line.page.clicks_for_sound();
        line.page.mark_is("");
        line.is_wide(FULL);
        line.page.sees_moving(SCREEN);
        line
    }

    /// Changes the path in both directions.
    fn becomes(&self, config: &PathConfig) {
        self.emulator.set(config.clone(), config.clone());
    }

    /// Drops this share of packets for a while from now on; returns the time.
    #[track_caller]
    fn loses(&self, loss: f64, length: Duration) -> Span {
        let from = self.clock();
        self.emulator.begin();
        let burst = Burst { loss, at: Duration::ZERO, length, every: None };
        self.becomes(&PathConfig { bursts: vec![burst], ..usual() });
        Span { from, to: from + length.as_secs_f64() * 1000.0 }
    }

    /// The browser's clock, in milliseconds.
    #[track_caller]
    fn clock(&self) -> f64 {
        self.page.value("performance.now()").as_f64().unwrap()
    }

    /// Waits until this time of the browser's clock.
    #[track_caller]
    fn watches_until(&self, time: f64) {
        self.page.wait("that time", "performance.now()", |now| now.as_f64().is_some_and(|now| now >= time));
    }

    /// Waits until the video has this width.
    #[track_caller]
    fn is_wide(&self, width: u32) {
        let look = format!("witness.video('{SCREEN}')");
        self.page.wait(&format!("picture {width} wide"), &look, |video| video["width"] == width);
    }

    /// Waits until a frame of this width was shown since a time of the page's clock. A video element keeps its last
    /// width while no frame arrives.
    #[track_caller]
    fn shows(&self, width: u32, since: f64) {
        let look =
            format!("witness.shown('{SCREEN}').pictures.some(([at, wide]) => at >= {since} && wide === {width})");
        self.page.wait(&format!("a picture {width} wide"), &look, |shown| shown == true);
    }

    /// Waits until the banner starts with these words.
    #[track_caller]
    fn is_told(&self, words: &str) -> String {
        let look = "witness.text('#banner:not([hidden])')";
        let begins = |banner: &Value| banner.as_str().is_some_and(|text| text.starts_with(words));
        self.page.wait(&format!("banner {words:?}"), look, begins).to_string()
    }

    /// Waits until the mark in the bar starts with these words; no banner covers the video.
    #[track_caller]
    fn is_marked(&self, words: &str) -> String {
        let begins = |mark: &Value| mark.as_str().is_some_and(|text| text.starts_with(words));
        let mark = self.page.wait(&format!("mark {words:?}"), MARK, begins).to_string();
        self.page.banner_is("");
        mark
    }

    /// The jitter buffer target of the page, in milliseconds.
    #[track_caller]
    fn jitter_buffer_target(&self) -> f64 {
        self.page.value("witness.jitterBufferTarget()").as_f64().unwrap()
    }

    #[track_caller]
    fn shown(&self) -> Shown {
        Shown::of(&self.page.value(&format!("witness.shown('{SCREEN}')"))).unwrap()
    }

    #[track_caller]
    fn pictures(&self) -> Value {
        self.page.value("witness.pictures()")
    }

    #[track_caller]
    fn sound(&self) -> Value {
        self.page.value("witness.sound()")
    }
}

/// The growth of a number.
fn grown(before: &Value, after: &Value, field: &str) -> f64 {
    after[field].as_f64().unwrap() - before[field].as_f64().unwrap()
}

/// The audio between two readings.
fn of_sound(before: &Value, after: &Value) -> String {
    let grown = |field: &str| grown(before, after, field);
    let percent = grown("concealed") * 100.0 / grown("samples");
    format!("{percent:.2} % of the sound concealed in {} gaps", grown("concealments"))
}

#[test]
fn chromium_recovers_packets_that_a_bad_network_loses() {
    let Some(lab) = Lab::undisturbed("Chromium under loss", Kind::Chromium) else { return };
    let line = Line::to(&lab);
    let agreed = line.page.value("witness.agreed()");
    let has = |list: &str, wanted: &str| agreed[list].as_array().is_some_and(|list| list.contains(&wanted.into()));
    assert!(has("codecs", "video/rtx") && has("extensions", TRANSPORT_NUMBERS), "{agreed}");

    line.becomes(&PathConfig { loss: 0.05, ..usual() });
    let before = line.jitter_buffer_target();
    line.page
        .wait("a higher target", "witness.jitterBufferTarget()", |now| now.as_f64().is_some_and(|now| now > before));
    line.watches_until(line.clock() + PATIENCE_GROWS_MS);
    let (from, before, sound) = (line.clock(), line.pictures(), line.sound());
    line.watches_until(from + WATCHED_MS);
    let (after, sound_after, shown, counts) = (line.pictures(), line.sound(), line.shown(), line.emulator.counts());
    let span = Span { from, to: line.clock() };
    let (seen, sent) = shown.of_all(span, FULL, LECTURE_FPS);
    let grown = |field: &str| grown(&before, &after, field);
    let (decoded, frozen) = (grown("decoded"), shown.frozen_percent(span));
    println!(
        "5 % loss, 50 ms round trip: {decoded} pictures decoded and {seen} shown of {sent} in {:.1} s, frozen \
        {frozen:.1} % \
         of the time, {:.0} ms at the most; by Chromium {} freezes of {:.2} s; {} of {} packets repaired, {} NACKs, \
         {} PLIs, \
         waited {:.0} ms; {}; {counts:?}",
        span.millis() / 1000.0,
        shown.longest_freeze(span),
        grown("freezes"),
        grown("frozenSeconds"),
        grown("repaired"),
        grown("packets"),
        grown("nacks"),
        grown("plis"),
        grown("waitedSeconds") * 1000.0 / grown("waited"),
        of_sound(&sound, &sound_after),
    );
    // Nothing bypassed the emulator.
    assert!(counts.down.passed > 500 && counts.down.lost > 20, "{counts:?}");
    assert!(grown("repaired") > 0.0, "nothing came by RTX");
    assert!(decoded > 0.4 * sent, "{decoded} of {sent} pictures");
    assert!(frozen < 20.0, "it stood still for {frozen} % of the time");
    line.page.hears_the_lecture();
}

#[test]
fn chromium_gets_the_full_video_again_soon_after_a_short_disturbance() {
    let Some(lab) = Lab::undisturbed("Chromium after a short bad time", Kind::Chromium) else { return };
    let line = Line::to(&lab);
    for (what, loss, length) in
        [("nothing for 0.5 s", 1.0, Duration::from_millis(500)), ("20 % loss for 2 s", 0.2, Duration::from_secs(2))]
    {
        line.is_wide(FULL);
        line.page.mark_is("");
        let before = line.pictures();
        let wrong = line.loses(loss, length);
        line.watches_until(wrong.to + WATCHED_AFTER_MS);
        line.page.sees_moving(SCREEN);
        line.is_wide(FULL);
        let (shown, after) = (line.shown(), line.pictures());
        let during = Span { from: wrong.from, to: wrong.to + WATCHED_AFTER_MS };
        let (seen, sent) = shown.of_all(during, FULL, LECTURE_FPS);
        let whole = shown.whole_after(wrong, during.to);
        println!(
            "{what}: whole {whole:.0} ms after it; {seen} of {sent} pictures shown, frozen {:.0} ms at the most; low \
            after \
             {:?} ms, full {:?} ms after it; {} repaired, {} NACKs, {} PLIs; {:?}",
            shown.longest_freeze(during),
            shown.first_of(LOW, wrong.from).map(f64::round),
            shown.first_of(FULL, wrong.to).map(f64::round),
            grown(&before, &after, "repaired"),
            grown(&before, &after, "nacks"),
            grown(&before, &after, "plis"),
            line.emulator.counts(),
        );
        line.becomes(&usual());
    }
}

#[test]
fn chromium_gets_a_smaller_video_on_a_narrow_path_and_learns_why() {
    let Some(lab) = Lab::undisturbed("Chromium on a narrow line", Kind::Chromium) else { return };
    let line = Line::to(&lab);
    let (from, sound) = (line.clock(), line.sound());
    line.becomes(&PathConfig { rate: Some(600_000), ..usual() });
    line.is_wide(LOW);
    let mark = line.is_marked("A reduced picture: your connection carries only ");
    line.watches_until(from + NARROW_MS);
    line.page.sees_moving(SCREEN);
    line.page.screen_is("live");
    let (narrow, sound_after) = (Span { from, to: line.clock() }, line.sound());

    line.becomes(&usual());
    line.is_wide(FULL);
    line.page.mark_is("");
    line.page.sees_moving(SCREEN);
    let shown = line.shown();
    let smaller = shown.first_of(LOW, from).unwrap();
    let full_again = shown.first_of(FULL, narrow.to).unwrap();
    let settled = Span { from: from + smaller, ..narrow };
    let (seen, sent) = shown.of_all(settled, FULL, LECTURE_FPS);
    println!(
        "600 kbit/s: low after {smaller:.0} ms, frozen {:.0} ms at the most until then and {:.0} ms after, {seen} of \
        {sent} \
         pictures shown, {mark}, {}; restored: full after {full_again:.0} ms, frozen {:.0} ms at the most; {:?}",
        shown.longest_freeze(Span { from, to: settled.from }),
        shown.longest_freeze(settled),
        of_sound(&sound, &sound_after),
        shown.longest_freeze(Span { from: narrow.to, to: f64::MAX }),
        line.emulator.counts(),
    );
    assert!(smaller < SMALLER_WITHIN_MS, "{smaller} ms");
    assert!(full_again < FULL_AGAIN_WITHIN_MS, "{full_again} ms");
}

#[test]
fn chromium_keeps_audio_where_no_video_fits_and_says_so() {
    let Some(lab) = Lab::undisturbed("Chromium on a line for sound", Kind::Chromium) else { return };
    let line = Line::to(&lab);
    let (from, before) = (line.clock(), line.sound());
    line.becomes(&PathConfig { rate: Some(120_000), ..usual() });
    let banner = line.is_told("No picture for now: ");
    let (told, sound) = (line.clock(), line.sound());
    line.page.hears_the_lecture();
    line.watches_until(from + NARROW_MS);
    line.page.screen_is("live");
    let (restored, sound_after) = (line.clock(), line.sound());

    line.becomes(&usual());
    line.shows(FULL, restored);
    line.page.banner_is("");
    line.page.sees_moving(SCREEN);
    let shown = line.shown();
    let full_again = shown.first_of(FULL, restored).unwrap();
    println!(
        "120 kbit/s: {banner} after {:.0} ms; {} until then, {} in the {:.1} s after that; restored: a picture after \
        {:?} ms, \
         full after {full_again:.0} ms; {:?}",
        told - from,
        of_sound(&before, &sound),
        of_sound(&sound, &sound_after),
        (restored - told) / 1000.0,
        shown.first_of(LOW, restored).map(f64::round),
        line.emulator.counts(),
    );
    assert!(full_again < FULL_AGAIN_WITHIN_MS, "{full_again} ms");
}
