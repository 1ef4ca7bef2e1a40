//! Tests of an SFU and viewers on loopback, through the SFU's handle.

use std::num::NonZeroUsize;
use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::rtp::{Codec, Frame, FrameAssembler, Tier, Track};
use crate::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};

mod publish;
mod publisher;
mod sessions;

pub(super) async fn student(
    sfu: &Sfu,
    events: &mut mpsc::Receiver<SfuEvent>,
    id: &str,
) -> (Viewer, mpsc::Receiver<ViewerEvent>) {
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (link, offer, link_events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    sfu.offer(id.parse().unwrap(), offer, None, None);
    let answer = next(events, |event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None }).await;
    link.answer(answer).await.unwrap();
    next(events, |event| matches!(event, SfuEvent::ChannelOpen(_)).then_some(())).await;
    (link, link_events)
}

pub(super) async fn next<E, T>(events: &mut mpsc::Receiver<E>, wanted: impl Fn(E) -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = wanted(events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap()
}

fn sfu_of(encodings: Vec<(Encoding, u32)>) -> (Sfu, mpsc::Receiver<SfuEvent>) {
    sfu_with(encodings, NonZeroUsize::MIN)
}

fn sfu_with(encodings: Vec<(Encoding, u32)>, workers: NonZeroUsize) -> (Sfu, mpsc::Receiver<SfuEvent>) {
    sfu_for(10, encodings, workers)
}

fn sfu_for(
    max_students: usize,
    encodings: Vec<(Encoding, u32)>,
    workers: NonZeroUsize,
) -> (Sfu, mpsc::Receiver<SfuEvent>) {
    let own = UdpBinding::Own("127.0.0.1:0".parse().unwrap());
    Sfu::start(config(own, max_students, encodings, workers)).unwrap()
}

pub(super) fn config(
    udp: UdpBinding,
    max_students: usize,
    encodings: Vec<(Encoding, u32)>,
    workers: NonZeroUsize,
) -> SfuConfig {
    SfuConfig {
        user: "9999".parse().unwrap(),
        udp,
        advertise: vec![],
        stun: vec![],
        max_students,
        encodings,
        workers,
        adapts: true,
    }
}

#[tokio::test]
async fn a_panic_in_the_turn_of_a_student_ends_only_that_connection() {
    let (sfu, mut events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
    let (one, _) = student(&sfu, &mut events, "1001").await;
    let (two, mut heard) = student(&sfu, &mut events, "1002").await;
    sfu.send(Command::Panic { user: "1001".parse().unwrap() });
    let gone = next(&mut events, |event| match event {
        SfuEvent::Gone { user, why } => Some((user, why)),
        _ => None,
    });
    assert_eq!(gone.await, ("1001".parse().unwrap(), Departure::Failed));
    sfu.tell_all("the class goes on");
    next(&mut heard, |event| matches!(event, ViewerEvent::Heard(text) if text == "the class goes on").then_some(()))
        .await;
    let (again, _) = student(&sfu, &mut events, "1001").await;
    for link in [one, two, again] {
        link.close().await;
    }
    sfu.close().await;
}

#[tokio::test]
async fn a_student_that_connects_again_has_no_fresh_budget_of_messages() {
    let (sfu, mut events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
    let (mut began, mut heard) = (None, 0);
    // The first connection uses up the budget of 100 messages, which grows by 50 a second.
    for most in [100, 150] {
        let (link, _) = student(&sfu, &mut events, "1001").await;
        let began = *began.get_or_insert_with(Instant::now);
        let says = async {
            while heard < most {
                link.say("hello").await;
                let heard_now = |event| matches!(event, SfuEvent::Heard { .. }).then_some(());
                let waits = timeout(Duration::from_millis(2), next(&mut events, heard_now));
                heard += usize::from(waits.await.is_ok());
            }
        };
        timeout(Duration::from_secs(60), says).await.unwrap();
        let allowed = 100.0 + 50.0 * began.elapsed().as_secs_f64();
        assert!(heard as f64 <= allowed + 1.0, "{heard}, {allowed}");
        link.close().await;
        next(&mut events, |event| matches!(event, SfuEvent::Gone { .. }).then_some(())).await;
    }
    sfu.close().await;
}

/// The end of a lecture must not wait for a thread that is blocked forever.
#[tokio::test]
async fn closing_does_not_wait_for_a_thread_that_does_not_answer() {
    let (sfu, _events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
    let (release, stall) = std::sync::mpsc::channel::<()>();
    sfu.send(Command::Stall(stall));
    timeout(Duration::from_secs(20), sfu.close()).await.unwrap();
    drop(release);
}

/// A video frame of two packets.
fn picture(encoding: Encoding, timestamp: u32, key: bool) -> Frame {
    let mut assembler = FrameAssembler::new(encoding);
    let mut push = |n: u8| {
        let start = [[0x80, 96 | n << 7, 0, n].as_slice(), &timestamp.to_be_bytes(), &[0, 0, 0, 7]].concat();
        let body = [if n == 0 { 0x10 } else { 0 }, u8::from(!key), n, n];
        assembler.push(&[start.as_slice(), &body].concat(), Instant::now())
    };
    push(0).or_else(|| push(1)).unwrap()
}

#[test]
fn the_frame_after_a_dropped_one_is_marked_as_after_a_gap() {
    let (frames, mut queue) = mpsc::channel(2);
    let input = FrameInput::new(frames, Arc::default());
    let full = Encoding::full(Track::Screen, Codec::Vp8);
    let push = |encoding, number: u32| input.push(picture(encoding, number * 3000, number == 0));
    (0..4).for_each(|number| push(full, number));
    let mut come = || {
        let come = std::iter::from_fn(|| queue.try_recv().ok());
        come.map(|pushed| (pushed.frame.timestamp / 3000, pushed.after_gap)).collect::<Vec<_>>()
    };
    assert_eq!(come(), [(0, false), (1, false)]);
    push(full.with(Tier::Low), 4);
    push(full, 5);
    assert_eq!(come(), [(4, false), (5, true)], "the other encoding has no gap");
    push(full, 6);
    assert_eq!(come(), [(6, false)], "said once");
}

#[tokio::test]
async fn peers_of_an_encoding_that_fails_get_another_and_an_unneeded_encoder_stops() {
    let full = Encoding::full(Track::Screen, Codec::Vp8);
    let low = full.with(Tier::Low);
    let (sfu, mut events) = sfu_of(vec![(full, 1_000_000), (low, 250_000)]);
    let (link, mut heard) = student(&sfu, &mut events, "1001").await;
    next(&mut events, |event| matches!(event, SfuEvent::KeyFrameNeeded(e) if e == full).then_some(())).await;
    sfu.encodings(vec![low]);
    next(&mut events, |event| matches!(event, SfuEvent::Needed(e, true) if e == low).then_some(())).await;
    next(&mut events, |event| matches!(event, SfuEvent::KeyFrameNeeded(e) if e == low).then_some(())).await;
    let told = |event| if let ViewerEvent::Heard(text) = event { Some(text) } else { None };
    assert!(next(&mut heard, told).await.contains("low"));
    sfu.input().push(picture(low, 3000, true));
    let stats = sfu.stats().await.unwrap();
    assert_eq!(stats.watched, [(low, 1)]);
    next(&mut events, |event| matches!(event, SfuEvent::Needed(e, false) if e == full).then_some(())).await;
    // The key frame of the full tier, which never arrived, must no longer be requested as time passes.
    let asked = |stats: SfuStats| stats.key_requests[&full];
    let before = asked(sfu.stats().await.unwrap());
    // This tests the passage of time, so it sleeps for longer than the interval between two requests.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(asked(sfu.stats().await.unwrap()), before);
    link.close().await;
    sfu.close().await;
}

/// A flood of offers and candidates from strangers must not displace control commands.
#[tokio::test]
async fn a_flood_of_offers_loses_no_control() {
    let full = Encoding::full(Track::Screen, Codec::Vp8);
    let low = full.with(Tier::Low);
    let (sfu, mut events) = sfu_of(vec![(full, 1_000_000), (low, 250_000)]);
    let (one, mut heard) = student(&sfu, &mut events, "1001").await;
    let (two, _) = student(&sfu, &mut events, "1002").await;
    let (release, stall) = std::sync::mpsc::channel::<()>();
    sfu.send(Command::Stall(stall));
    for n in 0..20_000 {
        sfu.offer(format!("{}", 5_000 + n).parse().unwrap(), "no SDP".to_owned(), None, None);
    }
    assert_eq!(sfu.queues()[0].length, sfu.queues()[0].capacity);
    sfu.remove("1002".parse().unwrap());
    sfu.tell("1001".parse().unwrap(), "still here");
    sfu.encodings(vec![low]);
    drop(release);
    let gone = |event| matches!(event, SfuEvent::Gone { user, why: Departure::Left } if user.as_str() == "1002");
    next(&mut events, |event| gone(event).then_some(())).await;
    next(&mut events, |event| matches!(event, SfuEvent::Needed(e, true) if e == low).then_some(())).await;
    next(&mut heard, |event| matches!(event, ViewerEvent::Heard(text) if text == "still here").then_some(())).await;
    for link in [one, two] {
        link.close().await;
    }
    sfu.close().await;
}

/// Closing must not wait for earlier requests and messages.
#[tokio::test]
async fn closing_does_not_wait_for_a_flood_of_offers_and_messages() {
    let (sfu, mut events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
    let (link, mut happens) = student(&sfu, &mut events, "1001").await;
    let (release, stall) = std::sync::mpsc::channel::<()>();
    sfu.send(Command::Stall(stall));
    for n in 0..20_000 {
        sfu.offer(format!("{}", 5_000 + n).parse().unwrap(), "no SDP".to_owned(), None, None);
        sfu.tell_all("spam");
    }
    let closing = tokio::spawn(sfu.close());
    drop(release);
    next(&mut happens, |event| (event == ViewerEvent::Gone).then_some(())).await;
    closing.await.unwrap();
    link.close().await;
}

/// Simulates that other code in the process has closed the socket.
#[tokio::test]
async fn a_failed_socket_is_reopened_and_the_class_continues() {
    for workers in [1, 3] {
        let full = Encoding::full(Track::Screen, Codec::Vp8);
        let (sfu, mut events) = sfu_with(vec![(full, 1_000_000)], workers.try_into().unwrap());
        let port = sfu.udp().port();
        let (one, mut hears_one) = student(&sfu, &mut events, "1001").await;
        let (two, mut hears_two) = student(&sfu, &mut events, "1002").await;
        sfu.send(Command::FailReceives(libc::EBADF));
        let is_notice = |event| match event {
            SfuEvent::Notice(sentence) if sentence.contains("reopened") => Some(sentence),
            _ => None,
        };
        assert!(next(&mut events, is_notice).await.contains(&port.to_string()));
        // Messages pass in both directions, for the students that were there and for a new one.
        for (link, user, hears) in [(&one, "1001", &mut hears_one), (&two, "1002", &mut hears_two)] {
            assert!(link.say("here").await);
            let said = |event| matches!(event, SfuEvent::Heard { user: of, .. } if of.as_str() == user).then_some(());
            next(&mut events, said).await;
            sfu.tell(user.parse().unwrap(), "go on");
            next(hears, |event| matches!(event, ViewerEvent::Heard(text) if text == "go on").then_some(())).await;
        }
        let (three, _) = student(&sfu, &mut events, "1003").await;
        for link in [one, two, three] {
            link.close().await;
        }
        sfu.close().await;
    }
}

/// Errors that an ICMP message or a lack of memory causes must not end anything.
#[tokio::test]
async fn a_transient_receive_error_ends_nothing() {
    let (sfu, mut events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
    let (link, _) = student(&sfu, &mut events, "1001").await;
    for errno in [libc::EHOSTUNREACH, libc::ENOBUFS, libc::EPERM] {
        sfu.send(Command::FailReceives(errno));
        assert!(sfu.stats().await.is_some());
        sfu.send(Command::FailReceives(0));
        assert!(link.say("here").await);
        next(&mut events, |event| matches!(event, SfuEvent::Heard { .. }).then_some(())).await;
    }
    link.close().await;
    sfu.close().await;
}

/// A viewer and its offer, without further signalling.
async fn offer() -> (Viewer, String) {
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (viewer, offer, _) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    (viewer, offer)
}

/// The lecture hangs up on a student that is gone; it must not hang up on the student's next connection.
#[tokio::test]
async fn a_student_that_leaves_and_returns_is_announced_gone_once_and_before_its_new_answer() {
    for workers in [1, 3] {
        let full = Encoding::full(Track::Screen, Codec::Vp8);
        let (sfu, mut events) = sfu_with(vec![(full, 1_000_000)], workers.try_into().unwrap());
        let (first, sdp) = offer().await;
        let (second, again) = offer().await;
        let user: UserId = "1001".parse().unwrap();
        let (release, stall) = std::sync::mpsc::channel::<()>();
        sfu.offer(user.clone(), sdp, None, None);
        next(&mut events, |event| matches!(event, SfuEvent::Answer { .. }).then_some(())).await;
        sfu.send(Command::Stall(stall));
        sfu.remove(user.clone());
        sfu.offer(user, again, None, None);
        drop(release);
        let relevant = |event| match event {
            SfuEvent::Gone { why, .. } => Some(why.as_str()),
            SfuEvent::Answer { .. } => Some("answer"),
            SfuEvent::Refused { .. } => Some("refused"),
            _ => None,
        };
        assert_eq!([next(&mut events, relevant).await, next(&mut events, relevant).await], ["left", "answer"]);
        // The workers have carried out all earlier commands.
        assert_eq!(sfu.stats().await.unwrap().connecting, 1);
        assert!(std::iter::from_fn(|| events.try_recv().ok()).find_map(relevant).is_none());
        first.close().await;
        second.close().await;
        sfu.close().await;
    }
}

/// A refusal, or an answer, of an offer.
fn outcome(event: SfuEvent) -> Option<(UserId, Result<String, OfferRefusal>)> {
    match event {
        SfuEvent::Answer { user, sdp } => Some((user, Ok(sdp))),
        SfuEvent::Refused { user, why } => Some((user, Err(why))),
        _ => None,
    }
}

#[tokio::test]
async fn the_place_of_a_student_that_has_left_is_free_at_once() {
    for workers in [1, 3] {
        let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
        let (sfu, mut events) = sfu_for(2, encodings, workers.try_into().unwrap());
        let (one, _) = student(&sfu, &mut events, "1001").await;
        let (two, _) = student(&sfu, &mut events, "1002").await;
        let (viewer, sdp) = offer().await;
        let (three, third) = offer().await;
        sfu.offer("1003".parse().unwrap(), third.clone(), None, None);
        let (_, refused) = next(&mut events, outcome).await;
        assert!(matches!(refused, Err(OfferRefusal::Full(2))), "{refused:?}");
        let (release, stall) = std::sync::mpsc::channel::<()>();
        sfu.send(Command::Stall(stall));
        sfu.remove("1002".parse().unwrap());
        sfu.offer("1003".parse().unwrap(), third, None, None);
        drop(release);
        let (_, answer) = next(&mut events, outcome).await;
        three.answer(answer.unwrap()).await.unwrap();
        next(&mut events, |event| matches!(event, SfuEvent::ChannelOpen(_)).then_some(())).await;
        sfu.offer("1004".parse().unwrap(), sdp, None, None);
        let (user, refused) = next(&mut events, outcome).await;
        assert_eq!(user.as_str(), "1004");
        assert!(matches!(refused, Err(OfferRefusal::Full(2))), "the room is full again: {refused:?}");
        for link in [one, two, three, viewer] {
            link.close().await;
        }
        sfu.close().await;
    }
}

#[tokio::test]
async fn offers_that_never_connect_fill_no_place() {
    let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
    let (sfu, mut events) = sfu_for(2, encodings, NonZeroUsize::MIN);
    let (viewer, sdp) = offer().await;
    for n in 0..20 {
        sfu.offer(format!("{}", 5_000 + n).parse().unwrap(), sdp.clone(), None, None);
        assert!(next(&mut events, outcome).await.1.is_ok(), "offer {n}");
    }
    let (one, _) = student(&sfu, &mut events, "1001").await;
    let (two, _) = student(&sfu, &mut events, "1002").await;
    let stats = sfu.stats().await.unwrap();
    assert_eq!((stats.students, stats.connecting), (2, 20));
    for link in [one, two, viewer] {
        link.close().await;
    }
    sfu.close().await;
}

/// Several students may be connecting when one place is left.
#[tokio::test]
async fn a_student_that_connects_as_one_too_many_is_refused_and_its_connection_is_closed() {
    for workers in [1, 3] {
        let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
        let (sfu, mut events) = sfu_for(1, encodings, workers.try_into().unwrap());
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let sink = || Arc::new(|_: Incoming<'_>| {});
        let (late, sdp, mut happens) = Viewer::offer(config, sink()).await.unwrap();
        sfu.offer("1002".parse().unwrap(), sdp, None, None);
        let (_, answer) = next(&mut events, outcome).await;
        let (one, mut hears) = student(&sfu, &mut events, "1001").await;
        late.answer(answer.unwrap()).await.unwrap();
        let (user, refused) = next(&mut events, outcome).await;
        assert_eq!(user.as_str(), "1002");
        assert!(matches!(refused, Err(OfferRefusal::Full(1))), "{refused:?}");
        next(&mut happens, |event| (event == ViewerEvent::Gone).then_some(())).await;
        sfu.tell_all("the class goes on");
        next(&mut hears, |event| matches!(event, ViewerEvent::Heard(_)).then_some(())).await;
        let stats = sfu.stats().await.unwrap();
        assert_eq!((stats.students, stats.connecting), (1, 0));
        late.close().await;
        one.close().await;
        sfu.close().await;
    }
}

#[tokio::test]
async fn a_student_of_a_full_room_keeps_its_place_when_it_connects_anew() {
    let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
    let (sfu, mut events) = sfu_for(1, encodings, NonZeroUsize::MIN);
    let (first, _) = student(&sfu, &mut events, "1001").await;
    let (viewer, sdp) = offer().await;
    let (again, anew) = offer().await;
    // A second offer within 300 ms would be refused.
    tokio::time::sleep(Duration::from_millis(350)).await;
    sfu.offer("1001".parse().unwrap(), anew, None, None);
    let (_, answer) = next(&mut events, outcome).await;
    sfu.offer("1002".parse().unwrap(), sdp, None, None);
    let (user, refused) = next(&mut events, outcome).await;
    assert_eq!(user.as_str(), "1002");
    assert!(matches!(refused, Err(OfferRefusal::Full(1))), "{refused:?}");
    again.answer(answer.unwrap()).await.unwrap();
    next(&mut events, |event| matches!(event, SfuEvent::ChannelOpen(_)).then_some(())).await;
    for link in [first, again, viewer] {
        link.close().await;
    }
    sfu.close().await;
}
