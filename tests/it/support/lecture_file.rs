//! Lecture files: colour bars, a moving ball, a running counter, and a voice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::run_tool;

/// The length of the lecture.
pub const LECTURE_SECONDS: u32 = 20;
/// Pictures per second.
pub const LECTURE_FPS: u32 = 25;
/// Width and height in pixels.
const LECTURE_SIZE: (u32, u32) = (640, 360);

const SPEECH: &str = "Welcome to the lecture. Today we look at the numbers from one to twenty, and at how a picture \
    travels from one machine to many. One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. Eleven. Twelve. \
    Thirteen. Fourteen. Fifteen. Sixteen. Seventeen. Eighteen. Nineteen. Twenty. A picture is encoded once, it is cut \
    into packets, and each of the packets is sent to every student. A student that loses one asks for it again. \
    That is all. Thank you for listening, and please clean the blackboard before you leave this room.";

/// Noise in a quarter of the picture, different in each frame, so that the encoder needs all of its bit rate.
const FILM: &str = "videotestsrc pattern=snow num-buffers={buffers} ! \
    video/x-raw,width=80,height=45,framerate={fps}/1 ! videoscale method=nearest-neighbour ! \
    video/x-raw,width=320,height=180 ! mix.sink_2";

/// The lecture file; the first call makes it, and it stays in `target/tmp`.
pub fn lecture_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| made("lecture", ""))
}

/// The lecture file with noise in a quarter of the picture.
pub fn film_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| made("film", FILM))
}

fn made(name: &str, more: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(name).with_extension("mkv");
    if !file.exists() {
        make(directory, &file, more);
    }
    file
}

fn make(directory: &Path, file: &Path, more: &str) {
    // Renamed when it is complete: another test process may look for it, and this process may be killed.
    let id = std::process::id();
    let (voice, half_made) = (directory.join(format!("voice-{id}.wav")), directory.join(format!("lecture-{id}.mkv")));
    run_tool(Command::new("espeak-ng").args(["-s", "130", "-w"]).arg(&voice).arg(SPEECH));
    let (width, height) = LECTURE_SIZE;
    let (buffers, fps) = (LECTURE_SECONDS * LECTURE_FPS, LECTURE_FPS);
    let more = more.replace("{buffers}", &buffers.to_string()).replace("{fps}", &fps.to_string());
    let graph = format!(
        "videotestsrc pattern=smpte75 num-buffers={buffers} ! \
           video/x-raw,width={width},height={height},framerate={fps}/1 ! mix.sink_0 \
         videotestsrc pattern=ball num-buffers={buffers} ! \
           video/x-raw,width=160,height=90,framerate={fps}/1 ! mix.sink_1 {more} \
         compositor name=mix sink_1::xpos=240 sink_1::ypos=60 {placed} ! videoconvert ! \
         timeoverlay halignment=center valignment=center font-desc=\"Sans 24\" ! \
         x264enc speed-preset=superfast key-int-max={fps} bitrate={bitrate} ! h264parse ! queue ! out. \
         filesrc location=\"{voice}\" ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! \
         audiobuffersplit output-buffer-duration=1/50 ! identity eos-after={blocks} ! \
         opusenc ! opusparse ! queue ! out. \
         matroskamux name=out ! filesink location=\"{half_made}\"",
        placed = if more.is_empty() { "" } else { "sink_2::xpos=320 sink_2::ypos=180 sink_2::alpha=0.3" },
        bitrate = if more.is_empty() { 1500 } else { 6000 },
        blocks = LECTURE_SECONDS * 50 + 1,
        voice = voice.display(),
        half_made = half_made.display(),
    );
    run_tool(Command::new("gst-launch-1.0").arg("--quiet").args(split(&graph)));
    std::fs::rename(&half_made, file).unwrap();
    let _ = std::fs::remove_file(voice);
}

/// The words of a graph; gst-launch joins them again.
fn split(graph: &str) -> Vec<String> {
    graph.split_whitespace().map(str::to_owned).collect()
}
