use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::media::{MainSource, Sources, VideoOptions};
use crate::rtp::Tier;

/// A generous deadline for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

const FULL: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::H264 };
const LOW: Encoding = Encoding { tier: Tier::Low, ..FULL };

/// A capture of the test picture, and the encoding of each frame that it delivered.
struct Lecture {
    capture: Capture,
    events: mpsc::Receiver<CaptureEvent>,
    log: Arc<Mutex<Vec<Encoding>>>,
}

impl Lecture {
    /// Starts with one branch's pipeline text changed.
    fn start(encoding: Encoding, change: impl Fn(&str) -> String) -> Self {
        let mut prepared = Capture::prepare(CaptureOptions {
            sources: Sources { audio: false, ..Sources::only(MainSource::Test) },
            codec: Some(Codec::H264),
            screen: VideoOptions { size: "320x180".parse().ok(), fps: 20, bitrate: Some(400_000) },
            ..CaptureOptions::default()
        })
        .unwrap();
        let spec = prepared.plan.specs.iter_mut().find(|spec| spec.encoding == encoding).unwrap();
        spec.text = change(&spec.text);
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        let (capture, events) =
            Capture::start(prepared, move |frame| sink.lock().unwrap().push(frame.encoding())).unwrap();
        Self { capture, events, log }
    }

    fn frames(&self, encoding: Encoding) -> usize {
        self.log.lock().unwrap().iter().filter(|one| **one == encoding).count()
    }

    fn until_more(&self, encoding: Encoding, more: usize) {
        let before = self.frames(encoding);
        until("frames", || (self.frames(encoding) >= before + more).then_some(()));
    }

    /// The number of elements in the pipeline, and of branch pads at the tee.
    fn parts(&self) -> (usize, i32) {
        let pipeline = &self.capture.prepared.pipeline;
        let tee = pipeline.by_name("screen-pictures").unwrap();
        (pipeline.iterate_recurse().into_iter().count(), tee.property("num-src-pads"))
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn fifty_switches_leave_no_branch_and_no_element_behind() {
    let lecture = Lecture::start(LOW, str::to_owned);
    lecture.until_more(FULL, 3);
    let (elements, pads) = lecture.parts();
    assert_eq!(pads, 1, "the full tier alone");
    for round in 0..50 {
        lecture.capture.need(LOW, true);
        if round % 5 == 0 {
            lecture.until_more(LOW, 1);
            assert_eq!(lecture.parts().1, 2);
        }
        lecture.capture.need(LOW, false);
    }
    until("the end of the last branch", || (lecture.parts() == (elements, pads)).then_some(()));
    lecture.until_more(FULL, 3);
}

#[test]
fn an_unneeded_full_tier_has_no_branch() {
    let lecture = Lecture::start(LOW, str::to_owned);
    lecture.until_more(FULL, 3);
    lecture.capture.need(FULL, false);
    until("its end", || (lecture.parts().1 == 0).then_some(()));
    lecture.capture.need(FULL, true);
    lecture.until_more(FULL, 3);
}

#[test]
fn a_failed_encoder_ends_only_its_own_encoding() {
    let fails = |text: &str| text.replacen("! capsfilter", "! identity error-after=3 ! capsfilter", 1);
    let mut lecture = Lecture::start(LOW, fails);
    let before = lecture.parts();
    lecture.capture.need(LOW, true);
    let event = until("an event", || lecture.events.try_recv().ok());
    let CaptureEvent::Warning(sentence) = event else { panic!("{event:?}") };
    assert!(sentence.starts_with("screen low in H.264 can't be encoded on this machine"), "{sentence}");
    assert!(!lecture.capture.encodings().contains(&LOW));
    until("the end of the branch", || (lecture.parts() == before).then_some(()));
    // The failed encoding is not tried again, and the others go on.
    lecture.capture.need(LOW, true);
    lecture.until_more(FULL, 5);
    assert_eq!(lecture.parts(), before);
    assert!(lecture.events.try_recv().is_err(), "one failure is told once");
}

#[test]
fn an_encoding_that_fails_to_build_is_reported_and_no_longer_offered() {
    let mut lecture = Lecture::start(LOW, |_| "nosuchelement ! fakesink".into());
    assert!(lecture.capture.encodings().contains(&LOW));
    lecture.capture.need(LOW, true);
    let event = until("an event", || lecture.events.try_recv().ok());
    assert!(matches!(&event, CaptureEvent::Warning(why) if why.contains("nosuchelement")), "{event:?}");
    assert!(!lecture.capture.encodings().contains(&LOW) && lecture.capture.encodings().contains(&FULL));
    lecture.until_more(FULL, 3);
}

#[test]
fn a_failed_main_encoder_ends_the_capture() {
    let fails = |text: &str| text.replacen("! videoconvert", "! identity error-after=3 ! videoconvert", 1);
    let mut lecture = Lecture::start(FULL, fails);
    let event = until("an event", || lecture.events.try_recv().ok());
    assert!(matches!(event, CaptureEvent::Error(MediaError::Pipeline { .. })), "{event:?}");
}
