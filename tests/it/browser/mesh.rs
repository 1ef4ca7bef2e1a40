//! A meeting without the page's views: every participant sees and hears every other one over a connection of the two.

use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;
use crate::calls::has_frames;
use crate::support::{Process, ROOM, Recorded};

/// The script of a participant.
const PARTICIPANT: &str = include_str!("../../browser/participant.js");

/// Coding and scaling move a hue by some degrees, and a bin of the spectrum has 6 Hz.
const HUE_TOLERANCE: f64 = 25.0;
const TONE_TOLERANCE: f64 = 12.0;

/// The user id and the tone of a terminal.
const TERMINAL: u32 = 1009;
const TERMINAL_TONE: f64 = 440.0;

/// Participant 1 to 4, known by a colour and a tone.
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

    /// Waits until this participant sees and hears the others, in `role`, each by one connection.
    #[track_caller]
    fn meets(&self, others: &[&Guest<'_>], role: &str) {
        for other in others {
            let id = user(other.number);
            let hue = f64::from(90 * other.number % 360);
            let is_hue = |seen: &Value| seen.as_f64().is_some_and(|seen| distance(seen, hue) < HUE_TOLERANCE);
            self.page.wait(&format!("picture of {id}"), &format!("participant.hueOf('{id}', '{role}')"), is_hue);
            let tone = f64::from(400 * other.number);
            let is_tone = |heard: &Value| heard.as_f64().is_some_and(|heard| (heard - tone).abs() < TONE_TOLERANCE);
            self.page.wait(&format!("sound of {id}"), &format!("participant.toneOf('{id}')"), is_tone);
        }
        let open = "witness.connections.map((pc) => pc.connectionState).filter((state) => state !== 'closed')";
        let is_whole = |states: &Value| *states == json!(vec!["connected"; others.len()]);
        self.page.wait("one connection for each", open, is_whole);
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

/// The angle between two hues, in degrees.
fn distance(one: f64, two: f64) -> f64 {
    let apart = (one - two).abs() % 360.0;
    apart.min(360.0 - apart)
}

fn serve(lab: &Lab) -> Process {
    let listen = format!("127.0.0.1:{}", lab.class.port());
    let server = Process::start("server", lab.class.command(&["serve", "--listen", &listen, "--meetings", "anyone"]));
    server.wait_for("listening", |event| event["event"] == "listening");
    server
}

#[test]
fn four_in_a_meeting_see_and_hear_each_other_through_reloads_and_losses() {
    let Some(lab) = Lab::new("four in a meeting", Kind::Chromium) else { return };
    let server = serve(&lab);
    let [ada, bob] = [1, 2].map(|number| Guest::enters(&lab, number));
    ada.meets(&[&bob], "camera");
    bob.meets(&[&ada], "camera");

    // A screen instead of the camera, and back: the connection stays.
    bob.page.value("participant.showAs('screen')");
    ada.meets(&[&bob], "screen");
    bob.page.value("participant.showAs('camera')");
    ada.meets(&[&bob], "camera");
    assert_eq!(ada.page.value("witness.connections.length"), 1);

    let [eve, dan] = [3, 4].map(|number| Guest::enters(&lab, number));
    let all = [&ada, &bob, &eve, &dan];
    let meet = |present: &[&Guest<'_>]| {
        for one in present {
            let others: Vec<_> = present.iter().copied().filter(|other| other.number != one.number).collect();
            one.meets(&others, "camera");
        }
    };
    meet(&all);

    eve.page.reloads();
    eve.begins();
    meet(&all);

    // Both ends of each connection ask for a restart of ICE at once.
    for guest in all {
        guest.page.value("witness.connections.forEach((pc) => pc.connectionState === 'closed' || pc.restartIce())");
    }
    meet(&all);
    // One end is gone for good, and both make another connection.
    bob.page.value("witness.connections.at(-1).close()");
    let lost = "[...participant.mesh.peers.values()].some(({ state }) => state !== 'connected')";
    eve.page.wait_until("a lost connection", lost);
    meet(&all);

    dan.page.value("participant.leave()");
    let rest = &all[..3];
    meet(rest);

    let file = lab.class.directory().join("meeting.mkv");
    let flags = ["--sink", file.to_str().unwrap(), "--expect", "participants==3"];
    let mut terminal = lab.terminal("meet", TERMINAL, "Terminal", &flags);
    for guest in rest {
        guest.sees_the_terminal();
        guest.hears_the_terminal();
        for track in ["audio", "camera"] {
            terminal.wait_for(track, has_frames(&user(guest.number), track));
        }
    }
    terminal.types("/leave");
    terminal.ends_with(0);
    let recorded = Recorded::of(&file);
    for guest in rest {
        recorded.has(f64::from(90 * guest.number), f64::from(400 * guest.number));
    }
    meet(rest);
    drop(server);
}

#[test]
fn firefox_and_a_terminal_meet() {
    let Some(lab) = Lab::new("Firefox and a terminal in a meeting", Kind::Firefox) else { return };
    let _server = serve(&lab);
    let ada = Guest::enters(&lab, 1);
    let mut terminal = lab.terminal("meet", TERMINAL, "Terminal", &["--sink", "null"]);
    for track in ["audio", "camera"] {
        terminal.wait_for(track, has_frames("1001", track));
    }
    ada.hears_the_terminal();
    // Without the plug-in that it would download, Firefox has no H.264.
    terminal.wait_for("a missing picture", |event| event["state"] == "undecodable" && event["user"] == "1001");
    terminal.types("/leave");
    terminal.ends_with(0);
}
