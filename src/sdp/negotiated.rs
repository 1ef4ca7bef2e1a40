//! The result of the negotiation for a track.

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_RTX;
use rtc::rtp_transceiver::RTCRtpSenderId;

use crate::rtp::Codec;
use crate::sdp::engine;

/// The parameters that both sides have negotiated for a track.
pub(crate) struct Negotiated {
    pub(crate) payload_type: u8,
    /// The payload type of retransmissions.
    pub(crate) rtx: Option<u8>,
    /// The id of the header extension for transport-wide sequence numbers.
    pub(crate) transport: Option<u8>,
    /// The id of the header extension for the playout delay.
    pub(crate) playout: Option<u8>,
}

impl Negotiated {
    pub(crate) fn of(connection: &mut RTCPeerConnection, sender: RTCRtpSenderId, codec: Codec) -> Option<Self> {
        let mut sender = connection.rtp_sender(sender)?;
        let parameters = &sender.get_parameters().rtp_parameters;
        let mime = engine::rtp_codec(codec).mime_type;
        let named = |wanted: &str| {
            let wanted = wanted.to_owned();
            parameters.codecs.iter().filter(move |c| c.rtp_codec.mime_type.eq_ignore_ascii_case(&wanted))
        };
        let payload_type = named(&mime).next()?.payload_type;
        let apt = format!("apt={payload_type}");
        let is_rtx = |fmtp: &str| fmtp.split(';').any(|part| part.trim() == apt);
        let rtx = named(MIME_TYPE_RTX).find(|c| is_rtx(&c.rtp_codec.sdp_fmtp_line)).map(|c| c.payload_type);
        // Ids from 15 on need the two-byte form of header extensions (RFC 8285, 4.3).
        let extension = |uri: &str| {
            let known = parameters.header_extensions.iter().find(|e| e.uri == uri);
            known.and_then(|e| u8::try_from(e.id).ok()).filter(|id| (1..=14).contains(id))
        };
        let [transport, playout] = [engine::TRANSPORT_NUMBER_URI, engine::PLAYOUT_DELAY_URI].map(extension);
        Some(Self { payload_type, rtx, transport, playout })
    }
}
