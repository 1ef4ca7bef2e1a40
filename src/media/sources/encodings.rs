//! From an encoder to text: how a picture is encoded, and what stands for the placeholders of a track.

use crate::media::branch::Recipe;
use crate::media::coding::Coding;
use crate::media::contract::{name_of, pictures_of};
use crate::media::encoder::Encoder;
use crate::media::error::MediaError;
use crate::media::graph::{self, Values};
use crate::media::options::Size;
use crate::rtp::{Codec, Encoding, Tier, Track};

/// How an encoding of raw pictures is made. The names of those that are not in the class's codec tell theirs.
pub(in crate::media) fn recipe(
    track: Track,
    tier: Tier,
    encoder: &Encoder,
    is_class: bool,
    coding: Coding,
    timestamps: u32,
) -> Result<Recipe, MediaError> {
    let name = match encoder.codec {
        _ if is_class => name_of(track, tier),
        codec => format!("{}-{}", name_of(track, tier), codec.encoding_name().to_ascii_lowercase()),
    };
    let file = match tier {
        Tier::Full => graph::TEACH_TIER_FULL,
        Tier::Low => graph::TEACH_TIER_LOW,
    };
    let values = Values::default()
        .set("tier.name", &name)
        .set("tier.encoder", encoder.text(&format!("{name}-encoder"), &coding))
        .set("tier.out", out(&name, encoder.codec, timestamps));
    let encoding = Encoding { track, tier, codec: encoder.codec };
    Ok(Recipe { encoding, coding, text: graph::text(&[file], &values)?, name })
}

/// The placeholders of a video track, whose pictures must fit a box.
pub(super) fn video_values(
    values: Values,
    track: Track,
    encoder: &Encoder,
    coding: &Coding,
    most: Size,
    timestamps: u32,
) -> Values {
    let names = match track {
        Track::Camera => {
            ["camera.fitted", "camera.exact", "camera.fps", "camera.pictures", "camera.encoder", "camera.out"]
        }
        _ => ["screen.fitted", "screen.exact", "screen.fps", "screen.pictures", "screen.encoder", "screen.out"],
    };
    let Coding { size: Size { width, height }, fps, .. } = *coding;
    let (square, Size { width: most_width, height: most_height }) = ("pixel-aspect-ratio=1/1", most);
    let encoder_name = format!("{track}-encoder");
    values
        // The converter is for formats that videocrop does not know, and else does nothing.
        .set(
            names[0],
            format!(
                "videoconvert ! videocrop name={track}-even ! videoconvertscale \
                 ! video/x-raw,width=[2,{most_width},2],height=[2,{most_height},2],{square}"
            ),
        )
        .set(names[1], format!("video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,{square}"))
        .set(names[2], fps)
        // One format for all encoders: none of them makes the source choose again when it comes.
        .set(
            names[3],
            format!("capsfilter caps=video/x-raw,format=I420 ! tee name={} allow-not-linked=true", pictures_of(track)),
        )
        .set(names[4], format!("videoconvert ! {}", encoder.text(&encoder_name, coding)))
        .set(names[5], out(track.name(), encoder.codec, timestamps))
}

/// Payloader and appsink of an encoding. Packets of 1,200 bytes fit every tunnel with SRTP and TURN around them. VP8 has
/// no picture ids: those of two payloaders would not continue each other.
pub(super) fn out(name: &str, codec: Codec, timestamps: u32) -> String {
    let payloader = match codec {
        Codec::H264 => "rtph264pay config-interval=0 aggregate-mode=zero-latency mtu=1200 pt=96",
        Codec::Vp8 => "rtpvp8pay picture-id-mode=none mtu=1200 pt=96",
        Codec::Opus => "rtpopuspay mtu=1200 pt=111",
    };
    format!("{payloader} timestamp-offset={timestamps} ! appsink name={name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::branch::Branch;
    use crate::media::encoder;
    use crate::media::error::require;
    use crate::media::options::Content;

    #[test]
    fn every_encoding_of_a_picture_is_built_by_every_encoder() {
        crate::media::init().unwrap();
        let full = Coding::full(Size { width: 640, height: 360 }, 30, 400_000);
        for encoder in encoder::ENCODERS.iter().filter(|encoder| require(encoder.element).is_ok()) {
            for (tier, is_class, content, name) in [
                (Tier::Full, true, Content::Film, "camera"),
                (Tier::Low, true, Content::Film, "camera-low"),
                (Tier::Low, false, Content::Text, "camera-low-"),
            ] {
                let coding = full.in_tier(tier, encoder.codec, content, None);
                let recipe = recipe(Track::Camera, tier, encoder, is_class, coding, 7).unwrap();
                assert!(recipe.name.starts_with(name), "{recipe:?}");
                Branch::build(&recipe).unwrap_or_else(|error| panic!("{error}\n{}", recipe.text));
            }
        }
    }
}
