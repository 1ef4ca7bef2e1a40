//! A browser teaches students of every kind at once, with a real screen; codes in its picture say what each student
//! sees.
//!
//! The test prints its measurements: `cargo test --test it browser::all_at_once -- --nocapture`. It asserts that the
//! picture comes back to everybody, because how soon depends on the machine.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::driver::{Kind, Page, browser, browser_that_shares};
use super::lab::Lab;
use crate::support::{
    Classroom, CodedScreen, DEADLINE, Display, Process, ROOM, Read, WatchedDisplay, codes_in_file, has_tools,
    is_picture, poll, python, wall_ms,
};

const SCREEN: &str = "#screen-video";
const CAMERA: &str = "#camera-video";

/// How long to look before the coded window is raised again.
const SOON: Duration = Duration::from_secs(2);

/// The number of the last code on the page's screen.
const LAST_CODE: &str = "witness.codes('#screen-video').findLast(([, code]) => code !== null)?.[1] ?? -1";

/// Chooses the camera that is not in use.
const OTHER_CAMERA: &str = "(() => { \
    const choice = document.querySelector('#camera-choice'); \
    choice.selectedIndex = 1 - choice.selectedIndex; \
    choice.dispatchEvent(new Event('change')); })()";

/// Frames that a page's video has shown.
fn shown(page: &Page<'_>, video: &str) -> Vec<Read> {
    let frames = page.value(&format!("witness.codes('{video}')"));
    let read = |(n, frame): (usize, &Value)| {
        let code = frame[1].as_u64().map(|code| code as u16);
        Read { at: frame[0].as_u64().unwrap(), code, picture: n as u64 }
    };
    frames.as_array().unwrap().iter().enumerate().map(read).collect()
}

/// A WHEP player that is not ours.
fn player(class: &Classroom) -> Option<Process> {
    let mut command = Command::new(python("a WHEP player beside browsers")?);
    let url = format!("{}/whep/{ROOM}", class.url().replace("ws://", "http://"));
    command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whep/player.py"), &url, "600", "codes"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let player = Process::start("player", command);
    player.wait_for("a picture", |event| event["event"] == "playing");
    Some(player)
}

/// Those who watch, and the screen that is taught.
struct Class<'a> {
    desk: &'a Display,
    screen: CodedScreen,
    pages: [(&'static str, Page<'a>); 2],
    window: WatchedDisplay,
    player: Option<Process>,
}

impl Class<'_> {
    /// All frames of the screen, or with `any` of whatever each student sees.
    fn frames(&self, any: bool) -> Vec<(&'static str, Vec<Read>)> {
        let of_page = |(name, page): &(&'static str, Page<'_>)| {
            let mut frames = shown(page, SCREEN);
            if any {
                frames.extend(shown(page, CAMERA));
                frames.sort_by_key(|frame| frame.at);
                (0..).zip(&mut frames).for_each(|(n, frame)| frame.picture = n);
            }
            (*name, frames)
        };
        let mut all: Vec<_> = self.pages.iter().map(of_page).collect();
        all.push(("watch", self.window.frames()));
        if let Some(player) = &self.player {
            let frames = player.events().into_iter().filter(|event| event["event"] == "frame").zip(0..);
            let read = |(event, n): (Value, u64)| {
                let code = event["code"].as_u64().map(|code| code as u16);
                Read { at: event["at"].as_u64().unwrap(), code, picture: n }
            };
            all.push(("WHEP", frames.map(read).collect()));
        }
        all
    }

    /// Waits until everybody sees a frame of the screen that was drawn from now on.
    #[track_caller]
    fn all_see_the_screen(&self) {
        let number = self.screen.drawn().len() as u64;
        // Another picture has a valid code once in a while.
        let is_new = |code: u64| code >= number && code < self.screen.drawn().len() as u64;
        let is_read = |frame: &Read| frame.code.is_some_and(|code| is_new(code.into()));
        let window = || self.window.frames().iter().rev().take(30).any(is_read).then_some(());
        // A browser that begins to share raises its own window.
        let raised = || {
            self.screen.raise(self.desk);
            poll(SOON, window)
        };
        assert!(poll(DEADLINE, raised).is_some(), "the window shows the screen");
        for (name, page) in &self.pages {
            page.wait(&format!("screen at {name}"), LAST_CODE, |code| code.as_u64().is_some_and(is_new));
        }
        if let Some(player) = &self.player {
            player.wait_for("the screen", |event| event["code"].as_u64().is_some_and(is_new));
        }
    }

    /// Prints the longest time since `from` without another frame, of the screen and of anything, for each student.
    fn prints_freezes(&self, what: &str, from: u64) {
        let to = wall_ms();
        let of = |frames: &[Read], key: fn(&Read) -> u64| {
            let mut times = vec![from];
            let mut last = None;
            for frame in frames.iter().filter(|frame| (from..to).contains(&frame.at)) {
                if last.replace(key(frame)) != Some(key(frame)) {
                    times.push(frame.at);
                }
            }
            times.push(to);
            times.windows(2).map(|two| two[1].saturating_sub(two[0])).max().unwrap_or(0)
        };
        let code = |frame: &Read| frame.code.map_or(u64::MAX, u64::from);
        let each = self.frames(false).into_iter().zip(self.frames(true)).map(|((name, screen), (_, all))| {
            let coded: Vec<Read> = screen.into_iter().filter(|frame| frame.code.is_some()).collect();
            format!("{name} {} and {}", of(&coded, code), of(&all, |frame| frame.picture))
        });
        println!(
            "{what}, longest freeze of the screen and of all pictures in ms: {}",
            each.collect::<Vec<_>>().join(", ")
        );
    }

    /// Prints how old the frames of the screen were when they were shown.
    fn prints_ages(&self, from: u64) {
        let drawn = self.screen.drawn();
        for (name, frames) in self.frames(false) {
            let mut codes = frames.iter().filter(|frame| frame.at >= from).peekable();
            let all = codes.clone().count();
            let mut last = None;
            let mut ages: Vec<u64> = Vec::new();
            for frame in codes.by_ref().filter(|frame| frame.code.is_some()) {
                if last.replace(frame.code) != Some(frame.code) {
                    let drawn = frame.code.and_then(|code| drawn.get(usize::from(code)));
                    ages.extend(drawn.map(|drawn| frame.at.saturating_sub(*drawn)));
                }
            }
            ages.sort_unstable();
            let at = |share: usize| ages.get((ages.len() * share / 100).min(ages.len().max(1) - 1)).copied();
            println!("{name}: {} codes in {all} frames, age p50 {:?} ms, p95 {:?} ms", ages.len(), at(50), at(95));
            assert!(ages.len() > 10, "{name} reads the screen");
        }
    }
}

#[test]
#[ignore = "takes both cores for more than a minute: cargo test --test it all_at_once -- --ignored --nocapture"]
fn browsers_windows_a_file_and_a_player_follow_a_teacher_through_everything() {
    let name = "a browser teaches everybody";
    if !has_tools(name, &["Xvfb", "xdotool", "gst-launch-1.0"]) {
        return;
    }
    let Some(lab) = Lab::undisturbed(name, Kind::Chromium) else { return };
    let Some(firefox) = browser(name, Kind::Firefox) else { return };
    let (desk, home) = (Display::new(), Display::new());
    let Some(chromium) = browser_that_shares(name, &desk) else { return };
    let mut server = lab.class.server();
    let teacher = chromium.open(&format!("{}/room/{ROOM}?userId=9999&pub=pub&nickname=Ms%20Li", lab.site()));
    teacher.goes_on_air();
    let screen = CodedScreen::start(&desk);
    teacher.clicks("button", "Share screen");

    let file = lab.class.directory().join("lecture.mkv");
    let recorder = Process::start("recorder", lab.class.watch(1003, &["--sink", file.to_str().unwrap()]));
    let mut watch = lab.class.watch(1004, &["--sink", "window", "--fullscreen"]);
    watch.env("DISPLAY", home.name());
    let watch = Process::start("watch", watch);
    let pages = [("Chromium", lab.enters(1001, "Anna")), ("Firefox", firefox.open(&lab.link(1002, "Ben")))];
    for (_, page) in &pages {
        page.screen_is("live");
        page.value(&format!("['{SCREEN}', '{CAMERA}'].map((video) => witness.codes(video).length)"));
        page.sees_moving(CAMERA);
        page.sees_moving(SCREEN);
    }
    recorder.wait_for("picture", is_picture);
    watch.wait_for("picture", is_picture);
    let mut class =
        Class { desk: &desk, screen, pages, window: WatchedDisplay::start(&home), player: player(&lab.class) };
    class.all_see_the_screen();

    let from = wall_ms();
    let until = class.screen.drawn().len() + 75;
    class.pages[0].1.wait("five seconds", LAST_CODE, |code| code.as_u64().is_some_and(|code| code >= until as u64));
    class.prints_freezes("undisturbed", from);
    class.prints_ages(from);

    let from = wall_ms();
    teacher.clicks("button", "Stop sharing");
    for (_, page) in &class.pages {
        page.wait_until("the camera alone", &format!("!witness.visible('{SCREEN}')"));
        page.sees_moving(CAMERA);
    }
    teacher.clicks("button", "Share screen");
    class.all_see_the_screen();
    class.prints_freezes("camera alone, and the screen again", from);

    let from = wall_ms();
    class.pages[0].1.clicks("button", "Click for sound");
    class.pages[0].1.hears_the_lecture();
    teacher.presses("m");
    class.pages[0].1.hears_nothing();
    teacher.presses("m");
    class.pages[0].1.hears_the_lecture();
    class.all_see_the_screen();
    class.prints_freezes("microphone off and on", from);

    let from = wall_ms();
    let camera = teacher.value("document.querySelector('#camera-choice').value");
    teacher.value(OTHER_CAMERA);
    teacher.wait("another camera", "document.querySelector('#camera-choice').value", |now| *now != camera);
    for (_, page) in &class.pages {
        page.sees_moving(CAMERA);
    }
    class.all_see_the_screen();
    class.prints_freezes("another camera", from);

    let from = wall_ms();
    teacher.reloads();
    teacher.is_on_air();
    teacher.clicks("button", "Share the screen again");
    class.all_see_the_screen();
    class.prints_freezes("the teacher's page reloaded", from);

    let from = wall_ms();
    server.kill();
    teacher.shows("The server does not answer.");
    let _server = lab.class.server();
    // Players of WHEP have no rule for a server that forgot them, so a person plays again.
    class.player = None;
    teacher.is_on_air();
    class.all_see_the_screen();
    class.prints_freezes("the server killed and started again", from);
    class.player = player(&lab.class);
    class.all_see_the_screen();

    recorder.interrupt();
    let mut recorder = recorder;
    recorder.ends_with(0);
    let frames = codes_in_file(&file, DEADLINE);
    let codes: Vec<u16> = frames.iter().filter_map(|frame| frame.code).collect();
    let gap = frames.windows(2).map(|two| two[1].at.saturating_sub(two[0].at)).max();
    println!("recording: {} codes in {} frames, longest pause {gap:?} ms", codes.len(), frames.len());
    assert!(codes.len() > 100 && codes.windows(2).all(|two| two[0] <= two[1]), "the screen, in its order");
}
