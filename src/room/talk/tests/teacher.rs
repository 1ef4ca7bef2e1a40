//! The teacher's own data channel.

use super::*;

#[test]
fn what_comes_over_the_teachers_own_channel_is_the_teachers() {
    let (mut talk, now) = (talk(), Instant::now());
    let teacher = id("9999");
    let out = talk.heard(now, 7, &teacher, &msg("good morning"));
    let [TalkOutput::All(PublisherMessage::Msg(to_all)), TalkOutput::Said(_)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((to_all.nickname.as_str(), to_all.publishes), ("Ms Li", true));
    let out = talk.heard(now, 8, &teacher, r#"{"type":"reaction","reaction":"clap"}"#);
    assert!(matches!(&out[0], TalkOutput::All(PublisherMessage::Reaction { user_id, .. }) if *user_id == teacher));
    let out = talk.heard(now, 9, &teacher, r#"{"type":"moderate","order":"muteAll"}"#);
    let own =
        TalkOutput::To(teacher.clone(), PublisherMessage::Allows(Allowed { mute_all: true, ..Allowed::default() }));
    assert_eq!(out.last(), Some(&own), "the class is muted, and the teacher is not");
    let out = talk.heard(now, 10, &id("1001"), &msg("hello"));
    assert!(matches!(&out[..], [TalkOutput::To(_, PublisherMessage::Error { code: ErrorCode::Muted, .. })]), "{out:?}");
    assert_eq!(talk.heard(now, 11, &teacher, &msg("quiet please")).len(), 2);
    let out = talk.heard(now, 12, &teacher, &hand(true));
    assert!(matches!(&out[..], [TalkOutput::To(user, PublisherMessage::Error { .. })] if *user == teacher), "{out:?}");
    assert!(talk.members().all(|(user, _)| *user != teacher), "the teacher is no student");
}

#[test]
fn only_the_teacher_allows_and_an_absent_field_stays_as_it_is() {
    let (mut talk, now) = (talk(), Instant::now());
    talk.joined(&moderator("8001", "Mr Wu"));
    let allow = r#"{"type":"allow","comments":false}"#;
    for user in ["1001", "8001"] {
        let out = talk.heard(now, 1, &id(user), allow);
        assert!(matches!(&out[..], [TalkOutput::To(_, PublisherMessage::Error { code: ErrorCode::NotAllowed, .. })]));
    }
    assert_eq!(talk.allowed(), Allowed::default());
    talk.heard(now, 2, &id("9999"), allow);
    talk.heard(now, 3, &id("9999"), r#"{"type":"allow","reactions":false}"#);
    assert_eq!(talk.allowed(), Allowed { comments: false, reactions: false, ..Allowed::default() });
}

#[test]
fn a_teacher_that_floods_is_told_so() {
    let (mut talk, now) = (talk(), Instant::now());
    let said = (0..100).filter(|n| talk.heard(now, *n, &id("9999"), &msg("again")).len() == 2).count();
    assert_eq!(said, TEACHER_BURST as usize);
}
