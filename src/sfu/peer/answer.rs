//! A student's offer becomes a peer and an answer.

use std::time::Instant;

use rtc::interceptor::{Registry, Slot as Place};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::shared::error::Error;

use super::{Peer, PeerStats};
use crate::congestion::Recoveries;
use crate::congestion::{Controller, Offered, RepairBudget, Repaired};
use crate::dtls::records::Records;
use crate::id::UserId;
use crate::rtp::RepairStream;
use crate::rtp::{Codec, Encoding, MAX_FIRST_SEQUENCE_NUMBER, Subscription, Tier, Track};
use crate::sdp::answer;
use crate::sdp::engine;
use crate::sdp::negotiated::Agreed;
use crate::sfu::candidates::Advertised;
use crate::sfu::channel::Channel;
use crate::sfu::config::AnswerContext;
use crate::sfu::senders::Lanes;
use crate::sfu::ssrc;
use crate::srtp;

/// What a student may have under way to us over its data channel: two of the largest messages that the core allows. It
/// has one limit for both directions, so it can't be that of [`crate::protocol::channel`] for students.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;

impl Peer {
    /// Answers an offer: gives the new peer and the answer's SDP, which carries all candidates.
    pub(in crate::sfu) fn answer(
        user: UserId,
        offer: String,
        tracks: &[(Track, Codec)],
        tiers: &[Encoding],
        context: &AnswerContext,
        addresses: &Advertised,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        // Opus is known always: a section that gets no track shall be inactive, not rejected.
        let mut codecs = vec![Codec::Opus];
        codecs.extend(tracks.iter().map(|(_, codec)| *codec).filter(|codec| *codec != Codec::Opus));
        codecs.dedup();
        let (crypto, found) = srtp::listening(context.crypto.clone());
        let settings = engine::settings()
            .with_crypto_provider(crypto)
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .build();
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![context.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::adaptive_media_engine(&codecs)?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Place::from(14_000), engine::Tap::delivering_rtcp()))
            .build(now)?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer)?)?;
        let mut added = Vec::new();
        let ssrcs = ssrc::distinct(tracks.len() * 2, rand::random);
        for (&(track, codec), ssrcs) in tracks.iter().zip(ssrcs.chunks_exact(2)) {
            let (ssrc, repairs) = (ssrcs[0], ssrcs[1]);
            added.push((
                track,
                codec,
                (ssrc, repairs),
                connection.add_track(media_track(track, codec, ssrc, repairs))?,
            ));
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
        let answer = answer::with_candidates_where_they_are_looked_for(&answer);
        let answer = answer::with_level(&answer, context.h264_level.unwrap_or(engine::HIGHEST_H264_LEVEL));
        let attribute =
            |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let (mut lanes, mut transport) = (Vec::new(), None);
        for (track, codec, (ssrc, repairs), sender) in added {
            let agreed = Agreed::of(&mut connection, sender, codec).ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
            transport = agreed.transport.or(transport);
            let best = tiers.iter().find(|e| (e.track, e.codec) == (track, codec)).map_or(Tier::Full, |e| e.tier);
            let first = rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER;
            let subscription = Subscription::new(ssrc, agreed.payload_type, first, best);
            lanes.push(((track, codec), sender, subscription, agreed.repairs.map(|pt| RepairStream::new(repairs, pt))));
        }
        // Without retransmissions of their own kind packets go again as they were, and can't have another number.
        let all_repaired = lanes.iter().all(|((track, _), .., repairs)| !track.is_video() || repairs.is_some());
        let mut all = Lanes::new(found.clone(), transport.filter(|_| all_repaired));
        lanes.into_iter().for_each(|(track, sender, subscription, repairs)| {
            all.add(track, sender, subscription, repairs);
        });
        let lanes = all;
        let offered = offered(&lanes, tiers);
        let control = Controller::new(now, offered);
        let control = if context.adapts { control } else { control.staying() };
        let peer = Self {
            id: 0,
            user,
            ufrag: attribute("a=ice-ufrag:"),
            password: attribute("a=ice-pwd:"),
            deadline: now,
            rests_until: None,
            created: now,
            connected: false,
            starts: None,
            lanes,
            stats: PeerStats::default(),
            channel: Channel::default(),
            is_to_be_told: false,
            is_to_be_served: false,
            has_turns: false,
            failed: false,
            #[cfg(test)]
            panics: false,
            found,
            records: Records::default(),
            not_read: 0,
            opener: None,
            opened_from: None,
            confirmed: None,
            connection: Box::new(connection),
            control,
            opening: None,
            suffers: None,
            is_delayed: false,
            repairs: RepairBudget::default(),
            repaired: Repaired::default(),
            recoveries: Recoveries::default(),
            disturbed: false,
        };
        Ok((peer, answer))
    }
}

/// The tiers of a student's tracks, in its codecs.
pub(super) fn offered(lanes: &Lanes, encodings: &[Encoding]) -> Offered {
    let has = |encoding: &&Encoding| lanes.tracks().any(|lane| lane == (encoding.track, encoding.codec));
    encodings.iter().filter(has).fold(Offered::default(), |offered, e| offered.with(e.track, e.tier))
}

pub(in crate::sfu) fn media_track(track: Track, codec: Codec, ssrc: u32, repairs: u32) -> MediaStreamTrack {
    let kind = if track.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: track.is_video().then_some(RTCRtpRtxParameters { ssrc: repairs }),
            ..Default::default()
        },
        codec: engine::rtp_codec(codec),
        ..Default::default()
    };
    let name = track.name().to_owned();
    MediaStreamTrack::new(engine::STREAM_ID.to_owned(), name.clone(), name, kind, vec![coding])
}
