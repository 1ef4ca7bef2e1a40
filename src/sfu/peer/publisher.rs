//! The peer of a publisher: it has an [`Ingest`] for the received media, and no senders.
//!
//! RTP and RTCP are decrypted by [`Transport::open`] once the core has revealed the session keys. The core encrypts
//! our RTCP: SRTCP has its own key and index, and some twenty compound packets a second cost little.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::{Packet, Registry, Slot};
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::shared::error::Error;
use rtc::shared::marshal::Marshal;

use super::answer::{LARGEST_MESSAGE, RECEIVE_BUFFER_BYTES};
use super::{Path, Peer, Received};
use crate::congestion::{Adaptation, Offered};
use crate::id::UserId;
use crate::ingest::{Ingest, IngestLimit, IngestStats};
use crate::rtp::{Codec, Encoding, Frame};
use crate::sdp::publish::PublishOffer;
use crate::sdp::{answer, engine};
use crate::sfu::PublisherSession;
use crate::sfu::amplification::{AmplificationLimit, CheckBudget};
use crate::sfu::candidates::Advertised;
use crate::sfu::config::AnswerContext;
use crate::sfu::places::PeerPlace;
use crate::sfu::senders::Senders;
use crate::sfu::transport::{Opened, SendContext, Transport};
use crate::srtp;

/// The most packets that wait between the core and the ingest: one datagram has one packet.
const MAX_DECRYPTED: usize = 64;

/// Packets that the core has decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decrypted {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
}

/// The packets that the core has decrypted, in the order of arrival: all of them for a publisher with SHA-1, otherwise
/// those before the session keys were known.
#[derive(Debug, Clone, Default)]
pub(super) struct DecryptedPackets(Arc<Mutex<VecDeque<Decrypted>>>);

impl DecryptedPackets {
    /// Collects the packets that pass an interceptor.
    fn hook(&self) -> engine::Hook {
        let packets = self.clone();
        Box::new(move |packet| {
            let decrypted = match packet {
                Packet::Rtp(rtp) => rtp.marshal().ok().map(|bytes| Decrypted::Rtp(bytes.to_vec())),
                Packet::Rtcp(all) => rtc::rtcp::packet::marshal(all).ok().map(|bytes| Decrypted::Rtcp(bytes.to_vec())),
                _ => None,
            };
            let mut waiting = packets.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < MAX_DECRYPTED {
                waiting.extend(decrypted);
            }
        })
    }

    fn pop(&self) -> Option<Decrypted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The media that a publisher sends.
pub(super) struct Publisher {
    pub(super) ingest: Ingest,
    pub(super) decrypted: DecryptedPackets,
    /// The source of the datagram that was passed to the core last.
    by_core_from: Option<SocketAddr>,
    session: Option<PublisherSession>,
    /// The offer, with the ICE parameters of the last restart.
    offer: PublishOffer,
    /// When a datagram arrived that was not refused. A forged one may count, until ICE finds the publisher gone.
    heard_at: Instant,
}

impl Peer {
    /// Answers a publisher's offer. Returns the new peer and the SDP of the answer, with all candidates.
    ///
    /// # Errors
    /// The core's error if it rejects the offer.
    pub(in crate::sfu) fn answer_publisher(
        user: UserId,
        offer: PublishOffer,
        context: &AnswerContext,
        addresses: &Advertised,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        let (crypto, keys) = srtp::capturing(context.crypto.clone());
        let role = if offer.is_dtls_server() { RTCDtlsRole::Client } else { RTCDtlsRole::Server };
        // The core makes the user name fragment: after a restart of ICE it would use one that it was given again.
        let settings = engine::settings()
            .with_srtp_protection_profiles(srtp_profiles(&offer))
            .with_crypto_provider(crypto)
            .with_answering_dtls_role(role)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .with_sctp_max_message_size(LARGEST_MESSAGE)
            .build();
        let decrypted = DecryptedPackets::default();
        let registry = Registry::new().with(Slot::from(14_000), engine::Tap::watching(decrypted.hook()));
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![context.certificate.clone()]).build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine::media_engine(&[Codec::Opus])?)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .build(now)?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer.for_core())?)?;
        for candidate in addresses.candidates() {
            connection.add_local_candidate(candidate)?;
        }
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer)?;
        let by_core = connection.local_description().ok_or(Error::ErrNoRemoteDescription)?.sdp;
        let answer = answer::with_more_candidates(&offer.answer(&by_core), addresses.tcp());
        let ice = ice_credentials(&answer);
        // A flood of students' offers must not use up the publisher's checks.
        let limit = AmplificationLimit::new(CheckBudget::default());
        let transport = Transport::new(connection, keys, Vec::new(), None, limit);
        let adaptation = Adaptation::new(now, Offered::default(), false);
        let place = PeerPlace::new(context.places.clone());
        let mut peer = Self::new(now, user, ice, transport, Senders::default(), adaptation, place);
        let (sections, ids) = offer.ingest_sections();
        let mut ingest = Ingest::new(now, sections, ids, IngestLimit::default());
        context.floor.iter().for_each(|floor| ingest.join_floor(floor));
        for candidate in offer.candidates() {
            peer.add_candidate(RTCIceCandidateInit { candidate: candidate.to_owned(), ..Default::default() });
        }
        peer.publisher =
            Some(Box::new(Publisher { ingest, decrypted, by_core_from: None, session: None, offer, heard_at: now }));
        Ok((peer, answer))
    }

    /// Restarts ICE with the remote credentials of a publisher (RFC 8445, 9); DTLS and SRTP go on. Returns the new
    /// local credentials, in the form of `application/trickle-ice-sdpfrag`.
    ///
    /// # Errors
    /// The core's error, or [`Error::ErrNoRemoteDescription`] for invalid credentials and for a student.
    pub(in crate::sfu) fn restart_ice(&mut self, now: Instant, ufrag: &str, password: &str) -> Result<String, Error> {
        let invalid = Error::ErrNoRemoteDescription;
        let offer = self.publisher.as_mut().map(|publisher| &mut publisher.offer).ok_or(invalid)?;
        if !offer.restart_ice(ufrag, password) {
            return Err(Error::ErrNoRemoteDescription);
        }
        let connection = &mut self.transport.connection;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer.for_core())?)?;
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer)?;
        let by_core = connection.local_description().ok_or(Error::ErrNoRemoteDescription)?.sdp;
        let fragment = offer.fragment(&by_core);
        (self.ufrag, self.password) = ice_credentials(&fragment);
        (self.candidates, self.is_unheard, self.deadline) = (0, false, now);
        Ok(fragment)
    }

    /// Makes the connection the session of a publisher that has one for each video.
    pub(in crate::sfu) fn set_session(&mut self, session: Option<PublisherSession>) {
        if let Some(publisher) = &mut self.publisher {
            publisher.session = session;
        }
    }

    /// The session of a publisher that has one for each video.
    pub(in crate::sfu) fn session(&self) -> Option<PublisherSession> {
        self.publisher.as_ref()?.session
    }

    /// Whether the peer is a publisher. A publisher gets no media.
    pub(in crate::sfu) fn is_publisher(&self) -> bool {
        self.publisher.is_some()
    }

    /// Handles a datagram of a publisher.
    pub(super) fn receive_media(&mut self, cx: &mut SendContext<'_>, path: Path, mut datagram: BytesMut) -> Received {
        let is_connected = self.is_connected();
        self.has_heard = true;
        let Some(publisher) = &mut self.publisher else { return Received::Nothing };
        match self.transport.open(path.1, &mut datagram) {
            Opened::Rtp => publisher.ingest.on_rtp(cx.now, datagram),
            Opened::Rtcp(compound) => publisher.ingest.on_rtcp(cx.now, compound),
            Opened::Nothing => return Received::Nothing,
            Opened::NotYet => {
                publisher.by_core_from = Some(path.1);
                if !self.transport.receive(cx.now, path, is_connected, datagram) {
                    return Received::Nothing;
                }
                publisher.heard_at = cx.now;
                return Received::ByCore;
            }
        }
        publisher.heard_at = cx.now;
        Received::Media
    }

    /// Passes the packets that the core has decrypted to the ingest. They confirm the publisher's address: a client
    /// like GStreamer's sends no checks that would renew its claim.
    pub(super) fn read_decrypted(&mut self, now: Instant) {
        let Some(publisher) = &mut self.publisher else { return };
        let mut from = publisher.by_core_from.take();
        while let Some(packet) = publisher.decrypted.pop() {
            if let Some(from) = from.take() {
                self.transport.decrypted_from(from);
            }
            match packet {
                Decrypted::Rtp(packet) => publisher.ingest.on_rtp(now, packet[..].into()),
                Decrypted::Rtcp(compound) => publisher.ingest.on_rtcp(now, &compound),
            }
        }
    }

    /// Runs the timers of the ingest, sends the RTCP that is due, and moves complete frames to `frames`.
    pub(in crate::sfu) fn ingest(&mut self, cx: &mut SendContext<'_>, frames: &mut Vec<Frame>) {
        let Some(publisher) = &mut self.publisher else { return };
        if publisher.ingest.deadline().is_some_and(|at| at <= cx.now) {
            publisher.ingest.on_timeout(cx.now);
        }
        let mut wrote = false;
        while let Some(compound) = publisher.ingest.next_rtcp(cx.now) {
            self.transport.write_compound(cx.now, compound);
            wrote = true;
        }
        frames.extend(std::iter::from_fn(|| publisher.ingest.next_frame()));
        if wrote {
            self.transport.drain(cx.udp);
        }
        self.set_deadline(cx.now);
    }

    /// The arrival of the last packet of an encoding. None for a student.
    pub(in crate::sfu) fn last_packet(&self, encoding: Encoding) -> Option<Instant> {
        self.publisher.as_ref()?.ingest.last_packet(encoding)
    }

    /// The statistics of the received media, and when the publisher was heard last. None for a student.
    pub(in crate::sfu) fn ingest_stats(&self) -> Option<(IngestStats, Instant)> {
        self.publisher.as_ref().map(|publisher| (publisher.ingest.stats(), publisher.heard_at))
    }

    /// Asks the publisher for a key frame.
    pub(in crate::sfu) fn ask_for_key_frame(&mut self, now: Instant, encoding: Encoding) {
        if let Some(publisher) = &mut self.publisher {
            publisher.ingest.request_key_frame(now, encoding);
        }
    }
}

/// The user name fragment and the password in a description or a fragment.
fn ice_credentials(sdp: &str) -> (String, String) {
    let attribute =
        |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    (attribute("a=ice-ufrag:"), attribute("a=ice-pwd:"))
}

/// The SRTP profiles for a publisher. `rtc` 0.21.1 takes the first one of the client that it has, and browsers prefer
/// SHA-1, so they get AES-128-GCM alone. Senders without a data channel may be players that have only SHA-1: FFmpeg,
/// `webrtcbin` of GStreamer, OBS with Mbed TLS. The core decrypts their packets, at five times the CPU time.
fn srtp_profiles(offer: &PublishOffer) -> Vec<SrtpProtectionProfile> {
    let mut profiles = vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm];
    if !offer.has_data_channel() {
        profiles.push(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80);
    }
    profiles
}
