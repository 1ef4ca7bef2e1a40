//! Chat, hands and reactions between the real programs, over their data channels.

use std::process::Stdio;

use serde_json::{Value as Event, json};

use crate::support::{Classroom, DEADLINE, Process};

/// A teacher with a small test picture, who types.
fn teacher(class: &Classroom) -> Process {
    let listen = class.url().replace("ws://", "");
    let flags = ["--test", "--no-audio", "--size", "320x180", "--nickname", "Ms Li", "--chat", "--listen", &listen];
    let mut command = class.teach(&flags);
    command.stdin(Stdio::piped());
    let teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

/// A student who types and already watches.
fn student(class: &Classroom, user: u32) -> Process {
    let nickname = format!("S-{user}");
    let mut command = class.watch(user, &["--sink", "null", "--chat", "--nickname", &nickname]);
    command.stdin(Stdio::piped());
    let student = Process::start(&format!("student {user}"), command);
    student.wait_for("picture", |event| event["event"] == "first-frame");
    student
}

fn says<'a>(user: &'a str, text: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "chat" && event["user"] == user && event["text"] == text
}

fn hands<'a>(order: &'a [&'a str]) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "hand" && event["hands"] == json!(order)
}

/// Repeats a message until it arrives. The data channel of a student opens a little later than its picture comes.
#[track_caller]
fn say_until_heard(speaker: &mut Process, by: &Process, user: &str, text: &str) -> Event {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let mark = speaker.mark();
        speaker.types(text);
        let told = speaker.wait_since(mark, DEADLINE, "an echo, or a warning", |event| {
            says(user, text)(event) || event["event"] == "warning"
        });
        if told["event"] == "chat" {
            return by.wait_for(text, says(user, text));
        }
        assert!(std::time::Instant::now() < deadline, "{told}");
    }
}

#[test]
fn everybody_reads_all_messages_with_the_right_names() {
    let class = Classroom::new();
    let mut teacher = teacher(&class);
    let (mut one, two) = (student(&class, 1001), student(&class, 1002));
    let heard = say_until_heard(&mut one, &teacher, "1001", "can you zoom in?");
    assert_eq!((&heard["nickname"], &heard["teacher"]), (&json!("S-1001"), &json!(false)));
    two.wait_for("the question", says("1001", "can you zoom in?"));
    teacher.types("of course \u{202e}\u{7}<b>now</b>");
    for reader in [&one, &two, &teacher] {
        let answer = reader.wait_for("the answer", says("9999", "of course <b>now</b>"));
        assert_eq!((&answer["nickname"], &answer["teacher"]), (&json!("Ms Li"), &json!(true)));
    }
    // A student who joins later reads each message once.
    let three = student(&class, 1003);
    three.wait_for("what was said before", says("9999", "of course <b>now</b>"));
    assert_eq!(three.events().iter().filter(|event| event["event"] == "chat").count(), 2);
    one.types("/react clap");
    let clap = |event: &Event| event["event"] == "reaction" && event["user"] == "1001" && event["reaction"] == "clap";
    teacher.wait_for("applause", clap);
    two.wait_for("applause", clap);
}

#[test]
fn everybody_knows_when_the_teacher_turns_off_reactions_and_chat_over_the_picture() {
    let class = Classroom::new();
    let mut teacher = teacher(&class);
    let mut one = student(&class, 1001);
    say_until_heard(&mut one, &teacher, "1001", "here");
    let allowed = |comments: bool, reactions: bool| {
        move |event: &Event| {
            event["event"] == "allowed" && event["comments"] == comments && event["reactions"] == reactions
        }
    };
    teacher.types("/reactions off");
    teacher.types("/comments off");
    for reader in [&teacher, &one] {
        reader.wait_for("no reactions", allowed(true, false));
        reader.wait_for("nothing allowed", allowed(false, false));
    }
    // A student who joins later knows the state, too, and reads a notice instead of an error.
    let mut two = student(&class, 1002);
    two.wait_for("nothing allowed", allowed(false, false));
    two.types("/react clap");
    two.wait_for("notice", |event| {
        event["event"] == "notice" && event["message"] == "reactions are not allowed at present"
    });
    let mark = teacher.mark();
    teacher.types("/reactions on");
    two.wait_for("reactions again", allowed(false, true));
    two.types("/react clap");
    teacher.wait_since(mark, DEADLINE, "applause", |event| event["event"] == "reaction" && event["user"] == "1002");
    assert!(!teacher.events()[..mark].iter().any(|event| event["event"] == "reaction"));
}

#[test]
fn hands_keep_their_order_and_the_teacher_lowers_them() {
    let class = Classroom::new();
    let mut teacher = teacher(&class);
    let mut students: Vec<Process> = (1001..=1003).map(|user| student(&class, user)).collect();
    for (n, user) in ["1001", "1002", "1003"].into_iter().enumerate() {
        say_until_heard(&mut students[n], &teacher, user, "here");
    }
    students[1].types("/hand");
    teacher.wait_for("a hand", hands(&["1002"]));
    students[0].types("/hand");
    teacher.wait_for("two hands", hands(&["1002", "1001"]));
    students[2].wait_for("two hands", hands(&["1002", "1001"]));
    teacher.types("/lower");
    for reader in [&teacher, &students[1], &students[2]] {
        reader.wait_for("the first hand down", |event| {
            event["event"] == "hand" && event["user"] == "1002" && event["raised"] == false
        });
    }
    // The student's side knows that the hand is lowered, so /hand raises it again.
    let mark = teacher.mark();
    students[1].types("/hand");
    teacher.wait_since(mark, DEADLINE, "it is up again, at the end", hands(&["1001", "1002"]));
    // The hand of a student who leaves is lowered.
    students[0].interrupt();
    teacher.wait_since(mark, DEADLINE, "one hand", hands(&["1002"]));
    teacher.types("/hands");
    teacher.wait_for("the list", |event| {
        event["event"] == "notice" && event["message"] == "raised hands: 1. S-1002 (1002)"
    });
}

#[test]
fn a_hand_is_raised_again_when_the_teacher_is_back() {
    let class = Classroom::new();
    let mut first = teacher(&class);
    let mut one = student(&class, 1001);
    say_until_heard(&mut one, &first, "1001", "here");
    one.types("/hand");
    first.wait_for("a hand", hands(&["1001"]));
    first.kill();
    drop(first);
    let second = teacher(&class);
    second.wait_for("the hand again", hands(&["1001"]));
}

fn ordered<'a>(order: &'a str, user: Option<&'a str>) -> impl Fn(&Event) -> bool + 'a {
    move |event| {
        event["event"] == "order" && event["by"] == "9999" && event["order"] == order && event["user"] == json!(user)
    }
}

fn is_told<'a>(kind: &'a str, words: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == kind && event["message"].as_str().is_some_and(|message| message.contains(words))
}

#[test]
fn a_muted_student_is_told_and_not_heard() {
    let class = Classroom::new();
    let mut teacher = teacher(&class);
    let (mut one, mut two) = (student(&class, 1001), student(&class, 1002));
    say_until_heard(&mut one, &teacher, "1001", "here");
    say_until_heard(&mut two, &teacher, "1002", "here too");
    // A student is no teacher.
    one.types("/mute 1002");
    one.wait_for("a refusal", is_told("warning", "only the teacher and members who moderate"));
    let can_write = |chat: bool| move |event: &Event| event["event"] == "allowed" && event["chat"] == chat;
    teacher.types("/mute s-1001");
    let order = teacher.wait_for("the order", ordered("mute", Some("1001")));
    assert_eq!((&order["by_nickname"], &order["nickname"]), (&json!("Ms Li"), &json!("S-1001")));
    one.wait_for("the state", can_write(false));
    one.wait_for("the words", is_told("notice", "you are muted"));
    let mark = one.mark();
    one.types("not heard");
    one.types("/react clap");
    one.types("/hand");
    teacher.wait_for("the hand", hands(&["1001"]));
    let notices = one.events().split_off(mark).into_iter().filter(is_told("notice", "you are muted"));
    assert_eq!(notices.count(), 2, "one for each that was refused");
    two.types("heard");
    teacher.wait_for("the other student", says("1002", "heard"));
    let noises =
        |event: &Event| event["user"] == "1001" && (event["text"] == "not heard" || event["event"] == "reaction");
    assert!(!teacher.events().iter().any(noises));
    teacher.types("/mute");
    teacher.wait_for("the list", is_told("notice", "muted: S-1001 (1001)"));
    // Another process of the same student is muted too.
    one.interrupt();
    teacher
        .wait_for("leave", |event| event["event"] == "student" && event["user"] == "1001" && event["state"] == "left");
    let mut one = student(&class, 1001);
    one.wait_for("the state", can_write(false));
    teacher.types("/unmute 1001");
    one.wait_for("the state", can_write(true));
    say_until_heard(&mut one, &teacher, "1001", "thank you");
    teacher.types("/mute 4711");
    teacher.wait_for("a refusal", is_told("notice", "nobody in the room has the id or the name 4711"));
}

#[test]
fn slow_mode_lets_a_student_wait_and_a_cleared_chat_is_gone() {
    let class = Classroom::new();
    let mut teacher = teacher(&class);
    let mut one = student(&class, 1001);
    say_until_heard(&mut one, &teacher, "1001", "here");
    let slow = |ms: u32| move |event: &Event| event["event"] == "allowed" && event["slow_ms"] == ms;
    teacher.types("/slow 5m");
    teacher.wait_for("the order", ordered("slow", None));
    for reader in [&teacher, &one] {
        reader.wait_for("slow mode", slow(300_000));
    }
    one.types("too soon");
    one.wait_for("a refusal", is_told("warning", "not sent: slow mode is on: your next message may come in"));
    let mark = one.mark();
    teacher.types("/slow off");
    one.wait_since(mark, DEADLINE, "no slow mode", slow(0));
    one.types("in time");
    teacher.wait_for("the message", says("1001", "in time"));
    teacher.types("/clear");
    teacher.wait_for("the order", ordered("clear", None));
    one.wait_for("a cleared chat", |event| event["event"] == "chat-cleared");
    assert!(!teacher.events().iter().any(|event| event["text"] == "too soon"));
    let mut two = student(&class, 1002);
    say_until_heard(&mut two, &teacher, "1002", "what did I miss?");
    let read: Vec<Event> = two.events().into_iter().filter(|event| event["event"] == "chat").collect();
    assert!(read.iter().all(|event| event["user"] == "1002"), "nothing of what was cleared: {read:?}");
}
