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
    let (user, url) = (user.to_string(), class.url());
    let common = ["meet", "--room", ROOM, "--user", &user, "--server", &url, "--sink", "null", "--chat"];
    let mut command = class.command(&[&common, flags].concat());
    command.stdin(Stdio::piped());
    let process = Process::start(&format!("meet {user}"), command);
    process.wait_for("the room", |event| event["event"] == "joined");
    process
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
    ada.types("/spotlight Cleo");
    ben.wait_for("the big screen", is_participant("1003", "large"));
    ada.types("/spotlight off");
    ben.wait_for("the big screen", is_participant("1003", "not-large"));
    cleo.types("/spotlight");
    ada.wait_for("the big screen", is_participant("1003", "large"));
    cleo.types("/spotlight off");
    ada.wait_for("the big screen", is_participant("1003", "not-large"));

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
    ada.types("/recall");
    for process in [&ben, &cleo] {
        process.wait_for("the way back", says("you are back in the meeting"));
    }

    ada.types("/kick Cleo");
    assert!(cleo.ends_with(5).contains("put you out"));
    let kicked = ada.wait_for("an order", is_order("kick"));
    assert_eq!((&kicked["user"], &kicked["nickname"]), (&json!("1003"), &json!("Cleo")));
    ada.types("/handover Ben");
    ben.wait_for("the meeting", says("you own the meeting"));
    ada.wait_for("another owner", says("Ben (1002) owns the meeting now"));
    ben.types("/end");
    for process in [&mut ada, &mut ben] {
        process.ends_with(0);
        assert_eq!(process.events().last().unwrap()["reason"], "meeting-over");
    }
}
