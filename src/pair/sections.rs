//! Reads the sections of a pair's descriptions: audio, screen and camera, by their order.

use std::collections::HashMap;
use std::io::Cursor;

use rtc::sdp::{MediaDescription, SessionDescription};
use webrtc::error::Error;

use crate::publisher::PayloadTypes;
use crate::rtp::{Codec, Track};
use crate::viewer::{Answered, ssrcs};

/// The codecs of the three sections in an answer, each in the order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    codecs: Vec<(Track, Codec, PayloadTypes)>,
}

impl Agreed {
    /// Those of an answer.
    ///
    /// # Errors
    /// If the answer is not a session description.
    pub(super) fn of(sdp: &str) -> Result<Self, Error> {
        let session = parse(sdp)?;
        let mut codecs = Vec::new();
        for (track, section) in sections(&session) {
            let formats = formats(section);
            let rtx = retransmissions(section);
            for (payload_type, codec) in formats {
                let is_new = codecs.iter().all(|(known, other, _)| (*known, *other) != (track, codec));
                if is_new && track.is_video() == (codec != Codec::Opus) {
                    let rtx = rtx.iter().find(|(_, of)| **of == payload_type).map(|(rtx, _)| *rtx);
                    codecs.push((track, codec, PayloadTypes { media: payload_type, rtx }));
                }
            }
        }
        Ok(Self { codecs })
    }

    /// The payload types of a codec in a track's section, if both sides have the codec.
    pub(super) fn payload_types(&self, track: Track, codec: Codec) -> Option<PayloadTypes> {
        let found = self.codecs.iter().find(|(known, other, _)| (*known, *other) == (track, codec));
        found.map(|(.., payload_types)| *payload_types)
    }

    /// The codec that the other side prefers for a track, with its payload type.
    pub(super) fn preferred(&self, track: Track) -> Option<(Codec, u8)> {
        let found = self.codecs.iter().find(|(known, ..)| *known == track);
        found.map(|(_, codec, payload_types)| (*codec, payload_types.media))
    }

    /// The codec of a track's packets with this payload type.
    pub(super) fn codec(&self, track: Track, payload_type: u8) -> Option<Codec> {
        let found = self.codecs.iter().find(|(known, _, types)| *known == track && types.media == payload_type);
        found.map(|(_, codec, _)| *codec)
    }

    /// The payload types of original packets, by those of their retransmissions.
    pub(super) fn originals(&self) -> HashMap<u8, u8> {
        self.codecs.iter().filter_map(|(.., types)| Some((types.rtx?, types.media))).collect()
    }
}

/// What the other side sends, by its description and the codecs that were agreed on.
///
/// # Errors
/// If the description is none.
pub(super) fn received(sdp: &str, agreed: &Agreed) -> Result<Vec<Answered>, Error> {
    let session = parse(sdp)?;
    let sending = sections(&session).filter(|(_, section)| {
        let sends = !section.has_attribute("recvonly") && !section.has_attribute("inactive");
        sends && section.media_name.port.value != 0
    });
    let received = sending.filter_map(|(track, section)| {
        let (ssrc, rtx_ssrc) = ssrcs(section);
        let (codec, payload_type) = agreed.preferred(track)?;
        Some(Answered { track, codec, payload_type, ssrc, rtx_ssrc })
    });
    Ok(received.collect())
}

/// The fingerprint of the certificate in a description: another one means another connection.
pub(super) fn fingerprint(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=fingerprint:")).map(str::trim)
}

/// Whether a description has the sections of a pair: audio and two videos, and at most one for the data channel.
pub(super) fn is_of_pair(sdp: &str) -> bool {
    let kinds = sdp.lines().filter_map(|line| line.strip_prefix("m=")?.split(' ').next());
    let (channels, media): (Vec<&str>, Vec<&str>) = kinds.partition(|kind| *kind == "application");
    channels.len() <= 1 && media == ["audio", "video", "video"]
}

fn parse(sdp: &str) -> Result<SessionDescription, Error> {
    SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))
}

/// The media sections with their tracks: the first audio, and the first two videos.
fn sections(session: &SessionDescription) -> impl Iterator<Item = (Track, &MediaDescription)> {
    let of_kind =
        |kind: &'static str| session.media_descriptions.iter().filter(move |section| section.media_name.media == kind);
    let audio = std::iter::once(Track::Audio).zip(of_kind("audio"));
    audio.chain([Track::Screen, Track::Camera].into_iter().zip(of_kind("video")))
}

/// The known codecs of a section, in the order of preference.
fn formats(section: &MediaDescription) -> Vec<(u8, Codec)> {
    let codecs = section.codecs();
    let formats = section.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok());
    formats.filter_map(|pt| Some((pt, Codec::from_encoding_name(&codecs.get(&pt)?.name)?))).collect()
}

/// The payload types of a section's retransmissions, with that of the original packets (RFC 4588, 8.6).
fn retransmissions(section: &MediaDescription) -> HashMap<u8, u8> {
    let codecs = section.codecs();
    let rtx = codecs.iter().filter(|(_, codec)| codec.name.eq_ignore_ascii_case("rtx"));
    let original = |fmtp: &str| fmtp.split(';').find_map(|part| part.trim().strip_prefix("apt=")?.parse().ok());
    rtx.filter_map(|(payload_type, codec)| Some((*payload_type, original(&codec.fmtp)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AB:CD\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=sendrecv\r\na=rtpmap:63 red/48000/2\r\na=rtpmap:111 opus/48000/2\r\n\
        a=ssrc:5 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 109\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
        a=fmtp:97 apt=96\r\na=rtpmap:109 H264/90000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 109 114 96\r\na=sendrecv\r\na=msid:- 1234\r\na=rtpmap:109 H264/90000\r\n\
        a=rtpmap:114 rtx/90000\r\na=fmtp:114 apt=109\r\na=rtpmap:96 VP8/90000\r\n\
        a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n";

    #[test]
    fn the_tracks_of_a_pair_are_known_by_the_order_of_the_sections() {
        let agreed = Agreed::of(SDP).unwrap();
        assert_eq!(agreed.preferred(Track::Audio), Some((Codec::Opus, 111)));
        assert_eq!(agreed.preferred(Track::Screen), Some((Codec::Vp8, 96)));
        assert_eq!(agreed.preferred(Track::Camera), Some((Codec::H264, 109)));
        let types = |track, codec| agreed.payload_types(track, codec).map(|types| (types.media, types.rtx));
        assert_eq!(types(Track::Screen, Codec::Vp8), Some((96, Some(97))));
        assert_eq!(
            (types(Track::Camera, Codec::H264), types(Track::Camera, Codec::Opus)),
            (Some((109, Some(114))), None)
        );
        assert_eq!(agreed.codec(Track::Camera, 96), Some(Codec::Vp8));
        assert_eq!(agreed.originals(), HashMap::from([(97, 96), (114, 109)]));
        let received = received(SDP, &agreed).unwrap();
        let found: Vec<_> = received.iter().map(|a| (a.track, a.codec, a.ssrc, a.rtx_ssrc)).collect();
        let camera = (Track::Camera, Codec::H264, Some(7), Some(8));
        assert_eq!(found, [(Track::Audio, Codec::Opus, Some(5), None), camera], "a recvonly section sends nothing");
        assert_eq!(fingerprint(SDP), Some("sha-256 AB:CD"));
        assert!(Agreed::of("nonsense").is_err());
        assert!(is_of_pair(SDP) && !is_of_pair("nonsense") && !is_of_pair(&format!("{SDP}m=video 9 RTP 96\r\n")));
    }
}
