//! A teacher and a student in one process, with a simulated network between them.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use classroom::media::{
    Capture, CaptureEvent, CaptureOptions, Prepared, Render, RenderEvent, RenderOptions, Sink, TrackFormat, TrackStats,
};
use classroom::rtp::{Codec, Frame, Latency, Track};
use tokio::sync::mpsc::Receiver;

use crate::support::DEADLINE;

/// The directory for test files.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Polls until `look` returns something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The behaviour of the network.
#[derive(Clone, Copy)]
pub struct Carry {
    /// The delay of a track's packets.
    pub delay: fn(Track) -> Duration,
    /// Whether the n-th packet of a track is lost.
    pub lose: fn(Track, usize) -> bool,
}

impl Default for Carry {
    fn default() -> Self {
        Self { delay: |_| Duration::ZERO, lose: |_, _| false }
    }
}

/// A sent frame.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub track: Track,
    pub codec: Codec,
    pub key: bool,
    pub timestamp: u32,
    pub captured: Instant,
    pub at: Instant,
}

pub struct Lecture {
    pub capture: Capture,
    captured: Receiver<CaptureEvent>,
    pub render: Arc<Render>,
    rendered: Receiver<RenderEvent>,
    carry: Carry,
    log: Arc<Mutex<Vec<Sent>>>,
    seen: Vec<RenderEvent>,
}

pub fn format_of(track: Track, codec: Codec) -> TrackFormat {
    // The payload types of the built-in pipelines.
    TrackFormat { track, codec, payload_type: if track.is_video() { 96 } else { 111 } }
}

impl Lecture {
    pub fn start(options: CaptureOptions, sink: Sink) -> Lecture {
        Self::carried(options, sink, Carry::default())
    }

    pub fn carried(options: CaptureOptions, sink: Sink, carry: Carry) -> Lecture {
        let prepared = Capture::prepare(options).unwrap();
        let tracks = prepared.tracks().into_iter().map(|(track, codec)| format_of(track, codec)).collect();
        let latency = Latency::Fixed(Duration::from_millis(100));
        let options = RenderOptions { sink, latency, tracks, audio: true, title: "Room 10013".into() };
        let (render, rendered) = Render::start(options).unwrap();
        let render = Arc::new(render);
        let log = Arc::new(Mutex::new(Vec::new()));
        let (capture, captured) = start(prepared, &render, &log, carry);
        Lecture { capture, captured, render, rendered, carry, log, seen: Vec::new() }
    }

    /// Restarts the teacher with new SSRCs. The student stays.
    pub fn restart(&mut self, options: CaptureOptions) {
        let prepared = Capture::prepare(options).unwrap();
        (self.capture, self.captured) = start(prepared, &self.render, &self.log, self.carry);
    }

    pub fn poll(&mut self) {
        while let Ok(event) = self.rendered.try_recv() {
            if let RenderEvent::KeyFrameNeeded(track) = event {
                let first = self.capture.encodings().into_iter().find(|encoding| encoding.track == track);
                self.capture.request_key_frame(first.unwrap());
            }
            assert!(!matches!(event, RenderEvent::Error(_)), "{event:?}");
            self.seen.push(event);
        }
    }

    /// The encode time of a track's main encoding.
    pub fn encode_ms(&self, track: Track) -> Option<f32> {
        self.capture.encode_ms(self.capture.encodings().into_iter().find(|encoding| encoding.track == track)?)
    }

    pub fn until_stats(&mut self, track: Track, enough: impl Fn(&TrackStats) -> bool) -> TrackStats {
        until(&format!("enough of {track}"), || {
            self.poll();
            let stats = self.render.stats(track);
            enough(&stats).then_some(stats)
        })
    }

    pub fn until_event(&mut self, event: &RenderEvent) {
        until(&format!("{event:?}"), || {
            self.poll();
            self.seen.contains(event).then_some(())
        });
    }

    pub fn until_captured(&mut self) -> CaptureEvent {
        until("an event of the capture", || {
            self.poll();
            self.captured.try_recv().ok().filter(|event| !matches!(event, CaptureEvent::Playing { .. }))
        })
    }

    /// The next event, including [`CaptureEvent::Playing`].
    pub fn until_any(&mut self) -> CaptureEvent {
        until("an event of the capture", || {
            self.poll();
            self.captured.try_recv().ok()
        })
    }

    pub fn until_end(&mut self) {
        assert_eq!(self.until_captured(), CaptureEvent::Eos);
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.log.lock().unwrap().clone()
    }

    pub fn finish(self) {
        self.capture.stop();
        until("the last packet", || (Arc::strong_count(&self.render) == 1).then_some(()));
        Arc::into_inner(self.render).expect("nobody else has it").finish();
    }
}

fn start(
    prepared: Prepared,
    render: &Arc<Render>,
    log: &Arc<Mutex<Vec<Sent>>>,
    carry: Carry,
) -> (Capture, Receiver<CaptureEvent>) {
    let lines: Vec<(Track, Sender<Parcel>)> =
        prepared.tracks().into_iter().map(|(track, _)| (track, line(track, render.clone()))).collect();
    let log = log.clone();
    // Frames and packets sent per track by this teacher.
    let counts = Mutex::new([(0usize, 0usize); 3]);
    Capture::start(prepared, move |frame| {
        let now = Instant::now();
        let Frame { track, codec, key, timestamp, captured, .. } = frame;
        log.lock().unwrap().push(Sent { track, codec, key, timestamp, captured, at: now });
        let line = &lines.iter().find(|(of, _)| *of == track).unwrap().1;
        let due = now + (carry.delay)(track);
        let mut counts = counts.lock().unwrap();
        let (frames, packets) = &mut counts[track as usize];
        for (index, packet) in frame.packets().enumerate() {
            if !(carry.lose)(track, *packets) {
                line.send(Parcel { due, bytes: packet.to_vec(), is_report: false }).unwrap();
            }
            *packets += 1;
            // Send a report with the first packet, then about once a second.
            if index == 0 && *frames % 40 == 0 && !(carry.lose)(track, 0) {
                let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
                let bytes = sender_report(ssrc, timestamp, captured);
                line.send(Parcel { due, bytes, is_report: true }).unwrap();
            }
        }
        *frames += 1;
    })
    .unwrap()
}

struct Parcel {
    due: Instant,
    bytes: Vec<u8>,
    is_report: bool,
}

/// A thread that delivers packets in order when they are due.
fn line(track: Track, render: Arc<Render>) -> Sender<Parcel> {
    let (sender, parcels) = channel::<Parcel>();
    std::thread::spawn(move || {
        for parcel in parcels {
            while let Some(left) = parcel.due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                std::thread::park_timeout(left);
            }
            if parcel.is_report {
                render.push_rtcp(track, &parcel.bytes);
            } else {
                render.push_rtp(track, &parcel.bytes);
            }
        }
    });
    sender
}

/// A sender report with the capture time, and the CNAME that all tracks share (RFC 3550, 6.4.1 and 6.5).
fn sender_report(ssrc: u32, timestamp: u32, captured: Instant) -> Vec<u8> {
    let age = Instant::now().saturating_duration_since(captured);
    let since = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap();
    // NTP time starts in 1900.
    let seconds = since.as_secs() + 2_208_988_800;
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(ssrc.to_be_bytes());
    report.extend((seconds as u32).to_be_bytes());
    report.extend((fraction as u32).to_be_bytes());
    report.extend(timestamp.to_be_bytes());
    report.extend([0; 8]);
    report.extend([0x81, 202, 0, 3]);
    report.extend(ssrc.to_be_bytes());
    report.extend([1, 4, b't', b'e', b's', b't', 0, 0]);
    report
}

/// Runs one test of this file in a new process, because `$DISPLAY` can't be set safely in a process with threads.
pub fn in_process(test: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("pipelines::{test}"), "--exact", "--ignored", "--nocapture"])
        .env_remove("WAYLAND_DISPLAY")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
