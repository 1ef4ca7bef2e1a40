//! The header extensions of a publisher's RTP.

use crate::rtp::Track;
use crate::sdp::engine;

/// The header extensions of a browser's offer (RFC 9143, 15; RFC 8852).
pub(super) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(super) const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(super) const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// The ids of the header extensions that the answer has taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtensionIds {
    pub(super) mid: Option<u8>,
    pub(super) rid: Option<u8>,
    pub(super) repaired_rid: Option<u8>,
    /// The transport-wide sequence number of video.
    pub(super) transport: Option<u8>,
    /// That of audio. A receiver such as LiveKit takes it for video alone, and would report all numbers of audio as
    /// lost.
    pub(super) audio_transport: Option<u8>,
}

impl ExtensionIds {
    /// Those of an answer.
    pub(super) fn of(sdp: &str) -> Self {
        let id = |uri| extension_id(sdp.lines(), uri);
        let transport = |kind| {
            let of_session = lines_before_sections(sdp);
            extension_id(of_session.chain(lines_of(sdp, kind)), engine::TRANSPORT_NUMBER_URI)
        };
        Self {
            mid: id(MID_URI),
            rid: id(RID_URI),
            repaired_rid: id(REPAIRED_RID_URI),
            transport: transport("video"),
            audio_transport: transport("audio"),
        }
    }

    /// The id of the transport-wide sequence number in packets of a track.
    pub(super) fn transport_of(self, track: Track) -> Option<u8> {
        if track.is_video() { self.transport } else { self.audio_transport }
    }
}

fn lines_before_sections(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().take_while(|line| !line.starts_with("m="))
}

/// The lines of all sections of a kind.
fn lines_of<'a>(sdp: &'a str, kind: &'static str) -> impl Iterator<Item = &'a str> {
    let mut is_of_kind = false;
    sdp.lines().filter(move |line| {
        if let Some(media) = line.strip_prefix("m=") {
            is_of_kind = media.split(' ').next() == Some(kind);
        }
        is_of_kind
    })
}

/// The id of a header extension in a description (RFC 8285, 8).
fn extension_id<'a>(lines: impl Iterator<Item = &'a str>, uri: &str) -> Option<u8> {
    let mut named = lines.filter_map(|line| line.strip_prefix("a=extmap:")?.split_once(' '));
    let (id, _) = named.find(|(_, named)| named.trim() == uri)?;
    id.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_number_is_for_the_sections_that_take_it() {
        let transport = format!("a=extmap:3 {}\r\n", engine::TRANSPORT_NUMBER_URI);
        let mid = format!("a=extmap:4 {MID_URI}\r\n");
        // LiveKit's answer.
        let video_only = format!("v=0\r\nm=audio 9 x 111\r\n{mid}m=video 9 x 102\r\n{transport}{mid}");
        let ids = ExtensionIds::of(&video_only);
        assert_eq!(
            (ids.transport_of(Track::Screen), ids.transport_of(Track::Audio), ids.mid),
            (Some(3), None, Some(4))
        );
        let both = format!("v=0\r\nm=audio 9 x 111\r\n{transport}m=video 9 x 102\r\n{transport}");
        assert_eq!((ExtensionIds::of(&both).transport, ExtensionIds::of(&both).audio_transport), (Some(3), Some(3)));
        let session = format!("v=0\r\n{transport}m=audio 9 x 111\r\n");
        assert_eq!(ExtensionIds::of(&session).audio_transport, Some(3));
    }
}
