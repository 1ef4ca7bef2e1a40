//! Plays one file, as fast as its samples are consumed.

use std::path::Path;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{OPEN_TIMEOUT, uri};
use crate::media::pipelines;
use crate::rtp::Track;

/// The opened pipeline of a file. Dropping it closes the file.
pub(in crate::media) struct Player {
    pipeline: gst::Pipeline,
    sinks: Vec<(Track, gst_app::AppSink)>,
}

impl Player {
    /// Opens a file. The pipeline text must have a `uridecodebin` named `file` and an appsink per track. The error is
    /// for the user.
    pub(in crate::media) fn open(path: &Path, text: &str) -> Result<Self, String> {
        Self::open_at(path, text, Duration::ZERO)
    }

    /// As [`Player::open`]; the playback starts so long after the beginning of the file, and the running time with it.
    pub(in crate::media) fn open_at(path: &Path, text: &str, start: Duration) -> Result<Self, String> {
        let pipeline = pipelines::parse("of a file", text).map_err(|error| error.to_string())?;
        let source = pipeline.by_name("file").ok_or("the pipeline has no element named file")?;
        source.set_property("uri", uri(path)?);
        Self::start(pipeline, start)
    }

    /// Starts a pipeline with sources of its own. The error is for the user.
    pub(in crate::media) fn of_pipeline(text: &str) -> Result<Self, String> {
        let pipeline = pipelines::parse("of a scene", text).map_err(|error| error.to_string())?;
        Self::start(pipeline, Duration::ZERO)
    }

    fn start(pipeline: gst::Pipeline, start: Duration) -> Result<Self, String> {
        let sink = |track: Track| Some((track, pipeline.by_name(track.name())?.downcast::<gst_app::AppSink>().ok()?));
        let sinks = Track::ALL.into_iter().filter_map(sink).collect();
        let player = Self { pipeline, sinks };
        preroll(&player.pipeline, OPEN_TIMEOUT, &mut |_| {})?;
        if let Some(start) = gst::ClockTime::try_from(start).ok().filter(|start| !start.is_zero()) {
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            player.pipeline.seek_simple(flags, start).map_err(|_| "it can't be played from the middle")?;
            wait_for_data(&player.pipeline, OPEN_TIMEOUT, &mut |_| {})?;
        }
        player.pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
        Ok(player)
    }

    /// The appsink of a track, if the file has the track.
    pub(in crate::media) fn sink(&self, track: Track) -> Option<&gst_app::AppSink> {
        self.sinks.iter().find(|(of, _)| *of == track).map(|(_, sink)| sink)
    }

    /// The duration that the file announces.
    pub(super) fn duration(&self) -> Option<gst::ClockTime> {
        self.pipeline.query_duration::<gst::ClockTime>().filter(|duration| !duration.is_zero())
    }

    /// Why the playback failed, if it did. Waits up to `within`.
    pub(in crate::media) fn error(&self, within: Duration) -> Option<String> {
        let within = gst::ClockTime::try_from(within).unwrap_or(gst::ClockTime::ZERO);
        let message = self.pipeline.bus()?.timed_pop_filtered(within, &[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(error.error().message().trim_end_matches('.').to_owned())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // A change to Null always succeeds, and wakes readers of the appsinks.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Brings a pipeline to Paused and waits until all sinks have data. `look` sees each bus message. The error is for the
/// user.
pub(super) fn preroll(
    pipeline: &gst::Pipeline,
    timeout: Duration,
    look: &mut dyn FnMut(&gst::MessageRef),
) -> Result<(), String> {
    // A failed state change has left its cause on the bus.
    let timeout = if pipeline.set_state(gst::State::Paused).is_ok() { timeout } else { Duration::ZERO };
    wait_for_data(pipeline, timeout, look)
}

/// Waits until all sinks have data.
fn wait_for_data(
    pipeline: &gst::Pipeline,
    timeout: Duration,
    look: &mut dyn FnMut(&gst::MessageRef),
) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(message) = bus.timed_pop(gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO)) else {
            return Err(format!("it could not be opened within {} s", timeout.as_secs()));
        };
        look(&message);
        match message.view() {
            gst::MessageView::Error(error) => return Err(error.error().message().to_owned()),
            gst::MessageView::AsyncDone(_) => return Ok(()),
            _ => {}
        }
    }
}
