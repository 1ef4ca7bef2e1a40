//! A teacher in a browser: before the lecture, on air, and through what goes wrong.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::axe::has_axe;
use super::driver::{Kind, Page};
use super::lab::{Lab, MARK};
use super::manners::is_readable;
use crate::support::{ROOM, has_tools};

/// The level of the microphone, in percent.
const LEVEL: &str = "Number(document.querySelector('#meter').ariaValueNow)";

impl Lab {
    /// The page that teaches, with the words of the URL that this kind of system is taught with.
    fn teaches(&self) -> Page<'_> {
        self.browser.open(&format!("{}/room/{ROOM}?userId=9999&pub=pub&nickname=Ms%20Li", self.site()))
    }
}

impl Page<'_> {
    #[track_caller]
    fn phase_is(&self, phase: &str) {
        let code = format!("document.querySelector('#room').dataset.phase === {}", json!(phase));
        self.wait_until(&format!("phase {phase:?}"), &code);
    }

    /// Clicks on "Start teaching" and waits until the server receives media.
    #[track_caller]
    pub(super) fn goes_on_air(&self) {
        self.clicks("button", "Start teaching");
        self.is_on_air();
    }

    /// Waits for a second of silence.
    #[track_caller]
    pub(super) fn hears_nothing(&self) {
        let second = "(async () => { \
            const before = await witness.sound(); \
            await new Promise((done) => setTimeout(done, 1_200)); \
            const { energy, seconds } = await witness.sound(); \
            return [energy - before.energy, seconds - before.seconds]; })()";
        self.wait("silence", second, |heard| {
            heard[0].as_f64().is_some_and(|energy| energy < 1e-4) && heard[1].as_f64().is_some_and(|s| s > 0.9)
        });
    }

    #[track_caller]
    pub(super) fn is_on_air(&self) {
        let badge = "document.querySelector('#room-state').textContent.startsWith('On air')";
        self.wait_until("the badge \"On air\"", badge);
    }
}

#[test]
fn modules_without_elements_pass_their_own_tests() {
    if !has_tools("the modules of the teacher's page", &["node"]) {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let output = Command::new("node").args(["--test", "modules.test.mjs"]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn before_the_lecture_a_teacher_sees_and_hears_its_own_devices() {
    let Some(lab) = Lab::new("a teacher's devices", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let page = lab.teaches();
    page.phase_is("setup");
    page.sees_moving("#own-camera-video");
    page.wait_until("a level", &format!("{LEVEL} > 10"));
    let chosen =
        "['#microphone-choice', '#camera-choice'].map((id) => document.querySelector(id).selectedOptions[0].text)";
    let chosen = page.value(chosen);
    let is_fake = |name: &Value| name.as_str().is_some_and(|name| name.to_lowercase().starts_with("fake"));
    assert!(chosen.as_array().is_some_and(|names| names.iter().all(is_fake)), "{chosen}");
    is_readable(&page);
    if has_axe("the rules of axe-core before a lecture") {
        page.is_accessible("before the lecture");
    }
    // The meter shows a microphone that is off, too.
    page.clicks("button", "Microphone on");
    page.wait_until("a level", &format!("{LEVEL} > 10"));
    page.clicks("button", "Camera on");
    page.shows("The camera is off.");
    assert_eq!(page.value("document.querySelector('#own-camera-video').srcObject"), Value::Null);
    page.clicks("button", "Share screen");
    page.sees_moving("#own-screen-video");
    // Another visit has the same choices, and nobody knows of a lecture yet.
    page.reloads();
    page.phase_is("setup");
    page.shows("The camera is off.");
    page.was_calm(&lab.site());
}

#[test]
fn a_teacher_reads_why_it_cannot_teach_here_and_what_helps() {
    let Some(lab) = Lab::new("a taken room", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let _other = lab.class.guest_lecturer();
    let page = lab.browser.open(&format!("{}/room/{ROOM}?userId=7777&pub=pub", lab.site()));
    page.clicks("button", "Start teaching");
    page.shows("Somebody else teaches in this room.");
    page.phase_is("setup");
    page.sees_moving("#own-camera-video");
    is_readable(&page);
}

#[test]
fn a_browser_teaches_a_class_and_changes_what_it_sends_while_on_air() {
    let Some(lab) = Lab::new("a browser teaches", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.teaches();
    teacher.goes_on_air();
    is_readable(&teacher);
    let anna = lab.enters(1001, "Anna");
    anna.screen_is("live");
    anna.sees_moving("#camera-video");
    // The sound does not wait for a screen that nobody has shared.
    anna.clicks("button", "Click for sound");
    anna.hears_the_lecture();
    assert_eq!(anna.value(MARK), json!(""), "a screen that was never shared has not stopped");

    // From the camera to the screen and back, without a moment of black.
    anna.value(WATCH_FOR_BLACK);
    teacher.clicks("button", "Share screen");
    anna.sees_moving("#screen-video");
    teacher.presses("v");
    teacher.wait_until("no camera", "document.querySelector('#own-camera-video').srcObject === null");
    anna.wait_until("the screen alone", "!witness.visible('#camera-video') && witness.visible('#screen-video')");
    teacher.presses("v");
    anna.wait_until("the camera, too", "witness.visible('#camera-video')");
    anna.sees_moving("#camera-video");
    teacher.clicks("button", "Stop sharing");
    anna.wait_until("the camera alone", "!witness.visible('#screen-video')");
    anna.mark_is("The screen has stopped. It comes back by itself.");
    anna.sees_moving("#camera-video");
    assert_eq!(anna.value("globalThis.blackFrames"), json!(0));

    // Off and on again.
    teacher.presses("m");
    anna.hears_nothing();
    teacher.presses("m");
    anna.hears_the_lecture();

    // Talk in both directions.
    anna.says("can you hear me?");
    teacher.reads("Anna", "can you hear me?");
    teacher.says("yes");
    anna.reads("Ms Li", "yes");
    anna.clicks("button", "Raise hand");
    teacher.clicks("button", "People, Raised hands: 1");
    teacher.hands_are(&["Anna"]);
    teacher.clicks("button", "Lower the hand: Anna");
    teacher.hands_are(&[]);

    // The students meet in a breakout room, with what they switch on, and are back in the lecture at once.
    let ben = lab.enters(1002, "Ben");
    ben.sees_moving("#camera-video");
    teacher.presses("b");
    teacher.opens_rooms(&[(1001, 1), (1002, 1)]);
    for page in [&anna, &ben] {
        page.shows("You are in breakout room 1 of 2. The lecture goes on; you do not hear it here.");
        page.shows("You enter to watch and listen; nothing is sent.");
        is_readable(page);
    }
    if has_axe("the rules of axe-core before a breakout room") {
        anna.is_accessible("the entrance of a breakout room");
    }
    // A student who has not entered is neither seen nor heard, and sees its own picture.
    ben.clicks("button", "Camera off");
    ben.sees_moving("#breakout-mirror video");
    anna.clicks("button", "Enter the room");
    anna.tiles_are(&[1001]);
    ben.clicks("button", "Enter the room");
    for page in [&anna, &ben] {
        page.tiles_are(&[1001, 1002]);
    }
    let is_heard = "[...document.querySelectorAll('#pictures video')].some((video) => !video.muted)";
    anna.wait_until("a lecture without sound", &format!("!{is_heard}"));
    ben.clicks("button", "Microphone off");
    anna.sees_and_hears(&[1002]);
    ben.says("only us");
    anna.reads("Ben", "only us");
    teacher.clicks("button", "Rename room 1");
    teacher.types("Algebra");
    teacher.presses("Enter");
    anna.shows("You are in the breakout room “Algebra”.");
    teacher.clicks("button", "Visit “Algebra”");
    teacher.tiles_are(&[1001, 1002, 9999]);
    for page in [&anna, &teacher] {
        page.sees(1002, "camera");
        is_readable(page);
    }
    anna.sees_and_hears(&[9999]);
    // The media moves to the server, beside that of the lecture.
    ben.value("witness.tells({ type: 'overloaded' })");
    for page in [&anna, &teacher] {
        page.shows("Somebody’s computer or line was too slow: the server passes picture and sound on.");
    }
    anna.sees_and_hears(&[1002, 9999]);
    teacher.sees(1002, "camera");
    if has_axe("the rules of axe-core in a breakout room of a lecture") {
        anna.is_accessible("a breakout room of a lecture");
        teacher.is_accessible("a visit");
    }
    teacher.clicks("button", "Breakout rooms…");
    teacher.clicks("button", "Call everybody back now");
    for page in [&anna, &ben] {
        page.tiles_are(&[]);
        page.sees_moving("#camera-video");
        page.reads("Ms Li", "yes");
    }
    anna.wait_until("the sound of the lecture", is_heard);
    anna.hears_the_lecture();
    assert_eq!(anna.value("document.body.textContent.includes('only us')"), json!(false));
    ben.closes();

    teacher.clicks("button", "Invite");
    teacher.clicks("button", "Ask for a code");
    let code = teacher.wait("a code", "document.querySelector('#invite-code').textContent", |code| code != "");
    assert_eq!(code.as_str().map(str::len), Some("123 456".len()), "{code}");
    teacher.wait_until("a QR code", "document.querySelector('#invite-qr').naturalWidth > 0");
    teacher.presses("Escape");

    teacher.clicks("button", "End");
    teacher.clicks("button", "End the lecture for all");
    teacher.shows("The lecture is over");
    anna.screen_is("ended");
    teacher.was_calm(&lab.site());
    anna.was_calm(&lab.site());
}

/// Counts the moments in which the large video is black, from now on.
const WATCH_FOR_BLACK: &str = "globalThis.blackFrames = 0; \
    setInterval(() => { \
      const shown = ['#screen-video', '#camera-video'].filter((id) => witness.visible(id)); \
      const points = shown.map((id) => witness.picture(id, 4, 4)); \
      if (points.every((picture) => picture === null || picture.every((n) => n < 8))) blackFrames += 1; \
    }, 50)";

#[test]
fn a_reload_and_a_restarted_server_do_not_end_a_lecture() {
    let Some(lab) = Lab::new("a reload of the teacher", Kind::Chromium) else { return };
    let server = lab.class.server();
    let teacher = lab.teaches();
    teacher.goes_on_air();
    let anna = lab.enters(1001, "Anna");
    anna.sees_moving("#camera-video");
    teacher.reloads();
    teacher.is_on_air();
    anna.sees_moving("#camera-video");
    assert_eq!(anna.value("document.querySelector('#room').dataset.screen"), json!("live"));
    drop(server);
    teacher.shows("The server does not answer.");
    let _server = lab.class.server();
    teacher.is_on_air();
    anna.sees_moving("#camera-video");
}

#[test]
fn firefox_teaches_too() {
    let Some(lab) = Lab::new("Firefox teaches", Kind::Firefox) else { return };
    let _server = lab.class.server();
    let teacher = lab.teaches();
    teacher.goes_on_air();
    let anna = lab.enters(1001, "Anna");
    anna.sees_moving("#camera-video");
    teacher.wait_until("what is sent", "document.querySelector('#sent').textContent.startsWith('Camera: ')");
    teacher.says("hello");
    anna.reads("Ms Li", "hello");
}
