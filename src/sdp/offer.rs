//! Parses and checks a student's offer before a peer connection is created.

use std::io::Cursor;

use rtc::sdp::SessionDescription;
use rtc::sdp::description::common::Attribute;
use rtc::sdp::description::media::MediaDescription;

use crate::protocol::VideoTrack;
use crate::rtp::{Codec, Track};

/// The most sections of an offer: audio, two of video, the data channel, and some more that a browser may add.
pub const MAX_SECTIONS: usize = 8;

/// Why an offer can't be answered. Each has a stable code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The offer is not SDP.
    #[error("the offer is not a session description: {0}")]
    Malformed(String),
    /// The offer has more sections than a lecture has tracks for.
    #[error("the offer has {0} media sections, at most {MAX_SECTIONS} are answered")]
    TooManySections(usize),
    /// A section is not recvonly.
    #[error("section {0} of the offer is {1}, a student only receives: make it recvonly")]
    NotRecvonly(usize, String),
    /// Two sections have one `a=mid` (RFC 5888, 4); the core would answer both with the same track.
    #[error("section {0} of the offer has the a=mid of an earlier one: give each its own")]
    SameMid(usize),
    /// The core omits such a section from the answer, which must have as many as the offer (RFC 3264, 6).
    #[error("section {0} of the offer is neither audio nor video nor a WebRTC data channel: leave it out")]
    UnknownSection(usize),
    /// The student can't decode any of the codecs that are sent.
    #[error(
        "no common codec: the lecture is sent as {sent}, the offer has {offered}; \
         start the teacher with --codec {remedy}"
    )]
    NoCommonCodec {
        /// The codec that the teacher sends.
        sent: Codec,
        /// The codecs of the offer.
        offered: String,
        /// A value for --codec that the student could decode.
        remedy: &'static str,
    },
    /// The requested track is not sent.
    #[error("the lecture has no {wanted} picture, it has {sent}: ask for that, or for no picture in particular")]
    NoSuchTrack {
        /// The track that the student requested.
        wanted: &'static str,
        /// The tracks that the teacher sends.
        sent: String,
    },
    /// The offer has no section for audio or video.
    #[error("the offer has no audio or video section: add one recvonly section for each")]
    NothingAsked,
}

/// The tracks for an offer, in the order of its sections, which is the order for `add_track`.
///
/// The first video section gets the screen, or the camera if no screen is sent; the second gets the camera. With
/// `video`, the first video section gets that track and the others get no track. A section gets the first codec of
/// `sent` that it accepts; `sent` lists a track once per codec. Audio without a common codec is omitted; video without
/// a common codec is an error, because a black screen explains nothing.
///
/// # Errors
/// [`OfferError`], with a sentence for the student.
pub fn tracks_for(
    sdp: &str,
    video: Option<VideoTrack>,
    sent: &[(Track, Codec)],
) -> Result<Vec<(Track, Codec)>, OfferError> {
    let session = parse(sdp)?;
    let sections = &session.media_descriptions;
    if sections.len() > MAX_SECTIONS {
        return Err(OfferError::TooManySections(sections.len()));
    }
    let only = video.map(|video| match video {
        VideoTrack::Screen => Track::Screen,
        VideoTrack::Camera => Track::Camera,
    });
    let is_wanted = |track: Track| track.is_video() && only.is_none_or(|only| track == only);
    let mut wanted: Vec<Track> = sent.iter().map(|(track, _)| *track).filter(|track| is_wanted(*track)).collect();
    wanted.dedup();
    let mut videos = wanted.into_iter().peekable();
    if let Some(only) = only.filter(|_| videos.peek().is_none()) {
        let mut sent: Vec<&str> = sent.iter().map(|(track, _)| track.name()).collect();
        sent.dedup();
        return Err(OfferError::NoSuchTrack { wanted: only.name(), sent: sent.join(" and ") });
    }
    let mut tracks = Vec::new();
    let (mut asked, mut mids) = (false, Vec::new());
    for (n, section) in sections.iter().enumerate() {
        let mid = section.attribute("mid").flatten();
        if mid.is_some_and(|mid| mids.contains(&mid)) {
            return Err(OfferError::SameMid(n));
        }
        mids.extend(mid);
        let kind = section.media_name.media.as_str();
        if !is_media(section) && !is_data_channel(section) {
            return Err(OfferError::UnknownSection(n));
        }
        if is_rejected(section) || !is_media(section) {
            continue;
        }
        // The direction of the section overrides that of the session: Firefox writes a=sendrecv at the session level.
        let own = own_direction(section);
        let direction = own.unwrap_or_else(|| session_direction(&session));
        if direction != "recvonly" {
            return Err(OfferError::NotRecvonly(n, direction.to_owned()));
        }
        asked = true;
        let wanted = match kind {
            "audio" if tracks.iter().all(|(track, _)| *track != Track::Audio) => Some(Track::Audio),
            "video" => videos.next(),
            _ => None,
        };
        let Some(track) = wanted else { continue };
        let codecs = || sent.iter().filter(|(known, _)| *known == track).map(|(_, codec)| *codec);
        match (codecs().find(|codec| accepts(section, *codec)), codecs().next()) {
            (Some(codec), _) => tracks.push((track, codec)),
            (None, Some(codec)) if track.is_video() => {
                let offered = offered_codecs(section);
                let remedy = if codec == Codec::H264 { "vp8" } else { "h264" };
                return Err(OfferError::NoCommonCodec { sent: codec, offered, remedy });
            }
            (None, _) => {}
        }
    }
    if asked { Ok(tracks) } else { Err(OfferError::NothingAsked) }
}

/// The offer with a direction in each section of audio and video: the core omits a section without one from the answer,
/// which must have as many sections as the offer (RFC 3264, 6). A rejected section becomes inactive, and the others get
/// the direction of the session.
///
/// # Errors
/// [`OfferError::Malformed`].
pub fn with_directions(sdp: &str) -> Result<String, OfferError> {
    let mut session = parse(sdp)?;
    let inherited = session_direction(&session);
    let mut lacking = session.media_descriptions.iter_mut().filter(|s| is_media(s) && own_direction(s).is_none());
    let Some(first) = lacking.next() else { return Ok(sdp.to_owned()) };
    for section in std::iter::once(first).chain(lacking) {
        let direction = if is_rejected(section) { "inactive" } else { inherited };
        section.attributes.push(Attribute::new(direction.to_owned(), None));
    }
    Ok(session.marshal())
}

/// The offer with its first `most` candidates only, and the number of candidates that are left.
pub fn with_fewer_candidates(sdp: &str, most: usize) -> (String, usize) {
    let mut count = 0;
    let stays = |line: &&str| {
        let is_candidate = line.starts_with("a=candidate:");
        count += usize::from(is_candidate);
        !is_candidate || count <= most
    };
    let fewer = sdp.split_inclusive('\n').filter(stays).collect();
    (fewer, count.min(most))
}

fn parse(sdp: &str) -> Result<SessionDescription, OfferError> {
    SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes())).map_err(|e| OfferError::Malformed(e.to_string()))
}

/// Direction attributes (RFC 8866, 6.7).
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "inactive", "recvonly"];

fn own_direction(section: &MediaDescription) -> Option<&'static str> {
    DIRECTIONS.into_iter().find(|direction| section.has_attribute(direction))
}

/// The direction of sections without one of their own. The default is sendrecv (RFC 8866, 6.7).
fn session_direction(session: &SessionDescription) -> &'static str {
    DIRECTIONS.into_iter().find(|direction| session.has_attribute(direction)).unwrap_or("sendrecv")
}

fn is_media(section: &MediaDescription) -> bool {
    matches!(section.media_name.media.as_str(), "audio" | "video")
}

/// Whether the core takes a section for a data channel.
fn is_data_channel(section: &MediaDescription) -> bool {
    section.media_name.media == "application" && section.media_name.formats == ["webrtc-datachannel"]
}

/// Whether the offerer has rejected a section. Firefox offers all sections but the first with port 0 and `bundle-only`;
/// those are not rejected (RFC 9143, 6).
fn is_rejected(section: &MediaDescription) -> bool {
    section.media_name.port.value == 0 && !section.has_attribute("bundle-only")
}

/// Whether a section accepts this codec. H.264 must allow fragmentation (packetization mode 1, RFC 6184, 5.4).
fn accepts(section: &MediaDescription, codec: Codec) -> bool {
    section.codecs().values().any(|offered| {
        offered.name.eq_ignore_ascii_case(codec.encoding_name())
            && (codec != Codec::H264 || offered.fmtp.contains("packetization-mode=1"))
    })
}

fn offered_codecs(section: &MediaDescription) -> String {
    let mut names: Vec<String> = section
        .codecs()
        .into_values()
        .map(|codec| codec.name.chars().filter(|c| crate::id::is_printable(*c)).take(16).collect::<String>())
        .filter(|name| !name.is_empty() && !["rtx", "red", "ulpfec", "flexfec-03"].contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(8);
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const LECTURE: [(Track, Codec); 3] =
        [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::H264)];

    fn offer(sections: &[&str]) -> String {
        let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
        for section in sections {
            sdp += section;
        }
        sdp
    }

    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n";
    const H264: &str = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=recvonly\r\na=rtpmap:102 H264/90000\r\n\
                        a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n";
    const VP8: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n";
    const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n";

    #[test]
    fn sections_get_tracks_in_order() {
        let all = tracks_for(&offer(&[AUDIO, H264, H264, DATA]), None, &LECTURE).unwrap();
        assert_eq!(all, LECTURE);
        assert_eq!(tracks_for(&offer(&[H264]), None, &LECTURE).unwrap(), [LECTURE[1]], "one section gets the screen");
        let camera_only = [(Track::Camera, Codec::H264)];
        assert_eq!(tracks_for(&offer(&[AUDIO, H264, H264]), None, &camera_only).unwrap(), camera_only);
    }

    #[test]
    fn each_section_gets_a_codec_that_it_accepts() {
        let both: Vec<(Track, Codec)> = LECTURE
            .into_iter()
            .flat_map(|(track, codec)| [(track, codec), (track, if track.is_video() { Codec::Vp8 } else { codec })])
            .collect();
        assert_eq!(tracks_for(&offer(&[AUDIO, H264, H264]), None, &both).unwrap(), LECTURE);
        let vp8 = [LECTURE[0], (Track::Screen, Codec::Vp8), (Track::Camera, Codec::Vp8)];
        assert_eq!(tracks_for(&offer(&[AUDIO, VP8, VP8]), None, &both).unwrap(), vp8);
        let either = H264.replace("102\r\n", "96 102\r\na=rtpmap:96 VP8/90000\r\n");
        assert_eq!(tracks_for(&offer(&[&either]), None, &both).unwrap(), [LECTURE[1]], "that of the class first");
        let camera = Some(VideoTrack::Camera);
        assert_eq!(tracks_for(&offer(&[VP8]), camera, &both).unwrap(), [vp8[2]]);
    }

    #[test]
    fn candidates_beyond_the_limit_are_removed() {
        let candidates = |from: usize, to: usize| -> String {
            (from..to).map(|n| format!("a=candidate:{n} 1 udp 5 192.0.2.7 {n} typ host\r\n")).collect()
        };
        let sdp = offer(&[AUDIO, &candidates(0, 3), H264, &candidates(3, 100)]);
        assert_eq!(with_fewer_candidates(&sdp, 5), (offer(&[AUDIO, &candidates(0, 3), H264, &candidates(3, 5)]), 5));
        assert_eq!(with_fewer_candidates(&sdp, 200), (sdp.clone(), 100));
    }

    #[test]
    fn a_section_with_port_0_is_rejected_unless_it_is_bundle_only() {
        let bundled = H264.replace("m=video 9", "m=video 0").replace("a=recvonly", "a=bundle-only\r\na=recvonly");
        assert_eq!(tracks_for(&offer(&[AUDIO, H264, &bundled]), None, &LECTURE).unwrap(), LECTURE);
        let rejected = H264.replace("m=video 9", "m=video 0");
        assert_eq!(tracks_for(&offer(&[AUDIO, H264, &rejected]), None, &LECTURE).unwrap(), LECTURE[..2]);
    }

    #[test]
    fn a_section_without_a_direction_gets_one() {
        let complete = offer(&[AUDIO, H264, DATA]);
        assert_eq!(with_directions(&complete).unwrap(), complete);
        let silent = AUDIO.replace("a=recvonly\r\n", "");
        let rejected = silent.replace("m=audio 9", "m=audio 0");
        let inactive = format!("{rejected}a=inactive\r\n");
        assert_eq!(with_directions(&offer(&[&rejected, H264])).unwrap(), offer(&[&inactive, H264]));
        let inherited = with_directions(&offer(&["a=recvonly\r\n", &silent, DATA])).unwrap();
        assert_eq!(inherited, offer(&["a=recvonly\r\n", &silent, "a=recvonly\r\n", DATA]));
        assert!(matches!(with_directions("hello"), Err(OfferError::Malformed(_))));
    }

    #[test]
    fn no_two_sections_have_the_same_mid() {
        let with_mid = |section: &str, mid: &str| format!("{section}a=mid:{mid}\r\n");
        let all = offer(&[&with_mid(AUDIO, "a"), &with_mid(H264, "b"), &with_mid(H264, "c")]);
        assert_eq!(tracks_for(&all, None, &LECTURE).unwrap(), LECTURE);
        let same = all.replace("mid:c", "mid:b");
        assert_eq!(tracks_for(&same, None, &LECTURE), Err(OfferError::SameMid(2)));
    }

    #[test]
    fn a_section_that_the_core_omits_is_refused() {
        for other in
            ["m=text 0 RTP/AVP 98\r\n", "m=application 9 DTLS/SCTP 5000\r\na=sctpmap:5000 webrtc-datachannel\r\n"]
        {
            assert_eq!(tracks_for(&offer(&[AUDIO, other]), None, &LECTURE), Err(OfferError::UnknownSection(1)));
        }
    }

    #[test]
    fn one_video_track_may_be_requested() {
        let camera = Some(VideoTrack::Camera);
        assert_eq!(tracks_for(&offer(&[AUDIO, H264]), camera, &LECTURE).unwrap(), [LECTURE[0], LECTURE[2]]);
        assert_eq!(tracks_for(&offer(&[H264, H264]), camera, &LECTURE).unwrap(), LECTURE[2..]);
        assert_eq!(tracks_for(&offer(&[H264, H264]), Some(VideoTrack::Screen), &LECTURE).unwrap(), [LECTURE[1]]);
        let error = tracks_for(&offer(&[AUDIO, H264]), camera, &LECTURE[..2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the lecture has no camera picture, it has audio and screen: ask for that, or for no picture in particular"
        );
    }

    #[test]
    fn a_refused_offer_names_the_reason() {
        let sending = AUDIO.replace("recvonly", "sendrecv");
        assert_eq!(
            tracks_for(&offer(&[&sending]), None, &LECTURE),
            Err(OfferError::NotRecvonly(0, "sendrecv".to_owned()))
        );
        let silent = AUDIO.replace("a=recvonly\r\n", "");
        assert!(matches!(tracks_for(&offer(&[&silent]), None, &LECTURE), Err(OfferError::NotRecvonly(0, _))));
        let for_all = |direction: &str| offer(&[direction, AUDIO]);
        assert_eq!(
            tracks_for(&for_all("a=sendrecv\r\n"), None, &LECTURE).unwrap(),
            LECTURE[..1],
            "a section's own counts"
        );
        let silent_for_all = |direction: &str| offer(&[direction, &silent]);
        assert_eq!(tracks_for(&silent_for_all("a=recvonly\r\n"), None, &LECTURE).unwrap(), LECTURE[..1]);
        assert!(tracks_for(&silent_for_all("a=sendrecv\r\n"), None, &LECTURE).is_err());
        assert_eq!(tracks_for(&offer(&[VP8; 9]), None, &LECTURE), Err(OfferError::TooManySections(9)));
        assert_eq!(tracks_for(&offer(&[DATA]), None, &LECTURE), Err(OfferError::NothingAsked));
        assert!(matches!(tracks_for("hello", None, &LECTURE), Err(OfferError::Malformed(_))));
        let error = tracks_for(&offer(&[AUDIO, VP8]), None, &LECTURE).unwrap_err();
        assert!(matches!(error, OfferError::NoCommonCodec { .. }));
        assert_eq!(
            error.to_string(),
            "no common codec: the lecture is sent as H.264, the offer has VP8; start the teacher with --codec vp8"
        );
    }

    #[test]
    fn h264_without_fragmentation_is_not_a_common_codec() {
        let mode0 = H264.replace("packetization-mode=1", "packetization-mode=0");
        assert!(matches!(tracks_for(&offer(&[&mode0]), None, &LECTURE), Err(OfferError::NoCommonCodec { .. })));
    }

    #[test]
    fn audio_without_a_common_codec_is_left_out() {
        let pcmu = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=recvonly\r\na=rtpmap:0 PCMU/8000\r\n";
        assert_eq!(tracks_for(&offer(&[pcmu, H264]), None, &LECTURE).unwrap(), [LECTURE[1]]);
    }

    #[test]
    fn no_truncated_or_modified_offer_panics() {
        let good = offer(&[AUDIO, H264, VP8, DATA]);
        for cut in 0..good.len() {
            let _ = tracks_for(&good[..cut], None, &LECTURE);
        }
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut bad = good.clone().into_bytes();
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = b" \r\n=:/0129azAZ-,\xff"[rng.random_range(0..17)];
            }
            let _ = tracks_for(&String::from_utf8_lossy(&bad), None, &LECTURE);
        }
    }
}
