//! A publisher sends by RTP, and viewers get its frames byte for byte.

use std::collections::HashSet;
use std::sync::Mutex;

use super::publisher::{Behaviour, TestPublisher};
use super::*;
use crate::network::NetworkTag;
use crate::rtp::payload_offset;

const DEADLINE: Duration = Duration::from_secs(60);

/// Full and low tier of the screen of the publisher.
fn screen() -> (Encoding, Encoding) {
    let full = Encoding::full(Track::Screen, Codec::Vp8);
    (full, full.with(Tier::Low))
}

pub(super) fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

/// Waits until `check` holds, and keeps the events meanwhile.
pub(super) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let waits = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(DEADLINE, waits).await.is_ok(), "{what}");
}

/// Publishes, and waits for the connection.
async fn publish(
    sfu: &Sfu,
    events: &mut mpsc::Receiver<SfuEvent>,
    id: &str,
    behaviour: Behaviour,
) -> Result<TestPublisher, OfferRefusal> {
    let publisher = TestPublisher::start(behaviour);
    sfu.publish(user(id), publisher.offer.clone(), None, Some(NetworkTag(1)));
    let (of, answer) = next(events, outcome).await;
    assert_eq!(of, user(id));
    publisher.answer(answer?);
    let opens = |event| matches!(event, SfuEvent::ChannelOpen(of) if of.as_str() == id).then_some(());
    next(events, opens).await;
    Ok(publisher)
}

/// One packet that a viewer got: its timestamp and its payload.
pub(super) type Got = Arc<Mutex<Vec<(Track, u32, Vec<u8>)>>>;

/// A student that keeps what it gets.
pub(super) async fn watch(sfu: &Sfu, events: &mut mpsc::Receiver<SfuEvent>, id: &str) -> (Viewer, Got) {
    let got = Got::default();
    let of_sink = Arc::clone(&got);
    let sink = Arc::new(move |incoming: Incoming<'_>| {
        if let Incoming::Rtp(track, packet) = incoming {
            let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
            let payload = packet[payload_offset(packet).unwrap()..].to_vec();
            of_sink.lock().unwrap().push((track, timestamp, payload));
        }
    });
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (link, offer, _) = Viewer::offer(config, sink).await.unwrap();
    sfu.offer(user(id), offer, None, None);
    link.answer(next(events, outcome).await.1.unwrap()).await.unwrap();
    let opens = |event| matches!(event, SfuEvent::ChannelOpen(of) if of.as_str() == id).then_some(());
    next(events, opens).await;
    (link, got)
}

fn payloads(got: &Got, track: Track) -> Vec<Vec<u8>> {
    got.lock().unwrap().iter().filter(|(of, ..)| *of == track).map(|(.., payload)| payload.clone()).collect()
}

/// The mark of the publisher in each payload of a track, in the order of arrival.
pub(super) fn marks(got: &Got, track: Track) -> Vec<u8> {
    let at = if track.is_video() { 2 } else { 0 };
    payloads(got, track).iter().map(|payload| payload[at]).collect()
}

/// The number of whole frames among the payloads; each payload must have been sent.
fn whole_frames(publisher: &TestPublisher, got: &Got, track: Track) -> usize {
    let payloads: HashSet<Vec<u8>> = payloads(got, track).into_iter().collect();
    publisher.read(|log| {
        let mut whole = 0;
        let mut known: HashSet<&Vec<u8>> = HashSet::new();
        for frame in log.frames.iter().filter(|((of, _), _)| *of == track).flat_map(|(_, frames)| frames) {
            whole += usize::from(frame.iter().all(|packet| payloads.contains(packet)));
            known.extend(frame);
        }
        let strange = payloads.iter().find(|payload| !known.contains(payload));
        assert_eq!(strange, None, "a payload that was never sent");
        whole
    })
}

pub(super) async fn ends(sfu: Sfu, links: Vec<Viewer>, publishers: Vec<TestPublisher>) {
    for link in links {
        link.close().await;
    }
    publishers.into_iter().for_each(TestPublisher::close);
    sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_students_get_the_frames_of_a_publisher_byte_for_byte() {
    for workers in [1, 3] {
        let (sfu, mut events) = sfu_with(vec![], workers.try_into().unwrap());
        let (early, offer) = offer().await;
        sfu.offer(user("1000"), offer, None, None);
        let refused = next(&mut events, outcome).await.1;
        assert!(matches!(refused, Err(OfferRefusal::NotLive)), "{refused:?}");
        let publisher = TestPublisher::start(Behaviour::of(1));
        sfu.publish(user("9999"), publisher.offer.clone(), None, None);
        publisher.answer(next(&mut events, outcome).await.1.unwrap());
        let encodings = next(&mut events, |event| match event {
            SfuEvent::Encodings(encodings) => Some(encodings),
            _ => None,
        });
        let (full, low) = screen();
        assert_eq!(encodings.await, [Encoding::full(Track::Audio, Codec::Opus), full, low]);
        let (one, got_one) = watch(&sfu, &mut events, "1001").await;
        let (two, got_two) = watch(&sfu, &mut events, "1002").await;
        for got in [&got_one, &got_two] {
            until("frames", || whole_frames(&publisher, got, Track::Screen) > 60).await;
            until("audio", || whole_frames(&publisher, got, Track::Audio) > 60).await;
            assert_eq!(payloads(got, Track::Screen)[0][1], 0, "the first packet starts a key frame");
            let got = got.lock().unwrap();
            for track in [Track::Audio, Track::Screen] {
                let times: Vec<u32> = got.iter().filter(|(of, ..)| *of == track).map(|(_, time, _)| *time).collect();
                assert!(times.windows(2).all(|w| w[1].wrapping_sub(w[0]) < 100_000), "{track}: time goes on");
            }
        }
        until("transport-wide feedback", || publisher.read(|log| log.reported > 100)).await;
        let stats = sfu.stats().await.unwrap();
        assert_eq!((stats.students, stats.connecting, stats.peers.len()), (2, 0, 2), "the publisher is no student");
        let ingest = stats.ingest.unwrap();
        assert_eq!((ingest.user, ingest.silent), (user("9999"), vec![]));
        assert!(ingest.stats.encodings.iter().all(|of| of.packets > 10 && of.wrong_payload_type == 0), "{workers}");
        ends(sfu, vec![one, two, early], vec![publisher]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_publisher_loses_and_sends_again_is_no_loss_for_students() {
    let (sfu, mut events) = sfu_of(vec![]);
    let behaviour = Behaviour { loses_every: 20, ..Behaviour::of(2) };
    let publisher = publish(&sfu, &mut events, "9999", behaviour).await.unwrap();
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    until("frames", || whole_frames(&publisher, &got, Track::Screen) > 150).await;
    assert!(publisher.read(|log| log.lost > 20 && log.nacked >= 20));
    let stats = sfu.stats().await.unwrap();
    let ingest = stats.ingest.unwrap().stats;
    let of = |encoding| ingest.encodings.iter().find(|of| of.encoding == encoding).unwrap();
    let (full, _) = screen();
    assert!(of(full).lost > 5 && of(full).recovered * 10 >= of(full).lost * 8, "{:?}", of(full));
    // All frames between the first and the last one that arrived.
    let sent: Vec<Vec<Vec<u8>>> = publisher.read(|log| log.frames[&(Track::Screen, Tier::Full)].clone());
    let arrived: HashSet<Vec<u8>> = payloads(&got, Track::Screen).into_iter().collect();
    let is_whole = |frame: &Vec<Vec<u8>>| frame.iter().all(|packet| arrived.contains(packet));
    let (first, last) = (sent.iter().position(is_whole).unwrap(), sent.iter().rposition(is_whole).unwrap());
    let missing = sent[first..=last].iter().filter(|frame| !is_whole(frame)).count();
    assert!(missing * 20 <= last - first, "{missing} of {}", last - first);
    ends(sfu, vec![link], vec![publisher]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_offer_of_the_publisher_takes_over_at_its_key_frame() {
    let (sfu, mut events) = sfu_of(vec![]);
    let first = publish(&sfu, &mut events, "9999", Behaviour::of(3)).await.unwrap();
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    until("frames of the first", || whole_frames(&first, &got, Track::Screen) > 30).await;
    let refused = publish(&sfu, &mut events, "8888", Behaviour::of(9)).await.err();
    assert!(matches!(&refused, Some(OfferRefusal::OtherPublisher(of)) if *of == user("9999")), "{refused:?}");
    // A publisher that has not sent a key frame changes nothing.
    let second = Behaviour { sends_key_frames: false, ..Behaviour::of(4) };
    let second = publish(&sfu, &mut events, "9999", second).await.unwrap();
    let marks = |got: &Got| marks(got, Track::Screen);
    let before = marks(&got).len();
    until("the first goes on", || marks(&got).len() > before + 60).await;
    assert!(marks(&got).iter().all(|mark| *mark == 3));
    assert!(second.read(|log| log.key_frame_requests >= 2), "it is asked again");
    second.change(|behaviour| behaviour.sends_key_frames = true);
    until("frames of the second", || marks(&got).iter().filter(|mark| **mark == 4).count() > 60).await;
    until("the first is closed", || first.read(|log| log.closed)).await;
    let marks = marks(&got);
    let change = marks.iter().position(|mark| *mark == 4).unwrap();
    assert!(marks[change..].iter().all(|mark| *mark == 4), "no frame of the first follows");
    assert_eq!(payloads(&got, Track::Screen)[change][1], 0, "it starts with a key frame");
    {
        let got = got.lock().unwrap();
        for track in [Track::Audio, Track::Screen] {
            let times: Vec<u32> = got.iter().filter(|(of, ..)| *of == track).map(|(_, time, _)| *time).collect();
            let longest = times.windows(2).map(|w| w[1].wrapping_sub(w[0])).max().unwrap();
            assert!(longest < 90_000, "{track}: a jump of {longest} ticks");
        }
    }
    let gone = std::iter::from_fn(|| events.try_recv().ok()).find(|event| matches!(event, SfuEvent::Gone { .. }));
    assert!(gone.is_none(), "the user publishes all the time: {gone:?}");
    second.close();
    let gone = |event| if let SfuEvent::Gone { user, why } = event { Some((user, why)) } else { None };
    assert_eq!(next(&mut events, gone).await.0, user("9999"));
    assert!(sfu.stats().await.unwrap().ingest.is_none());
    let other = publish(&sfu, &mut events, "8888", Behaviour::of(5)).await.unwrap();
    until("frames of the other user", || payloads(&got, Track::Screen).iter().any(|payload| payload[2] == 5)).await;
    ends(sfu, vec![link], vec![first, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_sends_nonsense_harms_nobody_and_is_seen() {
    let (sfu, mut events) = sfu_of(vec![]);
    let nonsense = Behaviour { video_payload_type: 100, ..Behaviour::of(6) };
    let publisher = publish(&sfu, &mut events, "9999", nonsense).await.unwrap();
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    until("audio", || whole_frames(&publisher, &got, Track::Audio) > 50).await;
    assert!(payloads(&got, Track::Screen).is_empty());
    let stats = sfu.stats().await.unwrap().ingest.unwrap();
    let (full, low) = screen();
    assert_eq!(stats.silent, [full, low]);
    let wrong: u64 = stats.stats.encodings.iter().map(|of| of.wrong_payload_type).sum();
    assert!(wrong > 50, "{stats:?}");
    publisher.change(|behaviour| behaviour.video_payload_type = 96);
    until("video", || whole_frames(&publisher, &got, Track::Screen) > 30).await;
    assert!(sfu.stats().await.unwrap().ingest.unwrap().silent.is_empty());
    ends(sfu, vec![link], vec![publisher]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn students_get_the_low_tier_while_the_publisher_has_stopped_the_full_one() {
    let (sfu, mut events) = sfu_of(vec![]);
    let publisher = publish(&sfu, &mut events, "9999", Behaviour::of(7)).await.unwrap();
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    until("frames", || whole_frames(&publisher, &got, Track::Screen) > 30).await;
    publisher.change(|behaviour| behaviour.sends_full = false);
    let (full, low) = screen();
    let needs = |event| matches!(event, SfuEvent::Encodings(encodings) if !encodings.contains(&full)).then_some(());
    next(&mut events, needs).await;
    let is_low = |payload: &Vec<u8>| {
        publisher.read(|log| log.frames[&(Track::Screen, Tier::Low)].iter().flatten().any(|sent| sent == payload))
    };
    let before = payloads(&got, Track::Screen).len();
    until("the low tier", || payloads(&got, Track::Screen)[before..].iter().filter(|p| is_low(p)).count() > 30).await;
    assert_eq!(sfu.stats().await.unwrap().watched.iter().find(|(e, _)| e.track == Track::Screen), Some(&(low, 1)));
    while sfu.stats().await.unwrap().ingest.unwrap().silent != [full] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    publisher.change(|behaviour| behaviour.sends_full = true);
    let again = |event| matches!(event, SfuEvent::Encodings(encodings) if encodings.contains(&full)).then_some(());
    next(&mut events, again).await;
    ends(sfu, vec![link], vec![publisher]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publisher_takes_no_place_and_a_flood_of_offers_does_not_keep_it_out() {
    let (sfu, mut events) = sfu_for(1, vec![], NonZeroUsize::MIN);
    let (viewer, sdp) = offer().await;
    // Offers that never connect, and candidates, are more than the queue takes.
    for n in 0..3_000 {
        sfu.offer(format!("{}", 5_000 + n).parse().unwrap(), sdp.clone(), None, None);
    }
    let publisher = TestPublisher::start(Behaviour::of(8));
    sfu.publish(user("9999"), publisher.offer.clone(), None, None);
    let answer = next(&mut events, |event| outcome(event).filter(|(of, _)| *of == user("9999"))).await.1.unwrap();
    publisher.answer(answer);
    next(&mut events, |event| matches!(event, SfuEvent::Encodings(_)).then_some(())).await;
    for n in 0..800 {
        sfu.offer(format!("{}", 9_000 + n).parse().unwrap(), sdp.clone(), None, None);
    }
    let again = publish_through(&sfu, &mut events, "9999").await;
    until("it takes over", || again.read(|log| log.connected)).await;
    until("the first is closed", || publisher.read(|log| log.closed)).await;
    ends(sfu, vec![viewer], vec![publisher, again]).await;
}

/// Publishes while other offers are answered.
async fn publish_through(sfu: &Sfu, events: &mut mpsc::Receiver<SfuEvent>, id: &str) -> TestPublisher {
    // A second offer within 300 ms would be refused.
    tokio::time::sleep(Duration::from_millis(350)).await;
    let publisher = TestPublisher::start(Behaviour::of(8));
    sfu.publish(user(id), publisher.offer.clone(), None, None);
    publisher.answer(next(events, |event| outcome(event).filter(|(of, _)| *of == user(id))).await.1.unwrap());
    publisher
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_gcm_that_is_the_server_of_dtls_is_taken() {
    let (sfu, mut events) = sfu_of(vec![]);
    let publisher = TestPublisher::start(Behaviour { is_like_ffmpeg: true, loses_every: 30, ..Behaviour::of(10) });
    sfu.publish(user("9999"), publisher.offer.clone(), None, None);
    let answer = next(&mut events, outcome).await.1.unwrap();
    assert!(answer.contains("a=setup:active") && !answer.contains("m=application"), "{answer}");
    publisher.answer(answer);
    next(&mut events, |event| matches!(event, SfuEvent::Connected(_)).then_some(())).await;
    let (link, got) = watch(&sfu, &mut events, "1001").await;
    // It sends no checks, and the claim to its address would expire after ten seconds.
    until("frames", || whole_frames(&publisher, &got, Track::Screen) > 24 * 30).await;
    until("audio", || whole_frames(&publisher, &got, Track::Audio) > 60).await;
    assert!(publisher.read(|log| log.reported > 100 && log.nacked > 3));
    ends(sfu, vec![link], vec![publisher]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_can_not_be_taken_is_refused_with_a_reason() {
    let (sfu, mut events) = sfu_of(vec![]);
    sfu.publish(user("9999"), "no SDP".to_owned(), None, None);
    let refused = next(&mut events, outcome).await.1;
    assert!(matches!(refused, Err(OfferRefusal::Publish(_))), "{refused:?}");
    sfu.publish(user("9999"), "no SDP".to_owned(), None, None);
    let refused = next(&mut events, outcome).await.1;
    assert!(matches!(refused, Err(OfferRefusal::TooFast(_))), "{refused:?}");
    sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn students_offer_again_when_a_publisher_with_another_codec_takes_over() {
    let h264 = Encoding::full(Track::Screen, Codec::H264);
    let (sfu, mut events) = sfu_with(vec![(h264, 1_000_000)], NonZeroUsize::MIN);
    let (one, _) = watch(&sfu, &mut events, "1001").await;
    let publisher = TestPublisher::start(Behaviour::of(1));
    sfu.publish(user("9999"), publisher.offer.clone(), None, None);
    publisher.answer(next(&mut events, outcome).await.1.unwrap());
    let gone = next(&mut events, |event| match event {
        SfuEvent::Gone { user, why } => Some((user, why)),
        _ => None,
    });
    assert_eq!(gone.await, (user("1001"), Departure::OtherCodec));
    let (again, got) = watch(&sfu, &mut events, "1001").await;
    until("frames", || whole_frames(&publisher, &got, Track::Screen) > 10).await;
    ends(sfu, vec![one, again], vec![publisher]).await;
}
