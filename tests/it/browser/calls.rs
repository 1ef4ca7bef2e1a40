//! A room for calls: every answer, and every end of a call.

use serde_json::json;

use super::axe::has_axe;
use super::conference::FileOnDisk;
use super::driver::{Kind, Page};
use super::lab::{Lab, said};
use super::manners::is_readable;
use crate::calls::has_frames;

impl Page<'_> {
    /// Waits until a call comes in, and nobody has answered it.
    #[track_caller]
    fn rings(&self, text: &str) {
        self.wait_until("a call that comes in", "document.querySelector('#ring-in').open");
        self.wait("the caller", "document.querySelector('#ring-in-title').textContent", |shown| shown == text);
        self.wait_until("a title that blinks", &format!("document.title.includes({})", json!(text)));
    }

    /// Waits until the last call ended for this reason, and nothing rings any more.
    #[track_caller]
    fn reads_of_the_last_call(&self, text: &str) {
        self.wait("why the call ended", "witness.text('#last-call-text')", |shown| {
            shown.as_str().is_some_and(|shown| shown.starts_with(text))
        });
        self.wait_until("no dialog", "!document.querySelector('dialog[open]')");
    }

    /// Waits until no device of this person is in use.
    #[track_caller]
    fn has_closed_its_devices(&self) {
        let is_off = "['#own-camera-video', '#own-screen-video'].every((id) => \
            !document.querySelector(id).srcObject)";
        self.wait_until("no picture of oneself", is_off);
    }
}

#[test]
fn a_call_is_declined_cancelled_busy_or_taken() {
    let Some(lab) = Lab::new("answers to a call", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.comes_to_call(1001, "Ada");
    ada.shows("Nobody else is here yet.");
    let ben = lab.comes_to_call(1002, "Ben");
    let lei = lab.comes_to_call(1003, "Lei");
    is_readable(&ben);
    let checks = has_axe("the rules of axe-core in a room for calls");
    if checks {
        ben.is_accessible("whom to call");
    }

    ada.clicks("button", "Call Ben with picture");
    ben.rings("Ada is calling you");
    if checks {
        ben.is_accessible("a call that comes in");
        ada.is_accessible("a call that goes out");
    }
    lei.clicks("button", "Call Ben with sound only");
    lei.reads_of_the_last_call("Ben is busy.");
    ben.clicks("button", "Decline");
    ada.reads_of_the_last_call("Ben does not want to talk now.");
    ada.has_closed_its_devices();

    ada.clicks("button", "Call again");
    ben.rings("Ada is calling you");
    ben.clicks("button", "I am busy");
    ada.reads_of_the_last_call("Ben is busy.");

    ada.clicks("button", "Call Ben with sound only");
    ben.rings("Ada is calling you");
    ada.clicks("button", "Cancel");
    ben.reads_of_the_last_call("You missed a call of Ada.");
    ada.reads_of_the_last_call("You did not wait for Ben.");
    ada.has_closed_its_devices();

    ada.clicks("button", "Call Ben with picture");
    ben.rings("Ada is calling you");
    ben.clicks("button", "Accept with microphone only");
    ben.sees_and_hears(&[1001]);
    ada.hears(1002);
    ada.sees_no(1002, "camera");
    ada.shows("Your camera and microphone are on");
    ben.shows("Your microphone is on");
    ben.clicks("button", "Hang up");
    ada.reads_of_the_last_call("Ben ended the call. It lasted");
    ben.reads_of_the_last_call("You ended the call with Ada. It lasted");
    for page in [&ada, &ben] {
        page.has_closed_its_devices();
    }

    // Who has left cannot be called any more.
    ada.clicks("button", "Call Lei with picture");
    lei.rings("Ada is calling you");
    lei.closes();
    ada.reads_of_the_last_call("Lei is not here any more.");
    for page in [&ada, &ben] {
        page.was_calm(&lab.site());
    }
}

#[test]
fn in_a_call_people_change_what_they_send_and_write_to_each_other() {
    let Some(lab) = Lab::new("a call", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.comes_to_call(1001, "Ada");
    let ben = lab.comes_to_call(1002, "Ben");
    ada.clicks("button", "Call Ben with picture");
    ben.clicks("button", "Accept with camera and microphone");
    ada.sees_and_hears(&[1002]);
    ben.sees_and_hears(&[1001]);
    is_readable(&ada);
    if has_axe("the rules of axe-core in a call") {
        ada.is_accessible("in a call");
    }

    ben.clicks("button", "Share screen");
    ada.sees(1002, "screen");
    ben.presses("v");
    ada.sees_no(1002, "camera");
    ada.sees(1002, "screen");
    ben.clicks("button", "Stop sharing");
    ada.sees_no(1002, "screen");
    ben.presses("v");
    ada.sees(1002, "camera");
    ben.chooses_second_camera();
    ada.sees(1002, "screen");
    ada.sees(1002, "camera");
    ben.shows("Both cameras and the microphone are on");
    ben.clicks("button", "Stop sharing");
    ada.sees_no(1002, "screen");
    ben.presses("m");
    let sign = "witness.visible('.tile[data-user=\"1002\"] .tile-name .icon')";
    ada.wait_until("the sign of a microphone that is off", sign);
    ben.presses("m");
    ada.hears(1002);

    ada.says("can you read this?");
    ben.reads("Ada", "can you read this?");
    ada.reads("Ada", "can you read this?");
    ben.says("yes");
    ada.reads("Ben", "yes");

    // A name that would look like another kind of file.
    let sent = FileOnDisk::new("lecture \u{202e}fdp.bin", 3_000_001);
    ada.chooses("#file-input", &sent.path);
    ben.clicks("button", "Decline lecture fdp.bin");
    ada.shows("Declined");
    ada.chooses("#file-input", &sent.path);
    ben.clicks("button", "Accept lecture fdp.bin");
    let (name, bytes) = ben.saves("Save lecture fdp.bin");
    assert!(name == "lecture fdp.bin" && bytes == sent.bytes, "{name}, {} bytes", bytes.len());
    ada.shows("Sent");
    ada.hears(1002);
    if has_axe("the rules of axe-core with files in the chat") {
        ben.is_accessible("files in the chat");
    }

    // A reload is not the end of a call.
    ben.reloads();
    ben.is_inside();
    ben.sees(1001, "camera");
    ada.sees_and_hears(&[1002]);
    ada.clicks("button", "Hang up");
    ben.shows("Ada ended the call.");
    ada.was_calm(&lab.site());
}

#[test]
fn a_call_ends_when_the_other_one_does_not_come_back() {
    let Some(lab) = Lab::new("a lost call", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.comes_to_call(1001, "Ada");
    let ben = lab.comes_to_call(1002, "Ben");
    ada.clicks("button", "Call Ben with picture");
    ben.clicks("button", "Accept with camera and microphone");
    ada.sees(1002, "camera");
    ben.closes();
    ada.wait_until("an end or a broken call", "witness.visible('#last-call') || witness.visible('.tile-trouble')");
    ada.reads_of_the_last_call("The connection to Ben broke and did not come back.");
    ada.has_closed_its_devices();
}

#[test]
fn a_page_and_a_terminal_call_each_other() {
    let Some(lab) = Lab::new("calls of a page and a terminal", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.comes_to_call(1001, "Ada");
    let mut desk = lab.terminal("call", 1002, "Ben", &["--answer", "--sink", "null"]);
    ada.clicks("button", "Call Ben with picture");
    ada.sees_and_hears(&[1002]);
    for track in ["audio", "camera"] {
        desk.wait_for(track, has_frames("1001", track));
    }
    ada.says("can you read this?");
    desk.wait_for("the question", said("1001", "can you read this?"));
    desk.types("yes");
    ada.reads("Ben", "yes");
    ada.clicks("button", "Hang up");
    let ended = desk.wait_for("the end", |event| event["event"] == "call" && event["state"] == "ended");
    assert_eq!(ended["reason"], "hung-up");
    desk.types("/leave");
    desk.ends_with(0);

    let flags = ["--to", "1001", "--sink", "null", "--expect", "participants==1"];
    let mut caller = lab.terminal("call", 1003, "Cleo", &flags);
    ada.rings("Cleo is calling you");
    ada.clicks("button", "Accept with camera and microphone");
    ada.sees_and_hears(&[1003]);
    for track in ["audio", "camera"] {
        caller.wait_for(track, has_frames("1001", track));
    }
    caller.types("/leave");
    caller.ends_with(0);
    ada.reads_of_the_last_call("Cleo ended the call. It lasted");
    ada.was_calm(&lab.site());
}
