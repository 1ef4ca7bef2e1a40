//! What this participant sends: a capture, encoded once, whose frames go to every pair.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::overload::Load;
use crate::commands::blocking;
use crate::commands::own_capture::{self, OwnCapture};
use crate::media::{Capture, CaptureEvent, Sources};
use crate::protocol::TrackName;
use crate::publisher::FrameInput;
use crate::report::Reporter;
use crate::rtp::{Encoding, Frame, Track};

/// The number of the connection to the server, among those of pairs.
pub(super) const SERVER: u64 = 0;

/// An encoder that takes longer for a picture is late: at 25 pictures a second, the next one comes meanwhile.
const MOST_ENCODE_MS: f32 = 40.0;

/// A pair that gets the frames, by a number that no other pair had.
struct Receiver {
    pair: u64,
    input: FrameInput,
    is_connected: bool,
    sent: SentVideo,
}

/// The videos that a pair sends at present.
#[derive(Default)]
pub(super) struct SentVideo {
    pub(super) encodings: Vec<Encoding>,
    /// Whether the path carries less than the best tier of each.
    pub(super) is_narrow: bool,
}

/// The pairs that get the frames of the capture. Clones are about the same pairs.
#[derive(Clone, Default)]
struct FanOut {
    receivers: Arc<Mutex<Vec<Receiver>>>,
    /// Whether no sound is passed on.
    is_muted: Arc<AtomicBool>,
}

impl FanOut {
    fn lock(&self) -> MutexGuard<'_, Vec<Receiver>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, frame: &Frame) {
        if frame.track == Track::Audio && self.is_muted.load(Ordering::Relaxed) {
            return;
        }
        for receiver in self.lock().iter() {
            receiver.input.push(frame.clone());
        }
    }
}

/// The media of this participant.
pub(in crate::commands) struct OwnMedia {
    /// None if nothing is sent.
    capture: Option<Capture>,
    encodings: Vec<(Encoding, u32)>,
    fan_out: FanOut,
}

/// The events of a capture.
pub(in crate::commands) type CaptureEvents = mpsc::Receiver<CaptureEvent>;

impl OwnMedia {
    /// Starts the capture, with what works of the sources. Without any, nothing is sent, which is told.
    pub(super) async fn start(sources: Option<Sources>, reporter: &Reporter) -> (Self, Option<CaptureEvents>) {
        let fan_out = FanOut::default();
        let nothing = Self { capture: None, encodings: Vec::new(), fan_out: fan_out.clone() };
        let Some(sources) = sources else { return (nothing, None) };
        let of_capture = fan_out.clone();
        let starting = blocking(move || own_capture::start(&sources, move |frame| of_capture.push(&frame)));
        let failures = match starting.await {
            Ok(Ok(OwnCapture { capture, events, mut encodings, notices })) => {
                notices.iter().for_each(|notice| reporter.notice(notice));
                keep_main_codecs(&mut encodings);
                return (Self { capture: Some(capture), encodings, fan_out }, Some(events));
            }
            Ok(Err(failures)) => failures.join("; "),
            Err(failure) => failure.to_string(),
        };
        reporter.warn(format!("the others neither see nor hear you: {failures}"));
        (nothing, None)
    }

    /// The encodings with their bits per second, one codec for each track.
    pub(super) fn encodings(&self) -> Vec<(Encoding, u32)> {
        self.encodings.clone()
    }

    /// The tracks that are sent.
    pub(in crate::commands) fn sends(&self) -> Vec<TrackName> {
        let mut tracks: Vec<Track> = self.encodings.iter().map(|(encoding, _)| encoding.track).collect();
        tracks.dedup();
        tracks.retain(|track| *track != Track::Audio || self.is_heard());
        tracks.into_iter().map(TrackName::from).collect()
    }

    /// Whether there is a microphone, and it is on.
    pub(super) fn is_heard(&self) -> bool {
        self.has_audio() && !self.fan_out.is_muted.load(Ordering::Relaxed)
    }

    /// Switches the microphone off, or on again. Returns whether it is on; `None` without a microphone.
    pub(super) fn toggle_microphone(&self) -> Option<bool> {
        self.has_audio().then(|| self.fan_out.is_muted.fetch_not(Ordering::Relaxed))
    }

    fn has_audio(&self) -> bool {
        self.encodings.iter().any(|(encoding, _)| encoding.track == Track::Audio)
    }

    /// A pair gets the frames from now on.
    pub(super) fn attach(&self, pair: u64, input: FrameInput) {
        let (is_connected, sent) = (false, SentVideo::default());
        self.fan_out.lock().push(Receiver { pair, input, is_connected, sent });
    }

    /// The media of a pair may flow.
    pub(super) fn connected(&self, pair: u64) {
        if let Some(receiver) = self.fan_out.lock().iter_mut().find(|receiver| receiver.pair == pair) {
            receiver.is_connected = true;
        }
    }

    /// A pair gets no frames any more.
    pub(super) fn detach(&self, pair: u64) {
        self.fan_out.lock().retain(|receiver| receiver.pair != pair);
        self.tell_encoders();
    }

    /// A pair sends exactly these videos.
    pub(super) fn set_sent(&self, pair: u64, sent: SentVideo) {
        if let Some(receiver) = self.fan_out.lock().iter_mut().find(|receiver| receiver.pair == pair) {
            receiver.sent = sent;
        }
        self.tell_encoders();
    }

    /// The load of the pairs now.
    pub(super) fn load(&self) -> Load {
        let receivers = self.fan_out.lock();
        let pairs = || receivers.iter().filter(|receiver| receiver.is_connected && receiver.pair != SERVER);
        let (count, narrow) = (pairs().count(), pairs().filter(|receiver| receiver.sent.is_narrow).count());
        let sent: Vec<Encoding> = pairs().flat_map(|receiver| receiver.sent.encodings.clone()).collect();
        drop(receivers);
        let is_late = self.capture.as_ref().is_some_and(|capture| {
            sent.into_iter().any(|encoding| capture.encode_ms(encoding).is_some_and(|ms| ms > MOST_ENCODE_MS))
        });
        Load { pairs: count, narrow, is_late }
    }

    /// Whether the path of this pair carries less than the best tier of each video.
    pub(super) fn is_narrow(&self, pair: u64) -> bool {
        self.fan_out.lock().iter().any(|receiver| receiver.pair == pair && receiver.sent.is_narrow)
    }

    /// A pair needs a key frame.
    pub(super) fn request_key_frame(&self, encoding: Encoding) {
        if let Some(capture) = &self.capture {
            capture.request_key_frame(encoding);
        }
    }

    /// Ends the capture.
    pub(super) async fn stop(self) {
        if let Some(capture) = self.capture {
            // Stopping a pipeline waits for its threads.
            let _ = blocking(move || capture.stop()).await;
        }
    }

    /// Encodes what any pair sends, once.
    fn tell_encoders(&self) {
        let Some(capture) = &self.capture else { return };
        let active: Vec<Encoding> =
            self.fan_out.lock().iter().flat_map(|receiver| receiver.sent.encodings.clone()).collect();
        for encoding in capture.encodings().into_iter().filter(|encoding| encoding.track.is_video()) {
            capture.need(encoding, active.contains(&encoding));
        }
    }
}

/// The tracks that are not among these.
pub(super) fn all_but(sends: &[TrackName]) -> Vec<TrackName> {
    let all = [TrackName::Audio, TrackName::Screen, TrackName::Camera];
    all.into_iter().filter(|track| !sends.contains(track)).collect()
}

/// Keeps the first codec of each track: each picture is encoded in one codec for all pairs.
fn keep_main_codecs(encodings: &mut Vec<(Encoding, u32)>) {
    let all = encodings.clone();
    let is_main = |encoding: &Encoding| {
        all.iter()
            .find(|(other, _)| other.track == encoding.track)
            .is_some_and(|(main, _)| main.codec == encoding.codec)
    };
    encodings.retain(|(encoding, _)| is_main(encoding));
}
