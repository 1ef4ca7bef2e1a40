//! Chat, hands and reactions between the real programs, over their data channels.

use std::process::Stdio;

use serde_json::{Value as Event, json};

use crate::support::{Classroom, DEADLINE, Process};

/// A teacher of a small test picture who types.
fn teacher(class: &Classroom) -> Process {
    let listen = class.url().replace("ws://", "");
    let flags = ["--test", "--no-audio", "--size", "320x180", "--nickname", "Ms Li", "--chat", "--listen", &listen];
    let mut command = class.teach(&flags);
    command.stdin(Stdio::piped());
    let teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

/// A student who types, and watches already.
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

/// Says it until it is heard: the data channel of a student stands a little later than its picture.
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
fn everybody_reads_what_anybody_says_and_names_are_stamped() {
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
    // Who comes later reads it too, once.
    let three = student(&class, 1003);
    three.wait_for("what was said before", says("9999", "of course <b>now</b>"));
    assert_eq!(three.events().iter().filter(|event| event["event"] == "chat").count(), 2);
    one.types("/react clap");
    let clap = |event: &Event| event["event"] == "reaction" && event["user"] == "1001" && event["reaction"] == "clap";
    teacher.wait_for("applause", clap);
    two.wait_for("applause", clap);
}

#[test]
fn a_teacher_switches_reactions_and_flying_chat_off_and_everybody_knows() {
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
    // Who comes later knows it, too, and is told so instead of being refused.
    let mut two = student(&class, 1002);
    two.wait_for("nothing allowed", allowed(false, false));
    two.types("/react clap");
    two.wait_for("a word", |event| {
        event["event"] == "notice" && event["message"] == "the teacher has switched reactions off"
    });
    let mark = teacher.mark();
    teacher.types("/reactions on");
    two.wait_for("reactions again", allowed(false, true));
    two.types("/react clap");
    teacher.wait_since(mark, DEADLINE, "applause", |event| event["event"] == "reaction" && event["user"] == "1002");
    assert!(!teacher.events()[..mark].iter().any(|event| event["event"] == "reaction"));
}

#[test]
fn hands_stand_in_the_order_they_went_up_and_the_teacher_lowers_them() {
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
    // It is down for its owner too, so the next time it goes up.
    let mark = teacher.mark();
    students[1].types("/hand");
    teacher.wait_since(mark, DEADLINE, "it is up again, at the end", hands(&["1001", "1002"]));
    // A hand goes down with its owner.
    students[0].interrupt();
    teacher.wait_since(mark, DEADLINE, "one hand", hands(&["1002"]));
    teacher.types("/hands");
    teacher.wait_for("the list", |event| event["event"] == "notice" && event["message"] == "hands: 1. S-1002 (1002)");
}

#[test]
fn a_hand_is_up_again_when_the_teacher_is_back() {
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
