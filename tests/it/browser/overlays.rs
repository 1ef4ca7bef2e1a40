//! Overlays on the video: chat where it is wanted, and nothing that could be elsewhere. Videos without a source are
//! hidden.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;
use super::raw::{raw_student, says};
use super::sight::SCREEN;
use crate::support::Process;

/// How far down the flying lines reach, as a share of the video; null if none flies.
const REACHES_DOWN: &str = "(() => {\
    const video = document.querySelector('#screen-video');\
    const area = video.getBoundingClientRect();\
    const scale = Math.min(area.width / video.videoWidth, area.height / video.videoHeight);\
    const height = video.videoHeight * scale;\
    const top = area.top + (area.height - height) / 2;\
    const lines = [...document.querySelectorAll('#danmaku bdi')].map((line) => line.getBoundingClientRect().bottom);\
    return lines.length < 4 ? null : (Math.max(...lines) - top) / height;\
  })()";

const SKY: &str = "document.querySelector('#danmaku').childElementCount";

/// Whether a button is disabled, and its name.
fn button(id: &str) -> String {
    format!("[document.querySelector('#{id}').ariaDisabled, document.querySelector('#{id}').ariaLabel]")
}

#[test]
fn chat_flies_where_it_is_wanted_and_allowed_and_over_the_top_fifth_only() {
    let Some(lab) = Lab::new("chat over the picture", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let anna = lab.enters(2001, "Anna");
    anna.sees_the_lecture();
    teacher.types("nobody asked for this");
    anna.reads("Ms Li", "nobody asked for this");
    assert_eq!(anna.value(SKY), json!(0), "off by default");

    anna.value("document.activeElement.blur()");
    anna.presses("d");
    for line in 0..12 {
        teacher.types(&format!("line {line}"));
    }
    let share = anna.wait("lines that fly", REACHES_DOWN, |share| !share.is_null());
    assert!(share.as_f64().unwrap() <= 0.201, "{share} of the picture is covered");

    teacher.types("/comments off");
    let off = json!(["true", "The teacher has switched off chat over the picture."]);
    anna.wait("a switch that says why", &button("danmaku-toggle"), |told| *told == off);
    assert_eq!(anna.value(SKY), json!(0), "what flew is gone");
    anna.presses("d");
    teacher.types("not over the picture");
    anna.reads("Ms Li", "not over the picture");
    assert_eq!(anna.value(SKY), json!(0));
    // A student who joins later learns it at once.
    let ben = lab.enters(2002, "Ben");
    ben.wait("a switch that says why", &button("danmaku-toggle"), |told| *told == off);
    teacher.types("/comments on");
    anna.wait("a switch", &button("danmaku-toggle"), |told| told[0] == "false");
    teacher.types("again");
    anna.wait("a line that flies", SKY, |lines| lines.as_u64() == Some(1));
    anna.was_calm(&lab.site());
}

#[test]
fn a_teacher_switches_reactions_off_and_nobody_can_bypass_that() {
    let Some(lab) = Lab::new("reactions off", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&["--no-reactions"]);
    let anna = lab.enters(2001, "Anna");
    let off = json!(["true", "The teacher has switched off reactions."]);
    anna.wait("a button that says why", &button("react"), |told| *told == off);
    anna.value("document.querySelector('#react').click()");
    assert_eq!(anna.value("witness.visible('#react-menu')"), json!(false));
    anna.wait("a word for who listens", "document.querySelector('#announce').textContent", |text| *text == off[1]);
    let evil = raw_student(&lab.browser, &lab.site(), 666, "Eve");
    says(&evil, &json!({"type": "reaction", "reaction": "clap"}));
    evil.wait_until("a refusal", "raw.received.some(({ type, code }) => type === 'error' && code === 'reactionsOff')");
    teacher.types("/reactions on");
    anna.clicks("button", "React");
    anna.clicks("button", "Applause");
    teacher.wait_for("applause", |event| event["event"] == "reaction" && event["user"] == "2001");
    assert!(!teacher.events().iter().any(|event| event["event"] == "reaction" && event["user"] == "666"));
    anna.was_calm(&lab.site());
}

#[test]
fn the_button_that_starts_the_sound_stands_beside_the_video() {
    let Some(lab) = Lab::new("a click for sound", Kind::Chromium) else { return };
    let _teacher = lab.lecturer(&[]);
    for (user, (width, height)) in (2001..).zip([(1280, 720), (820, 1180), (390, 844), (320, 568), (667, 375)]) {
        let page = lab.browser.open_as(&lab.link(user, "Anna"), json!({"width": width, "height": height}));
        page.screen_is("live");
        page.wait_until("the wish for a click", "witness.visible('#sound-wanted')");
        let apart = "((one, two) => one.top >= two.bottom || one.bottom <= two.top || one.left >= two.right || \
            one.right <= two.left)(\
            document.querySelector('#sound-wanted').getBoundingClientRect(), \
            document.querySelector('#stage').getBoundingClientRect())";
        assert_eq!(page.value(apart), json!(true), "{width}x{height}");
        page.clicks_for_sound();
        page.wait_until("no wish any more", "!witness.visible('#sound-wanted') && witness.visible('#mute')");
        page.closes();
    }
}

/// A white slide with words in its lower right corner, and a camera.
const SLIDE: &str = "videotestsrc is-live=true pattern=white ! video/x-raw,width=640,height=360,framerate=10/1 \
    ! textoverlay text=\"Av=lv Av=lv Av=lv\\nAv=lv Av=lv Av=lv\\nAv=lv Av=lv Av=lv\" valignment=bottom \
    halignment=right \
      color=0xff000000 font-desc=\"Sans 20\" \
    ! tee name=screen-pictures \
    videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=10/1 ! tee \
    name=camera-pictures";

/// A teacher of this graph, with the server in the same process.
#[track_caller]
fn teaches(lab: &Lab, graph: &str) -> Process {
    let path = lab.class.directory().join("lecture.gst");
    std::fs::write(&path, graph).unwrap();
    lab.class.teacher(&["--pipeline", path.to_str().unwrap()])
}

/// The position of the inset: across and down, from 0 to 1.
const PLACE: &str = "['--x', '--y'].map((name) => \
    Math.round(100 * document.querySelector('#pictures').style.getPropertyValue(name)) / 100)";

/// Runs the page's own choice of a corner on these details, at times that the test sets; returns the corner after each
/// step.
fn corners(page: &Page<'_>, looks: &[([f64; 4], u64)]) -> Value {
    page.value(&format!(
        "(async () => {{ \
           const {{ Corner }} = await import(document.querySelector('link[href$=\"corner.js\"]').href); \
           const corner = new Corner(); \
           return {}.map(([details, now]) => (corner.look(details, now, (at) => at !== 3), corner.at)); \
         }})()",
        json!(looks)
    ))
}

#[test]
fn the_inset_covers_the_emptiest_corner_and_stays_where_it_was_put() {
    let Some(lab) = Lab::new("the emptiest corner", Kind::Chromium) else { return };
    let _teacher = teaches(&lab, SLIDE);
    let anna = lab.enters(2001, "Anna");
    anna.sees_moving("#camera-video");
    // The words are at the lower right; the corner above them is the first empty one.
    anna.wait("the upper right corner", PLACE, |place| *place == json!([1, 0]));

    let (empty, full) = ([0.0, 9.0, 9.0, 9.0], [20.0, 18.0, 18.0, 1.0]);
    let mut looks = vec![(empty, 0)];
    looks.extend((1..=4).map(|n| ([8.0, 7.0, 8.0, 8.0], n * 10_000)));
    assert_eq!(corners(&anna, &looks), json!([0, 0, 0, 0, 0]), "a little less is no reason to go");
    let looks = [(empty, 0), (full, 30_000), (full, 60_000)];
    assert_eq!(corners(&anna, &looks), json!([0, 0, 0]), "not where the pointer is");
    let moves = [20.0, 1.0, 9.0, 9.0];
    let looks = [
        (empty, 0),
        (moves, 30_000),
        (moves, 32_000),
        (moves, 35_000),
        (empty, 36_000),
        (empty, 50_000),
        (empty, 56_000),
    ];
    assert_eq!(corners(&anna, &looks), json!([0, 0, 0, 1, 1, 1, 0]), "it settles, and rests before it goes again");

    anna.value("document.querySelector('#camera').focus()");
    for _ in 0..3 {
        anna.presses("ArrowLeft");
    }
    anna.wait("a place of one's own", PLACE, |place| *place == json!([0.85, 0]));
    anna.reloads();
    anna.sees_moving("#camera-video");
    anna.wait("the same place", PLACE, |place| *place == json!([0.85, 0]));
    anna.sees_moving("#camera-video");
    assert_eq!(
        anna.value("document.querySelector('#pictures').dataset.corner"),
        json!(null),
        "nobody looks for a corner"
    );
    anna.was_calm(&lab.site());
}

/// A camera or a screen outside of the program that a test may stop: JPEG frames over UDP.
struct Outside {
    sender: Child,
    port: u16,
}

impl Outside {
    fn new(pattern: &str, (width, height): (u32, u32)) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let graph = format!(
            "videotestsrc is-live=true pattern={pattern} ! \
            video/x-raw,format=I420,width={width},height={height},framerate=10/1 \
             ! jpegenc ! rtpjpegpay ! udpsink host=127.0.0.1 port={port}"
        );
        let mut launch = Command::new("gst-launch-1.0");
        launch.arg("--quiet").args(graph.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
        Self { sender: launch.spawn().unwrap(), port }
    }

    /// The start of a teacher's graph that shows it.
    fn graph(&self) -> String {
        let caps = "application/x-rtp,media=video,encoding-name=JPEG,clock-rate=90000,payload=26";
        format!("udpsrc address=127.0.0.1 port={} caps=\"{caps}\" ! rtpjpegdepay ! jpegdec ! videoconvert", self.port)
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.sender.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn stops(&self) {
        self.signal("-STOP");
    }

    fn goes_on(&self) {
        self.signal("-CONT");
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.sender.kill();
        let _ = self.sender.wait();
    }
}

/// The event of a source that stopped or came back.
fn source<'a>(track: &'a str, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "source" && event["track"] == track && event["state"] == state
}

#[test]
fn a_camera_or_a_screen_that_stops_is_hidden_and_returns_by_itself() {
    let Some(lab) = Lab::new("a camera that stops", Kind::Chromium) else { return };
    let (screen, camera) = (Outside::new("smpte", (640, 360)), Outside::new("ball", (320, 176)));
    let sound = "audiotestsrc is-live=true volume=0.1 ! audioconvert ! opusenc ! rtpopuspay ! appsink name=audio";
    let graph =
        format!("{} ! tee name=screen-pictures {} ! tee name=camera-pictures {sound}", screen.graph(), camera.graph());
    let teacher = teaches(&lab, &graph);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    anna.sees_moving(SCREEN);
    anna.sees_moving("#camera-video");
    anna.clicks_for_sound();

    camera.stops();
    for process in [&teacher, &cleo] {
        process.wait_for("the camera's end", source("camera", "stopped"));
    }
    anna.mark_is("The camera has stopped. It comes back by itself.");
    anna.wait_until("no camera", "!witness.visible('#camera')");
    anna.banner_is("");
    anna.sees_moving(SCREEN);
    // A student who joins now learns it too.
    let ben = lab.enters(2002, "Ben");
    ben.mark_is("The camera has stopped. It comes back by itself.");
    camera.goes_on();
    for process in [&teacher, &cleo] {
        process.wait_for("the camera", source("camera", "live"));
    }
    anna.mark_is("");
    anna.sees_moving("#camera-video");

    screen.stops();
    anna.mark_is("The screen has stopped. It comes back by itself.");
    anna.wait_until(
        "a large camera",
        "!document.querySelector('#camera').classList.contains('inset') && witness.visible('#camera')",
    );
    camera.stops();
    anna.screen_is("sound");
    anna.shows("Screen and camera have stopped");
    anna.shows("The sound goes on. The picture comes back by itself.");
    anna.hears_the_lecture();
    screen.goes_on();
    anna.screen_is("live");
    anna.sees_moving(SCREEN);
    for process in [&teacher, &cleo] {
        process.wait_for("the screen", source("screen", "live"));
    }
    anna.was_calm(&lab.site());
}
