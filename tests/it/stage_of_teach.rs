//! The stage of `teach`: the teacher types at the terminal, and students come to the stage.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use classroom::protocol::channel::{OffStage, PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ServerMessage, TrackName};
use classroom::rtp::Track;
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use serde_json::{Value as Event, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{Classroom, DEADLINE, Desk, Display, Member, Process, Publisher, has_tools, id, until};

/// How far a picture with the speaker large is from one with the lecture large, at least, of 255.
const LARGE: f64 = 25.0;

const CAMERA: [TrackName; 2] = [TrackName::Audio, TrackName::Camera];

/// A teacher with a small test picture and a tone, who types; with a server of its own unless `flags` name one.
fn teacher(class: &Classroom, flags: &[&str]) -> Process {
    let listen = class.url().replace("ws://", "");
    let mut all = vec!["--test", "--size", "320x180", "--nickname", "Ms Li", "--chat"];
    all.extend(flags);
    if !flags.contains(&"--server") {
        all.extend(["--listen", &listen]);
    }
    let mut command = class.teach(&all);
    command.stdin(Stdio::piped());
    let teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

fn is_stage<'a>(user: &'a str, state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "stage" && event["user"] == user && event["state"] == state
}

fn is_told<'a>(words: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "notice" && event["message"].as_str().is_some_and(|text| text.contains(words))
}

async fn class_of(class: &Classroom, users: impl IntoIterator<Item = u32>) -> Vec<Member> {
    let mut students = Vec::new();
    for user in users {
        students.push(Member::student(class, user).await);
    }
    students
}

async fn all_receive(students: &[Member], speaker: u32) {
    for student in students.iter().filter(|student| student.user != speaker) {
        for track in [Track::Audio, Track::Camera] {
            let what = format!("{track} of {speaker} at {}", student.user);
            until(&what, || student.seen().frames_of(speaker, track) > 5).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_teacher_brings_a_raised_hand_to_the_stage_and_takes_it_off() {
    let class = Classroom::new();
    let file = class.directory().join("class.csv");
    let mut teacher = teacher(&class, &["--attendance", file.to_str().unwrap()]);
    let students = class_of(&class, 1001..=1003).await;
    teacher.types("/stage");
    teacher.wait_for("a refusal", is_told("no hand is raised"));
    students[0].say(StudentMessage::Hand { raised: true });
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["user"] == "1001");

    teacher.types("/stage");
    let order = teacher.wait_for("the order", |event| event["event"] == "order");
    assert_eq!((&order["order"], &order["user"], &order["by"]), (&json!("stage"), &json!("1001"), &json!("9999")));
    teacher.wait_for("an invitation", is_stage("1001", "invited"));
    until("an invitation", || students[0].seen().invitations() == 1).await;
    students[0].accept(&CAMERA);
    teacher.wait_for("acceptance", is_stage("1001", "accepted"));
    let live = teacher.wait_for("a speaker", is_stage("1001", "live"));
    assert_eq!((&live["nickname"], &live["tracks"]), (&json!("S-1001"), &json!(["audio", "camera"])));
    teacher.wait_for("a lowered hand", |event| event["event"] == "hand" && event["raised"] == false);
    all_receive(&students, 1001).await;
    teacher.wait_for("the stage in statistics", |event| event["event"] == "stats" && event["stage"] == json!(["1001"]));
    teacher.wait_for("what the teacher sees", is_told("you neither see nor hear students on the stage"));

    // Another one does not want to.
    teacher.types("/stage s-1002");
    until("an invitation", || students[1].seen().invitations() == 1).await;
    teacher.types("/stage list");
    teacher.wait_for(
        "the list",
        is_told("on the stage: S-1001 (1001); invited: S-1002 (1002); 2 can be there at the same time"),
    );
    students[1].say(StudentMessage::StageAnswer { accepted: false, why: None });
    let ended = teacher.wait_for("a refusal", is_stage("1002", "ended"));
    assert_eq!(ended["reason"], "declined");

    teacher.types("/spotlight 1001");
    until("a large speaker", || students[2].seen().stage.spotlight == Some(id(1001))).await;
    teacher.types("/stage off 1001");
    let ended = teacher.wait_for("the end", is_stage("1001", "ended"));
    assert_eq!(ended["reason"], "ended");
    for student in &students {
        until("an empty stage", || student.seen().speakers().is_empty()).await;
    }
    until("a word to the speaker", || students[0].seen().off_stage() == Some(OffStage::Ended)).await;

    // The lecture ends while somebody speaks.
    teacher.types("/stage 1003");
    until("an invitation", || students[2].seen().invitations() == 1).await;
    students[2].accept(&CAMERA);
    teacher.wait_for("a speaker", is_stage("1003", "live"));
    all_receive(&students, 1003).await;
    teacher.interrupt();
    let summary = teacher.wait_for("the summary", |event| event["event"] == "summary");
    teacher.ends_with(0);
    let minutes = |user: &str| {
        let rows = summary["students"].as_array().unwrap();
        rows.iter().find(|row| row["user"] == user).unwrap()["stage_s"].as_f64().unwrap()
    };
    assert!(minutes("1001") > 0.0 && minutes("1003") > 0.0 && minutes("1002") == 0.0, "{summary}");
    assert!(std::fs::read_to_string(file).unwrap().lines().next().unwrap().contains(",minutes_on_stage,"));
    assert!(students.iter().all(|student| student.seen().connects[&id(9999)] == 1), "the lecture went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stage_of_a_teacher_at_another_server_is_at_the_teachers_computer() {
    let class = Classroom::new();
    let _server = class.server();
    let mut teacher = teacher(&class, &["--stage", "1", "--server", &class.url(), "--udp-port", "0"]);
    let students = class_of(&class, 1001..=1002).await;
    teacher.types("/stage 1001");
    until("an invitation", || students[0].seen().invitations() == 1).await;
    students[0].accept(&CAMERA);
    all_receive(&students, 1001).await;
    teacher.types("/stage 1002");
    teacher.wait_for("a refusal", is_told("the stage is full"));
    students[0].say(StudentMessage::StepDown);
    let ended = teacher.wait_for("the end", is_stage("1001", "ended"));
    assert_eq!(ended["reason"], "stepped-down");
    until("an empty stage", || students[1].seen().speakers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lecture_without_a_stage_says_so() {
    let class = Classroom::new();
    let mut teacher = teacher(&class, &["--stage", "0"]);
    let student = Member::student(&class, 1001).await;
    teacher.types("/stage 1001");
    teacher.wait_for("a refusal", is_told("this lecture has no stage"));
    student.publish(&CAMERA);
    until("a refusal", || !student.seen().errors.is_empty()).await;
    assert!(!teacher.events().iter().any(|event| event["event"] == "stage"));
}

/// A student whose picture is a real one: a WebSocket, and a connection to the teacher for the conversation.
struct Painter {
    desk: Desk,
    viewer: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
}

impl Painter {
    async fn join(class: &Classroom) -> Self {
        let mut desk = Desk::student(class, 1001).await;
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, sdp, events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
        desk.say(&ClientMessage::Offer { entry: None, target_uid: id(9999), sdp, video: None, tracks: None }).await;
        let answer = desk.hear_until(|message| matches!(message, ServerMessage::Answer { .. })).await;
        let ServerMessage::Answer { sdp, .. } = answer else { panic!("{answer:?}") };
        viewer.answer(sdp).await.unwrap();
        Self { desk, viewer, events }
    }

    /// Waits for the invitation, accepts and publishes.
    async fn come_to_the_stage(&mut self) -> Publisher {
        let is_invitation = |event: &ViewerEvent| match event {
            ViewerEvent::Heard(text) => {
                matches!(PublisherMessage::parse(text), Ok(PublisherMessage::Invited { .. }))
            }
            _ => false,
        };
        let invited = async { while !is_invitation(&self.events.recv().await.expect("an open connection")) {} };
        timeout(DEADLINE, invited).await.expect("an invitation");
        assert!(self.viewer.say(&StudentMessage::StageAnswer { accepted: true, why: None }.to_json()).await);
        Publisher::connect(&mut self.desk).await
    }
}

/// Looks again and again until a condition holds.
async fn wait_to_see(what: &str, mut is_seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_seen() {
        assert!(Instant::now() < deadline, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_shows_the_teacher_who_speaks() {
    if !has_tools("a speaker in a window", &["Xvfb", "xdotool", "import"]) {
        return;
    }
    let (class, display) = (Classroom::new(), Display::new());
    let listen = class.url().replace("ws://", "");
    let mut command = class.teach(&["--test", "--size", "320x180", "--chat", "--listen", &listen]);
    command.env("DISPLAY", display.name()).stdin(Stdio::piped());
    let mut teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let mut painter = Painter::join(&class).await;
    teacher.wait_for("a student", |event| event["event"] == "student" && event["state"] == "watching");
    teacher.types("/stage 1001");
    let publisher = painter.come_to_the_stage().await;
    teacher.wait_for("a speaker", is_stage("1001", "live"));
    teacher.wait_for("what the teacher sees", is_told("students on the stage in a window"));
    let windows = || display.windows_of(teacher.pid());
    wait_to_see("the speaker's picture", || {
        windows().first().is_some_and(|window| display.look_at(window).colours() > 8)
    })
    .await;
    teacher.types("/stage off");
    wait_to_see("no window", || display.windows_of(teacher.pid()).is_empty()).await;
    teacher.interrupt();
    teacher.ends_with(0);
    publisher.close().await;
    painter.viewer.close().await;
}

/// The teacher's picture is bright bars, and the speaker's is a ball on black.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_students_window_shows_a_speaker_beside_the_lecture_and_large_where_it_is_pinned() {
    if !has_tools("a speaker beside the lecture", &["Xvfb", "xdotool", "import"]) {
        return;
    }
    let (class, display) = (Classroom::new(), Display::new());
    let mut teacher = teacher(&class, &[]);
    let _speaker = class.student(1001, &["--nickname", "Anna", "--may-speak=yes", "--speak-test"]);
    let mut watch = class.watch(1002, &["--sink", "window", "--fullscreen", "--chat"]);
    watch.env("DISPLAY", display.name()).stdin(Stdio::piped());
    let mut watch = Process::start("watch", watch);
    for user in ["1001", "1002"] {
        let watches = |event: &Event| event["user"] == user && event["state"] == "watching";
        teacher.wait_for("a student", watches);
    }
    let pid = watch.pid();
    let look = || display.windows_of(pid).first().map(|window| display.look_at(window));
    let mut lecture = None;
    wait_to_see("the lecture", || {
        lecture = look().filter(|picture| picture.colours() > 8);
        lecture.is_some()
    })
    .await;
    let lecture = lecture.unwrap();
    let distance = || look().map_or(0.0, |picture| picture.distance(&lecture));
    teacher.types("/stage 1001");
    watch.wait_for("a speaker", is_stage("1001", "live"));
    watch.types("/pin anna");
    wait_to_see("the speaker large", || distance() > LARGE).await;
    watch.types("/pin off");
    wait_to_see("the lecture large", || distance() < LARGE).await;
    watch.types("/pin 1003");
    watch.wait_for("advice", is_told("1003 is not on the stage"));
    teacher.types("/stage off 1001");
    watch.wait_for("the end", is_stage("1001", "ended"));
}
