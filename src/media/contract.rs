//! The element names that a teaching pipeline must have.
//!
//! A video track leaves the pipeline either raw or encoded:
//!
//! - Raw, in a tee `screen-pictures` or `camera-pictures`, for which the placeholders `{screen.pictures}` and
//!   `{camera.pictures}` stand. This program then encodes the video in each tier and codec that somebody watches.
//! - Encoded, as RTP packets of H.264 or VP8 in an appsink `screen` or `camera`. This is the full tier, always encoded.
//!   An appsink `screen-low` or `camera-low` adds a low tier of the same frames with the same timestamps. Then both
//!   appsinks must follow their payloaders directly (queues are allowed), because both payloaders get the same
//!   `timestamp-offset`.
//!
//! Audio is Opus in an appsink `audio`.
//!
//! Key-frame requests travel upstream from the appsinks. An encoder named `screen-encoder` or `camera-low-encoder` is
//! measured. H.264 needs parameter sets in each key frame: `h264parse config-interval=-1` before `rtph264pay
//! config-interval=0`.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::MediaError;
use crate::rtp::{Codec, Encoding, Tier, Track};

/// The maximum of elements between a payloader and its appsink: queues and a capsfilter.
const MAX_BEHIND_PAYLOADER: usize = 4;

/// An appsink of RTP packets that the pipeline itself encodes.
#[derive(Debug, Clone)]
pub(super) struct EncodedSink {
    pub encoding: Encoding,
    pub sink: gst_app::AppSink,
}

/// All outputs of a teaching pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct PipelineOutputs {
    /// Encoded outputs in the order of [`Track::ALL`], the best tier first.
    pub encoded: Vec<EncodedSink>,
    /// The tees of raw video.
    pub raw_video: Vec<(Track, gst::Element)>,
}

/// The appsink name of a track's tier, and the prefix of the names that belong to it.
pub(super) fn name_of(track: Track, tier: Tier) -> String {
    match tier {
        Tier::Full => track.name().into(),
        Tier::Low => format!("{track}-low"),
    }
}

/// The name of a track's tee of raw video.
pub(super) fn raw_video_of(track: Track) -> String {
    format!("{track}-pictures")
}

/// Checks a teaching pipeline against the contract, and finds its outputs.
///
/// `timestamps` gives the first RTP timestamp of a track whose payloaders must agree.
pub(super) fn outputs(
    name: &str,
    pipeline: &gst::Pipeline,
    timestamps: impl Fn(Track) -> u32,
) -> Result<PipelineOutputs, MediaError> {
    let broken = |problem: String| MediaError::Contract { pipeline: name.into(), problem };
    let mut outputs = PipelineOutputs::default();
    for track in Track::ALL {
        let full = encoded(pipeline, track, Tier::Full).map_err(broken)?;
        let low = if track.is_video() { encoded(pipeline, track, Tier::Low).map_err(broken)? } else { None };
        if let Some(tee) = raw_video(pipeline, track).map_err(broken)? {
            if let Some(both) = full.as_ref().or(low.as_ref()) {
                let (tee, sink) = (tee.name(), both.sink.name());
                return Err(broken(format!(
                    "{track} leaves both raw in the tee {tee} and encoded in the appsink {sink}: remove one of them"
                )));
            }
            outputs.raw_video.push((track, tee));
        }
        match (&full, &low) {
            (None, Some(low)) => {
                return Err(broken(format!("the appsink {} needs an appsink named {track}", low.sink.name())));
            }
            (Some(full), Some(low)) => {
                for sink in [&full.sink, &low.sink] {
                    let payloader = payloader_of(sink).ok_or_else(|| {
                        broken(format!("the appsink {} must directly follow its payloader", sink.name()))
                    })?;
                    payloader.set_property("timestamp-offset", timestamps(track));
                }
            }
            _ => {}
        }
        outputs.encoded.extend(full.into_iter().chain(low));
    }
    if outputs.encoded.is_empty() && outputs.raw_video.is_empty() {
        return Err(broken("an appsink named screen, camera or audio is missing: at least one is needed".into()));
    }
    Ok(outputs)
}

fn encoded(pipeline: &gst::Pipeline, track: Track, tier: Tier) -> Result<Option<EncodedSink>, String> {
    let name = name_of(track, tier);
    let Some(element) = pipeline.by_name(&name) else { return Ok(None) };
    let kind = kind_of(&element);
    let not_sink = |_| format!("the element named {name} must be an appsink and is {kind}");
    let sink = element.downcast::<gst_app::AppSink>().map_err(not_sink)?;
    let codec = codec_of(&sink).map_err(|found| {
        let wanted = if track.is_video() { "rtph264pay or rtpvp8pay" } else { "rtpopuspay" };
        format!("the appsink {name} must receive RTP packets from {wanted} and receives {found}")
    })?;
    if track.is_video() == (codec == Codec::Opus) {
        return Err(format!("the appsink {name} must not carry {codec}"));
    }
    Ok(Some(EncodedSink { encoding: Encoding { track, tier, codec }, sink }))
}

fn raw_video(pipeline: &gst::Pipeline, track: Track) -> Result<Option<gst::Element>, String> {
    let name = raw_video_of(track);
    let Some(tee) = pipeline.by_name(&name) else { return Ok(None) };
    let kind = kind_of(&tee);
    let linked = tee.static_pad("sink").is_some_and(|pad| pad.is_linked());
    match (kind.as_str(), linked) {
        ("tee", true) => Ok(Some(tee)),
        ("tee", false) => Err(format!("the tee {name} has no input: it is not linked")),
        _ => Err(format!("the element named {name} must be a tee and is {kind}")),
    }
}

fn kind_of(element: &gst::Element) -> String {
    element.factory().map(|factory| factory.name().to_string()).unwrap_or_default()
}

/// The payloader in front of an appsink.
fn payloader_of(sink: &gst_app::AppSink) -> Option<gst::Element> {
    let mut pad = sink.static_pad("sink");
    for _ in 0..=MAX_BEHIND_PAYLOADER {
        let before = pad?.peer()?.parent_element()?;
        if before.has_property_with_type("timestamp-offset", u32::static_type()) {
            return Some(before);
        }
        pad = before.static_pad("sink");
    }
    None
}

/// The codec that an appsink receives, or a description of what it receives instead.
fn codec_of(sink: &gst_app::AppSink) -> Result<Codec, String> {
    let pad = sink.static_pad("sink").ok_or("nothing")?;
    if pad.peer().is_none() {
        return Err("nothing: it is not linked".into());
    }
    let caps = pad.peer_query_caps(None);
    let codecs: Option<Vec<Codec>> = caps
        .iter()
        .map(|structure| {
            let is_rtp = structure.name() == "application/x-rtp";
            is_rtp.then(|| encoding_name(structure)).flatten().and_then(|name| Codec::from_encoding_name(&name))
        })
        .collect();
    match codecs.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|codec| codec == first) => Ok(*first),
        _ if caps.is_any() => Err("anything".into()),
        _ => Err(caps.to_string().chars().take(120).collect()),
    }
}

/// The encoding name in RTP caps. An Opus payloader offers two; the first known one counts.
fn encoding_name(caps: &gst::StructureRef) -> Option<String> {
    caps.get::<String>("encoding-name").ok().or_else(|| {
        let names = caps.get::<gst::List>("encoding-name").ok()?;
        names.as_slice().iter().find_map(|name| {
            let name = name.get::<String>().ok()?;
            Codec::from_encoding_name(&name).map(|_| name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::pipelines::{Values, fill, parse};

    fn contract(text: &str) -> Result<PipelineOutputs, MediaError> {
        crate::media::init().unwrap();
        let pipeline = parse("test", &fill("test", text, &Values::default())?)?;
        outputs("test", &pipeline, |_| 7)
    }

    fn encodings(text: &str) -> Vec<Encoding> {
        contract(text).unwrap().encoded.iter().map(|output| output.encoding).collect()
    }

    #[test]
    fn the_contract_finds_tracks_and_codecs() {
        let text = "videotestsrc ! x264enc ! rtph264pay ! appsink name=screen \
                    videotestsrc ! vp8enc ! rtpvp8pay ! queue ! appsink name=camera \
                    audiotestsrc ! opusenc ! rtpopuspay ! appsink name=audio";
        let found = [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::Vp8)];
        assert_eq!(encodings(text), found.map(|(track, codec)| Encoding::full(track, codec)));
        let raw = contract("videotestsrc ! tee name=camera-pictures").unwrap();
        assert_eq!((raw.encoded.len(), raw.raw_video.len(), raw.raw_video[0].0), (0, 1, Track::Camera));
    }

    #[test]
    fn both_tiers_of_a_users_pipeline_share_their_timestamps() {
        let text = "videotestsrc ! tee name=t t. ! x264enc ! rtph264pay name=a ! appsink name=screen \
                    t. ! queue ! vp8enc ! rtpvp8pay name=b ! queue ! appsink name=screen-low";
        let full = Encoding::full(Track::Screen, Codec::H264);
        assert_eq!(encodings(text), [full, Encoding { tier: Tier::Low, codec: Codec::Vp8, ..full }]);
        let pipeline = parse("test", text).unwrap();
        outputs("test", &pipeline, |_| 7).unwrap();
        for payloader in ["a", "b"] {
            assert_eq!(pipeline.by_name(payloader).unwrap().property::<u32>("timestamp-offset"), 7);
        }
    }

    #[test]
    fn a_broken_contract_names_the_element() {
        let raw = "videotestsrc ! tee name=screen-pictures";
        for (text, named) in [
            ("videotestsrc ! fakesink name=other", "appsink named screen, camera or audio is missing"),
            ("videotestsrc ! fakesink name=screen", "screen must be an appsink and is fakesink"),
            ("videotestsrc ! x264enc ! appsink name=screen", "rtph264pay or rtpvp8pay"),
            ("appsink name=camera videotestsrc ! fakesink", "camera must receive RTP packets"),
            ("audiotestsrc ! opusenc ! rtpopuspay ! appsink name=screen", "must not carry Opus"),
            ("videotestsrc ! x264enc ! rtph264pay ! appsink name=screen-low", "needs an appsink named screen"),
            ("videotestsrc ! fakesink name=screen-pictures", "screen-pictures must be a tee and is fakesink"),
            ("tee name=screen-pictures videotestsrc ! fakesink", "screen-pictures has no input"),
            (
                &format!("{raw} ! x264enc ! rtph264pay ! appsink name=screen"),
                "raw in the tee screen-pictures and encoded",
            ),
        ] {
            let error = contract(text).unwrap_err();
            assert!(matches!(error, MediaError::Contract { .. }), "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
        assert!(matches!(contract("nosuchelement ! fakesink"), Err(MediaError::MissingElement { .. })));
        assert!(matches!(contract("videotestsrc ! ! !"), Err(MediaError::Pipeline { .. })));
    }
}
