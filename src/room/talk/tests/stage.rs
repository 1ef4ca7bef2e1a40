//! The stage.

use super::*;
use crate::protocol::TrackName;
use crate::protocol::channel::{Decline, Speaker, Stage};

/// A lecture with a stage, with its clock.
pub(super) struct Lecture {
    pub(super) talk: Talk,
    pub(super) now: Instant,
    ms: u64,
}

const BOTH: [TrackName; 2] = [TrackName::Audio, TrackName::Camera];

impl Lecture {
    /// Five students and a moderator.
    pub(super) fn with_stage(most: usize) -> Self {
        let mut talk = Talk::new(id("9999"), "Ms Li".into());
        talk.set_stage(most);
        for n in 1..=5 {
            talk.joined(&member(&format!("100{n}"), &format!("S-0{n}")));
        }
        talk.joined(&moderator("8001", "Mr Wu"));
        Self { talk, now: Instant::now(), ms: 1_000 }
    }

    /// An order of the teacher that is obeyed, and what follows from it.
    pub(super) fn order(&mut self, order: Moderation) -> Vec<TalkOutput> {
        super::order(&mut self.talk, self.now, order)
    }

    pub(super) fn refused(&mut self, order: Moderation) -> (ErrorCode, String) {
        self.talk.moderate(self.now, self.ms, &id("9999"), order).unwrap_err()
    }

    fn invite(&mut self, user: &str) -> Vec<TalkOutput> {
        self.order(stage(user))
    }

    pub(super) fn says(&mut self, user: &str, message: &StudentMessage) -> Vec<TalkOutput> {
        self.talk.heard(self.now, self.ms, &id(user), &message.to_json())
    }

    pub(super) fn accepts(&mut self, user: &str) -> Vec<TalkOutput> {
        self.says(user, &StudentMessage::StageAnswer { accepted: true, why: None })
    }

    pub(super) fn sends(&mut self, user: &str, silent: &[TrackName]) -> Vec<TalkOutput> {
        self.talk.speaker_live(self.now, &id(user), BOTH.to_vec(), silent.to_vec())
    }

    /// Invites a student, who comes at once.
    fn bring(&mut self, user: &str) {
        self.invite(user);
        self.accepts(user);
        self.sends(user, &[]);
        assert!(self.talk.is_speaker(&id(user)));
    }

    pub(super) fn speakers(&self) -> Vec<String> {
        self.talk.stage().speakers.iter().map(|speaker| speaker.user_id.to_string()).collect()
    }

    /// Lets time pass, and ticks whenever a tick is due.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<TalkOutput> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some(due) = self.talk.next_tick().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            outputs.extend(self.talk.tick(self.now));
            assert!(self.talk.next_tick().is_none_or(|next| next > self.now), "a tick leaves nothing due");
        }
        self.now = end;
        self.ms += time.as_millis() as u64;
        outputs
    }
}

fn stage(user: &str) -> Moderation {
    Moderation::Stage { user_id: id(user) }
}

pub(super) fn changes(outputs: &[TalkOutput]) -> Vec<StageChange> {
    let change = |output: &TalkOutput| match output {
        TalkOutput::Stage(change) => Some(change.clone()),
        _ => None,
    };
    outputs.iter().filter_map(change).collect()
}

/// Who lost a slot, and why.
pub(super) fn ends(outputs: &[TalkOutput]) -> Vec<(String, OffStage)> {
    let ended = |change| match change {
        StageChange::Ended { user, why, .. } => Some((user.to_string(), why)),
        _ => None,
    };
    changes(outputs).into_iter().filter_map(ended).collect()
}

pub(super) fn ended(user: &str, why: OffStage) -> Vec<(String, OffStage)> {
    vec![(user.to_owned(), why)]
}

pub(super) fn told(outputs: &[TalkOutput], to: &str) -> Vec<PublisherMessage> {
    let message = |output: &TalkOutput| match output {
        TalkOutput::To(user, message) if user.as_str() == to => Some(message.clone()),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

/// The lists that everybody gets.
pub(super) fn lists(outputs: &[TalkOutput]) -> Vec<Stage> {
    let list = |output: &TalkOutput| match output {
        TalkOutput::All(PublisherMessage::Stage(stage)) => Some(stage.clone()),
        _ => None,
    };
    outputs.iter().filter_map(list).collect()
}

#[test]
fn a_student_comes_to_the_stage_in_two_phases() {
    let mut lecture = Lecture::with_stage(2);
    let out = lecture.says("1001", &StudentMessage::Hand { raised: true });
    assert_eq!(out.len(), 1);
    let out = lecture.invite("1001");
    let invited = Stage { most: 2, invited: vec![id("1001")], ..Stage::default() };
    assert_eq!(told(&out, "1001"), [PublisherMessage::Invited { within_ms: 60_000 }]);
    for user in ["9999", "8001"] {
        assert_eq!(told(&out, user), [PublisherMessage::Stage(invited.clone())], "{user}");
    }
    assert_eq!((lists(&out).len(), told(&out, "1002").len()), (0, 0), "the class hears nothing");
    assert!(lecture.talk.has_slot(&id("1001")) && !lecture.talk.may_publish(&id("1001")));
    assert_eq!(lecture.sends("1001", &[]), [], "it has not accepted");

    let accepted = StageChange::Accepted { user: id("1001"), nickname: "S-01".into(), id: 1_000 };
    assert_eq!(lecture.accepts("1001"), [TalkOutput::Stage(accepted)]);
    assert_eq!(lecture.accepts("1001"), [], "once");
    assert!(lecture.talk.may_publish(&id("1001")) && !lecture.talk.is_speaker(&id("1001")));
    assert_eq!(listed(&lecture.talk), ["1001"], "its hand is up until its media is there");

    let tracks = vec![TrackName::Camera, TrackName::Audio, TrackName::Camera];
    let silent = vec![TrackName::Camera, TrackName::Screen];
    let out = lecture.talk.speaker_live(lecture.now, &id("1001"), tracks, silent);
    let (user, nickname) = (id("1001"), Nickname::from("S-01"));
    let speaks = StageChange::Speaks { user: user.clone(), nickname: nickname.clone(), id: 1_000, tracks: BOTH.into() };
    let speaker = Speaker {
        user_id: user.clone(),
        nickname: nickname.clone(),
        id: 1_000,
        tracks: BOTH.into(),
        silent: vec![TrackName::Camera],
        lost: false,
    };
    let list = Stage { speakers: vec![speaker], most: 2, ..Stage::default() };
    let expected = [
        TalkOutput::Stage(speaks),
        TalkOutput::Hand { user, nickname, raised: false },
        TalkOutput::All(PublisherMessage::Stage(list)),
    ];
    assert_eq!(out, expected);
    assert_eq!(ends(&lecture.pass(Duration::from_secs(3_600))), [], "a speaker stays");
}

#[test]
fn a_slot_ends_when_its_student_does_not_come() {
    let mut lecture = Lecture::with_stage(1);
    lecture.invite("1001");
    let out = lecture.says("1001", &StudentMessage::StageAnswer { accepted: false, why: None });
    assert_eq!(ends(&out), ended("1001", OffStage::Declined));
    assert_eq!(told(&out, "1001"), [PublisherMessage::OffStage { reason: OffStage::Declined }]);
    assert!(lists(&out).is_empty() && lecture.talk.stage().invited.is_empty());
    assert_eq!(refused(&lecture.accepts("1001")), Some(ErrorCode::NotAllowed), "too late");

    let of_1001 = |reason| PublisherMessage::StageEnded { user_id: id("1001"), nickname: "S-01".into(), reason };
    assert!(told(&out, "9999").contains(&of_1001(OffStage::Declined)), "{out:?}");
    lecture.invite("1001");
    let why = Some(Decline::NoDevice);
    let out = lecture.says("1001", &StudentMessage::StageAnswer { accepted: false, why });
    assert!(told(&out, "9999").contains(&of_1001(OffStage::NoDevice)), "{out:?}");

    lecture.invite("1002");
    assert_eq!(ends(&lecture.pass(ANSWER_WITHIN - Duration::from_millis(1))), []);
    let out = lecture.pass(Duration::from_millis(1));
    assert_eq!(ends(&out), ended("1002", OffStage::NoAnswer));

    lecture.invite("1003");
    lecture.accepts("1003");
    let out = lecture.pass(PUBLISH_WITHIN);
    assert_eq!((ends(&out), lists(&out).len()), (ended("1003", OffStage::NoMedia), 0), "the class noticed nothing");
    assert_eq!(lecture.sends("1003", &[]), [], "its media came too late");

    lecture.invite("1004");
    lecture.accepts("1004");
    let out = lecture.talk.speaker_failed(lecture.now, &id("1004"), OffStage::NoCapacity);
    assert_eq!(told(&out, "1004"), [PublisherMessage::OffStage { reason: OffStage::NoCapacity }]);
    assert_eq!((lecture.speakers().len(), lecture.talk.next_tick()), (0, None), "all slots are free");
}

#[test]
fn a_speaker_whose_media_comes_back_in_time_stays() {
    let mut lecture = Lecture::with_stage(1);
    lecture.bring("1001");
    let (user, soon) = (id("1001"), RETURN_WITHIN - Duration::from_millis(1));
    for _ in 0..3 {
        let mut out = lecture.talk.speaker_lost(lecture.now, &user, Duration::ZERO);
        out.extend(lecture.pass(soon));
        assert_eq!((ends(&out), lists(&out)[0].speakers[0].lost), (vec![], true), "the class is told");
        assert!(!lists(&lecture.sends("1001", &[]))[0].speakers[0].lost);
        assert_eq!(lecture.sends("1001", &[]), [], "nothing has changed");
        lecture.pass(soon);
    }
    let unheard = Duration::from_secs(3);
    lecture.talk.speaker_lost(lecture.now, &user, unheard);
    lecture.pass(soon - unheard);
    assert_eq!(lecture.talk.speaker_lost(lecture.now, &user, Duration::ZERO), []);
    let out = lecture.pass(Duration::from_millis(1));
    assert_eq!(ends(&out), ended("1001", OffStage::NoMedia), "the time counts from the first silence");
    assert_eq!(lists(&out), [Stage { most: 1, ..Stage::default() }]);
}

#[test]
fn a_speaker_goes_by_its_own_wish_by_order_or_with_its_user() {
    let mut lecture = Lecture::with_stage(4);
    for user in ["1001", "1002", "1003", "1004"] {
        lecture.bring(user);
    }
    lecture.order(Moderation::Spotlight { user_id: id("1002") });
    let out = lecture.says("1001", &StudentMessage::StepDown);
    assert_eq!(ends(&out), ended("1001", OffStage::SteppedDown));
    assert_eq!(lists(&out)[0].spotlight, Some(id("1002")));
    let out = lecture.order(Moderation::OffStage { user_id: id("1002") });
    assert_eq!((ends(&out), lists(&out)[0].spotlight.clone()), (ended("1002", OffStage::Ended), None));
    // Somebody who is put out of the room.
    let out = lecture.talk.left(lecture.now, &id("1003"));
    assert_eq!((ends(&out).len(), lists(&out).len(), lecture.speakers().len()), (1, 1, 1));
    lecture.invite("1005");
    let out = lecture.order(Moderation::ClearStage);
    assert_eq!(ends(&out).len(), 2, "{out:?}");
    assert_eq!(lists(&out), [Stage { most: 4, ..Stage::default() }], "one list for all");
    assert_eq!(lecture.says("1004", &StudentMessage::StepDown), []);
    assert_eq!(lecture.order(Moderation::ClearStage), []);
}

#[test]
fn invitations_count_and_the_teacher_learns_why_a_student_can_not_come() {
    let mut lecture = Lecture::with_stage(2);
    lecture.bring("1001");
    lecture.invite("1002");
    let (code, sentence) = lecture.refused(stage("1003"));
    assert_eq!(code, ErrorCode::NotAllowed);
    assert!(sentence.starts_with("the stage is full, with 2"), "{sentence}");
    assert!(lecture.refused(stage("1001")).1.contains("on the stage already"));
    assert!(lecture.refused(stage("1002")).1.contains("invited to the stage already"));
    assert_eq!(lecture.refused(stage("1009")).0, ErrorCode::UnknownTarget);
    assert_eq!(lecture.refused(stage("9999")).0, ErrorCode::NotAllowed);
    assert_eq!(lecture.refused(Moderation::OffStage { user_id: id("1003") }).0, ErrorCode::UnknownTarget);
    assert_eq!(lecture.refused(Moderation::Spotlight { user_id: id("1002") }).0, ErrorCode::UnknownTarget, "not yet");
    assert_eq!(ends(&lecture.order(Moderation::OffStage { user_id: id("1002") })), ended("1002", OffStage::Ended));
    lecture.bring("1003");
    assert_eq!(lecture.speakers(), ["1001", "1003"]);

    let mut lecture = Lecture::with_stage(0);
    for order in [stage("1001"), Moderation::ClearStage, Moderation::SpotlightOff] {
        assert!(lecture.refused(order).1.contains("--stage"));
    }
    let mut lecture = Lecture::with_stage(100);
    (1..=4).for_each(|n| lecture.bring(&format!("100{n}")));
    assert!(lecture.refused(stage("1005")).1.starts_with("the stage is full, with 4"));
}

#[test]
fn only_those_who_moderate_give_orders_about_the_stage() {
    let mut lecture = Lecture::with_stage(2);
    lecture.bring("1002");
    let orders =
        [stage("1001"), Moderation::OffStage { user_id: id("1002") }, Moderation::Spotlight { user_id: id("1002") }];
    for order in &orders {
        lecture.pass(Duration::from_secs(1));
        let out = lecture.says("1001", &StudentMessage::Moderate(order.clone()));
        assert_eq!(refused(&out), Some(ErrorCode::NotAllowed), "{order:?}");
    }
    assert_eq!((lecture.speakers().len(), lecture.talk.has_slot(&id("1001"))), (1, false));
    for by in ["8001", "9999"] {
        let out = lecture.says(by, &StudentMessage::Moderate(stage("1001")));
        assert_eq!(told(&out, "1001").len(), 1, "{by}");
        let out = lecture.says(by, &StudentMessage::Moderate(Moderation::OffStage { user_id: id("1001") }));
        assert_eq!(ends(&out).len(), 1, "{by}");
    }
    lecture.pass(Duration::from_secs(1));
    assert_eq!(refused(&lecture.accepts("1001")), Some(ErrorCode::NotAllowed), "the invitation was withdrawn");
    lecture.pass(Duration::from_secs(1));
    assert_eq!(refused(&lecture.accepts("1003")), Some(ErrorCode::NotAllowed), "nobody invites itself");
}

#[test]
fn ten_hand_overs_leave_one_speaker_each_with_an_own_id() {
    let mut lecture = Lecture::with_stage(1);
    let mut ids = Vec::new();
    for n in 0..10 {
        let user = format!("100{}", 1 + n % 4);
        lecture.bring(&user);
        let stage = lecture.talk.stage();
        assert_eq!((lecture.speakers(), stage.invited.len()), (vec![user.clone()], 0));
        ids.push(stage.speakers[0].id);
        assert_eq!(ends(&lecture.order(Moderation::OffStage { user_id: id(&user) })).len(), 1);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    lecture.ms = 5_000;
    lecture.bring("1001");
    assert_eq!(lecture.talk.stage().speakers[0].id, 5_000, "ids follow the clock");
}

#[test]
fn who_comes_later_sees_the_stage_and_who_comes_back_is_invited_again() {
    let mut lecture = Lecture::with_stage(2);
    let about_stage = |lecture: &Lecture, user: &str| -> Vec<PublisherMessage> {
        let is_about = |message: &PublisherMessage| {
            matches!(message, PublisherMessage::Stage(_) | PublisherMessage::Invited { .. })
        };
        told(&lecture.talk.opened(lecture.now, &id(user)), user).into_iter().filter(is_about).collect()
    };
    assert_eq!(about_stage(&lecture, "1002"), []);
    for user in ["8001", "9999"] {
        let empty = Stage { most: 2, ..Stage::default() };
        assert_eq!(about_stage(&lecture, user), [PublisherMessage::Stage(empty)], "{user} may invite");
    }
    lecture.invite("1001");
    assert_eq!(about_stage(&lecture, "1002"), []);
    lecture.pass(Duration::from_secs(10));
    assert_eq!(about_stage(&lecture, "1001"), [PublisherMessage::Invited { within_ms: 50_000 }]);
    lecture.accepts("1001");
    lecture.pass(Duration::from_secs(5));
    assert_eq!(about_stage(&lecture, "1001"), [PublisherMessage::Invited { within_ms: 15_000 }]);
    assert_eq!(lecture.accepts("1001"), [], "its media is expected already");
    lecture.sends("1001", &[]);
    let out = lecture.invite("1002");
    assert_eq!(lists(&out), []);
    for user in ["1001", "1003"] {
        let seen = about_stage(&lecture, user);
        let [PublisherMessage::Stage(list)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((list.speakers.len(), list.invited.len()), (1, 0), "{user}");
    }
    assert!(matches!(&about_stage(&lecture, "9999")[..], [PublisherMessage::Stage(list)] if list.invited.len() == 1));
    // A list for all has no invitations, so those who moderate get another one.
    let out = lecture.order(Moderation::Spotlight { user_id: id("1001") });
    assert_eq!((lists(&out)[0].invited.len(), told(&out, "8001").len(), told(&out, "1003").len()), (0, 1, 0));
}

#[test]
fn a_speaker_that_flaps_causes_few_lists() {
    let mut lecture = Lecture::with_stage(2);
    lecture.bring("1001");
    lecture.pass(Duration::from_secs(1));
    let mut sent = Vec::new();
    for n in 0..10_000 {
        let silent = if n % 2 == 0 { &BOTH[..1] } else { &[] };
        sent.extend(lists(&lecture.sends("1001", silent)));
        sent.extend(lists(&lecture.talk.speaker_lost(lecture.now, &id("1001"), Duration::ZERO)));
        lecture.talk.joined(&member("1001", &format!("name {n}")));
        sent.extend(lists(&lecture.pass(Duration::from_millis(1))));
    }
    assert!((15..=22).contains(&sent.len()), "{} lists in 10 s", sent.len());
    lecture.sends("1001", &BOTH);
    let last = lists(&lecture.pass(Duration::from_secs(1))).pop().unwrap();
    assert_eq!((last.speakers[0].nickname.as_str(), last.speakers[0].silent.len()), ("name 9999", 2), "the last holds");
    // Speakers who come and go do not wait for that.
    lecture.sends("1001", &[]);
    let out = lecture.says("1001", &StudentMessage::StepDown);
    assert_eq!((lists(&out).len(), lecture.pass(Duration::from_secs(9)).len()), (1, 0));
}

#[test]
fn a_muted_student_may_speak_on_the_stage() {
    let mut lecture = Lecture::with_stage(1);
    lecture.order(Moderation::MuteAll);
    lecture.bring("1001");
}
