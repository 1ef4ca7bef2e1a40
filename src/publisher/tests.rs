//! A publisher on loopback: it sends to a real SFU through an emulated line, and a viewer gets its frames.

mod camera;

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::timeout;

use self::camera::{AUDIO, Camera, FULL, LOW, encodings};
use super::*;
use crate::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use crate::id::UserId;
use crate::rtp::payload_offset;
use crate::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
use crate::viewer::{IceServers, Incoming, Viewer, ViewerConfig};

const DEADLINE: Duration = Duration::from_secs(40);

/// A speaker, the SFU that it publishes to, and a student.
struct Stage {
    sfu: Sfu,
    publisher: Arc<Publisher>,
    emulator: Emulator,
    viewer: Viewer,
    /// The first four bytes of each payload of video that the student got.
    got: Arc<Mutex<Vec<[u8; 4]>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    camera: Arc<Camera>,
}

impl Stage {
    /// The speaker's line to the SFU is `up`.
    async fn new(layering: Layering, up: PathConfig) -> Self {
        Self::with(layering, up, MediaReceiver::Classroom).await
    }

    /// With [`MediaReceiver::Foreign`], the SFU gets an offer without RTX, so its answer has none either.
    async fn with(layering: Layering, up: PathConfig, receiver: MediaReceiver) -> Self {
        let user: UserId = "1001".parse().unwrap();
        let config = SfuConfig {
            user: user.clone(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: 4,
            encodings: vec![],
            workers: std::num::NonZeroUsize::MIN,
            adapts: true,
        };
        let (sfu, mut sfu_events) = Sfu::start(config).unwrap();
        let emulator = Emulator::start(sfu.udp(), PathConfig::default(), up, 7).unwrap();
        let bind = vec!["127.0.0.1:0".to_owned()];
        let (ice_servers, encodings) = (IceServers::default(), encodings().to_vec());
        let config = PublisherConfig { bind: bind.clone(), ice_servers, encodings, layering, receiver };
        let (publisher, offer, mut events) = Publisher::offer(config).await.unwrap();
        let tracks = offer.tracks.into_iter().map(|(mid, track)| (mid, track.into())).collect();
        let mut sdp = without_candidates(&offer.sdp);
        if receiver == MediaReceiver::Foreign {
            assert!(!sdp.contains("m=application"), "{sdp}");
            sdp = without_rtx(&sdp);
        }
        sfu.publish(user.clone(), sdp, Some(tracks), None);
        let answer = next_answer(&mut sfu_events, &user).await;
        publisher.answer(through(&answer, emulator.address())).await.unwrap();
        let publisher = Arc::new(publisher);
        let camera = Arc::new(Camera::new(publisher.input()));
        let (of_camera, of_task) = (Arc::clone(&camera), Arc::clone(&camera));
        let (connected, is_connected) = tokio::sync::oneshot::channel();
        let mut connected = Some(connected);
        let orders = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    PublisherEvent::Connected => _ = connected.take().map(|connected| connected.send(())),
                    PublisherEvent::KeyFrameNeeded(encoding) => of_camera.request_key_frame(encoding),
                    PublisherEvent::Encodings(encodings) => of_camera.set_active(encodings),
                    _ => {}
                }
            }
        });
        timeout(DEADLINE, is_connected).await.expect("a connection").unwrap();
        let films = tokio::spawn(async move { of_task.run().await });
        let got: Arc<Mutex<Vec<[u8; 4]>>> = Arc::default();
        let of_sink = Arc::clone(&got);
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(Track::Camera, packet) = incoming {
                let payload = &packet[payload_offset(packet).unwrap()..];
                of_sink.lock().unwrap().push(payload[..4].try_into().unwrap());
            }
        });
        let (viewer, offer, _) =
            Viewer::offer(ViewerConfig { bind, ice_servers: IceServers::default() }, sink).await.unwrap();
        let student: UserId = "1002".parse().unwrap();
        let live = async { while !sfu_events_live(&mut sfu_events).await {} };
        timeout(DEADLINE, live).await.expect("media");
        sfu.offer(student.clone(), offer, None, None);
        let answer = next_answer(&mut sfu_events, &student).await;
        viewer.answer(answer).await.unwrap();
        // The needs of the SFU reach a speaker over the data channel.
        let of_needs = Arc::clone(&publisher);
        let needs = tokio::spawn(async move {
            let mut needed: Vec<NeededEncoding> = Vec::new();
            while let Some(event) = sfu_events.recv().await {
                let SfuEvent::Needed(Encoding { track, tier, .. }, is_needed) = event else { continue };
                if !track.is_video() {
                    continue;
                }
                let encoding = NeededEncoding { track: track.into(), tier: tier.into() };
                needed.retain(|other| *other != encoding);
                needed.extend(is_needed.then_some(encoding));
                of_needs.need(&needed);
            }
        });
        Self { sfu, publisher, emulator, viewer, got, tasks: vec![orders, films, needs], camera }
    }

    /// The number of frames of a tier whose first packets the student got.
    fn frames(&self, tier: Tier) -> usize {
        let mut numbers: Vec<u8> = Vec::new();
        for [first, _, of, number] in self.got.lock().unwrap().iter() {
            if *first == 0x10 && *of == tier as u8 && numbers.last() != Some(number) {
                numbers.push(*number);
            }
        }
        numbers.len()
    }

    async fn until(&self, what: &str, check: impl Fn(&Self) -> bool) {
        let waits = async {
            while !check(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let is_met = timeout(DEADLINE, waits).await.is_ok();
        assert!(is_met, "{what}: {:?}, {:?}", self.publisher.stats(), self.emulator.counts());
    }

    async fn end(self) {
        self.tasks.into_iter().for_each(|task| task.abort());
        self.viewer.close().await;
        self.camera.stop();
        self.publisher.connection.close().await;
        self.sfu.close().await;
    }
}

/// An offer without RTX, as servers read it that have none.
fn without_rtx(sdp: &str) -> String {
    let rtx = engine::rtx_payload_type(Codec::Vp8).to_string();
    let is_kept = |line: &&str| !line.contains(&format!(":{rtx} ")) && !line.starts_with("a=ssrc-group");
    let line = |line: &str| line.strip_suffix(&format!(" {rtx}")).unwrap_or(line).to_owned() + "\r\n";
    sdp.lines().filter(is_kept).map(line).collect()
}

/// Whether the next event says that a key frame of the publisher can be expected.
async fn sfu_events_live(events: &mut mpsc::Receiver<SfuEvent>) -> bool {
    matches!(events.recv().await, Some(SfuEvent::Encodings(_)))
}

async fn next_answer(events: &mut mpsc::Receiver<SfuEvent>, of: &UserId) -> String {
    let answered = async {
        loop {
            match events.recv().await.expect("an SFU") {
                SfuEvent::Answer { user, sdp } if user == *of => return sdp,
                SfuEvent::Refused { user, why, .. } if user == *of => panic!("{why}"),
                _ => {}
            }
        }
    };
    timeout(DEADLINE, answered).await.expect("an answer")
}

/// How often a measurement is repeated at most: a busy machine disturbs some, and a mistake all of them.
const RUNS: usize = 4;

/// Runs a scenario until it holds once.
async fn holds_once(scenario: impl AsyncFn() -> Result<(), String>) {
    let mut failures = Vec::new();
    while failures.len() < RUNS {
        match scenario().await {
            Ok(()) => return,
            Err(failure) => failures.push(failure),
        }
    }
    panic!("in each of {RUNS} runs: {failures:#?}");
}

fn check(holds: bool, report: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(report()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_uplink_is_repaired_by_retransmissions() {
    holds_once(async || {
        let up = PathConfig { loss: 0.05, delay: Duration::from_millis(10), ..PathConfig::default() };
        let stage = Stage::new(Layering::Simulcast, up).await;
        stage.until("frames", |stage| stage.frames(Tier::Full) > 150).await;
        let stats = stage.sfu.stats().await.unwrap().ingest.unwrap().stats;
        let full = stats.encodings.iter().find(|of| of.encoding == FULL).unwrap().clone();
        let sent = stage.publisher.stats();
        assert!(full.lost > 5 && sent.retransmitted >= full.recovered, "{full:?}, {sent:?}");
        assert_eq!((stats.malformed, stats.unknown_ssrc), (0, 0));
        let audio = stats.encodings.iter().find(|of| of.encoding == AUDIO).unwrap();
        assert!(audio.packets > 100, "{audio:?}");
        stage.end().await;
        // On a busy machine, some retransmissions come too late to count.
        check(full.recovered * 10 >= full.lost * 8, || format!("{full:?}, {sent:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_rtx_gets_lost_packets_again_unchanged() {
    holds_once(async || {
        let up = PathConfig { loss: 0.05, delay: Duration::from_millis(10), ..PathConfig::default() };
        let stage = Stage::with(Layering::Single, up, MediaReceiver::Foreign).await;
        stage.until("frames", |stage| stage.frames(Tier::Full) > 100).await;
        let stats = stage.sfu.stats().await.unwrap().ingest.unwrap().stats;
        let full = stats.encodings.iter().find(|of| of.encoding == FULL).unwrap().clone();
        let sent = stage.publisher.stats();
        assert!(full.lost > 5 && sent.retransmitted >= full.recovered, "{full:?}, {sent:?}");
        assert_eq!((stats.malformed, stats.unknown_ssrc), (0, 0), "no probe, and no RTX");
        stage.end().await;
        check(full.recovered * 10 >= full.lost * 8, || format!("{full:?}, {sent:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_uplink_gets_the_low_tier_from_the_start_without_a_burst_and_a_wide_one_the_full_tier() {
    for layering in [Layering::Simulcast, Layering::Single] {
        holds_once(async || {
            let narrow = PathConfig { rate: Some(300_000), delay: Duration::from_millis(10), ..PathConfig::default() };
            let stage = Stage::new(layering, narrow).await;
            stage.until("the low tier", |stage| stage.frames(Tier::Low) > 60).await;
            let (full, dropped) = (stage.frames(Tier::Full), stage.emulator.counts().up.dropped);
            let carried = stage.publisher.carried(Track::Camera);
            stage.emulator.set(PathConfig::default(), PathConfig::default());
            stage.until("room", |stage| stage.publisher.carried(Track::Camera) == Some(Tier::Full)).await;
            if layering == Layering::Single {
                // The SFU tries a tier of simulcast that had stopped again, but much later.
                stage.until("the full tier", |stage| stage.frames(Tier::Full) > 30).await;
            }
            stage.end().await;
            let is_low = (full, dropped, carried) == (0, 0, Some(Tier::Low));
            check(is_low, || format!("{layering:?}: {full} full frames, {dropped} dropped, {carried:?} carried"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uplink_that_becomes_narrow_gets_less_at_once() {
    holds_once(async || {
        let stage = Stage::new(Layering::Simulcast, PathConfig::default()).await;
        stage.until("the full tier", |stage| stage.frames(Tier::Full) > 30).await;
        let narrow = PathConfig { rate: Some(300_000), ..PathConfig::default() };
        stage.emulator.set(PathConfig::default(), narrow);
        stage.until("the low tier", |stage| stage.frames(Tier::Low) > 60).await;
        let before = stage.emulator.counts().up.dropped;
        let frames = stage.frames(Tier::Low);
        stage.until("more of the low tier", |stage| stage.frames(Tier::Low) > frames + 60).await;
        let dropped = stage.emulator.counts().up.dropped - before;
        assert!(LOW.tier == Tier::Low && stage.publisher.stats().packets > 100);
        stage.end().await;
        check(dropped == 0, || format!("{dropped} packets of the low tier did not fit"))
    })
    .await;
}
