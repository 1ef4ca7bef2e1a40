//! The open floor.

use super::stage::*;
use super::*;
use crate::protocol::channel::{OffStage, PublisherMessage};

fn hand(raised: bool) -> StudentMessage {
    StudentMessage::Hand { raised }
}

/// Those who are invited now.
fn invited(outputs: &[TalkOutput]) -> Vec<String> {
    let user = |change| match change {
        StageChange::Invited { user, .. } => Some(user.to_string()),
        _ => None,
    };
    changes(outputs).into_iter().filter_map(user).collect()
}

#[test]
fn with_an_open_floor_hands_are_invited_in_their_order_as_the_stage_has_places() {
    let mut lecture = Lecture::with_stage(2);
    assert_eq!(invited(&lecture.says("1001", &hand(true))), [""; 0]);
    lecture.says("1002", &hand(true));
    lecture.says("1003", &hand(true));
    let out = lecture.order(Moderation::OpenFloor);
    assert!(lists(&out)[0].is_open, "everybody is told");
    assert_eq!(invited(&out), ["1001", "1002"]);
    assert_eq!(lecture.order(Moderation::OpenFloor), []);
    assert!(lists(&lecture.accepts("1001")).is_empty());
    lecture.sends("1001", &[]);
    // A place that becomes free goes to the next hand, and nobody overtakes.
    assert_eq!(invited(&lecture.says("1004", &hand(true))), [""; 0]);
    let decline = StudentMessage::StageAnswer { accepted: false, why: None };
    let out = lecture.says("1002", &decline);
    assert_eq!((ends(&out), invited(&out)), (ended("1002", OffStage::Declined), vec!["1003".to_owned()]));
    assert_eq!(listed(&lecture.talk), ["1003", "1004"], "who has declined is not asked again");
    let out = lecture.says("1001", &StudentMessage::StepDown);
    assert_eq!(invited(&out), ["1004"]);
    let out = lecture.pass(ANSWER_WITHIN);
    assert_eq!(ends(&out).len(), 2, "an invitation is void after a minute, as any other");
    assert!(listed(&lecture.talk).is_empty());
    // A newcomer learns of the floor although nobody speaks.
    let told = told(&lecture.talk.opened(lecture.now, &id("1005")), "1005");
    assert!(told.iter().any(|message| matches!(message, PublisherMessage::Stage(stage) if stage.is_open)), "{told:?}");
    assert_eq!(invited(&lecture.says("1005", &hand(true))), ["1005"]);
    lecture.accepts("1005");
    lecture.sends("1005", &[]);

    let out = lecture.order(Moderation::CloseFloor);
    assert!(!lists(&out)[0].is_open && ends(&out).is_empty());
    assert_eq!(lecture.speakers(), ["1005"], "who is on the stage stays");
    assert_eq!(invited(&lecture.says("1006", &hand(true))), [""; 0]);
    assert_eq!(ends(&lecture.order(Moderation::OffStage { user_id: id("1005") })).len(), 1);
}

#[test]
fn the_floor_is_for_those_who_moderate_and_who_was_muted_and_put_off_the_stage_stays_off() {
    let mut lecture = Lecture::with_stage(1);
    let open = StudentMessage::Moderate(Moderation::OpenFloor);
    assert_eq!(refused(&lecture.says("1001", &open)), Some(ErrorCode::NotAllowed));
    assert!(lecture.says("8001", &open).len() > 1);
    lecture.says("1001", &hand(true));
    lecture.accepts("1001");
    lecture.sends("1001", &[]);
    lecture.order(Moderation::Mute { user_id: id("1001") });
    lecture.order(Moderation::OffStage { user_id: id("1001") });
    assert_eq!(invited(&lecture.says("1001", &hand(true))), [""; 0]);
    assert_eq!(invited(&lecture.says("1002", &hand(true))), ["1002"], "the next one");
    lecture.order(Moderation::OffStage { user_id: id("1002") });
    assert_eq!(invited(&lecture.order(Moderation::Unmute { user_id: id("1001") })), ["1001"]);
    let mut lecture = Lecture::with_stage(0);
    assert!(lecture.refused(Moderation::OpenFloor).1.contains("--stage"));
    // Nobody gains by doing it often.
    let mut lecture = Lecture::with_stage(1);
    lecture.order(Moderation::OpenFloor);
    let mut invitations = 0;
    for n in 0..2_000 {
        invitations += invited(&lecture.says("1001", &hand(n % 2 == 0))).len();
        let decline = StudentMessage::StageAnswer { accepted: false, why: None };
        lecture.says("1001", &decline);
        lecture.pass(Duration::from_millis(5));
    }
    assert!(invitations <= 11, "{invitations} invitations in 10 s");
}
