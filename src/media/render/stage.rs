//! Speakers beside a running lecture.
//!
//! Each speaker has a pipeline, a jitter buffer and a sound of its own, so that its network, its decoder and its end
//! concern nobody else. Only the clock is shared, and what is seen: a speaker's frames leave its pipeline at the moment
//! when they are due, and join the compositor of the lecture's window. In a recording its tracks follow the lecture's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::layout::{Layout, size_of};
use super::pipeline::{self, COMPOSITOR_LATENCY, RenderPlan};
use super::recording::{Recording, TrackTitle};
use super::scene::{Picture, SpeakerNumber};
use super::track_monitor::RenderClock;
use super::types::{RenderEvent, Sink, SpeakerOptions, TrackFormat};
use super::{MAX_QUEUED_EVENTS, Render, Window};
use crate::media::error::MediaError;
use crate::media::pipelines;
use crate::rtp::Track;

/// How long a speaker's picture waits for the first one of the lecture, which decides the size of the window.
const LECTURE_FIRST: Duration = Duration::from_secs(2);

/// The most characters of a name in a picture.
const NAME_CHARS: usize = 24;

/// The parts of a running lecture that its speakers use. Clones are about the same lecture.
#[derive(Debug, Clone)]
pub struct RenderStage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The pipeline of the lecture.
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    sink: Sink,
    /// The element that plays audio.
    audio: Option<String>,
    layout: Option<Layout>,
    window: Option<Window>,
    recording: Option<Recording>,
    started: AtomicU32,
}

/// The pictures of a speaker in the window. Dropping this removes them.
#[derive(Debug)]
pub(super) struct SpeakerPictures {
    layout: Layout,
    speaker: SpeakerNumber,
}

impl SpeakerPictures {
    pub(super) fn show(&self, track: Track, shown: bool) {
        self.layout.show(Picture::Speaker(self.speaker, track), shown);
    }

    pub(super) fn enlarge(&self, large: bool) {
        self.layout.enlarge(large.then_some(self.speaker));
    }
}

impl Drop for SpeakerPictures {
    fn drop(&mut self) {
        self.layout.remove_speaker(self.speaker);
    }
}

impl RenderStage {
    /// The stage of a lecture. `lecture` is about to run.
    pub(super) fn of(lecture: &Render, sink: Sink, audio: Option<String>) -> Self {
        Self(Arc::new(Shared {
            pipeline: lecture.pipeline.downgrade(),
            sink,
            audio,
            layout: lecture.layout.clone(),
            window: lecture.window.clone(),
            recording: lecture.recording.clone(),
            started: AtomicU32::new(0),
        }))
    }

    /// Shows the lecture large, instead of a speaker.
    pub fn enlarge_lecture(&self) {
        if let Some(layout) = &self.0.layout {
            layout.enlarge(None);
        }
    }

    /// Builds and starts the pipeline of a speaker, within some ten milliseconds. The lecture goes on without a gap.
    /// The speaker has left when the result is dropped.
    ///
    /// # Errors
    ///
    /// The lecture has ended, a decoder is missing, or the pipeline can't start.
    pub fn start(&self, options: &SpeakerOptions) -> Result<(Render, mpsc::Receiver<RenderEvent>), MediaError> {
        match (self.start_with(options, self.0.audio.as_deref()), &self.0.audio) {
            // A sound card may play for one pipeline alone.
            (Err(error), Some(_)) => {
                let (render, events, sender) = self.start_with(options, None)?;
                let warning = format!("{} is not heard: {error}", options.name);
                // The channel is new, so it has room.
                let _ = sender.try_send(RenderEvent::Warning(warning));
                Ok((render, events))
            }
            (started, _) => started.map(|(render, events, _)| (render, events)),
        }
    }

    fn start_with(
        &self,
        options: &SpeakerOptions,
        audio: Option<&str>,
    ) -> Result<(Render, mpsc::Receiver<RenderEvent>, mpsc::Sender<RenderEvent>), MediaError> {
        let Shared { sink, layout, window, recording, started, .. } = &*self.0;
        let (events, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        let RenderPlan { text, pipeline_latency, .. } = pipeline::of_speaker(sink, audio, &options.tracks)?;
        let pipeline = pipelines::parse("watch", &text)?;
        self.share_clock(&pipeline)?;
        let clock = RenderClock::new(&pipeline, options.latency, pipeline_latency);
        let keeps = matches!(sink, Sink::File(_));
        let playout = super::connect(&pipeline, &clock, &options.tracks, options.latency, (keeps, &events))?;
        if let Some(recording) = recording {
            for TrackFormat { track, .. } in &options.tracks {
                let title = TrackTitle { speaker: Some(options.user.to_string()), track: *track };
                super::record(&pipeline, recording, title, &events);
            }
        }
        let pictures = layout.as_ref().map(|layout| {
            let speaker = SpeakerNumber(started.fetch_add(1, Ordering::Relaxed));
            for TrackFormat { track, .. } in options.tracks.iter().filter(|format| format.track.is_video()) {
                name_picture(&pipeline, *track, &options.name);
                let frames = Frames::new(layout.clone(), Picture::Speaker(speaker, *track));
                frames.connect(&pipeline, audio.is_some());
            }
            SpeakerPictures { layout: layout.clone(), speaker }
        });
        if let Some(window) = window {
            window.join_audio(&pipeline);
        }
        let mut render = Render::new(&pipeline, playout);
        render.pictures = pictures;
        render.play(&events)?;
        Ok((render, receiver, events))
    }

    /// Gives a speaker's pipeline the time of the lecture.
    fn share_clock(&self, pipeline: &gst::Pipeline) -> Result<(), MediaError> {
        let ended = || MediaError::Pipeline { pipeline: "watch".into(), cause: "the lecture has ended".into() };
        let lecture = self.0.pipeline.upgrade().ok_or_else(ended)?;
        let (clock, base_time) = lecture.clock().zip(lecture.base_time()).ok_or_else(ended)?;
        pipeline.use_clock(Some(&clock));
        // Without a start time the pipeline keeps this base time.
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(base_time);
        Ok(())
    }
}

/// Draws the name into a picture.
fn name_picture(pipeline: &gst::Pipeline, track: Track, name: &str) {
    let Some(overlay) = pipeline.by_name(&format!("{track}-name")) else { return };
    let short = match name.char_indices().nth(NAME_CHARS) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    };
    // The element reads Pango markup, and the name may come from anybody.
    overlay.set_property("text", gst::glib::markup_escape_text(&short).as_str());
}

/// Takes the frames of a speaker's track out of its pipeline when they are due, and gives them to the window.
#[derive(Debug)]
struct Frames {
    layout: Layout,
    picture: Picture,
    since: Instant,
    /// The source in the pipeline of the window, with the caps of its frames.
    output: Option<(gst_app::AppSrc, gst::Caps)>,
    last: Duration,
}

impl Frames {
    fn new(layout: Layout, picture: Picture) -> Self {
        Self { layout, picture, since: Instant::now(), output: None, last: Duration::ZERO }
    }

    fn connect(mut self, pipeline: &gst::Pipeline, has_audio: bool) {
        let Picture::Speaker(_, track) = self.picture else { return };
        let sink = pipeline.by_name(&format!("{track}-picture")).and_then(|sink| sink.downcast().ok());
        let Some(sink): Option<gst_app::AppSink> = sink else { return };
        if has_audio {
            // The compositor takes this time. Without audio nothing has to wait.
            let early = i64::try_from(COMPOSITOR_LATENCY.as_nanos()).unwrap_or_default();
            sink.set_property("ts-offset", -early);
        }
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            self.give(&sample);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }

    /// Gives a frame to the window. A frame that comes while the lecture's pipeline starts or stops is dropped.
    fn give(&mut self, sample: &gst::Sample) -> Option<()> {
        let caps = sample.caps_owned()?;
        let mut frame = sample.buffer_owned()?;
        if self.output.is_none() && self.layout.awaits_lecture() && self.since.elapsed() < LECTURE_FIRST {
            return None;
        }
        let output = match &mut self.output {
            Some((output, known)) => {
                if *known != caps {
                    self.layout.resize(self.picture, size_of(&caps)?);
                    output.set_caps(Some(&caps));
                    *known = caps;
                }
                output
            }
            None => {
                let output = self.layout.join_speaker(self.picture, size_of(&caps)?, &caps)?;
                &self.output.insert((output, caps)).0
            }
        };
        let at = self.layout.clock().soonest()?.max(self.last + Duration::from_millis(1));
        self.last = at;
        let timed = frame.make_mut();
        timed.set_pts(gst::ClockTime::try_from(at).ok());
        timed.set_dts(gst::ClockTime::NONE);
        timed.set_duration(gst::ClockTime::NONE);
        // This fails only while the pipeline stops.
        let _ = output.push_buffer(frame);
        Some(())
    }
}

#[cfg(test)]
mod tests;
