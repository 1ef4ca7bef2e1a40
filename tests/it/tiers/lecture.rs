//! A running capture and all its frames.

use super::*;
use crate::support::DEADLINE;

pub struct Lecture {
    pub capture: Capture,
    events: Receiver<CaptureEvent>,
    log: Arc<Mutex<Vec<Frame>>>,
}

impl Lecture {
    pub fn start(options: CaptureOptions) -> Lecture {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        let prepared = Capture::prepare(options).unwrap();
        let (capture, events) = Capture::start(prepared, move |frame| sink.lock().unwrap().push(frame)).unwrap();
        Lecture { capture, events, log }
    }

    /// The frames of an encoding so far.
    pub fn frames(&self, encoding: Encoding) -> Vec<Frame> {
        self.log.lock().unwrap().iter().filter(|frame| frame.encoding() == encoding).cloned().collect()
    }

    pub fn until_frames(&self, encoding: Encoding, enough: usize) {
        self.until(&format!("{enough} frames of {encoding} in {}", encoding.codec), || {
            self.frames(encoding).len() >= enough
        });
    }

    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !is_so() {
            assert!(std::time::Instant::now() < deadline, "{what} did not come within {DEADLINE:?}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    pub fn until_event(&mut self) -> CaptureEvent {
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            match self.events.try_recv() {
                Ok(CaptureEvent::Playing { .. }) | Err(_) => {}
                Ok(event) => return event,
            }
            assert!(std::time::Instant::now() < deadline, "no event within {DEADLINE:?}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// The SSRC and sequence number of each packet.
pub fn names(frame: &Frame) -> Vec<(u32, u16)> {
    let name = |packet: &[u8]| {
        (u32::from_be_bytes(packet[8..12].try_into().unwrap()), u16::from_be_bytes([packet[2], packet[3]]))
    };
    frame.packets().map(name).collect()
}

/// The size of the decoded frames.
pub fn size(encoding: Encoding, frames: &[Frame]) -> (u32, u32) {
    let Encoding { track, codec, .. } = encoding;
    let format = TrackFormat { track, codec, payload_type: frames[0].packets().next().unwrap()[1] & 0x7f };
    let options = RenderOptions {
        sink: Sink::Null,
        latency: classroom::rtp::Latency::Fixed(Duration::from_millis(20)),
        tracks: vec![format],
        audio: false,
        title: String::new(),
    };
    let (render, _events) = Render::start(options).unwrap();
    frames.iter().flat_map(Frame::packets).for_each(|packet| render.push_rtp(track, packet));
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let stats = render.stats(track);
        if stats.frames_decoded > 0 {
            return (stats.width, stats.height);
        }
        assert!(std::time::Instant::now() < deadline, "{encoding} in {codec} was not decoded");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
