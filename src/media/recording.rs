//! A render's file: what leaves the depayloaders, written as it was encoded.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::error::MediaError;
use super::matroska::{Coding, Matroska};
use super::options::Size;
use super::render::RenderEvent;
use crate::rtp::Track;

/// A file that is being written. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    path: PathBuf,
    /// Nothing once it is complete or has failed.
    file: Arc<Mutex<Option<Matroska<BufWriter<File>>>>>,
    events: mpsc::Sender<RenderEvent>,
}

impl Recording {
    /// Creates the file, in place of one of that name.
    pub(super) fn create(path: &Path, events: mpsc::Sender<RenderEvent>) -> Result<Self, MediaError> {
        let failed = |error: std::io::Error| MediaError::File { path: path.into(), cause: error.to_string() };
        let file = Matroska::new(BufWriter::new(File::create(path).map_err(failed)?)).map_err(failed)?;
        Ok(Self { path: path.into(), file: Arc::new(Mutex::new(Some(file))), events })
    }

    /// Writes what arrives at a track's appsink.
    pub(super) fn connect(&self, track: Track, sink: &gst_app::AppSink) {
        let this = self.clone();
        let mut number = None;
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Err(error) = this.write(track, &mut number, &sample) {
                this.fail(&error);
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }

    fn write(&self, track: Track, number: &mut Option<u64>, sample: &gst::Sample) -> std::io::Result<()> {
        let (Some(buffer), Some(segment)) = (sample.buffer(), sample.segment()) else { return Ok(()) };
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let time = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
        let (Some(time), Ok(data)) = (time, buffer.map_readable()) else { return Ok(()) };
        let key = !track.is_video() || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let Ok(mut file) = self.file.lock() else { return Ok(()) };
        let Some(file) = file.as_mut() else { return Ok(()) };
        let number = match *number {
            Some(number) => number,
            // A decoder can't begin with anything else.
            None if !key => return Ok(()),
            None => {
                let Some(coding) = sample.caps().and_then(|caps| coding(caps, &data)) else { return Ok(()) };
                *number.insert(file.add(track.name(), coding)?)
            }
        };
        file.block(number, time.nseconds(), key, &data)
    }

    /// Ends the file. What arrives later is dropped.
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
        // Full or closed: whoever doesn't read the first events would not read this one.
        let _ = self.events.try_send(RenderEvent::Error(error));
    }
}

/// How a track is encoded, of what its caps and its first key frame say.
fn coding(caps: &gst::CapsRef, data: &[u8]) -> Option<Coding> {
    let shape = caps.structure(0)?;
    let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    match shape.name().as_str() {
        "video/x-h264" => {
            let record = shape.get::<gst::Buffer>("codec_data").ok()?;
            let record = record.map_readable().ok()?.to_vec();
            Some(Coding::H264(Size { width: edge("width")?, height: edge("height")? }, record))
        }
        // The 14 bits of each edge are in the key frame itself (RFC 6386, 9.1).
        "video/x-vp8" => {
            let edge = |at: usize| Some(u32::from(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?) & 0x3fff));
            Some(Coding::Vp8(Size { width: edge(6)?, height: edge(8)? }))
        }
        "audio/x-opus" => Some(Coding::Opus),
        _ => None,
    }
}
