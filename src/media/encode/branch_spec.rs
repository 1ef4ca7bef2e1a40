//! Pipeline text for video tracks: the branch of each encoding, and the placeholders of the teaching pipelines.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::config::EncoderConfig;
use super::encoder::Encoder;
use crate::media::contract::{name_of, raw_video_of};
use crate::media::error::MediaError;
use crate::media::options::{Content, Size};
use crate::media::pipelines::{self, Values};
use crate::rtp::{Codec, Encoding, Tier, Track};

/// The description of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct BranchSpec {
    pub encoding: Encoding,
    pub config: EncoderConfig,
    pub content: Content,
    /// The name of the appsink and prefix of all element names: `screen`, `screen-low`, `camera-vp8`.
    pub name: String,
    /// The pipeline text from the queue behind the tee to the appsink.
    pub text: String,
}

impl BranchSpec {
    /// The name of the branch's bin.
    pub(in crate::media) fn bin_name(&self) -> String {
        format!("{}-branch", self.name)
    }
}

/// A video track of a capture, and how its raw video is encoded.
#[derive(Debug, Clone, Copy)]
pub(in crate::media) struct VideoTrack {
    pub track: Track,
    /// Settings of the full tier.
    pub full: EncoderConfig,
    /// The bounds of the video, whatever size the source has now or later.
    pub bounds: Size,
    pub content: Content,
    /// The requested bit/s of the low tier.
    pub low_bitrate: Option<u32>,
    /// The first RTP timestamp. All encodings of a track share it.
    pub timestamp_offset: u32,
}

impl VideoTrack {
    /// The branch of an encoding. Names of encodings in another than the main codec include their codec.
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
            Tier::Full => pipelines::TEACH_TIER_FULL,
            Tier::Low => pipelines::TEACH_TIER_LOW,
        };
        let values = Values::default()
            .set("tier.name", &name)
            .set("tier.encoder", encoder.text(&format!("{name}-encoder"), &config, self.content))
            .set("tier.out", payloader(&name, encoder.codec, self.timestamp_offset));
        let encoding = Encoding { track: self.track, tier, codec: encoder.codec };
        let content = self.content;
        Ok(BranchSpec { encoding, config, content, text: pipelines::text(&[file], &values)?, name })
    }

    /// Sets the placeholders of the track.
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
            // videoconvert serves formats that videocrop does not support, and passes all others through.
            .set(
                names[0],
                format!(
                    "videoconvert ! videocrop name={track}-crop ! videoconvertscale \
                     ! video/x-raw,width=[2,{max_width},2],height=[2,{max_height},2],{square}"
                ),
            )
            .set(names[1], format!("video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,{square}"))
            .set(names[2], fps)
            // All encoders get one format, so a new branch never makes the source negotiate again.
            .set(
                names[3],
                format!(
                    "capsfilter caps=video/x-raw,format=I420 ! tee name={} allow-not-linked=true",
                    raw_video_of(track)
                ),
            )
            .set(
                names[4],
                format!("videoconvert ! {}", encoder.text(&format!("{track}-encoder"), &self.full, Content::Film)),
            )
            .set(names[5], payloader(track.name(), encoder.codec, self.timestamp_offset))
    }
}

/// Payloader and appsink of an encoding. Packets of 1,200 bytes fit into tunnels with SRTP and TURN overhead. VP8 has
/// no picture ids: the ids of two payloaders would not form one sequence.
pub(in crate::media) fn payloader(name: &str, codec: Codec, timestamp_offset: u32) -> String {
    let payloader = match codec {
        Codec::H264 => "rtph264pay config-interval=0 aggregate-mode=zero-latency mtu=1200 pt=96",
        Codec::Vp8 => "rtpvp8pay picture-id-mode=none mtu=1200 pt=96",
        Codec::Opus => "rtpopuspay mtu=1200 pt=111",
    };
    format!("{payloader} timestamp-offset={timestamp_offset} ! appsink name={name}")
}

/// Makes the videocrop elements named `TRACK-crop` remove an odd last row or column, now and whenever the size changes.
///
/// Encoders of 4:2:0 video need even sizes. Scaling 1365 columns to 1364 would blur all letters, so one column is
/// cropped.
pub(in crate::media) fn crop_to_even(pipeline: &gst::Pipeline) {
    for track in Track::ALL {
        let Some(crop) = pipeline.by_name(&format!("{track}-crop")) else { continue };
        let Some(pad) = crop.static_pad("sink") else { continue };
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let Some(shape) = caps.caps().structure(0)
                && let Some(crop) = pad.parent_element()
            {
                // An edge of one pixel stays.
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
                Branch::build(&spec, None).unwrap_or_else(|error| panic!("{error}\n{}", spec.text));
            }
        }
    }
}
