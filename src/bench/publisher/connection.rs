//! The connection of an emulated publisher: the sans-I/O core with the library's congestion control, pacer, NACK
//! responder and sender reports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::interceptor::{
    BandwidthEstimator, CongestionControlBuilder, NackResponderBuilder, PacerBuilder, Registry, SenderReportBuilder,
    Slot, TwccSenderBuilder,
};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters,
    RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverDirection};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::estimator::{Estimator, Target};
use super::layers::streams;
use super::rtx::{LabelRtx, RtxLabels};
use crate::cli::IngestOffer;
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtcp::{self, Feedback};
use crate::rtp::{Codec, Frame, MAX_FIRST_SEQUENCE_NUMBER, Tier, Track, payload_offset};
use crate::sdp::{answer, engine};

/// The header extensions of a browser's offer (RFC 9143, 15; RFC 8852).
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// Packets of each stream that can be sent again: some seconds.
const HISTORY: u16 = 2_048;

/// An event of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Connected,
    Gone,
    /// The SFU can't decode a stream.
    KeyFrameWanted {
        stream: usize,
    },
}

/// A stream of the offer.
pub(super) struct Stream {
    pub(super) track: Track,
    /// The tier that its restriction identifier stands for. A single encoding may have any tier.
    pub(super) tier: Tier,
    sender: RTCRtpSenderId,
    ssrc: u32,
    rid: Option<&'static str>,
    mid: String,
    payload_type: u8,
    sequence_number: u16,
}

/// The ids of the header extensions that the answer has taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Extensions {
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
}

impl Extensions {
    /// Those of an answer.
    fn of(sdp: &str) -> Self {
        let id = |uri| extension_id(sdp, uri);
        Self { mid: id(MID_URI), rid: id(RID_URI), repaired_rid: id(REPAIRED_RID_URI) }
    }
}

/// The connection.
pub(super) struct Connection {
    core: RTCPeerConnection,
    local: SocketAddr,
    pub(super) streams: Vec<Stream>,
    extensions: Extensions,
    rtx_labels: RtxLabels,
    target: Target,
}

impl Connection {
    /// A connection and its offer: audio, one section of video, and the data channel. `most` is the highest target
    /// of the congestion control, and `line` the rate of the line, in bits per second.
    pub(super) fn offer(
        local: SocketAddr,
        offer: IngestOffer,
        codec: Codec,
        (most, line): (f64, Option<u32>),
        now: Instant,
    ) -> Result<(Self, String), Error> {
        let estimator = Estimator::new(most, line);
        let (target, pacing) = (estimator.target(), estimator.target_bitrate());
        let rtx_labels = RtxLabels::default();
        let registry = Registry::new()
            .with(Slot::CongestionControl, CongestionControlBuilder::new(estimator).build())
            .with(Slot::TwccSender, TwccSenderBuilder::new().build())
            .with(Slot::Pacer, PacerBuilder::new().with_target_bitrate(pacing).build())
            // Retransmissions pass here before they are paced.
            .with(Slot::from(3_500), LabelRtx::new(&rtx_labels))
            .with(Slot::NackResponder, NackResponderBuilder::new().with_size(HISTORY).build())
            .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(Duration::from_secs(1)).build())
            .with(Slot::from(14_000), engine::Tap::delivering_rtcp());
        let mut media_engine = engine::adaptive_media_engine(&[Codec::Opus, codec])?;
        for uri in [MID_URI, RID_URI, REPAIRED_RID_URI] {
            let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
            media_engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
        }
        let settings = engine::settings().with_write_ssrc_attributes_for_simulcast(true).build();
        let mut core = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media_engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .build(now)?;
        let mut added = Vec::new();
        for (track, codec, tiers) in
            [(Track::Audio, Codec::Opus, &[Tier::Full][..]), (Track::Screen, codec, streams(offer))]
        {
            let rids = if tiers.len() > 1 { tiers.iter().map(|tier| rid(*tier)).collect() } else { vec![""] };
            let (media, ssrcs) = media_track(track, codec, &rids);
            let sender = core.add_track(media)?;
            for ((tier, rid), ssrc) in tiers.iter().zip(rids).zip(ssrcs) {
                added.push((track, codec, *tier, sender, ssrc, Some(rid).filter(|rid| !rid.is_empty())));
            }
        }
        for id in core.get_transceivers().collect::<Vec<_>>() {
            if let Some(mut transceiver) = core.rtp_transceiver(id) {
                transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly);
            }
        }
        core.create_data_channel(CHANNEL_LABEL, None)?;
        let description = core.create_offer(None)?;
        core.set_local_description(now, description)?;
        core.add_local_candidate(answer::host_candidate(local)?)?;
        core.add_local_candidate(rtc::peer_connection::transport::RTCIceCandidateInit::default())?;
        let sdp = core.local_description().ok_or(Error::ErrConnectionClosed)?.sdp;
        let mids = |kind: &str| mid_of(&sdp, kind).ok_or_else(|| Error::Other(format!("the offer has no {kind}")));
        let mids = [mids("audio")?, mids("video")?];
        let streams = added.into_iter().map(|(track, codec, tier, sender, ssrc, rid)| Stream {
            track,
            tier,
            sender,
            ssrc,
            rid,
            mid: mids[usize::from(track.is_video())].clone(),
            payload_type: engine::payload_type(codec),
            sequence_number: rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER,
        });
        let streams = streams.collect();
        Ok((Self { core, local, streams, extensions: Extensions::default(), rtx_labels, target }, sdp))
    }

    /// Applies the SFU's answer.
    pub(super) fn answer(&mut self, now: Instant, sdp: String) -> Result<(), Error> {
        self.extensions = Extensions::of(&sdp);
        let videos = self.streams.iter().filter(|stream| stream.track.is_video());
        self.rtx_labels.set(videos.map(|stream| {
            let mid = self.extensions.mid.zip(Some(stream.mid.clone()));
            let repaired = self.extensions.repaired_rid.zip(stream.rid.map(str::to_owned));
            (rtx_ssrc(stream.ssrc), mid.into_iter().chain(repaired).collect())
        }));
        self.core.set_remote_description(now, RTCSessionDescription::answer(sdp)?)
    }

    /// The target bitrate of the congestion control.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Gives the packets of a frame to the core.
    pub(super) fn send(&mut self, now: Instant, stream: usize, frame: &Frame) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        for packet in frame.packets() {
            let Some(payload) = payload_offset(packet).and_then(|at| packet.get(at..)) else { continue };
            let mut header = rtc::rtp::Header {
                version: 2,
                marker: packet[1] & 0x80 != 0,
                payload_type: stream.payload_type,
                sequence_number: stream.sequence_number,
                timestamp: frame.timestamp,
                ssrc: stream.ssrc,
                ..Default::default()
            };
            stream.sequence_number = stream.sequence_number.wrapping_add(1);
            let rid = self.extensions.rid.zip(stream.rid);
            let mid = self.extensions.mid.filter(|_| stream.track.is_video()).zip(Some(stream.mid.as_str()));
            for (id, value) in mid.into_iter().chain(rid) {
                // This fails only for an id outside 1 to 14; no such id is negotiated.
                let _ = header.set_extension(id, Bytes::copy_from_slice(value.as_bytes()));
            }
            let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
            if let Some(mut sender) = self.core.rtp_sender(stream.sender) {
                // This fails only before DTLS has finished; nothing is sent then.
                let _ = sender.write_rtp(now, packet);
            }
        }
    }

    /// Gives a datagram to the core.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let transport = TransportContext {
            local_addr: self.local,
            peer_addr: from,
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        // A datagram that the core can't read changes nothing.
        let _ = self.core.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(datagram) });
    }

    /// Runs the timers that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            let _ = self.core.handle_timeout(now);
        }
    }

    /// The time of the next timer.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// The next datagram to send.
    pub(super) fn next_datagram(&mut self) -> Option<(SocketAddr, BytesMut)> {
        self.core.poll_write().map(|out| (out.transport.peer_addr, out.message))
    }

    /// Takes the events of the core.
    pub(super) fn poll(&mut self) -> Vec<Happened> {
        let mut happened = Vec::new();
        while let Some(event) = self.core.poll_event() {
            let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event else { continue };
            match state {
                RTCPeerConnectionState::Connected => happened.push(Happened::Connected),
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => happened.push(Happened::Gone),
                _ => {}
            }
        }
        while let Some(message) = self.core.poll_read() {
            let RTCMessage::RtcpPacket(_, packets) = message.message else { continue };
            let compound = rtc::rtcp::packet::marshal(&packets).unwrap_or_default();
            for feedback in rtcp::read(&compound) {
                let Feedback::Pli(ssrc) = feedback else { continue };
                let stream = self.streams.iter().position(|stream| stream.ssrc == ssrc);
                happened.extend(stream.map(|stream| Happened::KeyFrameWanted { stream }));
            }
        }
        happened
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) {
        let _ = self.core.close();
    }
}

fn rid(tier: Tier) -> &'static str {
    match tier {
        Tier::Full => "f",
        Tier::Low => "l",
    }
}

/// The SSRC of the retransmissions: an even number. The SSRCs of media are odd.
fn rtx_ssrc(ssrc: u32) -> u32 {
    ssrc.wrapping_add(1)
}

/// A track with an encoding for each restriction identifier, and the SSRCs.
fn media_track(track: Track, codec: Codec, rids: &[&str]) -> (MediaStreamTrack, Vec<u32>) {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let ssrcs: Vec<u32> = rids.iter().map(|_| rand::random::<u32>() | 1).collect();
    let coding = rids.iter().zip(&ssrcs).map(|(rid, ssrc)| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: (*rid).into(),
            ssrc: Some(*ssrc),
            rtx: track.is_video().then(|| RTCRtpRtxParameters { ssrc: rtx_ssrc(*ssrc) }),
            ..Default::default()
        },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    });
    let name = track.name().to_owned();
    let coding = coding.collect();
    (MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, coding), ssrcs)
}

/// The `a=mid` of the first section of a kind.
fn mid_of(sdp: &str, kind: &str) -> Option<String> {
    let section = sdp.split("\nm=").find(|section| section.starts_with(kind))?;
    section.lines().find_map(|line| line.strip_prefix("a=mid:")).map(|mid| mid.trim().to_owned())
}

/// The id of a header extension in an answer (RFC 8285, 8).
fn extension_id(sdp: &str, uri: &str) -> Option<u8> {
    let mut named = sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")?.split_once(' '));
    let (id, _) = named.find(|(_, named)| named.trim() == uri)?;
    id.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(offer: IngestOffer) -> String {
        Connection::offer("127.0.0.1:9".parse().unwrap(), offer, Codec::Vp8, (2e6, None), Instant::now()).unwrap().1
    }

    #[test]
    fn the_offer_sends_audio_and_simulcast_or_one_encoding() {
        let (simulcast, single) = (offer(IngestOffer::Simulcast), offer(IngestOffer::Single));
        assert!(simulcast.contains("a=simulcast:send f;l") && simulcast.contains("a=rid:f send"), "{simulcast}");
        assert!(!single.contains("simulcast"));
        for (sdp, fids) in [(&simulcast, 2), (&single, 1)] {
            assert_eq!(sdp.matches("a=sendonly").count(), 2, "{sdp}");
            assert_eq!(sdp.matches("a=ssrc-group:FID").count(), fids, "{sdp}");
            assert!(mid_of(sdp, "audio").is_some() && mid_of(sdp, "audio") != mid_of(sdp, "video"));
            assert!(extension_id(sdp, MID_URI).is_some() && extension_id(sdp, RID_URI).is_some());
            assert!(extension_id(sdp, engine::TRANSPORT_NUMBER_URI).is_some());
        }
    }
}
