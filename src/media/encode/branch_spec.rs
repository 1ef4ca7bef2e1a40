//! From an encoder to text: how a picture is encoded, and what stands for the placeholders of a track.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::config::EncoderConfig;
use super::encoder::Encoder;
use crate::media::contract::{name_of, raw_video_of};
use crate::media::error::MediaError;
use crate::media::graph::{self, Values};
use crate::media::options::{Content, Size};
use crate::rtp::{Codec, Encoding, Tier, Track};

/// How an encoding of a picture is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct BranchSpec {
    pub encoding: Encoding,
    pub config: EncoderConfig,
    /// The name of its appsink, with which the names of its elements begin: `screen`, `screen-low`, `camera-vp8`.
    pub name: String,
    /// The graph from the queue that takes raw pictures to the appsink.
    pub text: String,
}

impl BranchSpec {
    /// The name of the bin that it becomes.
    pub(in crate::media) fn bin_name(&self) -> String {
        format!("{}-branch", self.name)
    }
}

/// A video track of a capture, and how its raw video is encoded.
#[derive(Debug, Clone, Copy)]
pub(in crate::media) struct VideoTrack {
    pub track: Track,
    /// The full tier.
    pub full: EncoderConfig,
    /// The box that the video must fit, whatever its size becomes.
    pub bounds: Size,
    pub content: Content,
    /// Bit/s that were asked for of the low tier.
    pub low_bitrate: Option<u32>,
    /// The first RTP timestamp, the same in all encodings of the track.
    pub timestamp_offset: u32,
}

impl VideoTrack {
    /// How an encoding is made. The names of those that are not in the class's codec tell theirs.
    pub(in crate::media) fn branch_spec(
        &self,
        tier: Tier,
        encoder: &Encoder,
        is_main_codec: bool,
    ) -> Result<BranchSpec, MediaError> {
        let config = self.full.for_tier(tier, encoder.codec, self.content, self.low_bitrate);
        let name = match encoder.codec {
            _ if is_main_codec => name_of(self.track, tier),
            codec => format!("{}-{}", name_of(self.track, tier), codec.encoding_name().to_ascii_lowercase()),
        };
        let file = match tier {
            Tier::Full => graph::TEACH_TIER_FULL,
            Tier::Low => graph::TEACH_TIER_LOW,
        };
        let values = Values::default()
            .set("tier.name", &name)
            .set("tier.encoder", encoder.text(&format!("{name}-encoder"), &config))
            .set("tier.out", payloader(&name, encoder.codec, self.timestamp_offset));
        let encoding = Encoding { track: self.track, tier, codec: encoder.codec };
        Ok(BranchSpec { encoding, config, text: graph::text(&[file], &values)?, name })
    }

    /// The placeholders of the track.
    pub(in crate::media) fn placeholders(&self, values: Values, encoder: &Encoder) -> Values {
        let track = self.track;
        let names = match track {
            Track::Camera => {
                ["camera.fitted", "camera.exact", "camera.fps", "camera.pictures", "camera.encoder", "camera.out"]
            }
            _ => ["screen.fitted", "screen.exact", "screen.fps", "screen.pictures", "screen.encoder", "screen.out"],
        };
        let EncoderConfig { size: Size { width, height }, fps, .. } = self.full;
        let (square, Size { width: max_width, height: max_height }) = ("pixel-aspect-ratio=1/1", self.bounds);
        values
            // The converter is for formats that videocrop does not know, and else does nothing.
            .set(
                names[0],
                format!(
                    "videoconvert ! videocrop name={track}-crop ! videoconvertscale \
                     ! video/x-raw,width=[2,{max_width},2],height=[2,{max_height},2],{square}"
                ),
            )
            .set(names[1], format!("video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,{square}"))
            .set(names[2], fps)
            // One format for all encoders: none of them makes the source choose again when it comes.
            .set(
                names[3],
                format!(
                    "capsfilter caps=video/x-raw,format=I420 ! tee name={} allow-not-linked=true",
                    raw_video_of(track)
                ),
            )
            .set(names[4], format!("videoconvert ! {}", encoder.text(&format!("{track}-encoder"), &self.full)))
            .set(names[5], payloader(track.name(), encoder.codec, self.timestamp_offset))
    }
}

/// Payloader and appsink of an encoding. Packets of 1,200 bytes fit every tunnel with SRTP and TURN around them. VP8 has
/// no picture ids: those of two payloaders would not continue each other.
pub(in crate::media) fn payloader(name: &str, codec: Codec, timestamp_offset: u32) -> String {
    let payloader = match codec {
        Codec::H264 => "rtph264pay config-interval=0 aggregate-mode=zero-latency mtu=1200 pt=96",
        Codec::Vp8 => "rtpvp8pay picture-id-mode=none mtu=1200 pt=96",
        Codec::Opus => "rtpopuspay mtu=1200 pt=111",
    };
    format!("{payloader} timestamp-offset={timestamp_offset} ! appsink name={name}")
}

/// Makes the element `NAME-even` of each of these names, where a graph has it, cut an odd line or column off whatever
/// comes to it, now and when its size changes.
pub(in crate::media) fn crop_to_even(pipeline: &gst::Pipeline) {
    for track in Track::ALL {
        let Some(crop) = pipeline.by_name(&format!("{track}-crop")) else { continue };
        let Some(pad) = crop.static_pad("sink") else { continue };
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let Some(shape) = caps.caps().structure(0)
                && let Some(crop) = pad.parent_element()
            {
                // Of a line that is one pixel wide nothing would be left.
                let odd = |edge: &str| shape.get::<i32>(edge).map_or(0, |pixels| i32::from(pixels > 1) & pixels & 1);
                crop.set_property("right", odd("width"));
                crop.set_property("bottom", odd("height"));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::encode::branch::Branch;
    use crate::media::encode::encoder::ENCODERS;
    use crate::media::error::require;

    #[test]
    fn every_encoder_builds_every_branch() {
        crate::media::init().unwrap();
        let size = Size { width: 640, height: 360 };
        let full = EncoderConfig::full(size, 30, 400_000);
        for encoder in ENCODERS.iter().filter(|encoder| require(encoder.element).is_ok()) {
            for (tier, is_main_codec, content, name) in [
                (Tier::Full, true, Content::Film, "camera"),
                (Tier::Low, true, Content::Film, "camera-low"),
                (Tier::Low, false, Content::Text, "camera-low-"),
            ] {
                let track = Track::Camera;
                let video = VideoTrack { track, full, bounds: size, content, low_bitrate: None, timestamp_offset: 7 };
                let spec = video.branch_spec(tier, encoder, is_main_codec).unwrap();
                assert!(spec.name.starts_with(name), "{spec:?}");
                Branch::build(&spec).unwrap_or_else(|error| panic!("{error}\n{}", spec.text));
            }
        }
    }
}
