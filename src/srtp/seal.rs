//! The hot path: a packet out of the shared ring, sealed for one student (SRTP, RFC 3711, with AES-128-GCM, RFC 7714).
//!
//! # The invariant
//!
//! Under one key, a nonce is made of SSRC and packet index, and GCM gives the authentication key away to who sees two
//! different packets under one nonce. So **an SSRC is sealed by exactly one side**: by the core up to its first packet,
//! by us from then on. [`Transport`](crate::sfu) has the writers of the core or a [`Sealer`], never both. We never seal
//! two different packets of one SSRC under one index, as a [`Subscription`](crate::rtp::Subscription) names every
//! packet once; a packet that is sent again is the same one, bit for bit.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc::rtp_transceiver::RTCRtpSenderId;

use super::keys::SessionKey;
use crate::rtp::{MAX_HEADER_BYTES, OutgoingPacket};

/// What a sealed packet has more than before: the tag.
pub(crate) const TAG_BYTES: usize = 16;

/// The right to let the core write media of one SSRC. It can't be copied.
pub(crate) struct CoreWriter(RTCRtpSenderId);

impl CoreWriter {
    /// For a sender that has not written anything.
    pub(crate) fn new(sender: RTCRtpSenderId) -> Self {
        Self(sender)
    }

    pub(crate) fn sender(&self) -> RTCRtpSenderId {
        self.0
    }
}

/// Seals what goes to one student.
pub(crate) struct Sealer {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Sealer {
    /// None if the system's cryptography does not want the key, which it says nothing about.
    pub(crate) fn new(session: &SessionKey) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session.key).ok()?);
        Some(Self { key, salt: session.salt })
    }

    /// Adds the packet to `out`, sealed: [`TAG_BYTES`] more than its length.
    pub(crate) fn seal(&self, packet: &OutgoingPacket<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        packet.write_header(out);
        let begin = out.len();
        let mut header = [0; MAX_HEADER_BYTES];
        let header = &mut header[..begin - start];
        header.copy_from_slice(&out[start..]);
        packet.write_body(out);
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, packet.ssrc, packet.index));
        match self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), &mut out[begin..]) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            // Only for texts of more than 64 GB. Nothing unsealed leaves: zeroes do.
            Err(_) => {
                out[begin..].fill(0);
                out.resize(start + packet.bytes() + TAG_BYTES, 0);
            }
        }
    }
}

/// Two zeroes, SSRC and index, xored with the salt; the same makes the salt of a nonce. The index of SRTP has 48 bits,
/// roll-over counter and sequence number (RFC 7714, 8.1); that of SRTCP is smaller, behind two zeroes (9.1).
pub(crate) fn nonce(mut salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    for (byte, known) in salt[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= known;
    }
    for (byte, known) in salt[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= known;
    }
    salt
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::super::keys::{Found, listening};
    use super::*;
    use crate::rtp::TwccSequenceNumber;

    const MASTER_KEY: [u8; 16] = [7; 16];
    const MASTER_SALT: [u8; 12] = [9; 12];

    /// A context of the library, and the key that is heard when it seals.
    fn library() -> (Context, Found) {
        let (provider, found) = listening(default_provider().unwrap());
        let profile = ProtectionProfile::AeadAes128Gcm;
        (Context::new(&MASTER_KEY, &MASTER_SALT, profile, None, None, provider.crypto()).unwrap(), found)
    }

    fn packet(index: u64, payload: &[u8]) -> OutgoingPacket<'_> {
        OutgoingPacket {
            marker: index.is_multiple_of(9),
            payload_type: 102,
            index,
            timestamp: index as u32 * 10,
            ssrc: 0xdead_beef,
            transport: None,
            original: None,
            padding: 0,
            payload,
        }
    }

    #[test]
    fn the_key_is_heard_at_the_first_rtp_packet_and_not_before() {
        let (mut context, found) = library();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        context.encrypt_rtcp(&report).unwrap();
        assert!(found.sealing().is_none(), "a report has another key");
        context.encrypt_rtp(&packet(5, b"first").plain()).unwrap();
        assert!(found.sealing().is_some());
    }

    #[test]
    fn what_we_seal_is_what_the_library_seals_and_opens_over_a_roll_over() {
        let (mut sender, found) = library();
        let (mut receiver, _) = library();
        let first = packet(32_767, b"the core's only packet");
        receiver.decrypt_rtp(&sender.encrypt_rtp(&first.plain()).unwrap()).unwrap();
        let sealer = Sealer::new(found.sealing().unwrap()).unwrap();
        let payload: Vec<u8> = (0..1_160).map(|n| n as u8).collect();
        let mut sealed = Vec::new();
        for index in 32_768..32_768 + 70_000 {
            let mut packet = packet(index, &payload[..1 + index as usize % 1_160]);
            // All kinds that there are.
            packet.transport = (index % 2 == 0).then_some(TwccSequenceNumber { id: 14, number: index as u16 });
            packet.original = (index % 3 == 0).then_some(index as u16);
            packet.padding = if index % 5 == 0 { index as u8 } else { 0 };
            sealed.clear();
            sealer.seal(&packet, &mut sealed);
            assert_eq!(sealed.len(), packet.bytes() + TAG_BYTES);
            assert_eq!(sealed, sender.encrypt_rtp(&packet.plain()).unwrap(), "bit for bit, at {index}");
            assert_eq!(receiver.decrypt_rtp(&sealed).unwrap(), packet.plain(), "at {index}");
        }
        // Two roll-overs later, as it would be after hours.
        sealed.clear();
        sealer.seal(&packet(3 << 16, &payload), &mut sealed);
        assert!(receiver.decrypt_rtp(&sealed).is_err(), "the receiver counts on");
    }
}
