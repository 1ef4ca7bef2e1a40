//! Video encoders: which exist, which really work, and how each is told to have no latency.

use super::config::{EncoderConfig, Reduction};
use crate::rtp::Codec;

/// Seconds between key frames that nobody asked for, as long as libwebrtc has them: to a class of 1,000 one is a burst
/// of a tenth of a second. Whoever comes, or lost too much, asks; a recording asks every ten seconds.
const KEY_FRAME_SECONDS: u32 = 100;

/// An encoder that this crate can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Encoder {
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
pub(in crate::media) const ENCODERS: [Encoder; 7] = [
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

/// How much work an encoder puts into a picture, and how large its bursts may be.
struct Tuning {
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
    max_key_frame_percent: u32,
}

impl Tuning {
    /// Key frames of VP8 in the low tier, in milliseconds of its rate.
    const VP8_KEY_MS: u32 = 400;

    fn of(config: &EncoderConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let of_key = |fps: u32| (Self::VP8_KEY_MS * fps / 10).max(100);
        match config.reduction {
            Reduction::None => Self {
                threads: cores.min(4),
                // The threads of libvpx spin while they wait for each other: on two busy cores, two took twelve times
                // as long as one.
                vp8_threads: (cores / 4).clamp(1, 4),
                preset: "superfast",
                buffer_ms: 350,
                speed: "8",
                drop: "0",
                max_key_frame_percent: 600,
            },
            // An eighth of the work, and too few bits: it pays to look closer.
            Reduction::HalfSize => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "veryfast",
                buffer_ms: 350,
                speed: "6",
                drop: "30",
                max_key_frame_percent: of_key(config.fps),
            },
            // A sixth of the pictures: 16 ms each at 1920x1080. A longer buffer makes a new page legible sooner, and a
            // shorter one is less than a page needs where pictures are fewer.
            Reduction::LowFrameRate => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "medium",
                buffer_ms: (2_000 / config.fps.max(1)).clamp(500, 1_000),
                speed: "4",
                drop: "30",
                max_key_frame_percent: of_key(config.fps),
            },
        }
    }
}

impl Encoder {
    /// Its part of a graph.
    pub(in crate::media) fn text(&self, name: &str, config: &EncoderConfig) -> String {
        let tuning = Tuning::of(config);
        let key = config.fps.saturating_mul(KEY_FRAME_SECONDS);
        self.text
            .replace("{name}", name)
            .replace("{kbps}", &(config.bitrate / 1000).max(1).to_string())
            .replace("{bps}", &config.bitrate.to_string())
            .replace("{key}", &key.to_string())
            .replace("{key-va}", &key.min(1024).to_string())
            .replace("{threads}", &tuning.threads.to_string())
            .replace("{vp8-threads}", &tuning.vp8_threads.to_string())
            .replace("{preset}", tuning.preset)
            .replace("{buffer}", &tuning.buffer_ms.to_string())
            .replace("{speed}", tuning.speed)
            .replace("{drop}", tuning.drop)
            .replace("{most-key}", &tuning.max_key_frame_percent.to_string())
    }
}
