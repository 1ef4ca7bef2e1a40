//! Reads the tracks that the publisher's answer sends.

use std::io::Cursor;

use rtc::sdp::{MediaDescription, SessionDescription};
use webrtc::error::Error;

use crate::rtp::{Codec, Track};

/// A sending section of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) track: Track,
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) ssrc: Option<u32>,
    /// The SSRC of its retransmissions.
    pub(crate) rtx_ssrc: Option<u32>,
}

/// The sections of an answer that send a track.
///
/// # Errors
/// If the answer is not a session description.
pub(crate) fn answered_tracks(sdp: &str) -> Result<Vec<Answered>, Error> {
    let session = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))?;
    let mut tracks: Vec<Answered> = Vec::new();
    for section in &session.media_descriptions {
        let sends = section.has_attribute("sendonly") || section.has_attribute("sendrecv");
        if section.media_name.port.value == 0 || !sends {
            continue;
        }
        let named = section
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "msid")
            .find_map(|attribute| Track::from_name(attribute.value.as_deref()?.split(' ').nth(1)?));
        let by_order = || match section.media_name.media.as_str() {
            "audio" => Some(Track::Audio),
            "video" if tracks.iter().any(|known| known.track == Track::Screen) => Some(Track::Camera),
            "video" => Some(Track::Screen),
            _ => None,
        };
        let Some(track) = named.or_else(by_order) else { continue };
        let formats = section.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok());
        let codecs = section.codecs();
        let chosen = formats.filter_map(|pt| Some((Codec::from_encoding_name(&codecs.get(&pt)?.name)?, pt))).next();
        if let Some((codec, payload_type)) = chosen {
            let (ssrc, rtx_ssrc) = ssrcs(section);
            tracks.push(Answered { track, codec, payload_type, ssrc, rtx_ssrc });
        }
    }
    Ok(tracks)
}

/// The SSRC of a section, and that of its retransmissions.
pub(crate) fn ssrcs(section: &MediaDescription) -> (Option<u32>, Option<u32>) {
    let ssrcs = section.attributes.iter().filter(|attribute| attribute.key == "ssrc");
    let ssrc = ssrcs.filter_map(|a| a.value.as_deref()?.split(' ').next()?.parse().ok()).next();
    let groups = section.attributes.iter().filter(|attribute| attribute.key == "ssrc-group");
    (ssrc, groups.filter_map(|group| rtx_of(group.value.as_deref()?, ssrc?)).next())
}

/// The second SSRC of `FID first second`, which carries the retransmissions of the first (RFC 5576, 4.2; RFC 4588).
fn rtx_of(group: &str, ssrc: u32) -> Option<u32> {
    let mut words = group.split(' ');
    let is_rtx = words.next() == Some("FID") && words.next()?.parse() == Ok(ssrc);
    words.next().filter(|_| is_rtx)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracks_of_an_answer_are_those_of_its_sending_sections() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\na=msid:classroom audio\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\na=msid:classroom camera\r\n\
            a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=inactive\r\na=rtpmap:102 H264/90000\r\n";
        let tracks = answered_tracks(sdp).unwrap();
        let audio = Answered { track: Track::Audio, codec: Codec::Opus, payload_type: 111, ssrc: None, rtx_ssrc: None };
        let camera =
            Answered { track: Track::Camera, codec: Codec::H264, payload_type: 102, ssrc: Some(7), rtx_ssrc: Some(8) };
        assert_eq!(tracks, [audio, camera]);
        assert!(answered_tracks("nonsense").is_err());
    }
}
