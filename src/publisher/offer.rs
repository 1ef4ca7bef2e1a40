//! The negotiation of a publisher: its codecs, tracks and header extensions.

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind, TYPE_RTCP_FB_TRANSPORT_CC,
};
use rtc::shared::error::Error;

use super::extensions::{MID_URI, REPAIRED_RID_URI, RID_URI};
use super::stream::{Stream, rid_of, rtx_ssrc};
use crate::protocol::OfferedTracks;
use crate::rtp::{Codec, Encoding, Tier, Track};
use crate::sdp::engine;

/// How the tiers of a video track are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layering {
    /// Each tier is a stream of its own, and all that are needed are sent at the same time (RFC 8853).
    Simulcast,
    /// One stream, whose tier changes with the bandwidth.
    Single,
}

/// A track of the offer with its streams, best tier first.
pub(super) struct OfferedTrack {
    pub(super) media: MediaStreamTrack,
    pub(super) streams: Vec<Stream>,
}

/// The tracks of these encodings, each in the codec of its first encoding.
pub(super) fn tracks(encodings: &[(Encoding, u32)], layering: Layering) -> Vec<OfferedTrack> {
    let of_track = |track: Track| {
        let codec = encodings.iter().find(|(encoding, _)| encoding.track == track)?.0.codec;
        let tiers = encodings.iter().filter(|(e, _)| (e.track, e.codec) == (track, codec)).map(|(e, _)| e.tier);
        let mut tiers: Vec<Option<Tier>> = tiers.map(Some).collect();
        if layering == Layering::Single || tiers.len() < 2 {
            tiers = vec![None];
        }
        Some(offered_track(track, codec, &tiers))
    };
    Track::ALL.into_iter().filter_map(of_track).collect()
}

/// A track for each of [`Track::ALL`], in any codec that both ends know. Those with an encoding have a stream.
pub(super) fn tracks_of_pair(encodings: &[(Encoding, u32)]) -> Vec<OfferedTrack> {
    let of_track = |track: Track| {
        let codec = encodings.iter().find(|(encoding, _)| encoding.track == track).map(|(encoding, _)| encoding.codec);
        let OfferedTrack { media, streams } = offered_track(track, codec.unwrap_or(Codec::Vp8), &[None]);
        let codings = media.codings().iter().cloned();
        let codings = codings.map(|coding| RTCRtpEncodingParameters { codec: RTCRtpCodec::default(), ..coding });
        let (name, kind) = (track.name().to_owned(), media.kind());
        let media = MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, codings.collect());
        OfferedTrack { media, streams: if codec.is_some() { streams } else { Vec::new() } }
    };
    Track::ALL.into_iter().map(of_track).collect()
}

fn offered_track(track: Track, codec: Codec, tiers: &[Option<Tier>]) -> OfferedTrack {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let streams: Vec<Stream> =
        tiers.iter().map(|tier| Stream::new(track, codec, *tier, rand::random::<u32>() | 1)).collect();
    let coding = streams.iter().map(|stream| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: stream.tier.map(rid_of).unwrap_or_default().into(),
            ssrc: Some(stream.ssrc),
            rtx: track.is_video().then(|| RTCRtpRtxParameters { ssrc: rtx_ssrc(stream.ssrc) }),
            ..Default::default()
        },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    });
    let (name, coding) = (track.name().to_owned(), coding.collect());
    let media = MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, coding);
    OfferedTrack { media, streams }
}

/// The media engine of an offer with these video codecs.
///
/// Audio is not retransmitted, as in browsers: without RTX a second packet would have the nonce of the first one and
/// another transport-wide sequence number.
///
/// # Errors
/// If the library rejects a codec, which would be a bug here.
pub(crate) fn media_engine(video: &[Codec]) -> Result<MediaEngine, Error> {
    let mut engine = engine::adaptive_media_engine(video)?;
    let mut rtp_codec = engine::rtp_codec(Codec::Opus);
    let feedback = RTCPFeedback { typ: TYPE_RTCP_FB_TRANSPORT_CC.into(), parameter: String::new() };
    rtp_codec.rtcp_feedback.push(feedback);
    let payload_type = engine::payload_type(Codec::Opus);
    engine.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type }, RtpCodecKind::Audio)?;
    for uri in [MID_URI, RID_URI, REPAIRED_RID_URI] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    }
    Ok(engine)
}

/// The `a=mid` of each section of an offer that sends media, in order.
pub(super) fn mids(sdp: &str) -> Vec<String> {
    let sections = sdp.split("\nm=").skip(1).filter(|section| !section.starts_with("application"));
    let mid = sections.map(|section| section.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default());
    mid.map(|mid| mid.trim().to_owned()).collect()
}

/// The names of the tracks by mid, for signalling.
pub(super) fn names(streams: &[Stream]) -> OfferedTracks {
    streams.iter().map(|stream| (stream.mid.clone(), stream.track.into())).collect()
}
