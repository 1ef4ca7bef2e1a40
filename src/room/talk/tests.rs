use super::*;
use crate::protocol::channel::MAX_LISTED_HANDS;

mod floor;
mod stage;
mod teacher;

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn member(user: &str, nickname: &str) -> User {
    User { user_id: id(user), nickname: nickname.into(), publishes: false, epoch: 0, client: None, moderates: false }
}

fn moderator(user: &str, nickname: &str) -> User {
    User { moderates: true, ..member(user, nickname) }
}

fn talk() -> Talk {
    let mut talk = Talk::new(id("9999"), "Ms Li".into());
    for (user, nickname) in [("1001", "S-01"), ("1002", "S-02")] {
        talk.joined(&member(user, nickname));
    }
    talk
}

fn msg(text: &str) -> String {
    StudentMessage::Msg { text: text.into(), to: None }.to_json()
}

fn hand(raised: bool) -> String {
    StudentMessage::Hand { raised }.to_json()
}

fn listed(talk: &Talk) -> Vec<&str> {
    talk.hands().iter().map(|hand| hand.user_id.as_str()).collect()
}

#[test]
fn a_chat_message_is_stamped_and_sent_to_all() {
    let (mut talk, now) = (talk(), Instant::now());
    let out = talk.heard(now, 7, &id("1001"), r#"{"type":"msg","text":"hi","userId":"9999","nickname":"Ms Li"}"#);
    let [TalkOutput::All(PublisherMessage::Msg(to_all)), TalkOutput::Said(said)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(to_all, said);
    assert_eq!((said.user_id.as_str(), said.nickname.as_str(), said.publishes), ("1001", "S-01", false));
    let answer = talk.teacher_says(7, "yes");
    let TalkOutput::Said(answer) = &answer[1] else { panic!() };
    assert!(answer.publishes && answer.id > said.id, "ids grow within a millisecond too");
    assert_eq!(talk.heard(now, 8, &id("1001"), &msg(" \n")), [], "no words, no message");
}

#[test]
fn hands_are_listed_in_the_order_in_which_they_went_up() {
    let (mut talk, now) = (talk(), Instant::now());
    assert_eq!(talk.heard(now, 1, &id("1002"), &hand(true)).len(), 1);
    assert_eq!(talk.heard(now, 2, &id("1001"), &hand(true)).len(), 1);
    assert_eq!(talk.heard(now, 3, &id("1002"), &hand(true)), [], "it is up already, and keeps its place");
    assert_eq!(listed(&talk), ["1002", "1001"]);
    let due = talk.next_tick().unwrap();
    assert_eq!(talk.tick(now), []);
    assert!(matches!(&talk.tick(due)[..], [TalkOutput::All(PublisherMessage::Hands { hands })] if hands.len() == 2));
    assert_eq!(talk.next_tick(), None);
    assert_eq!(talk.lower(due, &id("1002")).len(), 1);
    assert_eq!(talk.lower(due, &id("1002")), []);
    assert_eq!(talk.left(due, &id("1001")).len(), 1, "a hand goes down with its owner");
    let out = talk.tick(due + hands::INTERVAL);
    assert_eq!(out, [TalkOutput::All(PublisherMessage::Hands { hands: Vec::new() })]);
}

#[test]
fn a_fast_writer_gets_one_error_a_second_and_affects_nobody_else() {
    let (mut talk, start) = (talk(), Instant::now());
    let (mut to_all, mut complaints) = (0, 0);
    for n in 0..600 {
        let now = start + Duration::from_millis(5 * n);
        for output in talk.heard(now, n, &id("1001"), &msg("spam")) {
            match output {
                TalkOutput::All(_) => to_all += 1,
                TalkOutput::To(user, PublisherMessage::Error { code, .. }) => {
                    assert_eq!((user.as_str(), code), ("1001", ErrorCode::FloodedMessages));
                    complaints += 1;
                }
                _ => {}
            }
        }
    }
    assert!((10..=20).contains(&to_all), "{to_all}");
    assert!((2..=4).contains(&complaints), "{complaints}");
    assert_eq!(talk.heard(start, 0, &id("1002"), &msg("hello")).len(), 2);
}

#[test]
fn a_room_that_writes_at_once_is_limited() {
    let mut talk = Talk::new(id("9999"), "".into());
    let now = Instant::now();
    let heard = |n: usize, talk: &mut Talk| talk.heard(now, 0, &id(&format!("s{n}")), &msg("me!"));
    let to_all = (0..500).filter(|n| matches!(heard(*n, &mut talk)[0], TalkOutput::All(_))).count();
    assert_eq!(to_all, 100);
}

#[test]
fn a_newcomer_gets_as_much_history_as_fits() {
    let mut talk = talk();
    for n in 0..60 {
        talk.teacher_says(n, &format!("line {n}"));
    }
    let welcome = |talk: &Talk| match talk.opened(Instant::now(), &id("1001")).remove(0) {
        TalkOutput::To(_, PublisherMessage::Welcome { history, .. }) => history,
        other => panic!("{other:?}"),
    };
    let history = welcome(&talk);
    assert_eq!((history.len(), history[0].text.as_str()), (MAX_HISTORY, "line 10"));
    for n in 0..60 {
        talk.teacher_says(n, &"字".repeat(1_000));
    }
    let history = welcome(&talk);
    assert!(
        !history.is_empty()
            && PublisherMessage::Welcome { history, hands: vec![], cleared_up_to: 0 }.to_json().len()
                <= MAX_PUBLISHER_MESSAGE_BYTES
    );
}

#[test]
fn what_the_teacher_forbids_is_refused_and_announced_to_newcomers() {
    let (mut talk, now) = (talk(), Instant::now());
    let clap = StudentMessage::Reaction { reaction: Reaction::Clap }.to_json();
    assert_eq!(talk.heard(now, 0, &id("1001"), &clap).len(), 2);
    let off = Allowed { comments: false, reactions: false, ..Allowed::default() };
    assert_eq!(talk.allow(off), [TalkOutput::All(PublisherMessage::Allows(off))]);
    assert_eq!(talk.allow(off), [], "it is so already");
    let refused = talk.heard(now, 0, &id("1001"), &clap);
    let [TalkOutput::To(user, PublisherMessage::Error { code, .. })] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((user.as_str(), *code), ("1001", ErrorCode::ReactionsOff));
    assert_eq!(talk.heard(now, 0, &id("1001"), &msg("still chat")).len(), 2);
    let stopped = Stopped { camera: true, ..Stopped::default() };
    assert_eq!(talk.stopped(stopped), [TalkOutput::All(PublisherMessage::Stopped(stopped))]);
    assert_eq!(talk.stopped(stopped), []);
    let told = talk.opened(Instant::now(), &id("1002"));
    assert_eq!(
        told[1..],
        [PublisherMessage::Allows(off), PublisherMessage::Stopped(stopped)].map(|it| TalkOutput::To(id("1002"), it))
    );
    talk.allow(Allowed::default());
    assert_eq!(talk.heard(now, 0, &id("1002"), &clap).len(), 2);
}

#[test]
fn nonsense_is_refused_to_its_sender() {
    let (mut talk, now) = (talk(), Instant::now());
    let long = "x".repeat(1 << 20);
    for (n, text) in ["{", "", "\u{0}", &long, r#"{"type":"reaction","reaction":"bomb"}"#].into_iter().enumerate() {
        let out = talk.heard(now + Duration::from_secs(n as u64), 0, &id("1001"), text);
        assert!(matches!(&out[..], [TalkOutput::To(_, PublisherMessage::Error { .. })]), "{out:?}");
    }
}

fn mute(user: &str) -> Moderation {
    Moderation::Mute { user_id: id(user) }
}

fn unmute(user: &str) -> Moderation {
    Moderation::Unmute { user_id: id(user) }
}

fn clap() -> String {
    StudentMessage::Reaction { reaction: Reaction::Clap }.to_json()
}

/// An order of the teacher that is obeyed, and what follows from it.
fn order(talk: &mut Talk, now: Instant, order: Moderation) -> Vec<TalkOutput> {
    let mut outputs = talk.moderate(now, 1, &id("9999"), order.clone()).unwrap();
    assert!(matches!(outputs.remove(0), TalkOutput::Ordered { order: obeyed, .. } if obeyed == order));
    outputs
}

/// The code with which a message was refused.
fn refused(outputs: &[TalkOutput]) -> Option<ErrorCode> {
    match outputs {
        [TalkOutput::To(_, PublisherMessage::Error { code, .. })] => Some(*code),
        _ => None,
    }
}

fn allows(user: &str, allowed: Allowed) -> TalkOutput {
    TalkOutput::To(id(user), PublisherMessage::Allows(allowed))
}

const MUTED: Allowed = Allowed { comments: true, reactions: false, chat: false, mute_all: false, slow_ms: 0 };

#[test]
fn a_muted_student_is_told_and_can_neither_write_nor_react() {
    let (mut talk, now) = (talk(), Instant::now());
    let ordered = talk.moderate(now, 1, &id("9999"), mute("1001")).unwrap();
    let expected = TalkOutput::Ordered {
        by: id("9999"),
        by_nickname: "Ms Li".into(),
        order: mute("1001"),
        nickname: Some("S-01".into()),
    };
    assert_eq!(ordered, [expected, allows("1001", MUTED)]);
    assert_eq!(order(&mut talk, now, mute("1001")), [], "the student is told once");
    let second = |n| now + Duration::from_secs(n);
    assert_eq!(refused(&talk.heard(second(1), 1, &id("1001"), &msg("hi"))), Some(ErrorCode::Muted));
    assert_eq!(refused(&talk.heard(second(2), 1, &id("1001"), &clap())), Some(ErrorCode::Muted));
    assert_eq!(talk.heard(second(3), 1, &id("1001"), &hand(true)).len(), 1, "a muted student may ask to speak");
    assert_eq!(talk.heard(second(3), 1, &id("1002"), &msg("hi")).len(), 2);
    // A new connection changes nothing.
    talk.left(second(4), &id("1001"));
    talk.joined(&member("1001", "S-01"));
    assert_eq!(talk.opened(Instant::now(), &id("1001"))[1], allows("1001", MUTED));
    assert_eq!(refused(&talk.heard(second(5), 1, &id("1001"), &msg("hi"))), Some(ErrorCode::Muted));
    assert_eq!(order(&mut talk, second(6), unmute("1001")), [allows("1001", Allowed::default())]);
    assert_eq!(talk.heard(second(7), 1, &id("1001"), &msg("hi")).len(), 2);
}

#[test]
fn a_student_who_left_can_be_unmuted() {
    let (mut talk, now) = (talk(), Instant::now());
    order(&mut talk, now, mute("1001"));
    talk.left(now, &id("1001"));
    let code = |refusal: Result<_, Refusal>| refusal.unwrap_err().0;
    assert_eq!(code(talk.moderate(now, 1, &id("9999"), mute("1003"))), ErrorCode::UnknownTarget);
    assert_eq!(talk.find("1001"), Ok(id("1001")));
    order(&mut talk, now, unmute("1001"));
    assert_eq!(code(talk.moderate(now, 1, &id("9999"), unmute("1001"))), ErrorCode::UnknownTarget);
    talk.joined(&member("1001", "S-01"));
    assert_eq!(talk.opened(Instant::now(), &id("1001"))[1], allows("1001", Allowed::default()));
}

#[test]
fn the_whole_class_is_muted_but_for_exceptions_and_those_who_moderate() {
    let (mut talk, now) = (talk(), Instant::now());
    let all_muted = Allowed { mute_all: true, ..MUTED };
    assert_eq!(order(&mut talk, now, Moderation::MuteAll), [TalkOutput::All(PublisherMessage::Allows(all_muted))]);
    talk.joined(&member("1003", "S-03"));
    assert_eq!(refused(&talk.heard(now, 1, &id("1003"), &msg("hi"))), Some(ErrorCode::Muted), "newcomers too");
    let free = Allowed { mute_all: true, ..Allowed::default() };
    assert_eq!(order(&mut talk, now, unmute("1001")), [allows("1001", free)]);
    assert_eq!(talk.heard(now, 1, &id("1001"), &msg("thanks")).len(), 2);
    assert_eq!(talk.exceptions().iter().map(ToString::to_string).collect::<Vec<_>>(), ["S-01 (1001)"]);
    talk.joined(&moderator("9998", "Mr Wu"));
    assert_eq!(talk.heard(now, 1, &id("9998"), &msg("quiet please")).len(), 2);
    // Where permissions differ, each gets the own ones, once.
    let comments = Allowed { comments: false, ..talk.allowed() };
    let mut told = talk.allow(comments);
    told.sort_by_key(|output| format!("{output:?}"));
    let (free, muted) = (Allowed { comments: false, ..free }, Allowed { comments: false, ..all_muted });
    assert_eq!(told, [allows("1001", free), allows("1002", muted), allows("1003", muted), allows("9998", free)]);
    order(&mut talk, now, mute("1001"));
    assert!(!talk.allowed_to(&id("1001")).chat);
    order(&mut talk, now, unmute("1002"));
    order(&mut talk, now, Moderation::UnmuteAll);
    assert!(["1001", "1002", "1003"].iter().all(|user| talk.allowed_to(&id(user)).chat));
    order(&mut talk, now, mute("1001"));
    order(&mut talk, now, Moderation::UnmuteAll);
    assert!(talk.allowed_to(&id("1001")).chat, "all means all");
}

#[test]
fn only_those_who_moderate_by_the_word_of_signalling_give_orders() {
    let (mut talk, now) = (talk(), Instant::now());
    talk.joined(&moderator("9998", "Mr Wu"));
    let says = |order: &Moderation| StudentMessage::Moderate(order.clone()).to_json();
    let orders = [mute("1002"), Moderation::MuteAll, Moderation::Clear, Moderation::Slow { ms: 9_000 }];
    for (n, order) in orders.iter().enumerate() {
        let now = now + Duration::from_secs(n as u64);
        assert_eq!(refused(&talk.heard(now, 1, &id("1001"), &says(order))), Some(ErrorCode::NotAllowed));
    }
    assert_eq!((talk.allowed(), talk.exceptions().len()), (Allowed::default(), 0));
    let obeyed = talk.heard(now, 1, &id("9998"), &says(&mute("1002")));
    assert!(matches!(&obeyed[0], TalkOutput::Ordered { by, by_nickname, .. }
        if by.as_str() == "9998" && by_nickname.as_str() == "Mr Wu"));
    assert_eq!(obeyed[1..], [allows("1002", MUTED)]);
    let code = talk.moderate(now, 1, &id("9999"), mute("9998")).unwrap_err().0;
    assert_eq!(code, ErrorCode::NotAllowed, "nobody mutes those who moderate");
    assert_eq!(refused(&talk.heard(now, 1, &id("9998"), &says(&mute("9998")))), Some(ErrorCode::NotAllowed));
    // A right that signalling takes back is gone.
    talk.joined(&member("9998", "Mr Wu"));
    let later = now + Duration::from_secs(5);
    assert_eq!(refused(&talk.heard(later, 1, &id("9998"), &says(&mute("1001")))), Some(ErrorCode::NotAllowed));
}

#[test]
fn slow_mode_lets_one_message_per_student_pass_and_says_when_the_next_may_come() {
    let (mut talk, now) = (talk(), Instant::now());
    let second = |n| now + Duration::from_secs(n);
    talk.joined(&moderator("9998", "Mr Wu"));
    let slow = Allowed { slow_ms: 10_000, ..Allowed::default() };
    let told = order(&mut talk, now, Moderation::Slow { ms: 10_000 });
    assert_eq!(told, [TalkOutput::All(PublisherMessage::Allows(slow))]);
    assert_eq!(talk.heard(now, 1, &id("1001"), &msg("one")).len(), 2);
    let soon = talk.heard(second(3), 1, &id("1001"), &msg("two"));
    let [TalkOutput::To(_, PublisherMessage::Error { code, message, retry_after_ms })] = &soon[..] else {
        panic!("{soon:?}")
    };
    assert_eq!((*code, *retry_after_ms), (ErrorCode::SlowMode, Some(7_000)));
    assert!(message.contains("in 7 s"), "{message}");
    assert_eq!(talk.heard(second(3), 1, &id("1002"), &msg("one")).len(), 2, "each student has an own clock");
    assert!((0..3).all(|_| talk.heard(second(3), 1, &id("9998"), &msg("free")).len() == 2));
    // Leaving and coming back is no way around it.
    talk.left(second(4), &id("1001"));
    talk.joined(&member("1001", "S-01"));
    assert_eq!(refused(&talk.heard(second(5), 1, &id("1001"), &msg("two"))), Some(ErrorCode::SlowMode));
    assert_eq!(talk.heard(second(10), 1, &id("1001"), &msg("two")).len(), 2);
    for ms in [1, 999, 600_001, u32::MAX] {
        talk.moderate(now, 1, &id("9999"), Moderation::Slow { ms }).unwrap_err();
    }
    order(&mut talk, second(11), Moderation::Slow { ms: 0 });
    assert_eq!(talk.heard(second(11), 1, &id("1001"), &msg("three")).len(), 2);
}

#[test]
fn a_cleared_chat_is_gone_for_those_who_come_later_and_for_those_who_were_away() {
    let (mut talk, now) = (talk(), Instant::now());
    talk.teacher_says(500, "secret");
    let cleared = talk.moderate(now, 700, &id("9999"), Moderation::Clear).unwrap();
    assert_eq!(cleared[1..], [TalkOutput::All(PublisherMessage::Cleared { up_to: 700 })]);
    let welcome = |talk: &Talk| match talk.opened(Instant::now(), &id("1001")).remove(0) {
        TalkOutput::To(_, PublisherMessage::Welcome { history, cleared_up_to, .. }) => (history, cleared_up_to),
        other => panic!("{other:?}"),
    };
    assert_eq!(welcome(&talk), (vec![], 700));
    // Even a message of the same millisecond comes after the clearing.
    talk.teacher_says(700, "news");
    let (history, cleared_up_to) = welcome(&talk);
    assert_eq!((history.len(), history[0].text.as_str()), (1, "news"));
    assert!(history[0].id > cleared_up_to);
}

#[test]
fn one_hand_or_all_hands_are_lowered_by_order() {
    let (mut talk, now) = (talk(), Instant::now());
    for user in ["1002", "1001"] {
        talk.heard(now, 1, &id(user), &hand(true));
    }
    let lower = |user: &str| Moderation::Lower { user_id: id(user) };
    assert!(matches!(&order(&mut talk, now, lower("1002"))[..], [TalkOutput::Hand { raised: false, .. }]));
    talk.moderate(now, 1, &id("9999"), lower("1002")).unwrap_err();
    assert_eq!(order(&mut talk, now, Moderation::LowerAll).len(), 1);
    assert_eq!(listed(&talk), <[&str; 0]>::default());
}

#[test]
fn seven_made_up_ids_that_flood_the_chat_do_not_silence_the_others() {
    let mut talk = talk();
    let start = Instant::now();
    let honest = [id("1001"), id("1002")];
    let (mut asked, mut passed) = (0, 0);
    for ms in (0..60_000_u64).step_by(20) {
        let now = start + Duration::from_millis(ms);
        for n in 0..7 {
            talk.heard(now, ms, &id(&format!("evil{n}")), &msg("spam"));
        }
        for (n, user) in honest.iter().enumerate() {
            if ms % 2_000 == 500 + 700 * n as u64 {
                asked += 1;
                passed += usize::from(talk.heard(now, ms, user, &msg("a question")).len() == 2);
            }
        }
    }
    assert_eq!((asked, passed), (60, 60));
}

#[test]
fn two_hundred_made_up_ids_do_not_silence_the_others() {
    let mut talk = talk();
    let start = Instant::now();
    let (mut asked, mut passed, mut spam) = (0, 0, 0);
    for ms in (0..60_000_u64).step_by(50) {
        let now = start + Duration::from_millis(ms);
        for n in 0..200 {
            let out = talk.heard(now, ms, &id(&format!("evil{n}")), &msg("spam"));
            spam += usize::from(out.len() == 2);
        }
        // Less than a share, which is 20 messages a second by 201 students.
        if ms % 15_000 == 7_500 {
            asked += 1;
            passed += usize::from(talk.heard(now, ms, &id("1001"), &msg("a question")).len() == 2);
        }
    }
    assert_eq!((asked, passed), (4, 4));
    assert!((1_100..=1_300).contains(&spam), "the room's budget is spent: {spam}");
}

#[test]
fn made_up_ids_that_flap_their_hands_do_not_keep_others_from_raising_theirs() {
    let mut talk = talk();
    let start = Instant::now();
    let (mut changes, mut bytes) = (0, 0);
    for ms in (0..30_000_u64).step_by(100) {
        let now = start + Duration::from_millis(ms);
        for n in 0..200 {
            let user = id(&format!("evil{n}"));
            for raised in [true, false] {
                let out = talk.heard(now, ms, &user, &hand(raised));
                changes += usize::from(matches!(out[..], [TalkOutput::Hand { .. }]));
            }
        }
        if ms % 10_000 == 5_000 {
            let up = talk.heard(now, ms, &id("1001"), &hand(true));
            assert!(matches!(up[..], [TalkOutput::Hand { raised: true, .. }]), "{up:?}");
            assert!(listed(&talk).contains(&"1001"));
            talk.heard(now, ms, &id("1001"), &hand(false));
        }
        for output in talk.tick(now) {
            if let TalkOutput::All(list) = output {
                bytes += list.to_json().len();
            }
        }
    }
    // A burst of 600 hands and 20 a second, each up and down.
    assert!(changes <= 2 * (600 + 20 * 31), "{changes} changes");
    assert!(bytes <= 31 * 32 * 1024, "{bytes} bytes to each student");
}

#[test]
fn a_student_whose_hand_is_behind_the_end_of_the_list_is_told_its_place() {
    let (mut talk, now) = (talk(), Instant::now());
    for n in 0..MAX_LISTED_HANDS {
        talk.heard(now, 0, &id(&format!("first{n}")), &hand(true));
    }
    for user in ["1001", "1002"] {
        talk.heard(now, 0, &id(user), &hand(true));
    }
    let place = |user, place| TalkOutput::To(id(user), PublisherMessage::HandPlace { place });
    let out = talk.tick(talk.next_tick().unwrap());
    assert_eq!(out[..2], [place("1001", MAX_LISTED_HANDS + 1), place("1002", MAX_LISTED_HANDS + 2)]);
    assert!(
        matches!(&out[2..], [TalkOutput::All(PublisherMessage::Hands { hands })] if hands.len() == MAX_LISTED_HANDS)
    );
    assert_eq!(
        talk.opened(Instant::now(), &id("1002"))[0],
        place("1002", MAX_LISTED_HANDS + 2),
        "also one who comes back"
    );
}

#[test]
fn a_member_is_found_by_id_or_by_a_nickname_that_only_one_has() {
    let (mut talk, now) = (talk(), Instant::now());
    talk.joined(&member("1003", "Anna Li"));
    talk.joined(&member("1004", "S-02"));
    talk.joined(&member("1005", "1001"));
    assert_eq!(talk.find("1001"), Ok(id("1001")), "an id comes before a nickname");
    assert_eq!(talk.find("anna li"), Ok(id("1003")));
    let (code, sentence) = talk.find("S-02").unwrap_err();
    assert_eq!(code, ErrorCode::UnknownTarget);
    assert!(sentence.ends_with("1002, 1004"), "{sentence}");
    talk.left(now, &id("1004"));
    assert_eq!(talk.find("S-02"), Ok(id("1002")));
    for nobody in ["1004", "Anna", "", "a b"] {
        assert!(talk.find(nobody).is_err(), "{nobody}");
    }
}

#[test]
fn those_who_left_are_remembered_for_a_bounded_time_and_number() {
    let (mut talk, now) = (Talk::new(id("9999"), "".into()), Instant::now());
    for n in 0..3_000 {
        let user = id(&format!("s{n}"));
        talk.joined(&member(user.as_str(), ""));
        if n >= 1_000 {
            talk.heard(now, 0, &user, &hand(false));
        }
        talk.left(now, &user);
    }
    assert_eq!(talk.participants.remembered(), 1_000);
    let later = now + Duration::from_secs(601);
    talk.heard(later, 0, &id("s0"), &hand(false));
    talk.left(later, &id("s0"));
    assert_eq!(talk.participants.remembered(), 1);
}
