//! The text of a student's graph: one part per track, and what they are shown in.

use std::time::Duration;

use gstreamer as gst;

use super::error::{MediaError, require};
use super::graph::{self, Values};
use super::playing::DECODED_AFTER;
use super::render::{RenderOptions, Sink, TrackFormat};
use super::sinks;
use crate::rtp::Codec;

/// What a picture waits in a compositor: one of its own pictures.
const COMPOSED_AFTER: Duration = Duration::from_millis(33);

/// What sound needs: one block in the Opus decoder (20 ms), the sound card's buffer (40 ms), and the time to decode it.
const HEARD_AFTER: Duration = Duration::from_millis(80);

/// A student's graph.
pub(super) struct Graph {
    /// Its text.
    pub(super) text: String,
    /// What to say about it.
    pub(super) notices: Vec<String>,
    /// How long after the playout's delay everything is shown: what the slowest part of the graph needs, because sound
    /// and picture stay together.
    pub(super) shown_after: Duration,
}

/// What a window's pictures and sound end in.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// The element that shows pictures.
    pub(super) window: String,
    /// The element that plays sound; nothing where sound is thrown away in time.
    pub(super) sound: Option<String>,
}

/// The graph that does this, on this machine.
pub(super) fn graph(options: &RenderOptions) -> Result<Graph, MediaError> {
    let mut notices = Vec::new();
    let mut outputs = Outputs::default();
    if let Sink::Window { fullscreen } = options.sink {
        let window = sinks::window()?;
        // The X11 sinks can't; see fullscreen.rs.
        let fullscreen = if fullscreen && window == "waylandsink" { "fullscreen=true" } else { "" };
        outputs.window = format!("{window} {fullscreen}");
        let has_audio = options.tracks.iter().any(|format| !format.track.is_video());
        let card = sinks::sound().filter(|_| options.sound && has_audio);
        if options.sound && has_audio && card.is_none() {
            notices.push("no sound card here, so there is no sound".into());
        }
        // The system clock goes on when sound stops; the card's clock would stop the picture with it.
        outputs.sound = card.map(|card| format!("{card} provide-clock=false buffer-time=40000 latency-time=10000"));
    }
    Ok(Graph { notices, ..with_outputs(options, &outputs)? })
}

/// The graph that ends in these.
pub(super) fn with_outputs(options: &RenderOptions, outputs: &Outputs) -> Result<Graph, MediaError> {
    let mut shown_after = DECODED_AFTER;
    if options.tracks.iter().filter(|format| format.track.is_video()).count() > 1 {
        shown_after += COMPOSED_AFTER;
    }
    if outputs.sound.is_some() {
        shown_after = shown_after.max(HEARD_AFTER);
    }
    Ok(Graph { text: compose(options, outputs)?, notices: Vec::new(), shown_after })
}

fn compose(options: &RenderOptions, outputs: &Outputs) -> Result<String, MediaError> {
    let shared =
        Values::default().set("window.sink", format!("{} name=window sync=true async=false", outputs.window)).set(
            "sound.sink",
            format!("{} name=speaker sync=true async=false", outputs.sound.as_deref().unwrap_or("fakesink")),
        );
    let mut text = String::new();
    let videos = options.tracks.iter().filter(|format| format.track.is_video()).count();
    let is_window = matches!(options.sink, Sink::Window { .. });
    if is_window && videos > 1 {
        text.push_str(&graph::text(&[graph::WATCH_WINDOW_LAYOUT, graph::WATCH_WINDOW_OVER], &shared)?);
    }
    for format in &options.tracks {
        let output: &[graph::File] = match &options.sink {
            Sink::Null => &[graph::WATCH_NULL],
            Sink::File(_) => &[graph::WATCH_FILE],
            Sink::Window { .. } if !format.track.is_video() => &[graph::WATCH_WINDOW_SOUND],
            Sink::Window { .. } if videos > 1 => &[graph::WATCH_WINDOW_INPUT],
            Sink::Window { .. } => &[graph::WATCH_WINDOW, graph::WATCH_WINDOW_OVER],
        };
        let (depayloader, encoded) = depayloader(format.codec);
        let values = shared
            .clone()
            .set("track", format.track)
            .set("depayloader", depayloader)
            .set("encoded", encoded)
            .set("parser", parser(format))
            .set("decoder", if matches!(options.sink, Sink::File(_)) { String::new() } else { decoder(format)? });
        text.push_str(&graph::text(&[&[graph::WATCH_TRACK], output].concat(), &values)?);
    }
    Ok(text)
}

/// After a loss nothing is shown before the next key frame: a still picture can be read, a smeared one can't.
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

/// What makes packets into what a file holds. It takes the decoder's place, and is counted at.
fn parser(format: &TrackFormat) -> String {
    let name = format!("name={}-decoder", format.track);
    match format.codec {
        Codec::H264 => {
            format!("h264parse {name} config-interval=-1 ! video/x-h264,stream-format=avc,alignment=au")
        }
        Codec::Vp8 | Codec::Opus => format!("identity {name}"),
    }
}

/// The decoder of a track. One thread each: more would hold a picture back per thread, and many students share a
/// machine. Errors are answered with a key frame, however many there are. What is late is decoded all the same, because
/// what comes next is made of it: a decoder that is too slow is helped before it, and a window that is too slow behind it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Track;

    fn formats(video: Codec, tracks: &[Track]) -> Vec<TrackFormat> {
        let codec = |track: Track| if track.is_video() { video } else { Codec::Opus };
        tracks.iter().map(|&track| TrackFormat { track, codec: codec(track), payload_type: 96 }).collect()
    }

    #[test]
    fn every_watching_graph_is_parsed() {
        super::super::init().unwrap();
        for video in [Codec::H264, Codec::Vp8] {
            for tracks in [&Track::ALL[..], &[Track::Audio], &[Track::Screen], &[Track::Audio, Track::Camera]] {
                for sink in [Sink::Null, Sink::File("a.mkv".into()), Sink::Window { fullscreen: true }] {
                    let options = RenderOptions {
                        sink,
                        latency: crate::rtp::Latency::AUTO,
                        tracks: formats(video, tracks),
                        sound: true,
                        title: String::new(),
                    };
                    let outputs = Outputs { window: "ximagesink".into(), sound: None };
                    let text = with_outputs(&options, &outputs).unwrap().text;
                    graph::parse("watch", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                }
            }
        }
    }
}
