//! Video encoders: which exist, which really work, and how each is told to have no latency.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::{MediaError, package_of};
use super::options::{Size, VideoOptions};
use crate::rtp::{Codec, Tier};

/// How long an encoder may take for its trial. Software takes 50 ms; opening a GPU can take a second.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Pictures that an encoder must give in its trial.
const TRIAL_PICTURES: usize = 3;

/// Seconds between key frames that nobody asked for, as long as libwebrtc has them: to a class of 1,000 one is a burst
/// of a tenth of a second. Whoever comes, or lost too much, asks; a recording asks every ten seconds.
const KEY_SECONDS: u32 = 100;

/// An encoder that this crate can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoder {
    pub element: &'static str,
    pub codec: Codec,
    /// What it stands for in messages.
    pub label: &'static str,
    /// Everything behind the scaled I420 picture up to and with caps: placeholders `{name}`, `{kbps}`, `{bps}`,
    /// `{key}` (pictures between key frames; `{key-va}` where 1,024 is the most), `{threads}`, `{preset}` (of x264),
    /// `{vp8-threads}`, `{speed}` and `{drop}` (of libvpx).
    text: &'static str,
}

/// All encoders, best first: hardware, then x264, then the others.
///
/// None has B-frames or look-ahead, for they cost a picture of latency each. Key frames come on request; a new slide is
/// none. Parameter sets are part of each key frame already when it leaves: rtph264pay, told to add them, puts them
/// before every slice, and decoders then take a picture of several slices for several pictures. The rate buffer of x264
/// is 350 ms, so that a key frame is not a burst that a student's Wi-Fi drops.
pub(super) const ENCODERS: [Encoder; 7] = [
    Encoder {
        element: "nvh264enc",
        codec: Codec::H264,
        label: "NVENC",
        text: "nvh264enc name={name} bitrate={kbps} rc-mode=cbr preset=low-latency-hq zerolatency=true bframes=0 \
               gop-size={key} ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 \
               ! video/x-h264,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "vah264enc",
        codec: Codec::H264,
        label: "VA-API",
        text: "vah264enc name={name} bitrate={kbps} rate-control=cbr b-frames=0 ref-frames=1 key-int-max={key-va} \
               target-usage=6 ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 \
               ! video/x-h264,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "vaapih264enc",
        codec: Codec::H264,
        label: "VA-API (old plug-in)",
        text: "vaapih264enc name={name} bitrate={kbps} rate-control=cbr max-bframes=0 refs=1 keyframe-period={key} \
               ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 \
               ! video/x-h264,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "v4l2h264enc",
        codec: Codec::H264,
        label: "V4L2",
        text: "v4l2h264enc name={name} extra-controls=\"controls,video_bitrate={bps},video_bitrate_mode=1,\
               h264_i_frame_period={key},repeat_sequence_header=1\" \
               ! video/x-h264,profile=constrained-baseline,level=(string)4 ! h264parse config-interval=-1 \
               ! video/x-h264,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "x264enc",
        codec: Codec::H264,
        label: "x264",
        text: "x264enc name={name} bitrate={kbps} tune=zerolatency speed-preset={preset} key-int-max={key} bframes=0 \
               vbv-buf-capacity=350 threads={threads} byte-stream=true aud=false option-string=scenecut=0 \
               ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "openh264enc",
        codec: Codec::H264,
        label: "OpenH264",
        text: "openh264enc name={name} bitrate={bps} max-bitrate={bps} rate-control=bitrate complexity=low \
               usage-type=screen gop-size={key} multi-thread={threads} slice-mode=auto enable-frame-skip=true \
               ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au",
    },
    Encoder {
        element: "vp8enc",
        codec: Codec::Vp8,
        label: "libvpx",
        text: "vp8enc name={name} target-bitrate={bps} deadline=1 cpu-used={speed} end-usage=cbr lag-in-frames=0 \
               keyframe-max-dist={key} keyframe-mode=auto error-resilient=default threads={vp8-threads} \
               token-partitions=2 static-threshold=100 buffer-initial-size=300 buffer-optimal-size=350 \
               buffer-size=700 undershoot=95 max-intra-bitrate=600 \
               dropframe-threshold={drop} ! video/x-vp8",
    },
];

/// Whether an encoder can be used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It encoded some pictures.
    Works,
    /// It isn't installed; the package has it.
    Missing {
        /// The Debian package.
        package: String,
    },
    /// It is installed and failed.
    Fails {
        /// What it said.
        cause: String,
    },
}

impl Encoder {
    /// Its part of a graph.
    pub(super) fn text(&self, name: &str, tier: Tier, video: &VideoOptions) -> String {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // The threads of libvpx spin while they wait for each other: on two busy cores, two took twelve times as long
        // as one.
        let (threads, vp8_threads) = match tier {
            Tier::Full => (cores.min(4), (cores / 4).clamp(1, 4)),
            Tier::Low => (1, 1),
        };
        // The low tier has an eighth of the work, and too few bits: it pays to look closer.
        // And it must keep its rate whatever is shown: libvpx, which else takes seven times as much for a picture of
        // noise, leaves pictures out.
        let (preset, speed, drop) = match tier {
            Tier::Full => ("superfast", "8", "0"),
            Tier::Low => ("veryfast", "6", "30"),
        };
        let key = video.fps.saturating_mul(KEY_SECONDS);
        self.text
            .replace("{name}", name)
            .replace("{kbps}", &(video.bitrate / 1000).max(1).to_string())
            .replace("{bps}", &video.bitrate.to_string())
            .replace("{key}", &key.to_string())
            .replace("{key-va}", &key.min(1024).to_string())
            .replace("{threads}", &threads.to_string())
            .replace("{vp8-threads}", &vp8_threads.to_string())
            .replace("{preset}", preset)
            .replace("{speed}", speed)
            .replace("{drop}", drop)
    }

    /// Encodes some pictures: that an element exists says nothing about driver, device or permission.
    pub(super) fn try_out(&self, video: &VideoOptions) -> Verdict {
        if gst::ElementFactory::find(self.element).is_none() {
            return Verdict::Missing { package: package_of(self.element).into() };
        }
        let size = video.size.unwrap_or(Size { width: 1280, height: 720 });
        let text = format!(
            "videotestsrc pattern=blue ! video/x-raw,format=I420,width={},height={},framerate={}/1 \
             ! videoconvert ! {} ! fakesink name=trial-sink sync=false async=false",
            size.width,
            size.height,
            video.fps,
            self.text("trial", Tier::Full, video)
        );
        match super::graph::parse(self.element, &text).and_then(|pipeline| run(&pipeline)) {
            Ok(()) => Verdict::Works,
            Err(MediaError::Pipeline { cause, .. }) => Verdict::Fails { cause },
            Err(error) => Verdict::Fails { cause: error.to_string() },
        }
    }
}

/// The first encoder that works, for the codec or else for H.264 and then VP8, and what to say about the choice.
pub(super) fn choose(codec: Option<Codec>, video: &VideoOptions) -> Result<(Encoder, Option<String>), MediaError> {
    let mut tried = Vec::new();
    let wanted = |encoder: &&Encoder| codec.is_none_or(|codec| codec == encoder.codec);
    for encoder in ENCODERS.iter().filter(wanted) {
        match encoder.try_out(video) {
            Verdict::Works => {
                let fails: Vec<&str> =
                    tried.iter().filter(|(_, fails)| *fails).map(|(text, _): &(String, bool)| text.as_str()).collect();
                let notice =
                    (!fails.is_empty()).then(|| format!("encoding with {}, for {}", encoder.element, fails.join(", ")));
                return Ok((*encoder, notice));
            }
            Verdict::Missing { package } => {
                tried.push((format!("{} is not installed (package {package})", encoder.element), false));
            }
            Verdict::Fails { cause } => tried.push((format!("{} fails ({cause})", encoder.element), true)),
        }
    }
    let codec = codec.map_or("video".into(), |codec| codec.to_string());
    Err(MediaError::NoEncoder { codec, tried: tried.into_iter().map(|(text, _)| text).collect() })
}

/// Runs a trial until enough pictures have come out, and stops it.
///
/// The source has no end: encoders that are asked for what they still hold complain on the terminal.
fn run(pipeline: &gst::Pipeline) -> Result<(), MediaError> {
    const DONE: &str = "classroom-trial-done";
    let failed = |cause: String| MediaError::Pipeline { pipeline: "trial".into(), cause };
    let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
    if let Some(pad) = pipeline.by_name("trial-sink").and_then(|sink| sink.static_pad("sink")) {
        let (bus, seen) = (bus.clone(), AtomicUsize::new(0));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == TRIAL_PICTURES {
                // It is read below, and dropped when that has given up.
                let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(DONE)));
            }
            gst::PadProbeReturn::Ok
        });
    }
    let started = pipeline.set_state(gst::State::Playing).is_ok();
    // A failed change of state leaves its cause on the bus.
    let timeout = if started { TRIAL_TIMEOUT } else { Duration::ZERO };
    let timeout = gst::ClockTime::try_from(timeout).unwrap_or(gst::ClockTime::SECOND);
    let kinds = [gst::MessageType::Application, gst::MessageType::Error];
    let result = match bus.timed_pop_filtered(timeout, &kinds).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Application(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(failed(error.error().message().to_string())),
        _ if !started => Err(failed("it can't be started".into())),
        _ => Err(failed(format!("no picture within {} s", timeout.seconds()))),
    };
    // Null always succeeds for elements that were created; a driver that hangs here can't be helped.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_chosen_and_what_is_missing_is_named() {
        super::super::init().unwrap();
        let video = VideoOptions { size: None, fps: 30, bitrate: 2_500_000 };
        let (encoder, _) = choose(Some(Codec::Vp8), &video).unwrap();
        assert_eq!(encoder.element, "vp8enc");
        for encoder in ENCODERS.iter().filter(|encoder| gst::ElementFactory::find(encoder.element).is_some()) {
            let verdict = encoder.try_out(&video);
            // Hardware may be absent, software must work.
            if matches!(encoder.element, "x264enc" | "openh264enc" | "vp8enc") {
                assert_eq!(verdict, Verdict::Works, "{}", encoder.element);
            }
        }
        let error = choose(Some(Codec::Opus), &video).unwrap_err().to_string();
        assert!(error.contains("no Opus encoder"), "{error}");
    }
}
