//! Video encoders: which exist, which really work, and how each is told to have no latency.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::coding::{Coding, Reduction};
use super::error::{MediaError, package_of};
use crate::rtp::Codec;

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
    /// `{key}` (pictures between key frames; `{key-va}` where 1,024 is the most), `{threads}`, `{preset}` and
    /// `{buffer}` (of x264), `{vp8-threads}`, `{speed}`, `{drop}` and `{most-key}` (of libvpx).
    text: &'static str,
}

/// All encoders, best first: hardware, then x264, then the others.
///
/// None has B-frames or look-ahead, for they cost a picture of latency each. Key frames come on request; a new slide is
/// none. Parameter sets are part of each key frame already when it leaves: rtph264pay, told to add them, puts them
/// before every slice, and decoders then take a picture of several slices for several pictures.
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
               vbv-buf-capacity={buffer} threads={threads} byte-stream=true aud=false option-string=scenecut=0 \
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
               buffer-size=700 undershoot=95 max-intra-bitrate={most-key} \
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

/// How much work an encoder puts into a picture, and how large its bursts may be.
struct Effort {
    threads: usize,
    vp8_threads: usize,
    /// Of x264.
    preset: &'static str,
    /// The time in which no more than the rate is sent, which bounds key frames, so that a student's Wi-Fi does not
    /// drop them as a burst, and nobody on a narrow line waits for them.
    buffer_ms: u32,
    /// Of libvpx: 0 takes all the time, 16 none.
    speed: &'static str,
    /// Of libvpx: how empty its buffer may be, in percent, before pictures are left out. It must keep the rate of a
    /// narrow line whatever is shown: else it takes seven times as much for a picture of noise.
    drop: &'static str,
    /// Of libvpx: the bits of a key frame, in percent of those that a picture has in the mean.
    most_key_percent: u32,
}

impl Effort {
    /// Key frames of VP8 in the low tier, in milliseconds of its rate.
    const VP8_KEY_MS: u32 = 400;

    fn of(coding: &Coding) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let of_key = |fps: u32| (Self::VP8_KEY_MS * fps / 10).max(100);
        match coding.reduction {
            Reduction::None => Self {
                threads: cores.min(4),
                // The threads of libvpx spin while they wait for each other: on two busy cores, two took twelve times
                // as long as one.
                vp8_threads: (cores / 4).clamp(1, 4),
                preset: "superfast",
                buffer_ms: 350,
                speed: "8",
                drop: "0",
                most_key_percent: 600,
            },
            // An eighth of the work, and too few bits: it pays to look closer.
            Reduction::Small => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "veryfast",
                buffer_ms: 350,
                speed: "6",
                drop: "30",
                most_key_percent: of_key(coding.fps),
            },
            // A sixth of the pictures: 16 ms each at 1920x1080. A longer buffer makes a new page legible sooner, and a
            // shorter one is less than a page needs where pictures are fewer.
            Reduction::Sparse => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "medium",
                buffer_ms: (2_000 / coding.fps.max(1)).clamp(500, 1_000),
                speed: "4",
                drop: "30",
                most_key_percent: of_key(coding.fps),
            },
        }
    }
}

impl Encoder {
    /// Its part of a graph.
    pub(super) fn text(&self, name: &str, coding: &Coding) -> String {
        let effort = Effort::of(coding);
        let key = coding.fps.saturating_mul(KEY_SECONDS);
        self.text
            .replace("{name}", name)
            .replace("{kbps}", &(coding.bitrate / 1000).max(1).to_string())
            .replace("{bps}", &coding.bitrate.to_string())
            .replace("{key}", &key.to_string())
            .replace("{key-va}", &key.min(1024).to_string())
            .replace("{threads}", &effort.threads.to_string())
            .replace("{vp8-threads}", &effort.vp8_threads.to_string())
            .replace("{preset}", effort.preset)
            .replace("{buffer}", &effort.buffer_ms.to_string())
            .replace("{speed}", effort.speed)
            .replace("{drop}", effort.drop)
            .replace("{most-key}", &effort.most_key_percent.to_string())
    }

    /// Encodes some pictures: that an element exists says nothing about driver, device or permission.
    pub(super) fn try_out(&self, coding: &Coding) -> Verdict {
        if gst::ElementFactory::find(self.element).is_none() {
            return Verdict::Missing { package: package_of(self.element).into() };
        }
        let text = format!(
            "videotestsrc pattern=blue ! video/x-raw,format=I420,width={},height={},framerate={}/1 \
             ! videoconvert ! {} ! fakesink name=trial-sink sync=false async=false",
            coding.size.width,
            coding.size.height,
            coding.fps,
            self.text("trial", coding)
        );
        match super::graph::parse(self.element, &text).and_then(|pipeline| run(&pipeline, TRIAL_PICTURES)) {
            Ok(()) => Verdict::Works,
            Err(MediaError::Pipeline { cause, .. }) => Verdict::Fails { cause },
            Err(error) => Verdict::Fails { cause: error.to_string() },
        }
    }
}

/// The first encoder that works, for the codec or else for H.264 and then VP8, and what to say about the choice.
pub(super) fn choose(codec: Option<Codec>, coding: &Coding) -> Result<(Encoder, Option<String>), MediaError> {
    let mut tried = Vec::new();
    let wanted = |encoder: &&Encoder| codec.is_none_or(|codec| codec == encoder.codec);
    for encoder in ENCODERS.iter().filter(wanted) {
        match encoder.try_out(coding) {
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

/// Runs a trial until so many pictures have come to its sink `trial-sink`, and stops it.
///
/// The source has no end: encoders that are asked for what they still hold complain on the terminal.
pub(super) fn run(pipeline: &gst::Pipeline, pictures: usize) -> Result<(), MediaError> {
    const DONE: &str = "classroom-trial-done";
    let failed = |cause: String| MediaError::Pipeline { pipeline: "trial".into(), cause };
    let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
    if let Some(pad) = pipeline.by_name("trial-sink").and_then(|sink| sink.static_pad("sink")) {
        let (bus, seen) = (bus.clone(), AtomicUsize::new(0));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == pictures {
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
    use super::super::options::Size;
    use super::*;

    #[test]
    fn what_works_is_chosen_and_what_is_missing_is_named() {
        super::super::init().unwrap();
        let video = Coding::full(Size { width: 1280, height: 720 }, 30, 2_500_000);
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
