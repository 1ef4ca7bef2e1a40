//! Calls and meetings of terminals: real programs, real media.

use std::process::Stdio;

use serde_json::{Value as Event, json};

use crate::stage_of_watch::{frames, has_track};
use crate::support::{Classroom, DEADLINE, Process};

/// The statistics of a track of a participant, after some frames.
pub(crate) fn has_frames<'a>(user: &'a str, track: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| {
        event["event"] == "participant-stats"
            && event["user"] == user
            && event["track"] == track
            && event["frames"].as_u64().is_some_and(|frames| frames > 20)
    }
}

fn is_call<'a>(user: &'a str, state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "call" && event["user"] == user && event["state"] == state
}

fn is_participant<'a>(user: &'a str, state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "participant" && event["user"] == user && event["state"] == state
}

fn start(class: &Classroom, verb: &str, user: &str, flags: &[&str]) -> Process {
    let url = class.url();
    let name = format!("{verb} {user}");
    let mut command = class.command(&[&[verb, "--user", user, "--server", &url, "--chat"], flags].concat());
    command.stdin(Stdio::piped());
    Process::start(&name, command)
}

fn says<'a>(user: &'a str, text: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "chat" && event["user"] == user && event["text"] == text
}

/// Repeats a message until both have it: the data channel opens a little later than the first frame comes.
#[track_caller]
fn say_until_heard(speaker: &mut Process, by: &Process, user: &str, text: &str) -> Event {
    let is_answer = |event: &Event| says(user, text)(event) || event["event"] == "warning";
    let told = (0..200).map(|_| {
        let mark = speaker.mark();
        speaker.types(text);
        speaker.wait_since(mark, DEADLINE, "an echo, or a warning", is_answer)
    });
    let echo = { told }.find(|told| told["event"] == "chat").expect("a data channel");
    by.wait_for(text, says(user, text));
    echo
}

#[track_caller]
fn see_and_hear(process: &Process, mark: usize, user: &str) {
    for track in ["audio", "camera"] {
        process.wait_since(mark, DEADLINE, &format!("{track} of {user}"), has_frames(user, track));
    }
}

#[test]
fn a_lab_machine_takes_one_call_after_another_and_is_busy_meanwhile() {
    let class = Classroom::new();
    let _server = class.server();
    let mut early = start(&class, "call", "1003", &["--to", "1002", "--speak-test", "--sink", "null"]);
    assert!(early.ends_with(12).contains("1002 is not there"), "nobody answers calls yet");
    let mut desk = start(&class, "call", "1002", &["--answer", "--speak-test", "--sink", "null"]);
    desk.wait_for("the room", |event| event["event"] == "joined");
    let file = class.directory().join("call.mkv");
    let flags = ["--to", "1002", "--nickname", "Anna", "--speak-test", "--expect", "participants==1", "--sink"];
    let flags = [&flags[..], &[file.to_str().unwrap()]].concat();
    let mut caller = start(&class, "call", "1001", &flags);
    caller.wait_for("the call", is_call("1002", "accepted"));
    let ringing = desk.wait_for("a call", is_call("1001", "ringing"));
    assert_eq!(ringing["nickname"], "Anna");
    see_and_hear(&caller, 0, "1002");
    see_and_hear(&desk, 0, "1001");
    let mut third = start(&class, "call", "1003", &["--to", "1002", "--speak-test", "--sink", "null"]);
    assert!(third.ends_with(10).contains("is in a call"));
    say_until_heard(&mut caller, &desk, "1001", "can you hear me?");
    desk.types("//yes \u{202e}<b>");
    let answer = caller.wait_for("the answer", says("1002", "/yes <b>"));
    assert_eq!((&answer["teacher"], &answer["to"]), (&json!(false), &json!(null)));
    desk.types("/react clap");
    caller.wait_for("applause", |event| event["event"] == "reaction" && event["user"] == "1002");
    let mark = desk.mark();
    caller.types("/leave");
    caller.ends_with(0);
    let ended = desk.wait_since(mark, DEADLINE, "the end of the call", is_call("1001", "ended"));
    assert_eq!(ended["reason"], "hung-up");
    for name in ["1002 camera", "1002 audio"] {
        assert!(has_track(&file, name), "no {name}");
    }
    let frames = frames(&file);
    assert!(frames.len() == 2 && frames.values().all(|count| *count > 20), "{frames:?}");
    let own = caller.events().into_iter().find(|event| event["event"] == "participant" && event["user"] == "1001");
    assert_eq!(own, None, "nobody sees or hears itself");

    // The next one, who hears the end.
    let mark = desk.mark();
    let flags = ["--to", "1002", "--speak-test", "--sink", "null", "--expect", "fps>100", "--expect", "lost>=0"];
    let mut next = start(&class, "call", "1004", &flags);
    see_and_hear(&next, 0, "1002");
    see_and_hear(&desk, mark, "1004");
    // Pictures per second are known from the second look on.
    see_and_hear(&next, next.mark(), "1002");
    desk.interrupt();
    desk.ends_with(0);
    let error = next.ends_with(8);
    assert!(error.contains("expected fps>100, but it was") && !error.contains("lost"), "{error}");
}

#[test]
fn three_meet_and_each_sees_and_hears_the_two_others() {
    let class = Classroom::new();
    let _server = class.server();
    let users = ["1001", "1002", "1003"];
    let meet = |user| start(&class, "meet", user, &["--room", "77", "--speak-test", "--sink", "null"]);
    let mut members: Vec<Process> = Vec::new();
    for user in users {
        let member = meet(user);
        member.wait_for("the room", |event| event["event"] == "joined");
        members.push(member);
    }
    for (n, member) in members.iter().enumerate() {
        for other in users.iter().filter(|other| **other != users[n]) {
            let entered = member.wait_for("another participant", is_participant(other, "entered"));
            assert_eq!(entered["sends"], json!(["audio", "camera"]));
            see_and_hear(member, 0, other);
        }
    }
    // They write to all and to one alone, and raise a hand.
    members[0].types("good morning");
    members[0].types("/to 1003 can you stay?");
    members[1].types("/hand");
    let private = members[2].wait_for("a private message", says("1001", "can you stay?"));
    assert_eq!(private["to"], "1003");
    for member in &members {
        member.wait_for("a message to all", says("1001", "good morning"));
        let raised = member.wait_for("a hand", |event| event["event"] == "hand");
        assert_eq!((&raised["user"], &raised["raised"]), (&json!("1002"), &json!(true)));
    }
    members[1].types("/to 1004 hello");
    members[1].wait_for("a reason", |event| {
        let why = event["message"].as_str().unwrap_or_default();
        event["event"] == "warning" && why.contains("1004 is not in the room")
    });
    assert!(!members[1].events().iter().any(says("1001", "can you stay?")), "it was for 1003 alone");
    // One is killed, and one leaves.
    let marks: Vec<usize> = members.iter().map(Process::mark).collect();
    members[2].kill();
    for n in [0, 1] {
        members[n].wait_since(marks[n], DEADLINE, "the end of the killed one", is_participant("1003", "left"));
    }
    members[1].types("/leave");
    members[1].ends_with(0);
    let left = members[1].events().into_iter().next_back().unwrap();
    assert_eq!(left["reason"], "left");
    members[0].wait_since(marks[0], DEADLINE, "the end of the one who left", is_participant("1002", "left"));
    // Who returns is seen and heard again.
    let mark = members[0].mark();
    let again = meet("1002");
    see_and_hear(&again, 0, "1001");
    see_and_hear(&members[0], mark, "1002");
    let flags = ["--room", "77", "--sink", "null", "--expect", "participants==2", "--expect", "fps>0"];
    let mut watcher = start(&class, "meet", "1004", &flags);
    see_and_hear(&watcher, 0, "1001");
    see_and_hear(&watcher, 0, "1002");
    // Frames per second are measured over some time.
    watcher.wait_for("more frames", |event| has_frames("1002", "camera")(event) && event["frames"].as_u64() > Some(60));
    watcher.wait_for("what was said before", says("1001", "good morning"));
    let silent = again.wait_for("who only watches", is_participant("1004", "entered"));
    assert_eq!(silent["sends"], json!([]));
    watcher.terminate();
    watcher.ends_with(0);
}
