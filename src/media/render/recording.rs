//! Records the encoded tracks of a lecture, and of the speakers beside it, to one file.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::matroska::{Matroska, TrackCodec, Whose};
use super::types::RenderEvent;
use crate::media::error::MediaError;
use crate::media::options::Size;
use crate::rtp::Track;

/// The longest distance to seek back. Players can start only at a key frame, and encoders send one in a hundred seconds
/// unless asked.
const KEY_FRAME_INTERVAL: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// The interval of repeated requests: requests get lost, and teachers limit them.
const REQUEST_INTERVAL: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// Decides when a recorded video track needs a key frame for seeking.
#[derive(Debug, Default)]
struct KeyFrameTimer {
    /// The time of the next request. None before the first key frame.
    due: Option<gst::ClockTime>,
}

impl KeyFrameTimer {
    /// Notes a frame. Returns whether to request a key frame now.
    fn note(&mut self, time: gst::ClockTime, key: bool) -> bool {
        if key {
            self.due = Some(time + KEY_FRAME_INTERVAL);
        }
        let ask = self.due.is_some_and(|due| time >= due);
        if ask {
            self.due = Some(time + REQUEST_INTERVAL);
        }
        ask
    }
}

/// The title of a track in the file: `screen`, or `1001 camera` of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrackTitle {
    pub(super) speaker: Option<String>,
    pub(super) track: Track,
}

impl fmt::Display for TrackTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.speaker {
            Some(speaker) => write!(f, "{speaker} {}", self.track),
            None => write!(f, "{}", self.track),
        }
    }
}

/// A recording in progress. Clones share the file.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    path: PathBuf,
    /// None after completion or failure.
    file: Arc<Mutex<Option<Recorded>>>,
    /// For errors of the file.
    events: mpsc::Sender<RenderEvent>,
}

#[derive(Debug)]
struct Recorded {
    file: Matroska<BufWriter<File>>,
    /// The tracks, with their numbers. A speaker who returns with the same codec continues its track.
    tracks: Vec<(TrackTitle, TrackCodec, u64)>,
}

impl Recorded {
    /// The number of a track that begins now. None if the file has no room for its description.
    fn begin(&mut self, title: &TrackTitle, codec: TrackCodec) -> std::io::Result<Option<u64>> {
        let same = self.tracks.iter().find(|(of, known, _)| of == title && *known == codec);
        if let Some((.., number)) = same {
            return Ok(Some(*number));
        }
        let whose = if title.speaker.is_some() { Whose::Speaker } else { Whose::Lecture };
        let number = self.file.add(&title.to_string(), whose, codec.clone())?;
        self.tracks.extend(number.map(|number| (title.clone(), codec, number)));
        Ok(number)
    }
}

/// The state of a track that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrackState {
    /// Waits for a frame at which a decoder can start.
    Waiting,
    /// Has this number in the file.
    Recorded(u64),
    /// The file has no room for the track.
    LeftOut,
}

impl Recording {
    /// Creates the file, or replaces one of that name.
    ///
    /// # Errors
    ///
    /// The file can't be created.
    pub(super) fn create(path: &Path, events: mpsc::Sender<RenderEvent>) -> Result<Self, MediaError> {
        let failed = |error: std::io::Error| MediaError::File { path: path.into(), cause: error.to_string() };
        let file = Matroska::new(BufWriter::new(File::create(path).map_err(failed)?)).map_err(failed)?;
        let recorded = Recorded { file, tracks: Vec::new() };
        Ok(Self { path: path.into(), file: Arc::new(Mutex::new(Some(recorded))), events })
    }

    /// Records what arrives at a track's appsink. `events` gets the requests for key frames.
    pub(super) fn connect(&self, title: TrackTitle, sink: &gst_app::AppSink, events: mpsc::Sender<RenderEvent>) {
        let this = self.clone();
        let (mut state, mut keys) = (TrackState::Waiting, KeyFrameTimer::default());
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let before = state;
            match this.write(&title, &mut state, &mut keys, &sample) {
                Ok(needs_key) => {
                    if needs_key {
                        // If the queue is full, the request is repeated later.
                        let _ = events.try_send(RenderEvent::KeyFrameNeeded(title.track));
                    }
                    if state == TrackState::LeftOut && before != state {
                        let warning = format!("{title} is not recorded: the file has too many tracks");
                        // If the queue is full, nobody reads events.
                        let _ = events.try_send(RenderEvent::Warning(warning));
                    }
                }
                Err(error) => this.fail(&error),
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }

    /// Writes a frame. Returns whether to request a key frame.
    fn write(
        &self,
        title: &TrackTitle,
        state: &mut TrackState,
        keys: &mut KeyFrameTimer,
        sample: &gst::Sample,
    ) -> std::io::Result<bool> {
        let (Some(buffer), Some(segment)) = (sample.buffer(), sample.segment()) else { return Ok(false) };
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let time = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
        let (Some(time), Ok(data)) = (time, buffer.map_readable()) else { return Ok(false) };
        let is_video = title.track.is_video();
        let key = !is_video || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let needs_key = is_video && keys.note(time, key);
        let Ok(mut recorded) = self.file.lock() else { return Ok(false) };
        let Some(recorded) = recorded.as_mut() else { return Ok(false) };
        // A decoder can start only at a key frame.
        if *state == TrackState::Waiting
            && key
            && let Some(codec) = sample.caps().and_then(|caps| codec(caps, &data))
        {
            *state = recorded.begin(title, codec)?.map_or(TrackState::LeftOut, TrackState::Recorded);
        }
        if let TrackState::Recorded(number) = *state {
            recorded.file.block(number, time.nseconds(), key, &data)?;
        }
        Ok(needs_key)
    }

    /// Completes the file. Later frames are dropped.
    pub(super) fn finish(&self) {
        let recorded = self.file.lock().ok().and_then(|mut recorded| recorded.take());
        if let Some(Err(error)) = recorded.map(|recorded| recorded.file.finish()) {
            self.fail(&error);
        }
    }

    fn fail(&self, error: &std::io::Error) {
        if let Ok(mut file) = self.file.lock() {
            *file = None;
        }
        let error = MediaError::File { path: self.path.clone(), cause: error.to_string() };
        // If the queue is full or closed, nobody reads events, so drop this one.
        let _ = self.events.try_send(RenderEvent::Error(error));
    }
}

/// The codec of a track, from its caps and its first key frame.
fn codec(caps: &gst::CapsRef, data: &[u8]) -> Option<TrackCodec> {
    let shape = caps.structure(0)?;
    let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    match shape.name().as_str() {
        "video/x-h264" => {
            let record = shape.get::<gst::Buffer>("codec_data").ok()?;
            let record = record.map_readable().ok()?.to_vec();
            Some(TrackCodec::H264(Size { width: edge("width")?, height: edge("height")? }, record))
        }
        // The key frame contains both edges in 14 bits each (RFC 6386, 9.1).
        "video/x-vp8" => {
            let edge = |at: usize| Some(u32::from(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?) & 0x3fff));
            Some(TrackCodec::Vp8(Size { width: edge(6)?, height: edge(8)? }))
        }
        "audio/x-opus" => Some(TrackCodec::Opus),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_requests_key_frames_every_ten_seconds_until_they_come() {
        let mut keys = KeyFrameTimer::default();
        let mut asked = Vec::new();
        // Ten frames per second. The first request is lost, the second brings a key frame with the next frame.
        for n in 0..250u64 {
            let key = n == 3 || n == 124;
            if keys.note(gst::ClockTime::from_mseconds(n * 100), key) {
                asked.push(n);
            }
        }
        assert_eq!(asked, [103, 123, 224, 244]);
    }
}
