//! Records the encoded tracks of a render to a file.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::matroska::{Matroska, TrackCodec};
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

/// A recording in progress. Clones share the file.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    path: PathBuf,
    /// None after completion or failure.
    file: Arc<Mutex<Option<Matroska<BufWriter<File>>>>>,
    events: mpsc::Sender<RenderEvent>,
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
        Ok(Self { path: path.into(), file: Arc::new(Mutex::new(Some(file))), events })
    }

    /// Records what arrives at a track's appsink.
    pub(super) fn connect(&self, track: Track, sink: &gst_app::AppSink) {
        let this = self.clone();
        let (mut number, mut keys) = (None, KeyFrameTimer::default());
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Err(error) = this.write(track, &mut number, &mut keys, &sample) {
                this.fail(&error);
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }

    fn write(
        &self,
        track: Track,
        number: &mut Option<u64>,
        keys: &mut KeyFrameTimer,
        sample: &gst::Sample,
    ) -> std::io::Result<()> {
        let (Some(buffer), Some(segment)) = (sample.buffer(), sample.segment()) else { return Ok(()) };
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let time = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
        let (Some(time), Ok(data)) = (time, buffer.map_readable()) else { return Ok(()) };
        let key = !track.is_video() || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if track.is_video() && keys.note(time, key) {
            // If the queue is full, the request is repeated later.
            let _ = self.events.try_send(RenderEvent::KeyFrameNeeded(track));
        }
        let Ok(mut file) = self.file.lock() else { return Ok(()) };
        let Some(file) = file.as_mut() else { return Ok(()) };
        let number = match *number {
            Some(number) => number,
            // A decoder can start only at a key frame.
            None if !key => return Ok(()),
            None => {
                let Some(codec) = sample.caps().and_then(|caps| codec(caps, &data)) else { return Ok(()) };
                *number.insert(file.add(track.name(), codec)?)
            }
        };
        file.block(number, time.nseconds(), key, &data)
    }

    /// Completes the file. Later frames are dropped.
    pub(super) fn finish(&self) {
        let file = self.file.lock().ok().and_then(|mut file| file.take());
        if let Some(Err(error)) = file.map(Matroska::finish) {
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
