//! Offers about speakers on the stage, and the answers of the holder of the room's media.

use super::host::{hosted, with_rooms};
use super::*;

/// A room with two students, whose media the publisher or the server carries.
struct Stage {
    server: TestServer,
    publisher: ConnId,
    /// Who gets the offers, and answers.
    holder: ConnId,
    speaker: ConnId,
    viewer: ConnId,
}

impl Stage {
    fn at(media: MediaHost) -> Self {
        let mut server = with_rooms(1);
        let (publisher, holder) = match media {
            MediaHost::Server => server.host(hosted()),
            MediaHost::Publisher => {
                let publisher = server.let_in(teacher());
                (publisher, publisher)
            }
        };
        let (speaker, viewer) = (server.let_in(student("1001")), server.let_in(student("1002")));
        server.pass(Duration::from_secs(1));
        Self { server, publisher, holder, speaker, viewer }
    }

    /// The source of an offer or a candidate that the holder gets from `from`, and nobody else.
    fn source_at_holder(&mut self, from: ConnId, message: ClientMessage) -> Option<UserId> {
        let out = self.server.say(from, message);
        assert_eq!(flat(&out).len(), 1, "{out:?}");
        match &told(&out, self.holder)[..] {
            [ServerMessage::Offer { source, .. } | ServerMessage::Candidate { source, .. }] => source.clone(),
            other => panic!("{other:?}"),
        }
    }
}

const BOTH: [MediaHost; 2] = [MediaHost::Publisher, MediaHost::Server];

fn sourced(source: &str, target: &str) -> [ClientMessage; 4] {
    let (target_uid, source) = (id(target), Some(id(source)));
    let message = "not on the stage".to_owned();
    [
        ClientMessage::Answer {
            entry: None,
            target_uid: target_uid.clone(),
            sdp: "v=0".into(),
            source: source.clone(),
        },
        ClientMessage::Candidate {
            entry: None,
            target_uid: target_uid.clone(),
            candidate: IceCandidate::default(),
            source: source.clone(),
        },
        ClientMessage::Reject {
            target_uid: target_uid.clone(),
            code: ErrorCode::NotOnStage,
            message,
            codec: None,
            source: source.clone(),
        },
        ClientMessage::Hangup { target_uid, source },
    ]
}

/// The user whom the receiver of one message sees as its sender.
fn sender(messages: &[ServerMessage]) -> UserId {
    match messages {
        [ServerMessage::Answer { user_id, .. } | ServerMessage::Hangup { user_id }]
        | [ServerMessage::Candidate { user_id, source: None, .. }]
        | [ServerMessage::Error { user_id: Some(user_id), .. }] => user_id.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offers_about_a_speaker_reach_the_holder_and_answers_come_from_the_speaker() {
    for media in BOTH {
        let mut stage = Stage::at(media);
        let (speaker, viewer) = (stage.speaker, stage.viewer);
        let tracks = Some(protocol::OfferedTracks::from([("0".to_owned(), protocol::TrackName::Audio)]));
        let offer = |target: &str| ClientMessage::Offer {
            entry: None,
            target_uid: id(target),
            sdp: "v=0".into(),
            video: None,
            tracks: tracks.clone(),
        };
        let out = stage.server.say(speaker, offer("1001"));
        match &told(&out, stage.holder)[..] {
            [ServerMessage::Offer { user_id, source, tracks: relayed, network: Some(_), .. }] => {
                assert_eq!((user_id, source, relayed), (&id("1001"), &Some(id("1001")), &tracks));
            }
            other => panic!("{other:?}"),
        }
        let out = stage.server.say(viewer, offer("1001"));
        match &told(&out, stage.holder)[..] {
            [ServerMessage::Offer { user_id, source, tracks: None, .. }] => {
                assert_eq!((user_id, source), (&id("1002"), &Some(id("1001"))));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stage.source_at_holder(viewer, candidate_to("1001")), Some(id("1001")));
        assert_eq!(stage.source_at_holder(viewer, offer_to(TEACHER)), None, "the lecture itself");
        for (conn, user) in [(speaker, "1001"), (viewer, "1002")] {
            for message in sourced("1001", user) {
                let out = stage.server.say(stage.holder, message);
                assert_eq!((flat(&out).len(), sender(&told(&out, conn))), (1, id("1001")), "{media:?}");
            }
            let out = stage.server.say(stage.holder, answer_to(user));
            assert_eq!(sender(&told(&out, conn)), id(TEACHER));
        }
    }
}

#[test]
fn a_publisher_receives_speakers_from_the_server_and_not_from_itself() {
    let mut stage = Stage::at(MediaHost::Server);
    let publisher = stage.publisher;
    assert_eq!(stage.source_at_holder(publisher, offer_to("1001")), Some(id("1001")));
    assert_eq!(stage.source_at_holder(publisher, candidate_to("1001")), Some(id("1001")));
    for message in sourced("1001", TEACHER) {
        let out = stage.server.say(stage.holder, message);
        assert_eq!(sender(&told(&out, publisher)), id("1001"));
    }
    // A speaker goes on while the publisher's page is away for longer than its user id is kept.
    stage.server.lose(publisher);
    stage.server.pass(protocol::RESUME_GRACE);
    assert_eq!(stage.source_at_holder(stage.speaker, offer_to("1001")), Some(id("1001")));
    let mut stage = Stage::at(MediaHost::Publisher);
    let out = stage.server.say(stage.publisher, offer_to("1001"));
    assert_eq!(error_code(&out, stage.publisher), Some(ErrorCode::NotAllowed));
}

#[test]
fn nobody_but_the_holder_speaks_for_another() {
    for media in BOTH {
        let mut stage = Stage::at(media);
        let (speaker, viewer) = (stage.speaker, stage.viewer);
        for target in [TEACHER, "1001"] {
            let [answer, candidate, reject, hangup] = sourced("1001", target);
            stage.server.say(viewer, offer_to(target));
            let expected = (target != TEACHER).then(|| id(target));
            assert_eq!(stage.source_at_holder(viewer, candidate), expected, "the server knows the source");
            for message in [answer, reject, hangup] {
                let out = stage.server.say(viewer, message);
                assert_eq!(error_code(&out, viewer), Some(ErrorCode::NotAllowed));
                assert_eq!((flat(&out).len(), told(&out, speaker).len()), (1, 0));
            }
        }
        for message in [offer_to("7"), candidate_to("7")] {
            let out = stage.server.say(viewer, message);
            assert_eq!((error_code(&out, viewer), flat(&out).len()), (Some(ErrorCode::UnknownTarget), 1));
        }
        stage.server.say(stage.publisher, ClientMessage::Leave { over: false });
        let out = stage.server.say(viewer, offer_to("1001"));
        assert_eq!(error_code(&out, viewer), Some(ErrorCode::UnknownTarget), "nobody carries media");
    }
}

#[test]
fn the_end_of_a_speakers_media_is_not_the_end_of_the_lecture() {
    for media in BOTH {
        let mut stage = Stage::at(media);
        stage.server.say(stage.holder, connected("1002"));
        let [.., hangup] = sourced("1001", "1002");
        stage.server.say(stage.holder, hangup);
        let state = |stage: &Stage| stage.server.rooms.rooms[&"10013".parse().unwrap()].members[&id("1002")].media;
        assert_eq!(state(&stage), member::Media::Connected);
        stage.server.say(stage.holder, ClientMessage::Hangup { target_uid: id("1002"), source: None });
        assert!(matches!(state(&stage), member::Media::Missing { .. }));
    }
}

#[test]
fn offers_wait_for_a_teacher_that_reconnects() {
    let mut stage = Stage::at(MediaHost::Publisher);
    stage.server.lose(stage.publisher);
    for message in [offer_to("1001"), candidate_to("1001")] {
        assert_eq!(stage.server.say(stage.viewer, message), []);
    }
    let (back, out) = stage.server.enter(teacher());
    let told = told(&out, back);
    assert!(
        matches!(
            &told[1..],
            [ServerMessage::Offer { source: Some(_), .. }, ServerMessage::Candidate { source: Some(_), .. }]
        ),
        "{told:?}"
    );
}

#[test]
fn candidates_to_the_publisher_and_four_speakers_at_once_are_relayed() {
    let mut stage = Stage::at(MediaHost::Server);
    (3..=5).for_each(|n| _ = stage.server.let_in(student(&format!("100{n}"))));
    let targets = [TEACHER, "1001", "1003", "1004", "1005"];
    let relayed = |stage: &mut Stage, most: usize| -> usize {
        let viewer = stage.viewer;
        let each = (0..most).flat_map(|_| targets).map(|target| flat(&stage.server.say(viewer, candidate_to(target))));
        each.map(|told| told.len()).sum()
    };
    for _ in 0..3 {
        targets.iter().for_each(|target| _ = stage.server.say(stage.viewer, offer_to(target)));
    }
    assert_eq!(relayed(&mut stage, 100), 5 * 32, "not more by more offers");
}

#[test]
fn a_class_of_300_behind_one_address_connects_to_a_new_speaker_twice_in_a_row() {
    let mut server = with_rooms(1);
    server.host(hosted());
    let class: Vec<_> = (0..300).map(|n| server.let_in(student(&format!("{}", 1_000 + n)))).collect();
    let all_offer = |server: &mut TestServer, target: &str| {
        let refused = class.iter().filter(|conn| error_code(&server.say(**conn, offer_to(target)), **conn).is_some());
        refused.count()
    };
    for target in [TEACHER, "1000", "1001"] {
        assert_eq!(all_offer(&mut server, target), 0, "{target}");
    }
    // Ten hand-overs, with some seconds for each.
    for n in 0..10 {
        server.pass(Duration::from_secs(3));
        assert_eq!(all_offer(&mut server, &format!("{}", 1_000 + n)), 0, "hand-over {n}");
    }
}

#[test]
fn offers_about_speakers_in_a_loop_keep_nobody_from_the_lecture() {
    let mut stage = Stage::at(MediaHost::Server);
    let viewer = stage.viewer;
    let out = (0..10_000).map(|_| stage.server.say(viewer, offer_to("1001"))).collect::<Vec<_>>();
    let refused = out.iter().filter(|out| error_code(out, viewer) == Some(ErrorCode::TargetBusy)).count();
    assert_eq!(refused, 10_000 - protocol::STAGE_OFFERS.burst as usize);
    assert_eq!(stage.source_at_holder(stage.speaker, offer_to(TEACHER)), None);
}
