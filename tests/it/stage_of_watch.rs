//! Speakers on the stage at a terminal that watches: they come beside the lecture, which does not notice.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use classroom::protocol::channel::{Moderation, PublisherMessage, Speaker, Stage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, ServerMessage, TrackName};
use classroom::rtp::{Codec, Encoding, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
use gstreamer as gst;
use gstreamer::prelude::*;
use serde_json::{Value as Event, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{Classroom, DEADLINE, Desk, Process, Publisher, id};

fn is_stage<'a>(state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "stage" && event["user"] == "1001" && event["state"] == state
}

/// The statistics of a track of the speaker, after some frames.
fn has_frames<'a>(track: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| {
        event["event"] == "speaker-stats"
            && event["user"] == "1001"
            && event["track"] == track
            && event["frames"].as_u64().is_some_and(|frames| frames > 20)
    }
}

/// The number of frames of each track of a Matroska file, by the number of the track.
pub(crate) fn frames(file: &Path) -> BTreeMap<String, usize> {
    gst::init().unwrap();
    let graph = format!("filesrc location=\"{}\" ! matroskademux name=file", file.display());
    let pipeline = gst::parse::launch(&graph).unwrap().downcast::<gst::Pipeline>().unwrap();
    let counts = Arc::<Mutex<BTreeMap<String, usize>>>::default();
    let (weak, counted) = (pipeline.downgrade(), Arc::clone(&counts));
    pipeline.by_name("file").unwrap().connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let sink = gst::ElementFactory::make("fakesink").property("async", false).build().unwrap();
        pipeline.add(&sink).unwrap();
        sink.sync_state_with_parent().unwrap();
        let counted = Arc::clone(&counted);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            *counted.lock().unwrap().entry(pad.name().to_string()).or_default() += 1;
            gst::PadProbeReturn::Ok
        });
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let is_end = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::try_from(DEADLINE).unwrap(), &is_end);
    assert_eq!(end.expect("the end of the file").type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
    std::mem::take(&mut *counts.lock().unwrap())
}

/// Whether the file has a track of this name.
pub(crate) fn has_track(file: &Path, name: &str) -> bool {
    // The id of the element (RFC 9559, 5.1.4.1.18), its length in four bytes (RFC 8794, 4), and the name.
    let length = (1 << 28 | name.len() as u32).to_be_bytes();
    let element = [&[0x53, 0x6E], &length[..], name.as_bytes()].concat();
    std::fs::read(file).unwrap().windows(element.len()).any(|bytes| bytes == element)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_has_the_speakers_beside_the_lecture() {
    let class = Classroom::undisturbed();
    let _server = class.server();
    let mut desk = Desk::join(&class, 7).await;
    let publisher = Publisher::connect(&mut desk).await;
    let order = async |order| publisher.say(&StudentMessage::Moderate(order)).await;
    let flags = ["--nickname", "Anna", "--may-speak", "--speak-test", "--sink", "null", "--chat"];
    let mut speaker = class.watch(1001, &flags);
    speaker.stdin(Stdio::piped());
    let mut speaker = Process::start("student 1001", speaker);
    let file = class.directory().join("lecture.mkv");
    let mut recorder = Process::start("recorder", class.watch(1002, &["--sink", file.to_str().unwrap()]));
    let says = |words: &'static str| {
        move |event: &Event| event["message"].as_str().is_some_and(|message| message.contains(words))
    };
    for watches in [&speaker, &recorder] {
        watches.wait_for("the lecture", |event| event["event"] == "first-frame" && event["track"] == "screen");
    }
    for _ in 0..2 {
        let (mark, mine) = (recorder.mark(), speaker.mark());
        order(Moderation::Stage { user_id: id(1001) }).await;
        speaker.wait_since(mine, DEADLINE, "a question", says("Answer y or n"));
        speaker.types("y");
        let live = recorder.wait_since(mark, DEADLINE, "a speaker", is_stage("live"));
        assert_eq!((&live["nickname"], &live["tracks"]), (&json!("Anna"), &json!(["audio", "camera"])));
        for track in ["audio", "camera"] {
            recorder.wait_since(mark, DEADLINE, "media of the speaker", has_frames(track));
        }
        order(Moderation::OffStage { user_id: id(1001) }).await;
        recorder.wait_since(mark, DEADLINE, "an empty stage", is_stage("ended"));
    }
    // The recording ends while somebody speaks, who has come by itself.
    let mark = recorder.mark();
    order(Moderation::OpenFloor).await;
    speaker.wait_for("the floor", says("the floor is open: /speak"));
    speaker.types("/speak");
    recorder.wait_since(mark, DEADLINE, "media of the speaker", has_frames("camera"));
    recorder.interrupt();
    recorder.ends_with(0);

    let is_first = |event: &&Event| event["event"] == "first-frame" && event["track"] == "screen";
    assert_eq!(recorder.events().iter().filter(is_first).count(), 1, "the lecture went on");
    let at_speaker = speaker.events();
    let is_about_speakers = |event: &&Event| event["event"] == "stage" || event["event"] == "speaker-stats";
    assert_eq!(at_speaker.iter().find(is_about_speakers), None, "nobody sees or hears itself");
    for name in ["screen", "audio", "1001 camera", "1001 audio"] {
        assert!(has_track(&file, name), "no {name}");
    }
    let frames = frames(&file);
    assert_eq!(frames.len(), 4, "a speaker who returns has the same tracks: {frames:?}");
    assert!(frames.values().all(|count| *count > 60), "{frames:?}");
    publisher.close().await;
    desk.leave(true).await;
}

/// A teacher whose stage exists in words alone.
struct Pretender {
    desk: Desk,
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    /// The number of offers to the teacher.
    offers: usize,
}

impl Pretender {
    async fn join(class: &Classroom) -> Self {
        let (desk, first) = Desk::open(class, "epoch=7").await;
        assert!(matches!(first, ServerMessage::Joined { .. }), "{first:?}");
        let config = SfuConfig {
            user: id(9999),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            workers: 1.try_into().unwrap(),
            adapts: true,
            encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
        };
        let (sfu, events) = Sfu::start(config).unwrap();
        Self { desk, sfu, events, offers: 0 }
    }

    /// Answers offers to the teacher, until there is one to a speaker. Returns the speaker.
    async fn offer_to_speaker(&mut self) -> u32 {
        let wait = async {
            loop {
                tokio::select! {
                    message = self.desk.hear() => match message {
                        ServerMessage::Offer { source: Some(speaker), .. } => return speaker.as_str().parse().unwrap(),
                        ServerMessage::Offer { user_id, sdp, .. } => {
                            self.offers += 1;
                            self.sfu.offer(user_id, sdp, None, None);
                        }
                        _ => {}
                    },
                    event = self.events.recv() => match event.expect("an SFU that runs") {
                        SfuEvent::Answer { user, sdp } => {
                            let answer = ClientMessage::Answer { entry: None, target_uid: user, sdp, source: None };
                            self.desk.say(&answer).await;
                        }
                        SfuEvent::ChannelOpen(_) => {
                            self.welcome();
                            self.list(1);
                        }
                        _ => {}
                    },
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("an offer to a speaker")
    }

    fn welcome(&self) {
        let welcome = PublisherMessage::Welcome { history: Vec::new(), hands: Vec::new(), cleared_up_to: 0 };
        self.sfu.tell_all(&welcome.to_json());
    }

    /// Says that two students speak: 1002, who is in the room, and 1003, who is not.
    fn list(&self, place: u64) {
        let speaker = |user| Speaker {
            user_id: id(user),
            nickname: "Anna".into(),
            id: place,
            tracks: vec![TrackName::Camera],
            silent: Vec::new(),
            lost: false,
        };
        let stage = Stage { speakers: vec![speaker(1002), speaker(1003)], most: 2, ..Stage::default() };
        self.sfu.tell_all(&PublisherMessage::Stage(stage).to_json());
    }

    async fn reject(&mut self, speaker: u32, code: ErrorCode) {
        let (target_uid, source) = (id(1001), Some(id(speaker)));
        let message = "no".to_owned();
        self.desk.say(&ClientMessage::Reject { target_uid, code, message, codec: None, source }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_who_can_not_be_received_is_no_trouble_for_the_lecture() {
    let class = Classroom::new();
    let _server = class.server();
    let mut teacher = Pretender::join(&class).await;
    let _speaker = Desk::student(&class, 1002).await;
    let mut terminal = class.student(1001, &["-v"]);
    for code in [ErrorCode::BadSdp, ErrorCode::ServerFull, ErrorCode::NotOnStage] {
        assert_eq!(teacher.offer_to_speaker().await, 1002);
        teacher.reject(1002, code).await;
    }
    let is_refusal = |event: &Event| event["message"].as_str().is_some_and(|text| text.contains("user 1003 is not"));
    terminal.wait_for("an offer to a user who is not there", is_refusal);
    // Listed anew, the student is worth an offer again.
    teacher.list(2);
    assert_eq!(teacher.offer_to_speaker().await, 1002);
    // A host that has come back names no speakers if nobody speaks.
    let mark = terminal.mark();
    teacher.welcome();
    for user in ["1002", "1003"] {
        let is_gone = |event: &Event| event["event"] == "stage" && event["user"] == user && event["state"] == "ended";
        terminal.wait_since(mark, DEADLINE, "an empty stage", is_gone);
    }
    assert_eq!(teacher.offers, 1, "the connection to the teacher stays");
    teacher.desk.leave(true).await;
    terminal.ends_with(0);
    teacher.sfu.close().await;
}
