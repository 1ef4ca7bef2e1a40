//! A class with a browser, and what people do on its pages.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::driver::{Browser, Kind, Page, browser};
use crate::support::{Classroom, Process, ROOM, has_tools, is_picture, lecture_file};

/// A class of its own for a test, and a browser whose windows are students' machines.
pub struct Lab {
    /// Dropped first: if the class ended first, open pages would reconnect.
    pub browser: Browser,
    pub class: Classroom,
}

impl Lab {
    /// Both, or nothing if the machine lacks something; the test is then skipped by name.
    pub fn new(test: &str, kind: Kind) -> Option<Self> {
        Self::with(Classroom::with_browser, test, kind)
    }

    /// As [`Lab::new`], for a test that measures what the browser shows.
    pub fn undisturbed(test: &str, kind: Kind) -> Option<Self> {
        Self::with(Classroom::undisturbed_with_browser, test, kind)
    }

    fn with(class: fn() -> Classroom, test: &str, kind: Kind) -> Option<Self> {
        if !has_tools(test, &["gst-launch-1.0", "espeak-ng"]) {
            return None;
        }
        // The class first, because it waits for its turn on this machine.
        let class = class();
        let browser = browser(test, kind)?;
        Some(Self { browser, class })
    }

    /// The address of the pages.
    pub fn site(&self) -> String {
        self.class.url().replace("ws://", "http://")
    }

    /// The link that joins without asking for a name.
    pub fn link(&self, user: u32, nickname: &str) -> String {
        format!("{}/room/{ROOM}?userId={user}&nickname={nickname}", self.site())
    }

    /// A student follows the link that joins without asking for a name.
    #[track_caller]
    pub fn enters(&self, user: u32, nickname: &str) -> Page<'_> {
        self.browser.open(&self.link(user, nickname))
    }

    /// A teacher of the lecture file who types, with the server in the same process.
    #[track_caller]
    pub fn lecturer(&self, flags: &[&str]) -> Process {
        self.lecturer_of(lecture_file(), flags)
    }

    /// A teacher of another file.
    #[track_caller]
    pub fn lecturer_of(&self, file: &Path, flags: &[&str]) -> Process {
        let (file, listen) = (file.to_str().unwrap(), self.class.url().replace("ws://", ""));
        let always = ["--file", file, "--loop", "--chat", "--nickname", "Ms Li", "--listen", &listen];
        let mut command = self.class.teach(&[&always, flags].concat());
        command.stdin(Stdio::piped());
        let teacher = Process::start("teacher", command);
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    }

    /// A lecture from the teacher's own pipeline, in this codec only.
    pub fn lecturer_with_h264_alone(&self) -> Process {
        let graph = "videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=15/1 ! x264enc \
            tune=zerolatency \
            ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 ! rtph264pay config-interval=0 \
            ! appsink name=screen";
        let path = std::env::temp_dir().join(format!("classroom-h264-alone-{}.gst", std::process::id()));
        std::fs::write(&path, graph).unwrap();
        let listen = self.class.url().replace("ws://", "");
        let teacher =
            Process::start("teacher", self.class.teach(&["--pipeline", path.to_str().unwrap(), "--listen", &listen]));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        std::fs::remove_file(path).unwrap();
        teacher
    }

    /// A student in a terminal who types and already watches.
    #[track_caller]
    pub fn student(&self, user: u32, nickname: &str) -> Process {
        let mut command = self.class.watch(user, &["--sink", "null", "--chat", "--nickname", nickname]);
        command.stdin(Stdio::piped());
        let student = Process::start(&format!("student {user}"), command);
        student.wait_for("picture", is_picture);
        student
    }
}

/// A chat message as an event.
pub fn said<'a>(user: &'a str, text: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "chat" && event["user"] == user && event["text"] == text
}

/// A list of raised hands as an event.
pub fn hands<'a>(order: &'a [&'a str]) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "hand" && event["hands"] == json!(order)
}

/// The names of the raised hands in the panel, in order.
const HANDS: &str = "[...document.querySelectorAll('#hands li .name bdi:first-child')].map((name) => name.textContent)";

/// The sentence of the mark in the bar; null without one.
pub const MARK: &str = "witness.visible('#mark') ? document.querySelector('#mark').ariaLabel : ''";

/// The chat messages in the panel: sender and text.
pub const LINES: &str = "[...document.querySelectorAll('#chat-lines > li:not(.file)')].map((line) => \
    [line.querySelector('.who bdi').textContent, line.querySelector('.text').textContent])";

impl Page<'_> {
    /// Waits until the room shows this screen: `ask`, `connecting`, `waiting`, `live`, `ended`, `error`.
    #[track_caller]
    pub fn screen_is(&self, screen: &str) {
        self.wait_until(
            &format!("screen {screen:?}"),
            &format!("document.querySelector('#room').dataset.screen === {}", json!(screen)),
        );
    }

    /// Waits for this banner over the video; an empty one means none.
    #[track_caller]
    pub fn banner_is(&self, text: &str) {
        self.wait(&format!("banner {text:?}"), "witness.text('#banner:not([hidden])')", |banner| banner == text);
    }

    /// Waits for this sentence of the mark in the bar; an empty one means none.
    #[track_caller]
    pub fn mark_is(&self, text: &str) {
        self.wait(&format!("mark {text:?}"), MARK, |mark| mark == text);
    }

    /// Clicks where the browser requires a click before it plays sound.
    #[track_caller]
    pub fn clicks_for_sound(&self) {
        self.clicks("button", "Click for sound");
        self.wait_until("sound on", "!document.querySelector('#screen-video').muted");
    }

    /// Fills in a field.
    #[track_caller]
    pub fn fills(&self, field: &str, text: &str) {
        self.clicks("textbox", field);
        self.value("document.activeElement.select()");
        self.types(text);
    }

    /// Waits until the page shows this name for the student.
    #[track_caller]
    pub fn is(&self, name: &str) {
        self.wait(&format!("name {name:?}"), "document.querySelector('#me').textContent", |me| {
            *me == format!("You are {name}")
        });
    }

    /// Writes a chat message.
    #[track_caller]
    pub fn says(&self, text: &str) {
        self.fills("Message", text);
        self.presses("Enter");
    }

    /// Waits until this message of this sender is in the chat, once.
    #[track_caller]
    pub fn reads(&self, who: &str, text: &str) {
        let line = json!([who, text]);
        let lines = self.wait(&format!("line of {who}: {text:?}"), LINES, |lines| {
            lines.as_array().is_some_and(|lines| lines.contains(&line))
        });
        let times = lines.as_array().into_iter().flatten().filter(|other| **other == line).count();
        assert_eq!(times, 1, "{line} is there once: {lines}");
    }

    /// Waits until these hands are up, in this order.
    #[track_caller]
    pub fn hands_are(&self, names: &[&str]) {
        self.wait(&format!("hands {names:?}"), HANDS, |hands| *hands == json!(names));
    }

    /// Asserts that no dialog opened, no other host was contacted, and nothing was logged.
    #[track_caller]
    pub fn was_calm(&self, site: &str) {
        for kind in ["dialog", "exception"] {
            assert_eq!(self.events(kind), [] as [Value; 0], "{kind}");
        }
        let loud = |event: &Value| event["kind"] == "error" || event["kind"] == "warning";
        let complaints: Vec<Value> = self.events("console").into_iter().filter(loud).collect();
        assert_eq!(complaints, [] as [Value; 0]);
        assert_eq!(self.value("witness.violations"), json!([]));
        let host = site.split_once("://").map_or(site, |(_, host)| host);
        for request in self.events("request") {
            let url = request["url"].as_str().unwrap_or("");
            let ours = url.split_once("://").is_some_and(|(_, rest)| rest.starts_with(&format!("{host}/")));
            assert!(ours || url.starts_with("data:"), "a request to somebody else: {url}");
        }
    }
}
