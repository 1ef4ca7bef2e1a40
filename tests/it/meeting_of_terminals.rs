//! A meeting of terminals: it moves to the server while a file is on its way, and its owner gives orders. Real
//! programs, real media.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value as Event, json};

use crate::calls::has_frames;
use crate::conference::Peer;
use crate::support::{Classroom, DEADLINE, Process, ROOM};

fn meet(class: &Classroom, user: u32, flags: &[&str]) -> Process {
    let process = comes(class, user, flags);
    process.wait_for("the room", |event| event["event"] == "joined");
    process
}

/// As [`meet`], and perhaps has to wait.
fn comes(class: &Classroom, user: u32, flags: &[&str]) -> Process {
    let (user, url) = (user.to_string(), class.url());
    let common = ["meet", "--room", ROOM, "--user", &user, "--server", &url, "--sink", "null", "--chat"];
    let mut command = class.command(&[&common, flags].concat());
    command.stdin(Stdio::piped());
    Process::start(&format!("meet {user}"), command)
}

fn is_participant<'a>(user: &'a str, state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "participant" && event["user"] == user && event["state"] == state
}

fn is_file<'a>(name: &'a str, state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "file" && event["name"] == name && event["state"] == state
}

fn says(words: &str) -> impl Fn(&Event) -> bool {
    move |event| event["message"].as_str().is_some_and(|message| message.contains(words))
}

fn is_order(order: &str) -> impl Fn(&Event) -> bool {
    move |event| event["event"] == "order" && event["order"] == order
}

/// A file of so many bytes, none like another.
fn file(directory: &Path, name: &str, size: usize) -> PathBuf {
    let path = directory.join(name);
    let bytes: Vec<u8> = (0..size).map(|n| ((n * 31) ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    fs::write(&path, bytes).unwrap();
    path
}

fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_survives_the_move_to_the_server_and_no_pair_does() {
    let class = Classroom::new();
    let _server = class.server();
    let inbox = class.directory().join("in box");
    fs::create_dir(&inbox).unwrap();
    let mut ada = meet(&class, 1001, &["--speak-test"]);
    let mut ben = meet(&class, 1002, &["--files", inbox.to_str().unwrap()]);
    let cleo = meet(&class, 1003, &[]);
    // Somebody whose computer answers no offer.
    let mut dan = Peer::meet(&class, 1004, &"d".repeat(32)).await;
    for silent in [&ben, &cleo] {
        silent.wait_for("picture", has_frames("1001", "camera"));
    }
    for user in ["1002", "1003"] {
        ada.wait_for("a connection", is_participant(user, "connected"));
    }
    let (large, small) = (file(class.directory(), "large file.bin", 12_000_000), file(class.directory(), "a.txt", 9));
    ada.types(&format!("/send {} 1003", small.display()));
    let declined = ada.wait_for("an answer", is_file("a.txt", "declined"));
    assert_eq!((&declined["user"], &declined["reason"]), (&json!("1003"), &json!("no-files")));
    cleo.wait_for("advice", is_file("a.txt", "declined"));
    ada.types(&format!("/send {} 1002", large.display()));
    let taken_back = file(class.directory(), "taken back.bin", 20_000_000);
    ada.types(&format!("/send {} 1002", taken_back.display()));
    ben.wait_for("some of it", is_file("taken back.bin", "running"));
    ada.types("/cancel taken back.bin");
    ada.wait_for("the end of a file", is_file("taken back.bin", "cancelled"));
    // If the word finds no room beside the bytes of the file, the channel ends without it.
    let ends = |event: &Event| ["cancelled", "lost"].iter().any(|state| is_file("taken back.bin", state)(event));
    ben.wait_for("the end of a file", ends);
    ada.types("/cancel notes.pdf");
    ada.wait_for("advice", says("no file notes.pdf is on its way"));
    let running = ben.wait_for("some of it", is_file("large file.bin", "running"));
    assert!(running["bytes"].as_u64() < Some(12_000_000), "{running}");
    dan.say(json!({"type": "overloaded"})).await;
    // Each gets what it wants from the server, and the file still comes from Ada.
    for (process, other) in [(&ada, "1003"), (&cleo, "1001"), (&cleo, "1002"), (&ben, "1003")] {
        process.wait_for("the end of a pair", is_participant(other, "moved"));
    }
    ada.wait_for("the end of a file", is_file("large file.bin", "done"));
    let done = ben.wait_for("a file", is_file("large file.bin", "done"));
    let path = PathBuf::from(done["path"].as_str().unwrap());
    assert_eq!(path, inbox.join("large file.bin"));
    assert!(same(&path, &large));
    for (process, other) in [(&ada, "1002"), (&ben, "1001")] {
        process.wait_for("the end of a pair", is_participant(other, "moved"));
    }
    let mark = ben.mark();
    ben.wait_since(mark, DEADLINE, "picture from the server", has_frames("1001", "camera"));
    let is_own = |event: &Event| event["event"] == "participant-stats" && event["user"] == "1001";
    assert!(!ada.events().iter().any(is_own), "nobody sees or hears itself");

    // Over the server: what fits, resumed in parts, and under a name of its own.
    ada.types(&format!("/send {}", large.display()));
    ada.wait_for("a reason", says("a file may have 10 MB while the server"));
    let medium = file(class.directory(), "medium.bin", 600_001);
    fs::write(inbox.join("medium.bin"), "mine").unwrap();
    ada.types(&format!("/send {}", medium.display()));
    let shared = ada.wait_for("a file at the server", is_file("medium.bin", "shared"));
    assert_eq!(shared["user"], json!(null));
    let done = ben.wait_for("a file", is_file("medium.bin", "done"));
    assert_eq!(done["path"].as_str(), inbox.join("medium (2).bin").to_str());
    assert!(same(&inbox.join("medium (2).bin"), &medium));
    cleo.wait_for("advice", is_file("medium.bin", "declined"));
    assert_eq!(fs::read_to_string(inbox.join("medium.bin")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 3, "nothing is left over");

    // Somebody is in the room alone, and is called.
    dan.say(json!({"type": "hangup", "targetUid": "1004"})).await;
    ada.wait_for("somebody out of the meeting", is_participant("1004", "left"));
    ada.types("/callall");
    assert_eq!(dan.hear("call").await["userId"], "1001");
    ben.types("/leave");
    ben.ends_with(0);
}

#[test]
fn the_owner_of_a_meeting_gives_orders_at_the_terminal() {
    let class = Classroom::new();
    let _server = class.server();
    let mut ada = meet(&class, 1001, &["--nickname", "Ada", "--speak-test"]);
    ada.wait_for("a place", says("you own the meeting"));
    let mut ben = meet(&class, 1002, &["--nickname", "Ben"]);
    let mut cleo = meet(&class, 1003, &["--nickname", "Cleo", "--speak-test"]);
    for process in [&ada, &ben] {
        process.wait_for("everybody", is_participant("1003", "entered"));
    }
    ada.wait_for("everybody", is_participant("1002", "entered"));
    ben.types("/help");
    let help = ben.wait_for("help", says("you can type"))["message"].as_str().unwrap().to_owned();
    assert!(help.contains("/send") && help.contains("/spotlight") && !help.contains("/handover"), "{help}");
    ada.types("/help");
    ada.wait_for("help", says("/handover"));
    ben.types("/rename Mine");
    ben.wait_for("a refusal", says("only the owner"));

    ada.types("/rename Staff room");
    ben.wait_for("the name", says("the meeting is called Staff room"));
    ada.wait_for("an order", is_order("rename"));
    ada.types("/lock");
    ben.wait_for("the lock", says("the meeting is locked"));
    // A microphone goes off by the owner, and on again by its own user.
    let heard = |process: &Process| process.wait_for("a sound", is_participant("1003", "connected"));
    heard(&ada);
    ben.types("/micoff Cleo");
    ben.wait_for("a refusal", says("only the owner and members who moderate give orders"));
    for (who, typed, sends) in [(1001, "/micoff Cleo", json!(["camera"])), (1003, "/mic", json!(["audio", "camera"]))] {
        let mark = ada.mark();
        if who == 1001 { &mut ada } else { &mut cleo }.types(typed);
        ada.wait_since(mark, DEADLINE, "other tracks", |event| {
            is_participant("1003", "sends")(event) && event["sends"] == sends
        });
    }
    cleo.wait_for("advice", says("your microphone is off: /mic switches it on again"));
    for (by_owner, on, off) in [(true, "/spotlight Cleo", "/spotlight off"), (false, "/spotlight", "/spotlight off")] {
        let marks = [ada.mark(), ben.mark(), cleo.mark()];
        // Who takes the place back knows of it: itself or by the list.
        for (typed, state) in [(on, "large"), (off, "not-large")] {
            if by_owner { &mut ada } else { &mut cleo }.types(typed);
            for (process, mark) in [&ada, &ben, &cleo].into_iter().zip(marks) {
                process.wait_since(mark, DEADLINE, "the big screen", is_participant("1003", state));
            }
        }
    }

    ada.types("/split 2 10m");
    for process in [&ben, &cleo] {
        process.wait_for("a breakout room", says("you are in breakout room"));
    }
    ada.wait_for("an order", is_order("split"));
    ada.types("/who");
    let who = ada.wait_for("who is where", says("in breakout room 1"))["message"].clone();
    assert!(who.as_str().unwrap().starts_with("in the meeting: Ada (1001); in breakout room 1: "), "{who}");
    ada.types("/announce five more minutes");
    ben.wait_for("the sentence", says("Ada (1001) says to all breakout rooms: five more minutes"));
    ada.types("/visit 1");
    ada.wait_for("a visit", says("you are in breakout room 1 of 2"));
    ada.types("/back");
    ada.wait_for("the way back", says("you are back in the meeting"));
    ada.types("/assign Ben 0");
    ben.wait_for("another place", says("you are back in the meeting"));
    ada.types("/recall");
    for process in [&ben, &cleo] {
        process.wait_for("the way back", says("you are back in the meeting"));
    }

    ada.types("/kick Cleo");
    assert!(cleo.ends_with(5).contains("put you out"));
    let kicked = ada.wait_for("an order", is_order("kick"));
    assert_eq!((&kicked["user"], &kicked["nickname"]), (&json!("1003"), &json!("Cleo")));
    for (typed, order) in [("/unban 1003", "unban"), ("/unlock", "unlock"), ("/code blue-fox", "code")] {
        ada.types(typed);
        ada.wait_for("an order", is_order(order));
    }
    ada.types("/code");
    ada.wait_for("the code", says("the join code is blue-fox"));
    for (typed, order) in [("/code off", "code-off"), ("/lobby on", "lobby-on")] {
        ada.types(typed);
        ada.wait_for("an order", is_order(order));
    }
    let waits =
        |user: &'static str| move |event: &Event| event["event"] == "lobby" && event["waiting"][0]["user"] == user;
    let mut dan = comes(&class, 1004, &[]);
    ada.wait_for("somebody who waits", waits("1004"));
    ada.types("/deny 1004");
    dan.ends_with(5);
    let mut eve = comes(&class, 1005, &[]);
    ada.wait_for("somebody who waits", waits("1005"));
    ada.types("/admit 1005");
    ada.wait_for("somebody new", is_participant("1005", "entered"));
    ada.types("/ban 1005");
    eve.ends_with(5);
    ada.types("/handover Ben");
    ben.wait_for("the meeting", says("you own the meeting"));
    ada.wait_for("another owner", says("Ben (1002) owns the meeting now"));
    ben.types("/end");
    for process in [&mut ada, &mut ben] {
        process.ends_with(0);
        assert_eq!(process.events().last().unwrap()["reason"], "meeting-over");
    }
}
