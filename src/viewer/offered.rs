//! Reads the tracks of an offer of the sender.

use std::io::Cursor;

use rtc::sdp::SessionDescription;
use webrtc::error::Error;

use super::answer::{Answered, ssrcs};
use crate::rtp::{Codec, Track};

/// The sections that send, by the sender's offer and our answer. `tracks` has the mid of each track; of two sections
/// for the same track the first one counts.
///
/// # Errors
/// If one of the two is not a session description.
pub(super) fn offered_tracks(offer: &str, answer: &str, tracks: &[(String, Track)]) -> Result<Vec<Answered>, Error> {
    let parsed = |sdp: &str| SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()));
    let (offer, answer) = (parsed(offer)?, parsed(answer)?);
    let mut found: Vec<Answered> = Vec::new();
    // An answer has the sections of the offer in the same order (RFC 3264, 6).
    for (offered, answered) in offer.media_descriptions.iter().zip(&answer.media_descriptions) {
        let mid = offered.attributes.iter().find(|a| a.key == "mid").and_then(|a| a.value.as_deref());
        let track = tracks.iter().find(|(of, _)| Some(of.as_str()) == mid).map(|(_, track)| *track);
        let is_taken = answered.media_name.port.value != 0 && !answered.has_attribute("inactive");
        let sends = !offered.has_attribute("recvonly") && !offered.has_attribute("inactive");
        let Some(track) = track.filter(|track| is_taken && sends && found.iter().all(|f| f.track != *track)) else {
            continue;
        };
        let formats = answered.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok());
        let codecs = answered.codecs();
        let of_track = |codec: &Codec| track.is_video() == (*codec != Codec::Opus);
        let chosen = formats
            .filter_map(|pt| Some((Codec::from_encoding_name(&codecs.get(&pt)?.name).filter(of_track)?, pt)))
            .next();
        if let Some((codec, payload_type)) = chosen {
            let (ssrc, rtx_ssrc) = ssrcs(offered);
            found.push(Answered { track, codec, payload_type, ssrc, rtx_ssrc });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:5 cname:j\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=sendonly\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=ssrc-group:FID 7 8\r\na=ssrc:7 cname:j\r\na=ssrc:8 cname:j\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=inactive\r\na=mid:2\r\na=rtpmap:98 H264/90000\r\n";

    #[test]
    fn the_tracks_of_an_offer_are_those_that_its_mids_name() {
        let answer = OFFER.replace("a=sendonly", "a=recvonly");
        let mids =
            |list: &[(&str, Track)]| list.iter().map(|(mid, track)| ((*mid).to_owned(), *track)).collect::<Vec<_>>();
        let all = mids(&[("1", Track::Camera), ("0", Track::Audio), ("2", Track::Screen)]);
        let audio =
            Answered { track: Track::Audio, codec: Codec::Opus, payload_type: 111, ssrc: Some(5), rtx_ssrc: None };
        let camera =
            Answered { track: Track::Camera, codec: Codec::Vp8, payload_type: 96, ssrc: Some(7), rtx_ssrc: Some(8) };
        assert_eq!(offered_tracks(OFFER, &answer, &all).unwrap(), [audio, camera]);
        let twice = mids(&[("0", Track::Screen), ("1", Track::Screen)]);
        let screen = Answered { track: Track::Screen, ..camera };
        assert_eq!(offered_tracks(OFFER, &answer, &twice).unwrap(), [screen], "audio is no screen");
        let refused = answer.replace("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video 0 UDP/TLS/RTP/SAVPF 96");
        assert_eq!(offered_tracks(OFFER, &refused, &all).unwrap(), [audio]);
        assert!(offered_tracks("nonsense", &answer, &all).is_err());
    }
}
