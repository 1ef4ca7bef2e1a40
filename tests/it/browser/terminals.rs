//! Meetings of terminals with pages that have no views: each knows the other ones by a colour and a tone.

use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;
use crate::calls::has_frames;
use crate::support::{Process, ROOM, Recorded};

/// The script of a participant.
const PARTICIPANT: &str = include_str!("../../browser/participant.js");

/// A bin of the spectrum has 6 Hz.
const TONE_TOLERANCE: f64 = 12.0;

/// The user id and the tone of a terminal.
const TERMINAL: u32 = 1009;
const TERMINAL_TONE: f64 = 440.0;

/// A participant, known by a colour and a tone.
struct Guest<'a> {
    number: u32,
    page: Page<'a>,
}

fn user(number: u32) -> String {
    (1000 + number).to_string()
}

impl<'a> Guest<'a> {
    fn enters(lab: &'a Lab, number: u32) -> Self {
        let page = lab.browser.open(&format!("{}/", lab.site()));
        let guest = Self { number, page };
        guest.begins();
        guest
    }

    /// Runs the script on a page that has just been loaded, and waits until this user takes part.
    fn begins(&self) {
        self.page.wait_until("a page", "document.readyState === 'complete'");
        // A browser plays sound only after a key or a click.
        self.page.presses("x");
        let session = format!("{:s>16}", user(self.number));
        let who = json!({
            "userId": user(self.number),
            "room": ROOM,
            "session": session,
            "hue": 90 * self.number,
            "tone": 400 * self.number,
        });
        self.page.value(&format!("({})({who})", PARTICIPANT.trim()));
        self.page.wait_until("a place in the meeting", "participant.phase === 'in'");
    }
}

impl Guest<'_> {
    #[track_caller]
    fn sees_the_terminal(&self) {
        let frames = format!("participant.framesOf('{TERMINAL}')");
        self.page.wait("picture of the terminal", &frames, |frames| frames.as_u64().is_some_and(|frames| frames > 20));
    }

    #[track_caller]
    fn hears_the_terminal(&self) {
        let is_tone =
            |heard: &Value| heard.as_f64().is_some_and(|heard| (heard - TERMINAL_TONE).abs() < TONE_TOLERANCE);
        self.page.wait("sound of the terminal", &format!("participant.toneOf('{TERMINAL}')"), is_tone);
    }
}

fn serve(lab: &Lab) -> Process {
    let listen = format!("127.0.0.1:{}", lab.class.port());
    let server = Process::start("server", lab.class.command(&["serve", "--listen", &listen, "--meetings", "anyone"]));
    server.wait_for("listening", |event| event["event"] == "listening");
    server
}

#[test]
fn two_pages_and_a_terminal_meet() {
    let Some(lab) = Lab::new("two pages and a terminal in a meeting", Kind::Chromium) else { return };
    let _server = serve(&lab);
    let guests = [1, 2].map(|number| Guest::enters(&lab, number));
    let file = lab.class.directory().join("meeting.mkv");
    let flags = ["--sink", file.to_str().unwrap(), "--expect", "participants==2"];
    let mut terminal = lab.terminal("meet", TERMINAL, "Terminal", &flags);
    for guest in &guests {
        guest.sees_the_terminal();
        guest.hears_the_terminal();
        for track in ["audio", "camera"] {
            terminal.wait_for(track, has_frames(&user(guest.number), track));
        }
    }
    terminal.types("/leave");
    terminal.ends_with(0);
    let recorded = Recorded::of(&file);
    for guest in &guests {
        recorded.has(f64::from(90 * guest.number), f64::from(400 * guest.number));
    }
    recorded.has_no_tone(TERMINAL_TONE);
}
