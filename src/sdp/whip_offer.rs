//! Checks the offer of a WHIP client (RFC 9725, 4.2 and 4.4), and finds its tracks.

use std::io::Cursor;

use rtc::sdp::SessionDescription;
use rtc::sdp::description::common::Attribute;
use rtc::sdp::description::media::MediaDescription;

use super::whep_offer::{direction, ufrag};

/// An offer whose sections only send: one of audio, one of video, or both.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WhipOffer {
    /// The session description.
    pub(crate) sdp: String,
    /// The `ice-ufrag`, which bundled sections share.
    pub(crate) ufrag: Option<String>,
    /// The `mid` of the audio section.
    pub(crate) audio: Option<String>,
    /// The `mid` of the video section.
    pub(crate) video: Option<String>,
}

/// The reason for the refusal of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhipOfferError {
    /// The text is not SDP, or a section of media has no `mid`.
    Malformed,
    /// A section only receives, or is inactive.
    NotSending,
    /// There is a second section of audio or of video.
    TooManyTracks,
    /// There is neither audio nor video.
    NoTracks,
}

impl WhipOffer {
    /// Parses an offer and makes its `sendrecv` sections `sendonly`: a client may offer `sendrecv`, and the answer to
    /// both is `recvonly` (RFC 9725, 4.2).
    pub(crate) fn parse(text: &str) -> Result<Self, WhipOfferError> {
        let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()));
        let mut session = parsed.map_err(|_| WhipOfferError::Malformed)?;
        let inherited = direction(&session.attributes).unwrap_or("sendrecv");
        let (mut audio, mut video) = (None, None);
        for section in &mut session.media_descriptions {
            let track = match section.media_name.media.as_str() {
                "audio" => &mut audio,
                "video" => &mut video,
                _ => continue,
            };
            match direction(&section.attributes).unwrap_or(inherited) {
                "sendonly" => {}
                "sendrecv" => {
                    section.attributes.retain(|attribute| attribute.key != "sendrecv");
                    section.attributes.push(Attribute::new("sendonly".to_owned(), None));
                }
                _ => return Err(WhipOfferError::NotSending),
            }
            if track.replace(mid(section).ok_or(WhipOfferError::Malformed)?).is_some() {
                return Err(WhipOfferError::TooManyTracks);
            }
        }
        if audio.is_none() && video.is_none() {
            return Err(WhipOfferError::NoTracks);
        }
        let ufrag = ufrag(&session);
        Ok(Self { sdp: session.marshal(), ufrag, audio, video })
    }
}

fn mid(section: &MediaDescription) -> Option<String> {
    section.attribute("mid").flatten().filter(|mid| !mid.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

    fn section(kind: &str, mid: &str, direction: &str) -> String {
        format!("m={kind} 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\na=ice-ufrag:abcd\r\n{direction}")
    }

    fn offer(sections: &[String]) -> String {
        format!("{SESSION}{}", sections.concat())
    }

    #[test]
    fn the_tracks_are_found_and_only_send() {
        let both = |direction: &str| offer(&[section("audio", "0", direction), section("video", "1", direction)]);
        let wanted = WhipOffer::parse(&both("a=sendonly\r\n")).unwrap();
        assert_eq!((wanted.audio.as_deref(), wanted.video.as_deref()), (Some("0"), Some("1")));
        assert_eq!((wanted.ufrag.as_deref(), &wanted.sdp), (Some("abcd"), &both("a=sendonly\r\n")));
        for direction in ["a=sendrecv\r\n", ""] {
            assert_eq!(WhipOffer::parse(&both(direction)).unwrap(), wanted, "{direction:?}");
        }
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n".to_owned();
        let one = WhipOffer::parse(&offer(&[data, section("video", "v", "a=sendonly\r\n")])).unwrap();
        assert_eq!((one.audio, one.video.as_deref()), (None, Some("v")));
    }

    #[test]
    fn other_offers_are_refused_with_the_reason() {
        let send = "a=sendonly\r\n";
        let refused = |sections: &[String]| WhipOffer::parse(&offer(sections)).unwrap_err();
        assert_eq!(refused(&[]), WhipOfferError::NoTracks);
        for direction in ["a=recvonly\r\n", "a=inactive\r\n"] {
            assert_eq!(refused(&[section("video", "0", direction)]), WhipOfferError::NotSending);
        }
        assert_eq!(refused(&[section("video", "0", send), section("video", "1", send)]), WhipOfferError::TooManyTracks);
        assert_eq!(refused(&[section("audio", "0", send), section("audio", "1", send)]), WhipOfferError::TooManyTracks);
        let without_mid = section("video", "0", send).replace("a=mid:0\r\n", "");
        assert_eq!(refused(&[without_mid]), WhipOfferError::Malformed);
        for text in ["", "hello", "v=0\r\nnonsense"] {
            assert_eq!(WhipOffer::parse(text), Err(WhipOfferError::Malformed), "{text}");
        }
    }
}
