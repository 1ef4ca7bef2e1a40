//! Makes a peer and an answer from a student's offer.

use std::time::Instant;

use rtc::interceptor::{Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::shared::error::Error;

use super::Peer;
use crate::congestion::{Adaptation, Offered};
use crate::id::{MAX_ID_CHARS, UserId};
use crate::protocol::channel::MAX_PUBLISHER_MESSAGE_BYTES;
use crate::rtp::{Codec, Encoding, MAX_FIRST_SEQUENCE_NUMBER, RtxStream, Subscription, Tier, Track};
use crate::sdp::answer;
use crate::sdp::engine;
use crate::sdp::negotiated::Negotiated;
use crate::sdp::offer;
use crate::sfu::amplification::AmplificationLimit;
use crate::sfu::candidates::Advertised;
use crate::sfu::config::AnswerContext;
use crate::sfu::pending_offers::MAX_CANDIDATES;
use crate::sfu::places::PeerPlace;
use crate::sfu::sender::Sender;
use crate::sfu::senders::Senders;
use crate::sfu::transport::Transport;
use crate::srtp;

/// The largest message of a data channel. The core has one size for both directions, so it can't be the smaller one
/// that [`crate::protocol::channel`] allows students. Each peer has a buffer of this size, filled with zeros. A message
/// for a student of an edge has the user id in front.
pub(super) const LARGEST_MESSAGE: SctpMaxMessageSize =
    SctpMaxMessageSize::Bounded((MAX_PUBLISHER_MESSAGE_BYTES + 2 * MAX_ID_CHARS) as u32);

/// SCTP's receive window: more than two messages of the largest size.
pub(super) const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;

impl Peer {
    /// Answers an offer. Returns the new peer and the SDP of the answer, with all candidates.
    ///
    /// # Errors
    /// The core's error if it rejects the offer.
    pub(in crate::sfu) fn answer(
        user: UserId,
        offer: String,
        tracks: &[(Track, Codec)],
        tiers: &[Encoding],
        context: &AnswerContext,
        addresses: &Advertised,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        // Opus is always negotiable, so that an audio section without a track is inactive and not rejected.
        let mut codecs = vec![Codec::Opus];
        codecs.extend(tracks.iter().map(|(_, codec)| *codec).filter(|codec| *codec != Codec::Opus));
        codecs.dedup();
        let (crypto, keys) = srtp::capturing(context.crypto.clone());
        let settings = context
            .with_ufrag(engine::settings())
            .with_crypto_provider(crypto)
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .with_sctp_max_message_size(LARGEST_MESSAGE)
            .build();
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![context.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::fan_out_media_engine(&codecs)?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Slot::from(14_000), engine::Tap::delivering_rtcp()))
            .build(now)?;
        let (offer, candidates) = offer::with_fewer_candidates(&offer, MAX_CANDIDATES);
        let offer = offer::with_directions(&offer).map_err(|error| Error::Other(error.to_string()))?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer)?)?;
        let mut added = Vec::new();
        let ssrcs = distinct_ssrcs(tracks.len() * 2, rand::random);
        for (&(track, codec), ssrcs) in tracks.iter().zip(ssrcs.as_chunks().0) {
            let [ssrc, rtx_ssrc] = *ssrcs;
            let sender = connection.add_track(media_track(track, codec, ssrc, rtx_ssrc))?;
            added.push(((track, codec), ssrc, rtx_ssrc, sender));
        }
        for id in connection.get_transceivers().collect::<Vec<_>>() {
            if let Some(mut transceiver) = connection.rtp_transceiver(id).filter(|t| t.sender().is_none()) {
                transceiver.set_direction(RTCRtpTransceiverDirection::Inactive);
            }
        }
        for candidate in addresses.candidates() {
            connection.add_local_candidate(candidate)?;
        }
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer)?;
        let answer = connection.local_description().ok_or(Error::ErrNoRemoteDescription)?.sdp;
        let answer = answer::with_moved_candidates(&answer);
        let answer = answer::with_more_candidates(&answer, addresses.tcp());
        let answer = answer::with_level(&answer, context.h264_level.unwrap_or(engine::HIGHEST_H264_LEVEL));
        let attribute =
            |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let (mut senders, mut twcc, mut has_rtx) = (Senders::default(), None, true);
        let mut rtp_senders = Vec::new();
        for ((track, codec), ssrc, rtx_ssrc, id) in added {
            let agreed = Negotiated::of(&mut connection, id, codec).ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
            twcc = agreed.transport.or(twcc);
            has_rtx &= agreed.rtx.is_some() || !track.is_video();
            let best = tiers.iter().find(|e| (e.track, e.codec) == (track, codec)).map_or(Tier::Full, |e| e.tier);
            let first = || rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER;
            let subscription = Subscription::new(ssrc, agreed.payload_type, first(), best);
            let rtx = agreed.rtx.map(|payload_type| RtxStream::new(rtx_ssrc, payload_type, first()));
            let playout = agreed.playout.filter(|_| track.is_video());
            senders.push(Sender::new((track, codec), id, subscription, rtx).with_playout(playout));
            rtp_senders.push((ssrc, id));
        }
        // Without RTX a packet of video is retransmitted under its own nonce, so that it can't get another
        // transport-wide sequence number.
        let limit = AmplificationLimit::new(context.checks.clone());
        let transport = Transport::new(connection, keys, rtp_senders, twcc.filter(|_| has_rtx), limit);
        let adaptation = Adaptation::new(now, offered(&senders, tiers), context.adapts);
        let ice = (attribute("a=ice-ufrag:"), attribute("a=ice-pwd:"));
        let peer = Self::new(now, user, ice, transport, senders, adaptation, PeerPlace::new(context.places.clone()));
        Ok((Self { candidates, ..peer }, answer))
    }
}

/// The tiers of a peer's tracks that are available in its codecs.
pub(super) fn offered(senders: &Senders, encodings: &[Encoding]) -> Offered {
    let has = |encoding: &&Encoding| senders.tracks().any(|known| known == (encoding.track, encoding.codec));
    encodings.iter().filter(has).fold(Offered::default(), |offered, e| offered.with(e.track, e.tier))
}

/// `count` distinct SSRCs, none of them 0, which some receivers take for "unknown". Two streams with the same SSRC
/// would be one stream for the student, and two of their packets could be encrypted under one nonce (RFC 3711, 9.1).
fn distinct_ssrcs(count: usize, mut random: impl FnMut() -> u32) -> Vec<u32> {
    let mut ssrcs = Vec::with_capacity(count);
    while ssrcs.len() < count {
        let ssrc = random();
        if ssrc != 0 && !ssrcs.contains(&ssrc) {
            ssrcs.push(ssrc);
        }
    }
    ssrcs
}

/// A track for the core, with the SSRCs of its media and, for video, of its RTX.
pub(in crate::sfu) fn media_track(track: Track, codec: Codec, ssrc: u32, rtx_ssrc: u32) -> MediaStreamTrack {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: track.is_video().then_some(RTCRtpRtxParameters { ssrc: rtx_ssrc }),
            ..Default::default()
        },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    };
    let name = track.name().to_owned();
    MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, vec![coding])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1 2\r\n";

    /// The m-lines of the answer to an offer of rejected audio, video and a data channel.
    fn answered(session: &str, audio: &str, video: &str) -> Vec<String> {
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\na=rtcp-mux\r\n",
            vec!["AB"; 32].join(":")
        );
        let offer = format!(
            "{SESSION}{session}m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\n\
             a=rtpmap:111 opus/48000/2\r\n{audio}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n{transport}a=mid:1\r\n\
             a=rtpmap:96 VP8/90000\r\n{video}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{transport}\
             a=mid:2\r\na=sctp-port:5000\r\n"
        );
        let peer = crate::sfu::fuzz::Unconnected::new(&offer, Instant::now()).unwrap();
        peer.answer.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
    }

    #[test]
    fn an_answer_has_the_sections_of_the_offer() {
        let recvonly = "a=recvonly\r\n";
        for (session, audio, video) in
            [("", recvonly, recvonly), ("", "", recvonly), ("", "a=unknown\r\n", recvonly), (recvonly, "", "")]
        {
            let answer = answered(session, audio, video);
            let kinds: Vec<&str> = answer.iter().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(kinds, ["m=audio", "m=video", "m=application"], "{session:?} {audio:?}");
            assert!(answer[0].starts_with("m=audio 0 ") && answer[1].starts_with("m=video 9 "), "{answer:?}");
        }
    }

    #[test]
    fn no_two_streams_share_an_ssrc() {
        let mut random = [7, 0, 7, 9, 7, 9, 0, 8].into_iter();
        assert_eq!(distinct_ssrcs(3, || random.next().unwrap()), [7, 9, 8]);
    }
}
