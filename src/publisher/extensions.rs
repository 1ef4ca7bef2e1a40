//! The header extensions of a publisher's RTP.

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
    /// The transport-wide sequence number.
    pub(super) transport: Option<u8>,
}

impl ExtensionIds {
    /// Those of an answer.
    pub(super) fn of(sdp: &str) -> Self {
        let id = |uri| extension_id(sdp, uri);
        Self {
            mid: id(MID_URI),
            rid: id(RID_URI),
            repaired_rid: id(REPAIRED_RID_URI),
            transport: id(engine::TRANSPORT_NUMBER_URI),
        }
    }
}

/// The id of a header extension in a description (RFC 8285, 8).
fn extension_id(sdp: &str, uri: &str) -> Option<u8> {
    let mut named = sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")?.split_once(' '));
    let (id, _) = named.find(|(_, named)| named.trim() == uri)?;
    id.split('/').next()?.parse().ok()
}
