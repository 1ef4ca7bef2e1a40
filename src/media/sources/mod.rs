//! From what is wanted to the text of a graph, with what was found on this machine.

use std::path::PathBuf;

use super::encoder::{self, Encoder};
use super::error::MediaError;
use super::graph::{self, Values};
use super::options::{CaptureOptions, MainSource, Size, VideoOptions, Wanted};
use crate::rtp::Codec;

/// The size of what is drawn, and the most that a file gets.
const DRAWN: Size = Size { width: 1280, height: 720 };

/// The most that a screen gets: 4K needs more than software encodes and students' machines decode.
const SCREEN: Size = Size { width: 1920, height: 1080 };

/// A graph and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub text: String,
    pub notices: Vec<String>,
    /// Set for a media file.
    pub file: Option<ChosenFile>,
    /// Set for the demo: its size.
    pub demo: Option<Size>,
    /// Source elements and the device that they stand for, to explain errors.
    pub devices: Vec<(&'static str, String)>,
}

/// A media file that is played.
#[derive(Debug)]
pub(super) struct ChosenFile {
    pub path: PathBuf,
    pub repeat: bool,
}

/// Decides what is captured.
pub(super) fn choose(options: &CaptureOptions) -> Result<Chosen, MediaError> {
    let mut chosen = Chosen::default();
    let mut files = Vec::new();
    let mut values = Values::default();
    let mut sound = false;
    let sources = &options.sources;
    match &sources.main {
        MainSource::Screen(_wanted) => {}
        MainSource::File { path, repeat } => {
            let contents = super::file::inspect(path)?;
            files.push(graph::TEACH_FILE);
            values = values.quoted("file.uri", &super::file::uri(path)?);
            if contents.picture {
                files.push(graph::TEACH_FILE_PICTURE);
            }
            if contents.sound && sources.audio && !matches!(sources.microphone, Wanted::Yes(_)) {
                files.push(graph::TEACH_FILE_SOUND);
                sound = true;
            }
            chosen.file = Some(ChosenFile { path: path.clone(), repeat: *repeat });
            let what = match (contents.picture, contents.sound) {
                (true, true) => "picture and sound",
                (true, false) => "picture only, it has no sound",
                _ => "sound only, it has no picture",
            };
            chosen.notices.push(format!("playing {}: {what}", path.display()));
        }
        MainSource::Test => {
            files.push(graph::TEACH_TEST_PICTURE);
            if sources.audio {
                files.push(graph::TEACH_TEST_SOUND);
                sound = true;
            }
        }
        MainSource::Demo => {
            let size = options.screen.size.unwrap_or(DRAWN);
            files.push(graph::TEACH_DEMO_PICTURE);
            values = super::demo::values(values, size);
            chosen.demo = Some(size);
            if sources.audio {
                files.push(graph::TEACH_DEMO_SOUND);
                sound = true;
            }
        }
    }
    let _ = sound;
    let main = VideoOptions { size: Some(options.screen.size.unwrap_or(DRAWN)), ..options.screen };
    let _ = SCREEN;
    let (encoder, notice) = encoder::choose(options.codec, &main)?;
    chosen.notices.extend(notice);
    values = video_values(values, "screen", &encoder, &main);
    values = values
        .set(
            "audio.encoder",
            format!(
                "opusenc bitrate={} frame-size=20 inband-fec=true packet-loss-percentage=10",
                options.audio_bitrate
            ),
        )
        .set("audio.out", out("audio", Codec::Opus));
    chosen.text = graph::text(&files, &values)?;
    Ok(chosen)
}

/// The placeholders of a video track.
fn video_values(values: Values, track: &'static str, encoder: &Encoder, video: &VideoOptions) -> Values {
    let names = match track {
        "screen" => ["screen.fitted", "screen.exact", "screen.fps", "screen.encoder", "screen.out"],
        _ => ["camera.fitted", "camera.exact", "camera.fps", "camera.encoder", "camera.out"],
    };
    let Size { width, height } = video.size.unwrap_or(DRAWN);
    let fps = video.fps;
    values
        .set(
            names[0],
            format!("videoconvertscale ! video/x-raw,width=[2,{width},2],height=[2,{height},2],pixel-aspect-ratio=1/1"),
        )
        .set(
            names[1],
            format!("video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,pixel-aspect-ratio=1/1"),
        )
        .set(names[2], fps)
        .set(names[3], format!("videoconvert ! {}", encoder.text(&format!("{track}-encoder"), video)))
        .set(names[4], out(track, encoder.codec))
}

/// Payloader and appsink of a track. Packets of 1,200 bytes fit every tunnel with SRTP and TURN around them.
fn out(track: &str, codec: Codec) -> String {
    let payloader = match codec {
        Codec::H264 => "rtph264pay config-interval=-1 aggregate-mode=zero-latency mtu=1200 pt=96",
        Codec::Vp8 => "rtpvp8pay picture-id-mode=15-bit mtu=1200 pt=96",
        Codec::Opus => "rtpopuspay mtu=1200 pt=111",
    };
    format!("{payloader} ! appsink name={track}")
}
