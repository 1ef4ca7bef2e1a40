//! Speakers on the stage, on the pages of students: the invitation, the tiles, and the way back.

use serde_json::{Value, json};

use super::axe::has_axe;
use super::driver::{Kind, Page, browser};
use super::lab::Lab;
use super::manners::is_readable;
use crate::support::ROOM;

/// The video of the only speaker, as others see the speaker.
const SPEAKER: &str = ".tile > .tile-camera";

/// The name of the large picture: that of a speaker, or nothing for the lecture.
const LARGE: &str = "document.querySelector('.tile.is-large .tile-name bdi')?.textContent ?? ''";

/// What a screen reader says about the only tile.
const TILE: &str = "document.querySelector('.tile')?.ariaLabel ?? ''";

/// The number of connections that a page has now.
const CONNECTIONS: &str = "witness.connections.filter((one) => one.connectionState !== 'closed').length";

/// The users to whom the page has offered a connection, as far as it has any.
const OFFERED: &str = "[...document.querySelectorAll('.tile audio')].filter((one) => one.srcObject).length";

impl Lab {
    /// A teacher in a browser, on air, as serve's rooms have one.
    fn browser_teacher(&self) -> Page<'_> {
        let teacher = self.browser.open(&format!("{}/room/{ROOM}?userId=9999&pub=pub&nickname=Ms%20Li", self.site()));
        teacher.clicks("button", "Start teaching");
        let badge = "document.querySelector('#room-state').textContent.startsWith('On air')";
        teacher.wait_until("the badge \"On air\"", badge);
        teacher
    }

    /// A student who receives the lecture.
    fn student_page(&self, user: u32, nickname: &str) -> Page<'_> {
        let page = self.enters(user, nickname);
        page.is_in_the_lecture();
        page
    }
}

impl Page<'_> {
    #[track_caller]
    fn is_in_the_lecture(&self) {
        self.screen_is("live");
        self.wait_until("an open chat", "!document.querySelector('#chat-text').disabled");
    }

    /// Gives an order over the teacher's data channel.
    #[track_caller]
    fn orders(&self, mut order: Value) {
        order["type"] = "moderate".into();
        self.value(&format!("witness.sends({order})"));
    }

    #[track_caller]
    fn is_invited(&self) {
        self.wait_until("an invitation", "document.querySelector('#invitation')?.open === true");
    }

    /// Accepts the invitation and waits until the class was told.
    #[track_caller]
    fn goes_on_the_stage(&self) {
        self.is_invited();
        self.wait_until("something to send", "!document.querySelector('#accept').disabled");
        self.clicks("button", "Go on the stage");
        self.is_on_the_stage();
    }

    #[track_caller]
    fn is_on_the_stage(&self) {
        let badge = "document.querySelector('#speaking-badge')?.textContent === 'On the stage'";
        self.wait_until("the badge \"On the stage\"", badge);
    }

    #[track_caller]
    fn is_off_the_stage(&self, why: &str) {
        self.shows(why);
        self.wait_until("no buttons of a speaker", "!witness.visible('#speaking')");
        let off = "document.querySelector('#own-camera-video').srcObject === null && witness.visible('#hand')";
        self.wait_until("a camera that is off, and a hand", off);
    }

    #[track_caller]
    fn sees_tiles(&self, count: u32) {
        self.wait_until("tiles", &format!("document.querySelectorAll('.tile').length === {count}"));
    }

    #[track_caller]
    fn large_is(&self, name: &str) {
        self.wait(&format!("a large {name:?}"), LARGE, |large| large == name);
    }

    #[track_caller]
    fn tile_is(&self, words: &str) {
        self.wait(&format!("tile {words:?}"), TILE, |tile| tile == words);
    }

    /// Waits for sound of the speaker that is not silent.
    #[track_caller]
    fn hears_the_speaker(&self) {
        self.wait("the speaker's sound", "witness.soundOf('.tile audio')", |sound| {
            sound["energy"].as_f64().is_some_and(|energy| energy > 1e-3)
        });
    }
}

#[test]
fn a_student_speaks_to_the_class_and_steps_down() {
    let Some(lab) = Lab::new("the stage", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.browser_teacher();
    let anna = lab.student_page(1001, "Anna");
    let ben = lab.student_page(1002, "Ben");
    ben.clicks("button", "Click for sound");
    anna.clicks("button", "Raise hand");
    ben.hands_are(&["Anna"]);

    teacher.orders(json!({"order": "stage", "userId": "1001"}));
    anna.is_invited();
    anna.shows("Ms Li invites you to the stage");
    anna.shows("If you accept, the whole class sees and hears you.");
    anna.sees_moving("#own-camera-video");
    anna.wait_until("a level", "Number(document.querySelector('#meter').ariaValueNow) > 10");
    if has_axe("the rules of axe-core for an invitation") {
        anna.is_accessible("an invitation");
    }
    assert_eq!(ben.value("document.querySelectorAll('.tile').length"), json!(0), "nobody else hears of an invitation");
    anna.goes_on_the_stage();

    ben.sees_tiles(1);
    ben.sees_moving(SPEAKER);
    ben.hears_the_speaker();
    ben.tile_is("Anna, on the stage");
    ben.hands_are(&[]);
    assert!(anna.value("!witness.visible('#hand')").as_bool().unwrap_or_default(), "a speaker raises no hand");
    // The lecture, and the speaker's media: sent by Anna, received by Ben.
    assert_eq!((anna.value(CONNECTIONS), ben.value(CONNECTIONS)), (json!(2), json!(2)));
    assert_eq!(anna.value(OFFERED), json!(0), "nobody hears itself");
    for page in [&anna, &ben] {
        is_readable(page);
        if has_axe("the rules of axe-core for a stage") {
            page.is_accessible("a stage");
        }
    }

    // The class sees a microphone and a camera that are off.
    anna.clicks("button", "Microphone on");
    ben.tile_is("Anna, on the stage, microphone off");
    anna.clicks("button", "Microphone off");
    ben.tile_is("Anna, on the stage");
    anna.clicks("button", "Camera on");
    ben.wait_until("a tile without a picture", &format!("!witness.visible('{SPEAKER}')"));
    anna.clicks("button", "Camera off");
    ben.wait_until("a tile with a picture", &format!("witness.visible('{SPEAKER}')"));
    ben.sees_moving(SPEAKER);

    // The teacher's choice, and that of one student.
    teacher.orders(json!({"order": "spotlight", "userId": "1001"}));
    ben.large_is("Anna");
    ben.value("document.querySelector('.lecture-pin').click()");
    ben.large_is("");
    ben.presses("Escape");
    ben.large_is("Anna");
    teacher.orders(json!({"order": "spotlightOff"}));
    ben.large_is("");
    ben.value("document.querySelector('.tile').dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))");
    ben.large_is("Anna");
    ben.presses("Escape");
    ben.large_is("");
    assert_eq!(anna.value(LARGE), json!(""), "a student's choice is its own");

    anna.clicks("button", "Step down");
    ben.sees_tiles(0);
    ben.wait(CONNECTIONS, CONNECTIONS, |count| *count == 1);
    anna.is_off_the_stage("You have left the stage.");

    // With an open floor, students come by themselves, and stay when it is closed.
    teacher.orders(json!({"order": "openFloor"}));
    ben.wait_until("an open floor", "document.querySelector('#hand').ariaLabel === 'Speak'");
    if has_axe("the rules of axe-core for an open floor") {
        ben.is_accessible("an open floor");
    }
    ben.value("document.querySelector('#hand').click()");
    ben.shows("The floor is open: go on the stage?");
    ben.goes_on_the_stage();
    anna.sees_tiles(1);
    teacher.orders(json!({"order": "closeFloor"}));
    anna.wait_until("a hand for the teacher", "document.querySelector('#hand').ariaLabel === 'Raise hand'");
    ben.is_on_the_stage();
    for page in [&anna, &ben] {
        page.was_calm(&lab.site());
    }
}

#[test]
fn a_speaker_comes_back_after_a_reload_and_not_after_the_teachers_word() {
    let Some(lab) = Lab::new("a reload on the stage", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.browser_teacher();
    let anna = lab.student_page(1001, "Anna");
    let ben = lab.student_page(1002, "Ben");
    let invite = json!({"order": "stage", "userId": "1001"});
    teacher.orders(invite.clone());
    anna.is_invited();
    teacher.orders(json!({"order": "offStage", "userId": "1001"}));
    anna.shows("The teacher has withdrawn the invitation.");
    teacher.orders(invite.clone());
    anna.is_invited();
    anna.clicks("button", "Not now");
    anna.wait_until("no invitation", "!document.querySelector('#invitation').open");
    teacher.orders(invite);
    anna.goes_on_the_stage();
    ben.sees_moving(SPEAKER);

    anna.clicks("button", "Microphone on");
    ben.tile_is("Anna, on the stage, microphone off");
    let before = ben.value("globalThis.before = witness.connections.at(-1); witness.connections.length");
    anna.reloads();
    anna.is_on_the_stage();
    anna.shows("The class sees you and does not hear you.");
    ben.sees_moving(SPEAKER);
    // Nobody who watches had to connect again.
    assert_eq!(ben.value("witness.connections.length"), before);
    assert_eq!(ben.value("before.connectionState"), json!("connected"));

    teacher.orders(json!({"order": "clearStage"}));
    anna.is_off_the_stage("The teacher has ended your turn on the stage.");
    ben.sees_tiles(0);
    anna.reloads();
    anna.is_in_the_lecture();
    assert_eq!(anna.value("document.querySelector('#speaking')"), Value::Null, "the turn is over");
}

/// Refuses devices of these kinds, as the browser does for a person who denies them or has none.
fn without(error: &str, kinds: &[&str]) -> String {
    format!(
        "(() => {{ \
            const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices); \
            navigator.mediaDevices.getUserMedia = (wanted) => ({}.some((kind) => wanted[kind]) \
              ? Promise.reject(new DOMException('', '{error}')) : real(wanted)); }})()",
        json!(kinds)
    )
}

#[test]
fn an_invited_student_reads_what_is_missing_and_speaks_without_a_camera() {
    let Some(lab) = Lab::new("an invitation without devices", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.browser_teacher();
    let anna = lab.student_page(1001, "Anna");
    let ben = lab.student_page(1002, "Ben");
    anna.value(&without("NotAllowedError", &["audio", "video"]));
    teacher.orders(json!({"order": "stage", "userId": "1001"}));
    anna.is_invited();
    anna.shows("The browser may not use the microphone.");
    anna.shows("The browser may not use the camera.");
    anna.shows("Allow a microphone or a camera, or share a screen");
    assert_eq!(anna.value("document.querySelector('#accept').disabled"), json!(true));
    anna.presses("Escape");
    anna.wait_until("no invitation", "!document.querySelector('#invitation').open");

    ben.value(&without("NotFoundError", &["video"]));
    teacher.orders(json!({"order": "stage", "userId": "1002"}));
    ben.is_invited();
    ben.shows("There is no camera. Screen and sound work without one.");
    ben.goes_on_the_stage();
    ben.shows("The class hears you.");
    anna.clicks("button", "Click for sound");
    anna.hears_the_speaker();
    assert_eq!(anna.value("witness.visible('.tile video')"), json!(false));
}

#[test]
fn firefox_receives_a_speaker() {
    let Some(lab) = Lab::new("Firefox and a stage", Kind::Chromium) else { return };
    let Some(firefox) = browser("Firefox and a stage", Kind::Firefox) else { return };
    let _server = lab.class.server();
    let teacher = lab.browser_teacher();
    let anna = lab.student_page(1001, "Anna");
    let ben = firefox.open(&lab.link(1002, "Ben"));
    ben.is_in_the_lecture();
    teacher.orders(json!({"order": "stage", "userId": "1001"}));
    anna.goes_on_the_stage();
    ben.sees_tiles(1);
    ben.sees_moving(SPEAKER);
    ben.hears_the_speaker();
    anna.clicks("button", "Step down");
    ben.sees_tiles(0);
}
