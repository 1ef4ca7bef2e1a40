//! The supported video encoders, and their settings for low latency.

use super::config::{EncoderConfig, Reduction};
use super::rate_control::BufferSizes;
use crate::media::options::Content;
use crate::rtp::Codec;

/// Seconds between unrequested key frames, as in libwebrtc. To 1,000 students a key frame is a burst of 0.1 s. Students
/// request key frames when they join or lose too much; a recording requests one every ten seconds.
const KEY_FRAME_SECONDS: u32 = 100;

/// x264 aims at the mean bit rate, whatever that does to the quality.
const X264_FILM: &str = "option-string=scenecut=0";

/// As for a film, and a page is refined up to this quantizer: otherwise x264 refines a still page without end. Aiming
/// at a quality instead (`pass=qual`), x264 leaves parts of a film's frames without bits.
const X264_TEXT: &str = "option-string=scenecut=0:qpmin=16";

/// A GStreamer encoder element and its pipeline text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Encoder {
    pub element: &'static str,
    pub codec: Codec,
    /// The name in messages.
    pub label: &'static str,
    /// The pipeline text from I420 video to the encoder's output caps. Placeholders: `{name}`, `{kbps}`, `{bps}`,
    /// `{key}` (frames between key frames; `{key-va}` is limited to 1,024), `{threads}`, `{preset}`, `{buffer}` and
    /// `{quality}` (x264), `{vp8-threads}`, `{speed}`, `{drop}` and `{most-key}` (libvpx).
    text: &'static str,
}

/// All encoders, best first: hardware, then x264, then the others.
///
/// B-frames and look-ahead are off, because each costs a frame of latency. Scene-cut key frames are off: key frames
/// come on request. The encoder or h264parse repeats the parameter sets in each key frame. rtph264pay must not: it
/// inserts them before every slice, and decoders then take a frame of several slices for several frames.
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
               vbv-buf-capacity={buffer} threads={threads} byte-stream=true aud=false {quality} \
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

/// The sizes of the rate control buffer.
pub(super) fn buffer_sizes(config: &EncoderConfig) -> BufferSizes {
    Tuning::of(config).buffer
}

/// How much CPU time an encoder spends per frame, and how large its bursts may be.
struct Tuning {
    threads: usize,
    vp8_threads: usize,
    /// x264's `speed-preset`.
    preset: &'static str,
    /// The size of the rate control buffer (VBV) in milliseconds. It limits key frames, so that Wi-Fi does not drop
    /// them as a burst and a narrow path does not wait for them.
    buffer: BufferSizes,
    /// libvpx's `cpu-used`: 0 is slowest, 16 is fastest.
    speed: &'static str,
    /// libvpx's `dropframe-threshold`: the buffer level in percent below which frames are dropped. Without dropping,
    /// noise takes seven times the bitrate of the low tier.
    drop: &'static str,
    /// libvpx's `max-intra-bitrate`: the limit of a key frame in percent of an average frame.
    max_key_frame_percent: u32,
}

impl Tuning {
    /// The limit of a VP8 key frame in the low tier, in milliseconds of the bitrate.
    const VP8_KEY_MS: u32 = 400;

    fn of(config: &EncoderConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let of_key = |fps: u32| (Self::VP8_KEY_MS * fps / 10).max(100);
        match config.reduction {
            Reduction::None => Self {
                threads: cores.min(4),
                // libvpx's threads spin while they wait for each other: on two busy cores, two threads took twelve
                // times as long as one.
                vp8_threads: (cores / 4).clamp(1, 4),
                preset: "superfast",
                buffer: BufferSizes::of(350, config.bitrate),
                speed: "8",
                drop: "0",
                max_key_frame_percent: 600,
            },
            // An eighth of the pixels per second and few bits, so a slower preset pays off.
            Reduction::HalfSize => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "veryfast",
                buffer: BufferSizes::of(350, config.bitrate),
                speed: "6",
                drop: "30",
                max_key_frame_percent: of_key(config.fps),
            },
            // A sixth of the frames, so a slow preset is affordable: 16 ms per frame at 1920x1080. A longer buffer
            // makes a new page legible sooner; at low frame rates a page needs more than the usual buffer.
            Reduction::LowFrameRate => Self {
                threads: 1,
                vp8_threads: 1,
                preset: "medium",
                buffer: BufferSizes::of((2_000 / config.fps.max(1)).clamp(500, 1_000), config.bitrate),
                speed: "4",
                drop: "30",
                max_key_frame_percent: of_key(config.fps),
            },
        }
    }
}

impl Encoder {
    /// The pipeline text with all placeholders set. The element gets the given name.
    pub(in crate::media) fn text(&self, name: &str, config: &EncoderConfig, content: Content) -> String {
        let quality = match content {
            Content::Text => X264_TEXT,
            Content::Film => X264_FILM,
        };
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
            .replace("{quality}", quality)
            .replace("{buffer}", &tuning.buffer.usual.to_string())
            .replace("{speed}", tuning.speed)
            .replace("{drop}", tuning.drop)
            .replace("{most-key}", &tuning.max_key_frame_percent.to_string())
    }
}
