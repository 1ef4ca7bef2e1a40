//! The negotiation parameters of both ends: codecs, feedback, ciphers, timers. No I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MediaEngine,
};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind, TYPE_RTCP_FB_NACK,
    TYPE_RTCP_FB_TRANSPORT_CC,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::rtp::Codec;

/// The `msid` stream of all tracks of a lecture, which makes receivers synchronise them.
pub const STREAM_ID: &str = "classroom";

/// The payload types of our own offers; an answer adopts those of the offer. The values are those of browsers.
pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::Vp8 => 96,
        Codec::H264 => 102,
    }
}

/// Level 5.2 of H.264 (`level_idc`): 4096x2304 at 60 frames a second, more than is sent unless somebody requests it.
pub const HIGHEST_H264_LEVEL: u8 = 0x34;

/// The SDP parameters of a codec. H.264 is constrained baseline of any size up to [`HIGHEST_H264_LEVEL`].
pub fn rtp_codec(codec: Codec) -> RTCRtpCodec {
    let (mime_type, channels, fmtp) = match codec {
        Codec::Opus => (MIME_TYPE_OPUS, 2, "minptime=10;useinbandfec=1"),
        Codec::Vp8 => (MIME_TYPE_VP8, 0, ""),
        Codec::H264 => (MIME_TYPE_H264, 0, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e034"),
    };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let rtcp_feedback = match codec {
        Codec::Opus => vec![],
        Codec::Vp8 | Codec::H264 => vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
    };
    RTCRtpCodec {
        mime_type: mime_type.into(),
        clock_rate: codec.clock_rate(),
        channels,
        sdp_fmtp_line: fmtp.into(),
        rtcp_feedback,
    }
}

/// The format of a codec in `a=rtpmap`.
pub fn rtpmap(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus/48000/2",
        Codec::Vp8 => "VP8/90000",
        Codec::H264 => "H264/90000",
    }
}

/// The payload type of a codec's retransmissions: the next number, as in browsers.
pub fn rtx_payload_type(codec: Codec) -> u8 {
    payload_type(codec) + 1
}

/// A media engine with only these codecs, in this order of preference.
///
/// # Errors
/// If the library rejects a codec, which would be a bug here.
pub fn media_engine(codecs: &[Codec]) -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for &codec in codecs {
        let parameters = RTCRtpCodecParameters { rtp_codec: rtp_codec(codec), payload_type: payload_type(codec) };
        engine.register_codec(parameters, kind(codec))?;
    }
    Ok(engine)
}

/// The same media engine with RTX (RFC 4588) and transport-wide feedback
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
///
/// # Errors
/// As [`media_engine`].
pub fn adaptive_media_engine(codecs: &[Codec]) -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for &codec in codecs {
        let mut rtp_codec = rtp_codec(codec);
        let feedback = |typ: &str| RTCPFeedback { typ: typ.into(), parameter: String::new() };
        rtp_codec.rtcp_feedback.push(feedback(TYPE_RTCP_FB_TRANSPORT_CC));
        if codec == Codec::Opus {
            // Audio is retransmitted unchanged: browsers have no RTX for it.
            rtp_codec.rtcp_feedback.push(feedback(TYPE_RTCP_FB_NACK));
        }
        engine.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type: payload_type(codec) }, kind(codec))?;
        if codec != Codec::Opus {
            let rtp_codec = RTCRtpCodec {
                mime_type: MIME_TYPE_RTX.into(),
                clock_rate: codec.clock_rate(),
                sdp_fmtp_line: format!("apt={}", payload_type(codec)),
                ..Default::default()
            };
            let parameters = RTCRtpCodecParameters { rtp_codec, payload_type: rtx_payload_type(codec) };
            engine.register_codec(parameters, RtpCodecKind::Video)?;
        }
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        let extension = RTCRtpHeaderExtensionCapability { uri: TRANSPORT_NUMBER_URI.into() };
        engine.register_header_extension(extension, kind, None)?;
    }
    Ok(engine)
}

/// The same media engine with the playout delay of video, for connections that send video to be shown.
///
/// # Errors
/// As [`media_engine`].
pub fn fan_out_media_engine(codecs: &[Codec]) -> Result<MediaEngine, Error> {
    let mut engine = adaptive_media_engine(codecs)?;
    let extension = RTCRtpHeaderExtensionCapability { uri: PLAYOUT_DELAY_URI.into() };
    engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// The URI of the header extension for the playout delay.
pub const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// The URI of the header extension for transport-wide sequence numbers.
pub const TRANSPORT_NUMBER_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

fn kind(codec: Codec) -> RtpCodecKind {
    if codec == Codec::Opus { RtpCodecKind::Audio } else { RtpCodecKind::Video }
}

/// The time for which a peer may be silent before it counts as disturbed; after [`FAILED_AFTER`] more it is gone.
/// Together these are 10 s, so that a machine that has lost its power leaves a class within 15 s.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(4);
/// See [`DISCONNECTED_AFTER`].
pub const FAILED_AFTER: Duration = Duration::from_secs(6);

/// SRTP's replay window, in packets: enough for the packets that NACKs request again and those sent in the meantime.
const REPLAY_WINDOW: usize = 2048;

/// The settings that both ends share.
///
/// AES-128-GCM is the only SRTP profile (RFC 7714): if SHA-1 profiles are offered too, Chromium chooses SHA-1, at five
/// times the CPU time. mDNS is off: it binds a multicast socket per peer, and fails without a route for multicast.
///
/// `rtc` 0.21.1 compares the fingerprint of the offer with that of the peer's certificate as strings, not in constant
/// time. The time reveals nothing: signalling has told both sides the fingerprint, which is the hash of a public
/// certificate (RFC 8122, 5), and no attempt at another certificate gets closer to it.
pub fn settings() -> SettingEngineBuilder {
    SettingEngineBuilder::new()
        .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        // A retransmitted packet is old, and the default window of 64 would reject it as a replay. Browsers have larger
        // windows too.
        .with_srtp_replay_protection_window(REPLAY_WINDOW)
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(Duration::from_secs(2)))
        // 50 ms between checks connect sooner than the default of 200 ms. 160 checks take 8 s: an SFU that answers a
        // thousand newcomers may be that late, and a peer that gave up would only try again.
        .with_ice_connection_attempts(Some(Duration::from_millis(50)), Some(160))
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_relay_acceptance_min_wait(Some(Duration::from_millis(500)))
}

/// A function that is called with each packet that arrives, decrypted, in the order of arrival.
pub type Hook = Box<dyn Fn(&Packet) + Send + Sync>;

/// A function that edits each packet that arrives, before interceptors farther from the wire get it.
pub type Change = Box<dyn Fn(&mut Packet) + Send + Sync>;

/// Our interceptor. It delivers inbound RTCP to the application, which the chain would otherwise consume, or it shows,
/// edits or counts packets.
#[derive(Default)]
pub struct Tap {
    delivers_rtcp: bool,
    /// The SSRC of a local stream that the core knows.
    own: Option<u32>,
    arrived: Option<Hook>,
    change: Option<Change>,
    nacked: Arc<AtomicU64>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Tap {
    /// Delivers all inbound RTCP to the application.
    ///
    /// The core checks the first SSRC of a compound packet, and drops the whole packet if no track has that SSRC. A
    /// browser that has received a retransmission also reports on the RTX SSRC, often first; its NACKs and PLIs would
    /// then be lost. So an empty NACK for a stream that the core knows is inserted before the reports.
    pub fn delivering_rtcp() -> Self {
        Self { delivers_rtcp: true, ..Self::default() }
    }

    /// Calls `arrived` with each packet that arrives.
    ///
    /// Media must not be read from the async API: packets in the same batch as the first one of their track arrive
    /// before the track exists and are lost, and the key frame with them.
    pub fn watching(arrived: Hook) -> Self {
        Self { arrived: Some(arrived), ..Self::default() }
    }

    /// Lets `change` edit each packet that arrives.
    pub fn changing(change: Change) -> Self {
        Self { change: Some(change), ..Self::default() }
    }

    /// Counts the packets that outbound NACKs request in `nacked`.
    pub fn counting(nacked: &Arc<AtomicU64>) -> Self {
        Self { nacked: Arc::clone(nacked), ..Self::default() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Some(change) = &self.change {
            change(&mut packet.message.packet);
        }
        if let Some(arrived) = &self.arrived {
            arrived(&packet.message.packet);
        }
        if self.delivers_rtcp
            && let Packet::Rtcp(rtcp) = &mut packet.message.packet
        {
            if let Some(media_ssrc) = self.own {
                rtcp.insert(0, Box::new(TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks: Vec::new() }));
            }
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(rtcp) = &packet.message.packet {
            let nacks = rtcp.iter().filter_map(|p| p.as_any().downcast_ref::<TransportLayerNack>());
            let asked: u32 = nacks.flat_map(|nack| &nack.nacks).map(|pair| 1 + pair.lost_packets.count_ones()).sum();
            self.nacked.fetch_add(u64::from(asked), Ordering::Relaxed);
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, stream: &StreamInfo) {
        self.own = Some(stream.ssrc);
    }
    fn unbind_local_stream(&mut self, stream: &StreamInfo) {
        self.own = self.own.filter(|ssrc| *ssrc != stream.ssrc);
    }
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use rtc::interceptor::AttributedPacket;
    use rtc::rtcp::receiver_report::ReceiverReport;
    use rtc::rtcp::reception_report::ReceptionReport;
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;
    use rtc::shared::TransportContext;

    use super::*;

    #[test]
    fn a_report_on_an_rtx_ssrc_does_not_drop_the_nacks_after_it() {
        let (media, retransmissions) = (1, 2);
        let mut tap = Tap::delivering_rtcp();
        tap.bind_local_stream(&StreamInfo { ssrc: media, ..StreamInfo::default() });
        let reports = [retransmissions, media].map(|ssrc| ReceptionReport { ssrc, ..ReceptionReport::default() });
        let report = ReceiverReport { reports: reports.to_vec(), ..ReceiverReport::default() };
        let nack = TransportLayerNack { sender_ssrc: 3, media_ssrc: media, nacks: vec![NackPair::new(7)] };
        let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(report), Box::new(nack)]));
        let (now, transport) = (Instant::now(), TransportContext::default());
        tap.handle_read(TaggedPacket { now, transport, message }).unwrap();
        let packet = tap.poll_read().unwrap();
        assert!(packet.message.has(&Attribute::DeliverToApplication));
        let Packet::Rtcp(rtcp) = packet.message.packet else { panic!("it was RTCP") };
        assert_eq!(rtcp[0].destination_ssrc(), [media], "where the core looks");
        let nacks = rtcp.iter().filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>());
        let asked: usize = nacks.map(|nack| nack.nacks.len()).sum();
        assert_eq!((rtcp.len(), asked), (3, 1), "nothing else is asked for");
    }
}
