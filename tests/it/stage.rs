//! The stage of rooms whose media the server carries: students that speak to the class, and those that would harm it.

use classroom::protocol::channel::{IngestTrouble, Moderation, OffStage, PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, RoomOrder, TrackName};
use classroom::rtp::Track;

use crate::support::{Classroom, Member, Pace, id, until};

const CAMERA: [TrackName; 2] = [TrackName::Audio, TrackName::Camera];

/// A teacher and students, who all watch the lecture.
async fn class_of(class: &Classroom, students: impl IntoIterator<Item = u32>) -> (Member, Vec<Member>) {
    let teacher = Member::teacher(class).await;
    let mut joined = Vec::new();
    for user in students {
        joined.push(Member::student(class, user).await);
    }
    (teacher, joined)
}

fn order(by: &Member, order: Moderation) {
    by.say(StudentMessage::Moderate(order));
}

/// Invites a student, who accepts and sends these tracks; returns when everybody knows.
async fn bring(teacher: &Member, students: &[Member], user: u32, tracks: &[TrackName]) {
    let student = students.iter().find(|student| student.user == user).unwrap();
    let before = student.seen().invitations();
    order(teacher, Moderation::Stage { user_id: id(user) });
    until("an invitation", || student.seen().invitations() > before).await;
    student.accept(tracks);
    for member in students.iter().chain([teacher]) {
        until("a speaker", || member.seen().speakers().contains(&user.to_string())).await;
    }
}

/// Waits until everybody but the speaker has received further frames of each track.
async fn all_receive<'a>(members: impl IntoIterator<Item = &'a Member>, speaker: u32, tracks: &[Track]) {
    for member in members.into_iter().filter(|member| member.user != speaker) {
        for track in tracks {
            let before = member.seen().frames_of(speaker, *track);
            let what = format!("{track} of {speaker} at {}", member.user);
            until(&what, || member.seen().frames_of(speaker, *track) > before + 2).await;
        }
    }
}

/// No frame of the lecture was lost, and each connection brought the frames of its own user alone.
async fn nothing_was_lost<'a>(students: impl IntoIterator<Item = &'a Member>) {
    for student in students {
        for track in [Track::Audio, Track::Screen] {
            let missing = || student.seen().frames[&(id(9999), track)].missing();
            until("all frames of the lecture", || missing() == 0).await;
        }
        let seen = student.seen();
        assert_eq!(seen.connects[&id(9999)], 1, "{}", student.user);
        for ((user, _), frames) in &seen.frames {
            assert_ne!(*user, id(student.user), "nobody hears itself");
            assert!(frames.senders.iter().all(|sender| id(*sender) == *user), "{user}: {:?}", frames.senders);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_are_seen_and_heard_by_all_and_hand_over_to_others() {
    let class = Classroom::undisturbed();
    let _server = class.server();
    let (teacher, students) = class_of(&class, 1001..=1004).await;
    for speaker in [1001, 1002] {
        bring(&teacher, &students, speaker, &CAMERA).await;
    }
    let all = || students.iter().chain([&teacher]);
    for speaker in [1001, 1002] {
        all_receive(all(), speaker, &[Track::Audio, Track::Camera]).await;
    }
    let most = teacher.seen().stage.most;
    assert_eq!(most, 2);
    order(&teacher, Moderation::Spotlight { user_id: id(1002) });
    for member in all() {
        until("a spotlight", || member.seen().stage.spotlight == Some(id(1002))).await;
    }
    // Who is large, and who moderates, may change; a third speaker may not come.
    order(&teacher, Moderation::Stage { user_id: id(1003) });
    let is_refused = |m: &PublisherMessage| matches!(m, PublisherMessage::Error { .. });
    until("a refusal", || teacher.seen().heard.iter().any(is_refused)).await;
    let (mut leaves, mut stays) = (1001, 1002);
    for hand_over in 0..10 {
        let comes = 1001 + (hand_over + 2) % 4;
        order(&teacher, Moderation::OffStage { user_id: id(leaves) });
        for member in all() {
            until("the end of a speaker", || member.seen().speakers() == [stays.to_string()]).await;
        }
        bring(&teacher, &students, comes, &CAMERA).await;
        for speaker in [stays, comes] {
            all_receive(all(), speaker, &[Track::Audio, Track::Camera]).await;
        }
        (leaves, stays) = (stays, comes);
    }
    order(&teacher, Moderation::ClearStage);
    for member in all() {
        until("an empty stage", || member.seen().speakers().is_empty()).await;
    }
    until("a word to a speaker", || students.iter().any(|s| s.seen().off_stage() == Some(OffStage::Ended))).await;
    nothing_was_lost(&students).await;
}

/// A lab machine accepts an invitation without a question, and sends the ball and the tone of its test devices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_may_speak_is_seen_and_heard_until_it_is_taken_off_the_stage() {
    let class = Classroom::undisturbed();
    let _server = class.server();
    let (teacher, students) = class_of(&class, [1002]).await;
    let terminal = class.student(1001, &["--may-speak=yes", "--speak-test"]);
    let is =
        |state: &'static str| move |event: &serde_json::Value| event["event"] == "speaking" && event["state"] == state;
    terminal.wait_for("the lecture", |event| event["event"] == "first-frame");
    order(&teacher, Moderation::Stage { user_id: id(1001) });
    let connected = terminal.wait_for("a connection", is("connected"));
    assert_eq!(connected["tracks"], serde_json::json!(["audio", "camera"]), "{connected}");
    terminal.wait_for("the stage", is("live"));
    let gets = |track| students[0].seen().frames_of(1001, track);
    for track in [Track::Audio, Track::Camera] {
        until("media of the terminal", || gets(track) > 5).await;
    }
    order(&teacher, Moderation::OffStage { user_id: id(1001) });
    let ended = terminal.wait_for("the end", is("ended"));
    assert_eq!(ended["reason"], "ended", "{ended}");
    // Without the flag a terminal declines, and says how to allow an invitation.
    let silent = class.student(1003, &[]);
    silent.wait_for("the room", |event| event["event"] == "joined");
    silent.wait_for("the lecture", |event| event["event"] == "first-frame");
    order(&teacher, Moderation::Stage { user_id: id(1003) });
    silent.wait_for("a notice", |event| {
        event["event"] == "notice" && event["message"].as_str().is_some_and(|text| text.contains("--may-speak"))
    });
}
