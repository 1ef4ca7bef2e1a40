//! A class with a browser beside it, and what people at pages do.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::driver::{Browser, Kind, Page, browser};
use crate::support::{Classroom, Process, ROOM, has_tools, is_picture, lecture_file};

/// A class of its own for a test, and a browser whose windows are students' machines.
pub struct Lab {
    /// Ends first: a class that ends under open pages makes them try again.
    pub browser: Browser,
    pub class: Classroom,
}

impl Lab {
    /// Both, or nothing where the machine lacks something: then the test is skipped by name.
    pub fn new(test: &str, kind: Kind) -> Option<Self> {
        if !has_tools(test, &["gst-launch-1.0", "espeak-ng"]) {
            return None;
        }
        // The class first: it waits for its turn on this machine.
        let class = Classroom::new();
        let browser = browser(test, kind)?;
        Some(Self { browser, class })
    }

    /// Where the pages are.
    pub fn site(&self) -> String {
        self.class.url().replace("ws://", "http://")
    }

    /// The link that goes straight in.
    pub fn link(&self, user: u32, nickname: &str) -> String {
        format!("{}/room/{ROOM}?userId={user}&nickname={nickname}", self.site())
    }

    /// Somebody follows the link that goes straight in.
    #[track_caller]
    pub fn enters(&self, user: u32, nickname: &str) -> Page<'_> {
        self.browser.open(&self.link(user, nickname))
    }

    /// A teacher of the lecture file who types, with the server inside.
    #[track_caller]
    pub fn lecturer(&self, flags: &[&str]) -> Process {
        self.lecturer_of(lecture_file(), flags)
    }

    /// The same of another file.
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

    /// A lecture whose pipeline is its teacher's own: it is sent in that codec and no other.
    pub fn lecturer_with_h264_alone(&self) -> Process {
        let graph = "videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=15/1 ! x264enc tune=zerolatency \
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

    /// A student in a terminal who types, and watches already.
    #[track_caller]
    pub fn student(&self, user: u32, nickname: &str) -> Process {
        let mut command = self.class.watch(user, &["--sink", "null", "--chat", "--nickname", nickname]);
        command.stdin(Stdio::piped());
        let student = Process::start(&format!("student {user}"), command);
        student.wait_for("picture", is_picture);
        student
    }
}

/// A line of chat, as a program hears it.
pub fn said<'a>(user: &'a str, text: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "chat" && event["user"] == user && event["text"] == text
}

/// The list of raised hands, as a program hears it.
pub fn hands<'a>(order: &'a [&'a str]) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "hand" && event["hands"] == json!(order)
}

/// The names of the hands in the panel, in its order.
const HANDS: &str = "[...document.querySelectorAll('#hands li .name bdi:first-child')].map((name) => name.textContent)";

/// The sentence of the mark in the bar; nothing where there is none.
pub const MARK: &str = "witness.visible('#mark') ? document.querySelector('#mark').ariaLabel : ''";

/// The lines of chat in the panel: who, and what.
pub const LINES: &str = "[...document.querySelectorAll('#chat-lines > li')].map((line) => \
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

    /// Waits for the banner over the picture, and for its end when it is to be empty.
    #[track_caller]
    pub fn banner_is(&self, text: &str) {
        self.wait(&format!("banner {text:?}"), "witness.text('#banner:not([hidden])')", |banner| banner == text);
    }

    /// Waits for the mark in the bar, and for its end when it is to be empty: its sentence.
    #[track_caller]
    pub fn mark_is(&self, text: &str) {
        self.wait(&format!("mark {text:?}"), MARK, |mark| mark == text);
    }

    /// Clicks where the browser wants a click before it makes a sound.
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

    /// Waits until the page knows the person by this name.
    #[track_caller]
    pub fn is(&self, name: &str) {
        self.wait(&format!("name {name:?}"), "document.querySelector('#me').textContent", |me| {
            *me == format!("You are {name}")
        });
    }

    /// Writes in chat.
    #[track_caller]
    pub fn says(&self, text: &str) {
        self.fills("Message", text);
        self.presses("Enter");
    }

    /// Waits until somebody's words are in chat, once.
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

    /// Nothing ran that should not have, nothing was asked of anybody else, and nothing was complained of.
    #[track_caller]
    pub fn was_calm(&self, site: &str) {
        for kind in ["dialog", "exception"] {
            assert_eq!(self.events(kind), [] as [Value; 0], "{kind}");
        }
        let loud = |event: &Value| event["kind"] == "error" || event["kind"] == "warning";
        let complaints: Vec<Value> = self.events("console").into_iter().filter(loud).collect();
        assert_eq!(complaints, [] as [Value; 0]);
        assert_eq!(self.value("witness.violations"), json!([]));
        let host = site.trim_start_matches("http://");
        for request in self.events("request") {
            let url = request["url"].as_str().unwrap_or("");
            let ours = url.split_once("://").is_some_and(|(_, rest)| rest.starts_with(&format!("{host}/")));
            assert!(ours || url.starts_with("data:"), "a request to somebody else: {url}");
        }
    }
}
