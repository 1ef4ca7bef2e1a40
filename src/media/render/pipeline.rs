//! The text of a student's pipeline: one part per track, and the sinks that this machine has.

use std::time::Duration;

use gstreamer as gst;

use super::types::{RenderOptions, Sink, TrackFormat};
use crate::media::error::{MediaError, can_open, has_alsa_card, has_pipewire, has_pulse, package_of, require};
use crate::media::pipelines::{self, Values};
use crate::rtp::Codec;

/// The time for the video decoder before a frame is late.
pub(super) const DECODE_LATENCY: Duration = Duration::from_millis(20);

/// The latency of the compositor: one frame.
pub(super) const COMPOSITOR_LATENCY: Duration = Duration::from_millis(33);

/// The latency of audio: one block in the Opus decoder (20 ms), the sound card's buffer (40 ms), and decoding.
const AUDIO_LATENCY: Duration = Duration::from_millis(80);

/// A pipeline that only has a clock, which those of speakers share.
const IDLE: &str = "fakesrc num-buffers=0 ! fakesink async=false";

/// A student's pipeline.
pub(super) struct RenderPlan {
    /// The pipeline text.
    pub(super) text: String,
    /// Notices for the user.
    pub(super) notices: Vec<String>,
    /// The latency behind the jitter buffer: that of the slowest branch, because audio and video stay in sync.
    pub(super) pipeline_latency: Duration,
    /// The element that plays audio, also that of speakers. None: audio is dropped in real time.
    pub(super) audio: Option<String>,
}

/// The sinks of a window and its audio.
#[derive(Debug, Default)]
pub(super) struct WindowSinks {
    /// The element that shows video.
    pub(super) window: String,
    /// The element that plays audio. None: a fakesink drops audio in real time.
    pub(super) audio: Option<String>,
}

/// The pipeline for these options on this machine.
///
/// # Errors
///
/// There is no display, or a decoder is missing.
pub(super) fn plan(options: &RenderOptions) -> Result<RenderPlan, MediaError> {
    let mut notices = Vec::new();
    let mut outputs = WindowSinks::default();
    if let Sink::Window { fullscreen } = options.sink {
        // Audio alone needs no display. Without tracks this is a grid, whose pictures come later.
        if options.tracks.is_empty() || options.tracks.iter().any(|format| format.track.is_video()) {
            let window = window_sink()?;
            // The X11 sinks have no such property; see `fullscreen.rs`.
            let fullscreen = if fullscreen && window == "waylandsink" { "fullscreen=true" } else { "" };
            outputs.window = format!("{window} {fullscreen}");
        }
        let card = audio_sink().filter(|_| options.audio);
        let has_audio = options.tracks.iter().any(|format| !format.track.is_video());
        if options.audio && has_audio && card.is_none() {
            notices.push("there is no sound card: the lecture is silent".into());
        }
        // Use the system clock: a sound card's clock would stop the video whenever audio stops.
        outputs.audio = card.map(|card| format!("{card} provide-clock=false buffer-time=40000 latency-time=10000"));
    }
    Ok(RenderPlan { notices, ..with_sinks(options, &outputs)? })
}

/// The pipeline with these sinks.
pub(super) fn with_sinks(options: &RenderOptions, outputs: &WindowSinks) -> Result<RenderPlan, MediaError> {
    let mut pipeline_latency = DECODE_LATENCY;
    let is_video = |format: &&TrackFormat| format.track.is_video();
    let videos = options.tracks.iter().filter(is_video).count();
    if videos > 1 {
        pipeline_latency += COMPOSITOR_LATENCY;
    }
    if outputs.audio.is_some() && videos < options.tracks.len() {
        pipeline_latency = pipeline_latency.max(AUDIO_LATENCY);
    }
    let text = compose(options, outputs)?;
    Ok(RenderPlan { text, notices: Vec::new(), pipeline_latency, audio: outputs.audio.clone() })
}

/// The pipeline of a speaker beside a lecture with this sink. `audio`: the element that plays audio.
pub(super) fn of_speaker(sink: &Sink, audio: Option<&str>, tracks: &[TrackFormat]) -> Result<RenderPlan, MediaError> {
    let shared = Values::default().set("audio.sink", audio_output(audio));
    let mut text = String::new();
    for format in tracks {
        let output = match sink {
            Sink::Null => pipelines::WATCH_NULL,
            Sink::File(_) => pipelines::WATCH_FILE,
            Sink::Window { .. } if format.track.is_video() => pipelines::WATCH_STAGE_PICTURE,
            Sink::Window { .. } => pipelines::WATCH_WINDOW_AUDIO,
        };
        text.push_str(&track(format, sink, &shared, &[output])?);
    }
    let is_heard = audio.is_some() && tracks.iter().any(|format| !format.track.is_video());
    let pipeline_latency = if is_heard { AUDIO_LATENCY } else { DECODE_LATENCY };
    Ok(RenderPlan { text, notices: Vec::new(), pipeline_latency, audio: audio.map(str::to_owned) })
}

fn audio_output(audio: Option<&str>) -> String {
    format!("{} name=speaker sync=true async=false", audio.unwrap_or("fakesink"))
}

fn compose(options: &RenderOptions, outputs: &WindowSinks) -> Result<String, MediaError> {
    let shared = Values::default()
        .set("window.sink", format!("{} name=window sync=true async=false", outputs.window))
        .set("audio.sink", audio_output(outputs.audio.as_deref()));
    let mut text = String::new();
    let videos = options.tracks.iter().filter(|format| format.track.is_video()).count();
    if let Sink::Window { .. } = options.sink {
        // A single track has the window for itself, as long as nobody is on the stage.
        let shared_window: &[pipelines::File] = &[pipelines::WATCH_WINDOW_LAYOUT, pipelines::WATCH_WINDOW_OVER];
        text.push_str(&pipelines::text(if videos == 1 { &shared_window[..1] } else { shared_window }, &shared)?);
    }
    for format in &options.tracks {
        let output: &[pipelines::File] = match &options.sink {
            Sink::Null => &[pipelines::WATCH_NULL],
            Sink::File(_) => &[pipelines::WATCH_FILE],
            Sink::Window { .. } if !format.track.is_video() => &[pipelines::WATCH_WINDOW_AUDIO],
            Sink::Window { .. } if videos > 1 => &[pipelines::WATCH_WINDOW_INPUT],
            Sink::Window { .. } => &[pipelines::WATCH_WINDOW_INPUT, pipelines::WATCH_WINDOW_OVER],
        };
        text.push_str(&track(format, &options.sink, &shared, output)?);
    }
    if text.is_empty() {
        text.push_str(IDLE);
    }
    Ok(text)
}

/// The branch of a track.
fn track(format: &TrackFormat, sink: &Sink, shared: &Values, output: &[pipelines::File]) -> Result<String, MediaError> {
    let (depayloader, encoded) = depayloader(format.codec);
    let values = shared
        .clone()
        .set("track", format.track)
        .set("depayloader", depayloader)
        .set("encoded", encoded)
        .set("parser", parser(format))
        .set("decoder", if matches!(sink, Sink::File(_)) { String::new() } else { decoder(format)? });
    pipelines::text(&[&[pipelines::WATCH_TRACK], output].concat(), &values)
}

/// Depayloader and output caps. After a loss, the last frame stays until the next key frame: a still frame is readable,
/// a corrupt one is not.
pub(super) fn depayloader(codec: Codec) -> (&'static str, &'static str) {
    match codec {
        Codec::H264 => (
            "rtph264depay wait-for-keyframe=true request-keyframe=true",
            "video/x-h264,stream-format=byte-stream,alignment=au",
        ),
        Codec::Vp8 => ("rtpvp8depay wait-for-keyframe=true request-keyframe=true", "video/x-vp8"),
        Codec::Opus => ("rtpopusdepay", "audio/x-opus"),
    }
}

/// Converts frames to the format of the file. The element takes the place and the name of the decoder, where frames are
/// counted.
fn parser(format: &TrackFormat) -> String {
    let name = format!("name={}-decoder", format.track);
    match format.codec {
        Codec::H264 => {
            format!("h264parse {name} config-interval=-1 ! video/x-h264,stream-format=avc,alignment=au")
        }
        Codec::Vp8 | Codec::Opus => format!("identity {name}"),
    }
}

/// The decoder of a track. It has one thread, because each additional one adds a frame of latency and many students
/// share a machine. Any number of errors is answered with key-frame requests. Late frames are decoded too, because
/// later frames depend on them; the queue before the decoder and the sink behind it drop frames instead.
pub(super) fn decoder(format: &TrackFormat) -> Result<String, MediaError> {
    let name = format!("name={}-decoder", format.track);
    let ask = "automatic-request-sync-points=true max-errors=-1 qos=false";
    Ok(match format.codec {
        Codec::H264 if gst::ElementFactory::find("avdec_h264").is_some() => {
            format!("avdec_h264 {name} max-threads=1 {ask}")
        }
        Codec::H264 if gst::ElementFactory::find("openh264dec").is_some() => {
            format!("h264parse ! openh264dec {name} {ask}")
        }
        Codec::H264 => require("avdec_h264").map(|()| String::new())?,
        Codec::Vp8 => format!("vp8dec {name} threads=1 {ask}"),
        Codec::Opus => format!("opusdec {name} use-inband-fec=true plc=true max-errors=-1"),
    })
}

/// Elements that show a window, best first. xvimagesink scales on the graphics card, ximagesink works everywhere.
/// glimagesink is missing: it also opens without a display and shows nothing.
const WINDOW_SINKS: [&str; 3] = ["waylandsink", "xvimagesink", "ximagesink"];

/// Elements that play audio, best first.
const AUDIO_SINKS: [&str; 3] = ["pulsesink", "pipewiresink", "alsasink"];

/// Whether this machine can open a window.
pub fn has_display() -> bool {
    crate::media::init().is_ok() && window_sink().is_ok()
}

/// Whether this machine can play audio.
pub fn has_sound_card() -> bool {
    crate::media::init().is_ok() && audio_sink().is_some()
}

/// The element that can open a window on this machine.
///
/// # Errors
///
/// There is no display, or no element for it.
pub(in crate::media) fn window_sink() -> Result<&'static str, MediaError> {
    let names = ["WAYLAND_DISPLAY", "DISPLAY"];
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !names.into_iter().any(is_set) {
        let cause = "neither $WAYLAND_DISPLAY nor $DISPLAY is set: give --sink null or --sink FILE.mkv".into();
        return Err(MediaError::Device { device: "a window".into(), cause });
    }
    let fits = |element: &&&str| is_set(if **element == "waylandsink" { names[0] } else { names[1] });
    let candidates: Vec<&str> = WINDOW_SINKS.iter().filter(fits).copied().collect();
    if let Some(works) = candidates.iter().find(|element| can_open(element)) {
        return Ok(works);
    }
    let missing = |element: &&str| gst::ElementFactory::find(element).is_none();
    if candidates.iter().all(missing) {
        let element = "ximagesink";
        return Err(MediaError::MissingElement { element: element.into(), package: package_of(element).into() });
    }
    let cause = "the display does not answer: give --sink null or --sink FILE.mkv".into();
    Err(MediaError::Device { device: "a window".into(), cause })
}

/// The element that can open a sound card on this machine.
pub(in crate::media) fn audio_sink() -> Option<&'static str> {
    AUDIO_SINKS.into_iter().find(|element| is_plausible(element) && can_open(element))
}

/// Whether to try an element. ALSA and PipeWire print to the terminal if they are absent.
fn is_plausible(element: &str) -> bool {
    match element {
        "pulsesink" => has_pulse(),
        "alsasink" => has_alsa_card(),
        "pipewiresink" => has_pipewire(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Track;

    fn formats(video: Codec, tracks: &[Track]) -> Vec<TrackFormat> {
        let codec = |track: Track| if track.is_video() { video } else { Codec::Opus };
        tracks.iter().map(|&track| TrackFormat { track, codec: codec(track), payload_type: 96 }).collect()
    }

    #[test]
    fn every_render_pipeline_parses() {
        crate::media::init().unwrap();
        for video in [Codec::H264, Codec::Vp8] {
            for tracks in [&Track::ALL[..], &[Track::Audio], &[Track::Screen], &[Track::Audio, Track::Camera]] {
                for sink in [Sink::Null, Sink::File("a.mkv".into()), Sink::Window { fullscreen: true }] {
                    let options = RenderOptions {
                        sink,
                        latency: crate::rtp::Latency::AUTO,
                        tracks: formats(video, tracks),
                        audio: true,
                        title: String::new(),
                    };
                    let outputs = WindowSinks { window: "ximagesink".into(), audio: None };
                    let text = with_sinks(&options, &outputs).unwrap().text;
                    pipelines::parse("watch", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                    let text = of_speaker(&options.sink, None, &options.tracks).unwrap().text;
                    pipelines::parse("watch", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                }
            }
        }
    }
}
