//! What people type, and what it means.

use super::*;

#[test]
fn a_teacher_types_messages_and_commands() {
    assert_eq!(TeacherInput::parse("hello / all"), TeacherInput::Say("hello / all".into()));
    assert_eq!(TeacherInput::parse("//etc is a folder"), TeacherInput::Say("/etc is a folder".into()));
    assert_eq!(TeacherInput::parse("/hands"), TeacherInput::Hands);
    assert_eq!(TeacherInput::parse("/lower"), TeacherInput::Lower(None));
    assert_eq!(TeacherInput::parse("/lower  1001 "), TeacherInput::Lower(Some("1001".parse().unwrap())));
    assert_eq!(TeacherInput::parse("/lower all"), TeacherInput::LowerAll);
    assert_eq!(TeacherInput::parse("/comments off"), TeacherInput::Comments(Some(false)));
    assert_eq!(TeacherInput::parse("/reactions  on"), TeacherInput::Reactions(Some(true)));
    assert_eq!(TeacherInput::parse("/reactions"), TeacherInput::Reactions(None));
    for line in ["/lower a b", "/", "/hans", "/help", "/comments no"] {
        assert!(matches!(TeacherInput::parse(line), TeacherInput::Advice(_)), "{line}");
    }
}

#[test]
fn a_student_types_messages_and_commands() {
    assert_eq!(StudentInput::parse("hello", Place::Lecture), StudentInput::Say("hello".into()));
    assert_eq!(StudentInput::parse("/hand", Place::Lecture), StudentInput::Hand);
    assert_eq!(StudentInput::parse("/react clap", Place::Lecture), StudentInput::React(Reaction::Clap));
    for line in ["/react bomb", "/lower", "/help", "/hand up"] {
        assert!(matches!(StudentInput::parse(line, Place::Lecture), StudentInput::Advice(_)), "{line}");
    }
}

#[test]
fn a_participant_types_messages_to_all_and_to_one_and_leaves() {
    let private = StudentInput::Private { to: "1001".into(), words: "see you".into() };
    assert_eq!(StudentInput::parse("/to 1001  see you", Place::Meeting), private);
    assert_eq!(StudentInput::parse("/leave", Place::Call), StudentInput::Leave);
    assert_eq!(StudentInput::parse("/mic", Place::Call), StudentInput::Microphone);
    assert_eq!(
        StudentInput::parse("/cancel my notes.pdf", Place::Meeting),
        StudentInput::Cancel("my notes.pdf".into())
    );
    let nowhere = [
        ("/to 1001", Place::Meeting),
        ("/to 1001 hello", Place::Call),
        ("/to 1001 hello", Place::Lecture),
        ("/leave", Place::Lecture),
        ("/mic", Place::Lecture),
        ("/mic off", Place::Meeting),
        ("/hand", Place::Call),
        ("/mute all", Place::Call),
        ("/stage list", Place::Meeting),
    ];
    for (line, place) in nowhere {
        assert!(matches!(StudentInput::parse(line, place), StudentInput::Advice(_)), "{line}");
    }
}

#[test]
fn orders_about_the_chat_are_typed() {
    let one = |text: &str| Whom::One(text.into());
    for (line, order) in [
        ("/mute 1001", ChatOrder::Mute(one("1001"))),
        ("/mute  Anna Li ", ChatOrder::Mute(one("Anna Li"))),
        ("/mute all", ChatOrder::Mute(Whom::All)),
        ("/unmute 1001", ChatOrder::Unmute(one("1001"))),
        ("/unmute all", ChatOrder::Unmute(Whom::All)),
        ("/clear", ChatOrder::Clear),
        ("/slow 10s", ChatOrder::Slow(Duration::from_secs(10))),
        ("/slow 1m30s", ChatOrder::Slow(Duration::from_secs(90))),
        ("/slow off", ChatOrder::Slow(Duration::ZERO)),
    ] {
        assert_eq!(TeacherInput::parse(line), TeacherInput::Order(order.clone()));
        assert_eq!(StudentInput::parse(line, Place::Lecture), StudentInput::Order(order));
    }
    assert_eq!(TeacherInput::parse("/mute"), TeacherInput::Muted);
    assert_eq!(TeacherInput::parse("/slow"), TeacherInput::Slow);
    for line in ["/unmute", "/clear now", "/slow 10", "/slow fast", "/slow on"] {
        assert!(matches!(TeacherInput::parse(line), TeacherInput::Advice(_)), "{line}");
        assert!(matches!(StudentInput::parse(line, Place::Lecture), StudentInput::Advice(_)), "{line}");
    }
    let find = |text: &str| text.parse::<UserId>();
    assert_eq!(ChatOrder::Mute(Whom::All).moderation(find), Ok(Moderation::MuteAll));
    let user_id = "1001".parse().unwrap();
    assert_eq!(ChatOrder::Unmute(one("1001")).moderation(find), Ok(Moderation::Unmute { user_id }));
    assert!(ChatOrder::Mute(one("Anna Li")).moderation(find).is_err());
    let long = ChatOrder::Slow(Duration::from_secs(1 << 40));
    assert_eq!(long.moderation(find), Ok(Moderation::Slow { ms: u32::MAX }));
}

#[test]
fn help_lists_only_commands_that_exist() {
    for (typed, _) in TEACHER_COMMANDS.iter().flat_map(|(_, commands)| *commands) {
        assert!(!matches!(TeacherInput::parse(typed), TeacherInput::Advice(_) | TeacherInput::Say(_)), "{typed}");
    }
    for place in [Place::Lecture, Place::Meeting, Place::Call] {
        for (typed, _) in place.commands().iter().flat_map(|(_, commands)| *commands) {
            let input = StudentInput::parse(typed, place);
            assert!(!matches!(input, StudentInput::Advice(_) | StudentInput::Say(_)), "{typed}");
        }
    }
    let TeacherInput::Advice(table) = TeacherInput::parse("/help") else { panic!("no table") };
    let commands: usize = TEACHER_COMMANDS.iter().map(|(_, commands)| commands.len()).sum();
    let titles = TEACHER_COMMANDS.len() + 1;
    assert_eq!(table.lines().count(), 1 + titles + commands + ALL_COMMANDS.len(), "{table}");
    assert!(table.lines().count() <= 42 && table.lines().all(|line| line.len() <= 100), "{table}");
    for reaction in Reaction::ALL.map(Reaction::name) {
        assert!(STUDENT_COMMANDS[0].1[1].1.contains(reaction), "{reaction}");
    }
}

#[test]
fn tab_completes_the_commands() {
    assert_eq!(
        TeacherInput::commands(),
        [
            "/hands",
            "/lower",
            "/mute",
            "/unmute",
            "/slow",
            "/clear",
            "/comments",
            "/reactions",
            "/stage",
            "/spotlight",
            "/floor",
            "/split",
            "/assign",
            "/name",
            "/visit",
            "/back",
            "/announce",
            "/recall",
            "/who",
            "/kick",
            "/ban",
            "/unban",
            "/lock",
            "/unlock",
            "/lobby",
            "/admit",
            "/deny",
            "/code",
            "/next",
            "/prev",
            "/page",
            "/black",
            "/pause",
            "/scene",
            "/missing",
            "/help"
        ]
    );
    let lecture = StudentInput::commands(Place::Lecture);
    assert_eq!(lecture, ["/hand", "/react", "/speak", "/stepdown", "/pin", "/help"]);
}
