//! Converts candidates, refusals and STUN servers between the wire and an SFU, for `teach` and the media hosts of
//! `serve`.

use std::net::SocketAddr;

use crate::cli::StunServer;
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, VideoCodec};
use crate::report::Reporter;
use crate::rtp::Codec;
use crate::sdp::offer::OfferError;
use crate::sdp::publish::PublishError;
use crate::sfu::{OfferRefusal, RTCIceCandidateInit};

/// Converts a candidate of the wire into the type of the peer connection.
pub(super) fn candidate_init(candidate: IceCandidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.sdp_mid,
        sdp_mline_index: candidate.sdp_m_line_index,
        username_fragment: candidate.username_fragment,
        url: None,
    }
}

/// Converts a candidate of the peer connection into that of the wire.
pub(super) fn wire_candidate(candidate: RTCIceCandidateInit) -> IceCandidate {
    IceCandidate {
        candidate: candidate.candidate,
        sdp_mid: candidate.sdp_mid,
        sdp_m_line_index: candidate.sdp_mline_index,
        username_fragment: candidate.username_fragment,
    }
}

/// The message that tells `user` why the SFU refused its offer; `source` is the speaker whose media the offer is about.
pub(super) fn rejection(user: UserId, source: Option<UserId>, why: &OfferRefusal) -> ClientMessage {
    ClientMessage::Reject {
        target_uid: user,
        code: refusal_code(why),
        message: why.to_string(),
        codec: sent_codec(why),
        source,
    }
}

/// The code of a refusal on the wire.
pub(super) fn refusal_code(why: &OfferRefusal) -> ErrorCode {
    match why {
        OfferRefusal::Offer(OfferError::TooManySections(_)) => ErrorCode::TooManySections,
        OfferRefusal::Offer(OfferError::NotRecvonly(..)) => ErrorCode::OfferNotRecvonly,
        OfferRefusal::Offer(OfferError::NoCommonCodec { .. }) => ErrorCode::NoCommonCodec,
        OfferRefusal::Offer(OfferError::NoSuchTrack { .. }) => ErrorCode::NoSuchTrack,
        OfferRefusal::Offer(OfferError::Malformed(_) | OfferError::NothingAsked)
        | OfferRefusal::Offer(OfferError::UnknownSection(_) | OfferError::SameMid(_))
        | OfferRefusal::Unanswerable(_) => ErrorCode::BadSdp,
        OfferRefusal::Publish(PublishError::TooManySections(_)) => ErrorCode::TooManySections,
        OfferRefusal::Publish(PublishError::NoCommonCodec { .. }) => ErrorCode::NoCommonCodec,
        OfferRefusal::Publish(_) | OfferRefusal::NeverTookOver => ErrorCode::BadSdp,
        OfferRefusal::OtherPublisher(_) => ErrorCode::PublisherExists,
        OfferRefusal::Full(_) => ErrorCode::RoomFull,
        OfferRefusal::TooFast(_) => ErrorCode::FloodedMessages,
        OfferRefusal::Busy | OfferRefusal::NotLive => ErrorCode::TargetBusy,
    }
}

/// The codec of the lecture, if an offer was refused because it lacks that codec.
fn sent_codec(why: &OfferRefusal) -> Option<VideoCodec> {
    match why {
        OfferRefusal::Offer(OfferError::NoCommonCodec { sent: Codec::H264, .. }) => Some(VideoCodec::H264),
        OfferRefusal::Offer(OfferError::NoCommonCodec { sent: Codec::Vp8, .. }) => Some(VideoCodec::Vp8),
        _ => None,
    }
}

/// The addresses of STUN servers. A server without an address is reported and left out.
pub(super) async fn stun_addresses(servers: &[StunServer], reporter: &Reporter) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for server in servers {
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        match found.ok().and_then(|mut all| all.find(SocketAddr::is_ipv4)) {
            Some(address) => addresses.push(address),
            None => {
                reporter.warn(format!("the STUN server {} has no IPv4 address, so it is not used", server.url()));
            }
        }
    }
    addresses
}
