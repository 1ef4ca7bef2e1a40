//! Rewrites the offer of a WHEP player for the teacher.

use std::io::Cursor;

use rtc::sdp::SessionDescription;
use rtc::sdp::description::common::Attribute;

/// Direction attributes (RFC 8866, section 6.7). A section without one is `sendrecv`.
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

/// An offer whose sections only receive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WhepOffer {
    /// The session description.
    pub(crate) sdp: String,
    /// The `ice-ufrag`, which bundled sections share.
    pub(crate) ufrag: Option<String>,
}

impl WhepOffer {
    /// Parses an offer and makes its `sendrecv` sections `recvonly`: a player may offer `sendrecv`
    /// (draft-ietf-wish-whep, section 4.2), and the answer to both is `sendonly`. None if the text is not SDP.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())).ok()?;
        let inherited = direction(&session.attributes).unwrap_or("sendrecv");
        for section in &mut session.media_descriptions {
            let is_media = matches!(section.media_name.media.as_str(), "audio" | "video");
            if is_media && direction(&section.attributes).unwrap_or(inherited) == "sendrecv" {
                section.attributes.retain(|attribute| attribute.key != "sendrecv");
                section.attributes.push(Attribute::new("recvonly".to_owned(), None));
            }
        }
        let ufrag = ufrag(&session);
        Some(Self { sdp: session.marshal(), ufrag })
    }
}

/// The `ice-ufrag` of the session, or of the first section that has one.
pub(super) fn ufrag(session: &SessionDescription) -> Option<String> {
    let of_session = session.attribute("ice-ufrag").map(String::as_str);
    let mut of_sections = session.media_descriptions.iter().map(|section| section.attribute("ice-ufrag").flatten());
    of_session.or_else(|| of_sections.find_map(|ufrag| ufrag)).map(str::to_owned)
}

/// The direction attribute among these.
pub(super) fn direction(attributes: &[Attribute]) -> Option<&'static str> {
    DIRECTIONS.into_iter().find(|direction| attributes.iter().any(|attribute| attribute.key == *direction))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

    /// An offer with one section of each kind, each with this attribute.
    fn offer(session: &str, section: &str) -> String {
        let media =
            |kind: &str, format: &str| format!("m={kind} 9 UDP/TLS/RTP/SAVPF {format}\r\na=mid:{kind}\r\n{section}");
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n";
        format!("{SESSION}{session}{}{}{data}", media("audio", "111"), media("video", "102"))
    }

    #[test]
    fn a_player_may_offer_sendrecv_and_only_receives() {
        let wanted = WhepOffer::parse(&offer("", "a=recvonly\r\n")).unwrap();
        assert_eq!(wanted.sdp, offer("", "a=recvonly\r\n"));
        for sendrecv in ["a=sendrecv\r\n", "", "a=sendrecv\n"] {
            assert_eq!(WhepOffer::parse(&offer("", sendrecv)).unwrap(), wanted, "{sendrecv:?}");
        }
        let inherited = WhepOffer::parse(&offer("a=sendrecv\r\n", "")).unwrap();
        assert_eq!(inherited.sdp, offer("a=sendrecv\r\n", "a=recvonly\r\n"));
        for other in ["a=sendonly\r\n", "a=inactive\r\n"] {
            assert_eq!(WhepOffer::parse(&offer("", other)).unwrap().sdp, offer("", other));
            assert_eq!(WhepOffer::parse(&offer(other, "")).unwrap().sdp, offer(other, ""));
        }
        // A value that looks like a direction stays.
        let titled = offer("", "i=\r\na=label:x\r\na=recvonly\r\n");
        assert!(WhepOffer::parse(&titled.replace("label:x", "label:sendrecv")).unwrap().sdp.contains("label:sendrecv"));
    }

    #[test]
    fn the_ufrag_is_that_of_the_session_or_of_the_first_section() {
        let ufrag = |session: &str, section: &str| WhepOffer::parse(&offer(session, section)).unwrap().ufrag;
        assert_eq!(ufrag("", "a=ice-ufrag:abcd\r\n").as_deref(), Some("abcd"));
        assert_eq!(ufrag("a=ice-ufrag:efgh\r\n", "").as_deref(), Some("efgh"));
        assert_eq!(ufrag("", ""), None);
    }

    #[test]
    fn text_that_is_not_sdp_is_refused() {
        for text in ["", "hello", "v=0\r\nnonsense", "m=audio 9 RTP/AVP 0\r\n"] {
            assert_eq!(WhepOffer::parse(text), None, "{text}");
        }
    }
}
