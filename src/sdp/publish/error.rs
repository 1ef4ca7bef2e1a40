//! The errors of a publisher's offer.

use crate::rtp::Track;
use crate::sdp::offer::MAX_SECTIONS;

/// The reason why a publisher's offer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The offer is not SDP, or contradicts itself.
    #[error("the offer is not a session description: {0}")]
    Malformed(String),
    /// The offer has more sections than a lecture has tracks for.
    #[error("the offer has {0} media sections, at most {MAX_SECTIONS} are answered")]
    TooManySections(usize),
    /// A required attribute is missing, empty or too long.
    #[error("the offer has no usable a={0}")]
    Missing(&'static str),
    /// The sections would need several transports.
    #[error("the offer has several media sections without a=group:BUNDLE: bundle them (bundlePolicy max-bundle)")]
    NotBundled,
    /// A section has a transport for RTCP of its own.
    #[error("section {0} of the offer has no a=rtcp-mux: multiplex RTP and RTCP")]
    NoRtcpMux(usize),
    /// No section sends.
    #[error("the offer sends nothing: make an audio or video section sendonly")]
    NothingSent,
    /// `tracks` names a section that the offer does not have, or of another kind.
    #[error("tracks says that section {mid} is {track}, and the offer has no such section")]
    WrongTrack {
        /// The mid.
        mid: String,
        /// The track.
        track: Track,
    },
    /// No section offers a supported codec.
    #[error(
        "no common codec: video must be H.264 with packetization-mode=1 or VP8, audio must be Opus; the offer has \
         {offered}"
    )]
    NoCommonCodec {
        /// The codecs of the offer.
        offered: String,
    },
}
