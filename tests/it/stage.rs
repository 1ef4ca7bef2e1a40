//! The stage of rooms whose media the server carries: students that speak to the class, and those that would harm it.

use std::time::Duration;

use classroom::protocol::channel::{IngestTrouble, Moderation, OffStage, PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, RoomOrder, TrackName};
use classroom::rtp::Track;
use serde_json::Value;

use crate::support::{Classroom, Member, Pace, Process, id, now, until};

/// How often a class is repeated whose machine was suspended.
const ATTEMPTS: usize = 3;

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

/// No frame of the lecture was lost, and each connection brought the frames of its own user alone. A machine that stood
/// still for a second loses frames for everybody, whoever is on the stage: returns whether this one has run all the
/// time.
async fn nothing_was_lost<'a>(server: &Process, students: impl IntoIterator<Item = &'a Member>) -> bool {
    let stood_still = |event: &Value| event["message"].as_str().is_some_and(|text| text.contains("was suspended"));
    let has_run = !server.events().iter().any(stood_still);
    for student in students {
        for track in [Track::Audio, Track::Screen].into_iter().filter(|_| has_run) {
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
    has_run
}

/// Prints how old the frames were that arrived at the members since a time, and how long was between two of them. What
/// exceeds the time between their sending is the server's doing, or that of a busy machine.
fn prints_times<'a>(members: impl Iterator<Item = &'a Member> + Clone, since: Duration) {
    let three = |mut all: Vec<Duration>| {
        all.sort_unstable();
        let at = |share: usize| all[(all.len() * share / 1_000).min(all.len() - 1)].as_secs_f64() * 1_000.0;
        format!("{:.1}, {:.1}, {:.1}", at(500), at(990), at(1_000))
    };
    for (name, is_video) in [("sound", false), ("pictures", true)] {
        let (mut ages, mut gaps, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for member in members.clone() {
            for (_, frames) in member.seen().frames.iter().filter(|((_, track), _)| track.is_video() == is_video) {
                let arrivals = frames.arrivals.iter().filter(|arrival| arrival.at >= since);
                ages.extend(arrivals.map(|arrival| arrival.at.saturating_sub(arrival.sent)));
                gaps.extend(frames.gaps(since).map(|(gap, _)| gap));
                more.extend(frames.gaps(since).map(|(gap, sent)| gap.saturating_sub(sent)));
            }
        }
        println!(
            "{name}: {} frames, in ms p50, p99 and most: age {}; between two {}, of which not the sender's {}",
            ages.len(),
            three(ages),
            three(gaps),
            three(more),
        );
    }
}

/// A machine that stood still has lost frames, which says nothing about hand-overs. Then the class is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_are_seen_and_heard_by_all_and_hand_over_to_others() {
    for _ in 0..ATTEMPTS {
        let class = Classroom::undisturbed();
        let server = class.server();
        let students = ten_hand_overs(&class).await;
        if nothing_was_lost(&server, &students).await {
            return;
        }
    }
    panic!("this machine was suspended in each attempt");
}

/// Two of four students are on the stage, and ten times another one takes the place of one of them. Returns them.
async fn ten_hand_overs(class: &Classroom) -> Vec<Member> {
    let (teacher, students) = class_of(class, 1001..=1004).await;
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
    // The stage is full.
    order(&teacher, Moderation::Stage { user_id: id(1003) });
    let is_refused = |m: &PublisherMessage| matches!(m, PublisherMessage::Error { .. });
    until("a refusal", || teacher.seen().heard.iter().any(is_refused)).await;
    let (mut leaves, mut stays) = (1001, 1002);
    let (began, mut waited) = (now(), Vec::new());
    for hand_over in 0..10 {
        let comes = 1001 + (hand_over + 2) % 4;
        let ordered = now();
        order(&teacher, Moderation::OffStage { user_id: id(leaves) });
        for member in all() {
            until("the end of a speaker", || member.seen().speakers() == [stays.to_string()]).await;
        }
        bring(&teacher, &students, comes, &CAMERA).await;
        for speaker in [stays, comes] {
            all_receive(all(), speaker, &[Track::Audio, Track::Camera]).await;
        }
        waited.push(now() - ordered);
        (leaves, stays) = (stays, comes);
    }
    waited.sort_unstable();
    println!("from the order to the new speaker at everybody: p50 {:?}, most {:?}", waited[5], waited[9]);
    prints_times(all(), began);
    order(&teacher, Moderation::ClearStage);
    for member in all() {
        until("an empty stage", || member.seen().speakers().is_empty()).await;
    }
    until("a word to a speaker", || students.iter().any(|s| s.seen().off_stage() == Some(OffStage::Ended))).await;
    students
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_comes_back_over_the_same_connections_and_leaves_in_three_ways() {
    let class = Classroom::new();
    let server = class.server();
    let (teacher, students) = class_of(&class, 1001..=1003).await;
    bring(&teacher, &students, 1001, &CAMERA).await;
    let others = || students.iter().filter(|student| student.user != 1001).chain([&teacher]);
    all_receive(others(), 1001, &[Track::Audio, Track::Camera]).await;
    let place = || teacher.seen().stage.speakers[0].id;
    let before = place();
    // The new connection takes over from the old one; then one comes after the old one is gone.
    students[0].publish(&CAMERA);
    until("a connection more", || students[0].seen().sends == 2).await;
    all_receive(others(), 1001, &[Track::Audio, Track::Camera]).await;
    students[0].stop_sending();
    let hangups = || students[0].seen().hangups.contains(&id(1001));
    until("the end of the speaker's connection", hangups).await;
    students[0].publish(&[TrackName::Audio, TrackName::Camera, TrackName::Screen]);
    all_receive(others(), 1001, &[Track::Audio, Track::Camera]).await;
    let three = [TrackName::Audio, TrackName::Screen, TrackName::Camera];
    for member in others() {
        until("the speaker's screen", || member.seen().stage.speakers[0].tracks == three).await;
        assert_eq!(member.seen().connects[&id(1001)], 1, "{} keeps its connection", member.user);
    }
    // Words on a speaker's connection are for nobody.
    assert!(others().all(|member| member.seen().heard_of_speakers.is_empty()));
    assert_eq!(place(), before, "the same place on the stage");

    students[0].say(StudentMessage::StepDown);
    until("a speaker that steps down", || teacher.seen().speakers().is_empty()).await;
    until("the reason", || students[0].seen().off_stage() == Some(OffStage::SteppedDown)).await;

    // A microphone alone.
    bring(&teacher, &students, 1003, &[TrackName::Audio]).await;
    all_receive(students.iter().chain([&teacher]), 1003, &[Track::Audio]).await;
    teacher.signal(ClientMessage::Order(RoomOrder::Kick { target_uid: id(1003) }));
    until("a stage without the kicked", || students[1].seen().speakers().is_empty()).await;

    // A camera that is off.
    students[1].set_pace(Pace::AudioAlone);
    bring(&teacher, &students[..2], 1002, &CAMERA).await;
    let is_silent = || students[0].seen().stage.speakers[0].silent == [TrackName::Camera];
    until("a silent camera", is_silent).await;
    students[1].set_pace(Pace::Calm);
    until("the camera", || students[0].seen().stage.speakers[0].silent.is_empty()).await;
    all_receive([&students[0], &teacher], 1002, &[Track::Camera]).await;
    nothing_was_lost(&server, &students[..2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_that_vanishes_and_one_that_never_sends_leave_the_stage() {
    let class = Classroom::new();
    let server = class.server();
    let (teacher, mut students) = class_of(&class, 1001..=1003).await;
    bring(&teacher, &students, 1001, &CAMERA).await;
    order(&teacher, Moderation::Stage { user_id: id(1002) });
    until("an invitation", || students[1].seen().invitations() == 1).await;
    students[1].say(StudentMessage::StageAnswer { accepted: true, why: None });
    students.remove(0).vanish().await;
    until("an empty stage", || students[1].seen().speakers().is_empty()).await;
    until("the end of the other's time", || students[0].seen().off_stage() == Some(OffStage::NoMedia)).await;
    let mut named = Vec::new();
    for message in &students[1].seen().heard {
        if let PublisherMessage::Stage(stage) = message {
            named.extend(stage.speakers.iter().map(|speaker| speaker.user_id.clone()));
        }
    }
    named.dedup();
    assert_eq!(named, [id(1001)], "nobody hears of a speaker that never was");
    nothing_was_lost(&server, &students).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_to_the_stage_are_refused_and_a_bad_speaker_harms_its_own_place_alone() {
    let class = Classroom::undisturbed();
    let server = class.server();
    let (teacher, students) = class_of(&class, 1001..=1004).await;
    // Nobody is on the stage: one publishes anyway, and one asks for another student's media.
    students[0].publish(&CAMERA);
    let refused = |n: usize, by: u32| {
        let errors = &students[n].seen().errors;
        errors.contains(&(ErrorCode::NotOnStage, Some(id(by))))
    };
    until("a refusal", || refused(0, 1001)).await;
    students[0].stop_sending();
    students[1].offer(1001);
    until("a refusal", || refused(1, 1001)).await;

    bring(&teacher, &students, 1002, &CAMERA).await;
    bring(&teacher, &students, 1003, &CAMERA).await;
    let trouble = |n: usize, what: IngestTrouble| {
        students[n].seen().heard_as_speaker.iter().any(|message| match message {
            PublisherMessage::Ingest(report) => report.trouble.contains(&what),
            _ => false,
        })
    };
    // It is told of an offer that can't be answered, or comes too soon after its last one, and goes on.
    let (target_uid, sdp) = (id(1002), "v=0".to_owned());
    students[1].signal(ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: None });
    let is_told = || {
        let is_refusal = |code: &ErrorCode| matches!(code, ErrorCode::BadSdp | ErrorCode::FloodedMessages);
        students[1].seen().errors.iter().any(|(code, user)| is_refusal(code) && *user == Some(id(1002)))
    };
    until("a speaker that is told", is_told).await;
    // A busy machine may not send as much as the limit, so a unit test checks that the speaker is told.
    students[1].set_pace(Pace::Flood);
    let sdp = "v=0\r\n".repeat(100);
    for _ in 0..300 {
        for target_uid in [id(1002), id(1003), id(1004)] {
            let offer = ClientMessage::Offer { entry: None, target_uid, sdp: sdp.clone(), video: None, tracks: None };
            students[3].signal(offer);
        }
    }
    all_receive([&students[0], &teacher], 1003, &[Track::Audio, Track::Camera]).await;
    students[1].set_pace(Pace::Calm);
    // A speaker whose new connection never starts a picture keeps the old one.
    students[2].publish(&CAMERA);
    students[2].set_pace(Pace::NoKeyFrames);
    all_receive([&students[0], &teacher], 1002, &[Track::Audio, Track::Camera]).await;
    until("a speaker that is told", || trouble(2, IngestTrouble::NoKeyFrame)).await;
    nothing_was_lost(&server, &students[..3]).await;
}

/// A lab machine accepts an invitation without a question, and sends the ball and the tone of its test devices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_may_speak_is_seen_and_heard_until_it_is_taken_off_the_stage() {
    let class = Classroom::undisturbed();
    let _server = class.server();
    let (teacher, students) = class_of(&class, [1002]).await;
    let terminal = class.student(1001, &["--may-speak=yes", "--speak-test"]);
    let is = |state: &'static str| move |event: &Value| event["event"] == "speaking" && event["state"] == state;
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

/// A process that is killed says no goodbye, so its silence alone tells the class.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_class_reads_that_a_speakers_connection_is_lost_before_its_place_is_free() {
    let class = Classroom::new();
    let _server = class.server();
    let (teacher, students) = class_of(&class, [1002]).await;
    let mut terminal = class.student(1001, &["--may-speak=yes", "--speak-test"]);
    terminal.wait_for("the lecture", |event| event["event"] == "first-frame");
    order(&teacher, Moderation::Stage { user_id: id(1001) });
    until("a speaker", || students[0].seen().speakers() == ["1001"]).await;
    assert!(!students[0].seen().stage.speakers[0].lost);
    terminal.kill();
    let is_lost = || students[0].seen().stage.speakers.first().is_some_and(|speaker| speaker.lost);
    until("a lost speaker", is_lost).await;
    until("an empty stage", || students[0].seen().speakers().is_empty()).await;
    let ended = PublisherMessage::StageEnded { user_id: id(1001), nickname: "1001".into(), reason: OffStage::NoMedia };
    until("the reason", || teacher.seen().heard.contains(&ended)).await;
    assert!(!students[0].seen().heard.contains(&ended), "only those who moderate are told");
}
