//! A publisher with a session for its screen and one for its camera.

use super::publish::{Got, ends, marks, until, user, watch};
use super::publisher::{Behaviour, TestPublisher};
use super::*;

/// Opens a session and waits until it is connected. The mark of the publisher is the number of the session.
async fn open(sfu: &Sfu, events: &mut mpsc::Receiver<SfuEvent>, number: SessionId, video: VideoTrack) -> TestPublisher {
    let publisher = TestPublisher::start(Behaviour::of(number as u8));
    let track = if video == VideoTrack::Screen { Track::Screen } else { Track::Camera };
    let answer = loop {
        sfu.open_session(SessionOffer {
            user: user("9999"),
            session: PublisherSession { number, video },
            sdp: publisher.offer.clone(),
            tracks: [("0".to_owned(), Track::Audio), ("v".to_owned(), track)].into(),
        });
        match next(events, |event| of_session(event, number)).await {
            SessionEvent::Answer { sdp } => break sdp,
            // The session before this one began a moment ago.
            SessionEvent::Refused(OfferRefusal::TooFast(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    };
    publisher.answer(answer);
    let connected = |event| matches!(of_session(event, number)?, SessionEvent::Connected).then_some(());
    next(events, connected).await;
    publisher
}

fn of_session(event: SfuEvent, of: SessionId) -> Option<SessionEvent> {
    match event {
        SfuEvent::Session { number, event } if number == of => Some(event),
        _ => None,
    }
}

/// Waits for a payload of this publisher in this track, after those that are there.
async fn arrives(got: &Got, track: Track, mark: u8) {
    let before = marks(got, track).len();
    until(&format!("{track} of {mark}"), || marks(got, track)[before..].contains(&mark)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_gets_the_videos_of_two_sessions_over_one_connection() {
    let (sfu, mut events) = sfu_of(vec![]);
    let screen = open(&sfu, &mut events, 1, VideoTrack::Screen).await;
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    arrives(&got, Track::Screen, 1).await;
    let camera = open(&sfu, &mut events, 2, VideoTrack::Camera).await;
    arrives(&got, Track::Camera, 2).await;
    arrives(&got, Track::Screen, 1).await;
    arrives(&got, Track::Audio, 1).await;
    assert!(!marks(&got, Track::Audio).contains(&2), "the sound is that of the first session");
    let ingest = sfu.stats().await.unwrap().ingest.unwrap();
    let tracks: Vec<Track> = ingest.stats.encodings.iter().map(|of| of.encoding.track).collect();
    assert_eq!(tracks, [Track::Audio, Track::Screen, Track::Screen, Track::Camera, Track::Camera]);
    assert!(ingest.silent.is_empty() && ingest.silent_sessions.is_empty(), "{ingest:?}");

    // Another session for the screen replaces that one alone.
    let again = open(&sfu, &mut events, 3, VideoTrack::Screen).await;
    arrives(&got, Track::Screen, 3).await;
    until("the first is closed", || screen.read(|log| log.closed)).await;
    arrives(&got, Track::Camera, 2).await;
    arrives(&got, Track::Audio, 2).await;

    sfu.end_session(2);
    until("the camera is closed", || camera.read(|log| log.closed)).await;
    arrives(&got, Track::Audio, 3).await;
    arrives(&got, Track::Screen, 3).await;
    let stats = sfu.stats().await.unwrap();
    assert_eq!((stats.students, stats.ingest.unwrap().user), (1, user("9999")));
    let gone = std::iter::from_fn(|| events.try_recv().ok()).find(|event| matches!(event, SfuEvent::Gone { .. }));
    assert!(gone.is_none(), "the user publishes all the time: {gone:?}");
    again.close();
    let gone = next(&mut events, |event| if let SfuEvent::Gone { user, .. } = event { Some(user) } else { None });
    assert_eq!(gone.await, user("9999"), "its last session is over");
    ends(sfu, vec![link], vec![screen, camera]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_restarts_ice_from_another_address() {
    let (port, _notices) = MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
    let (sfu, mut events) = Sfu::start(config(UdpBinding::Shared(port), 10, vec![], NonZeroUsize::MIN)).unwrap();
    let publisher = open(&sfu, &mut events, 1, VideoTrack::Screen).await;
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    arrives(&got, Track::Screen, 1).await;
    let restart = |(ufrag, password): (String, String)| IceRestart { number: 1, ufrag, password, candidates: vec![] };
    let restarted = |event| match of_session(event, 1)? {
        SessionEvent::Restarted(result) => Some(result),
        other => panic!("{other:?}"),
    };
    sfu.restart_ice(restart(("abc".into(), "short".into())));
    assert!(next(&mut events, restarted).await.is_err(), "the session goes on");
    arrives(&got, Track::Screen, 1).await;
    let mut ufrags = Vec::new();
    for connections in 2..4 {
        sfu.restart_ice(restart(publisher.restart()));
        let fragment = next(&mut events, restarted).await.unwrap();
        assert!(fragment.contains("a=candidate:") && fragment.contains("a=mid:"), "{fragment}");
        ufrags.push(fragment.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap().to_owned());
        publisher.restarted(fragment);
        until("a new path", || publisher.read(|log| log.connections == connections)).await;
        let before = sfu.stats().await.unwrap().ingest.unwrap().stats.encodings[0].packets;
        while sfu.stats().await.unwrap().ingest.unwrap().stats.encodings[0].packets == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        arrives(&got, Track::Screen, 1).await;
    }
    assert_ne!(ufrags[0], ufrags[1]);
    ends(sfu, vec![link], vec![publisher]).await;
}
