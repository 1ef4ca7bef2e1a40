//! The stage on a teacher's page: orders, the speakers' pictures and sound, and a phone as document camera.

use serde_json::{Value, json};

use super::axe::has_axe;
use super::driver::{Kind, Page};
use super::lab::Lab;
use super::manners::is_readable;
use crate::support::ROOM;

/// The names and states of those who are invited or speak, in the panel.
const LISTED: &str = "[...document.querySelectorAll('#stage-part li')].map((item) => \
    [item.querySelector('bdi').textContent, item.querySelector('.state').textContent.replace(/\\d+/, 'n')])";

/// How many of how many places of the stage are taken.
const USED: &str = "document.querySelector('#stage-title .soft').textContent";

/// The number of speakers whose pictures the page shows.
const TILES: &str = "document.querySelectorAll('.tile').length";

impl Page<'_> {
    #[track_caller]
    fn teaches_now(&self) {
        self.clicks("button", "Start teaching");
        let badge = "document.querySelector('#room-state').textContent.startsWith('On air')";
        self.wait_until("the badge \"On air\"", badge);
        self.clicks("button", "People");
    }

    /// The student accepts the invitation, once it has something to send.
    #[track_caller]
    fn accepts(&self) {
        self.wait_until("an invitation", "document.querySelector('#invitation')?.open");
        self.wait_until("devices", "!document.querySelector('#accept').disabled");
        self.clicks("button", "Go on the stage");
    }

    /// Clicks a button of the stage in the panel; the picture of the speaker has one of the same name.
    #[track_caller]
    fn clicks_in_list(&self, name: &str) {
        let button = format!("document.querySelector('#stage-part [aria-label={}]')", json!(name));
        self.wait_until(name, &format!("{button} !== null"));
        self.value(&format!("{button}.click()"));
    }

    #[track_caller]
    fn lists(&self, speakers: &Value) {
        self.wait("the stage in the panel", LISTED, |listed| listed == speakers);
    }
}

impl Lab {
    fn teachers_page(&self) -> Page<'_> {
        self.browser.open(&format!("{}/room/{ROOM}?userId=9999&pub=pub&nickname=Ms%20Li", self.site()))
    }
}

#[test]
fn a_teacher_brings_a_student_to_the_stage_and_takes_it_off() {
    let Some(lab) = Lab::new("a teacher's stage", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.teachers_page();
    teacher.teaches_now();
    let anna = lab.enters(1001, "Anna");
    let ben = lab.enters(1002, "Ben");
    for student in [&anna, &ben] {
        student.screen_is("live");
        student.clicks("button", "Raise hand");
    }
    teacher.hands_are(&["Anna", "Ben"]);
    teacher.clicks("button", "To the stage: Anna");
    teacher.lists(&json!([["Anna", "invited, n s ago"]]));
    anna.accepts();
    teacher.lists(&json!([["Anna", "live"]]));
    teacher.sees_moving(".tile-camera");
    teacher.hears_the_lecture();
    teacher.hands_are(&["Ben"]);
    assert_eq!(teacher.value(USED), json!("1 of 2"));
    is_readable(&teacher);
    if has_axe("the rules of axe-core with a speaker") {
        teacher.is_accessible("with a speaker");
    }

    teacher.clicks_in_list("Show Anna large to everybody");
    for page in [&teacher, &ben] {
        page.wait_until("Anna large", "document.querySelector('.tile.is-large')");
    }
    teacher.clicks("button", "Show me large");
    ben.wait_until("the lecture large", "!document.querySelector('.tile.is-large')");

    // The student sees what the class lost, and the teacher what the student did.
    teacher.clicks("button", "To the stage: Ben");
    ben.wait_until("an invitation", "document.querySelector('#invitation')?.open");
    assert_eq!(teacher.value(USED), json!("2 of 2"));
    ben.clicks("button", "Not now");
    teacher.shows("Ben declined.");
    teacher.reloads();
    teacher.wait("the speaker after a reload", TILES, |tiles| *tiles == json!(1));
    teacher.sees_moving(".tile-camera");
    teacher.clicks("button", "People, Raised hands: 1");
    teacher.clicks_in_list("Off the stage: Anna");
    teacher.wait("an empty stage", TILES, |tiles| *tiles == json!(0));
    teacher.lists(&json!([]));
    anna.shows("The teacher has ended your turn on the stage.");
    // The browser asks the teacher before the reload.
    for page in [anna, ben] {
        page.was_calm(&lab.site());
    }
}

#[test]
fn a_teachers_phone_becomes_a_document_camera_by_one_button() {
    let Some(lab) = Lab::new("a document camera", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let teacher = lab.teachers_page();
    teacher.teaches_now();
    let anna = lab.enters(1001, "Anna");
    anna.screen_is("live");
    teacher.clicks("button", "Use a phone as document camera");
    teacher.shows("Waiting for the phone…");
    teacher.wait_until("a QR code", "document.querySelector('#phone-qr').naturalWidth > 0");
    let link = teacher.value("document.querySelector('#phone-link').textContent");
    let phone = lab.browser.open_as(link.as_str().unwrap(), json!({"width": 390, "height": 844}));
    phone.clicks("button", "Use this camera");
    phone.shows("The class sees this camera.");
    teacher.shows("The class sees the phone’s camera.");
    for page in [&teacher, &anna] {
        page.sees_moving(".tile-screen");
    }
    if has_axe("the rules of axe-core on a document camera") {
        phone.is_accessible("a document camera");
        teacher.is_accessible("the invitation of a phone");
    }
    teacher.clicks("button", "Show it large to everybody");
    anna.wait_until("the document large", "document.querySelector('.tile.is-large.has-screen')");
    // A student who opens the room by such a link is a student: only the ids that the page has drawn are brought up.
    let other = lab.browser.open(&format!("{}/room/{ROOM}?userId=doc-aaaaaa&device=camera", lab.site()));
    other.clicks("button", "Use this camera");
    other.shows("In the lecture.");
    teacher.wait("everybody", "document.querySelector('#people-count').textContent", |count| count == "4");
    assert_eq!(teacher.value(TILES), json!(1));

    phone.clicks("button", "Stop");
    teacher.wait("an empty stage", TILES, |tiles| *tiles == json!(0));
    phone.shows("This camera is off. The class does not see it.");
    for page in [teacher, anna, phone] {
        page.was_calm(&lab.site());
    }
}
