//! The hot path: encrypts a packet from the shared ring for one peer (SRTP, RFC 3711, with AES-128-GCM, RFC 7714).
//!
//! # The invariant
//!
//! **Under one key the packets of an SSRC are encrypted by only one side at a time**: by the core up to its first
//! packet, and by a [`Sealer`] afterwards. A nonce consists of SSRC and packet index, and two different packets under
//! one nonce reveal GCM's authentication key.
//!
//! [`Sealing`] is one side or the other. It can't be cloned, and a [`Sealer`] is created only by
//! [`Sealing::take_over`], which drops the core's senders. The types can't prevent every misuse: `RTCRtpSenderId` is
//! `Copy`, and its connection accepts it at any time. So only one place in `src/` calls the core's `write_rtp`, with an
//! id from [`Sealing::core_sender`]; `tests/it/layering.rs` enforces that.
//!
//! The sealer itself never encrypts two different packets of an SSRC under one index: a
//! [`Subscription`](crate::rtp::Subscription) uses each index for one packet, and a retransmitted packet is identical
//! bit for bit.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc::rtp_transceiver::RTCRtpSenderId;

use super::provider::SessionKeys;
use super::session::{SessionKey, TAG_BYTES, nonce};
use crate::rtp::{MAX_HEADER_BYTES, OutgoingPacket};

/// The side that encrypts the RTP packets of one connection.
pub(crate) struct Sealing(Side);

#[expect(clippy::large_enum_variant, reason = "every peer soon has a sealer, and each packet uses it")]
enum Side {
    /// The core, with a sender for each SSRC, until its first packet has revealed the session key.
    Core { keys: SessionKeys, senders: Vec<(u32, RTCRtpSenderId)> },
    /// The SFU.
    Own(Sealer),
}

impl Sealing {
    /// The core encrypts, with these senders by SSRC. None of them may have sent anything yet.
    pub(crate) fn by_core(keys: SessionKeys, senders: Vec<(u32, RTCRtpSenderId)>) -> Self {
        Self(Side::Core { keys, senders })
    }

    /// The core's sender of an SSRC, while the core encrypts.
    pub(crate) fn core_sender(&self, ssrc: u32) -> Option<RTCRtpSenderId> {
        let Side::Core { senders, .. } = &self.0 else { return None };
        senders.iter().find(|(known, _)| *known == ssrc).map(|(_, sender)| *sender)
    }

    /// The sealer, after the SFU has taken over.
    pub(crate) fn sealer(&self) -> Option<&Sealer> {
        if let Side::Own(sealer) = &self.0 { Some(sealer) } else { None }
    }

    /// Lets the SFU encrypt from now on if the session key is known. The core's senders are dropped.
    pub(crate) fn take_over(&mut self) {
        if let Side::Core { keys, .. } = &self.0
            && let Some(sealer) = keys.rtp().and_then(Sealer::new)
        {
            self.0 = Side::Own(sealer);
        }
    }
}

/// Encrypts the RTP packets of one connection.
pub(crate) struct Sealer {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Sealer {
    /// None if `ring` refuses the key; its documentation does not say when.
    pub(super) fn new(session: &SessionKey) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session.key).ok()?);
        Some(Self { key, salt: session.salt })
    }

    /// A sealer with this session key and salt, for measurements. No other sealer may have the same key.
    pub(crate) fn with_key(key: [u8; 16], salt: [u8; 12]) -> Option<Self> {
        Self::new(&SessionKey { key, salt })
    }

    /// Appends the encrypted packet to `out`: the packet's length and [`TAG_BYTES`].
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
            // This fails only for more than 64 GB. The packet must not be sent in clear text, so zeroes are sent
            // instead.
            Err(_) => {
                out[begin..].fill(0);
                out.resize(start + packet.bytes() + TAG_BYTES, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::super::provider::capturing;
    use super::*;
    use crate::rtp::TwccSequenceNumber;

    const MASTER_KEY: [u8; 16] = [7; 16];
    const MASTER_SALT: [u8; 12] = [9; 12];

    /// An SRTP context of the library, and the keys that are captured when it encrypts.
    fn library() -> (Context, SessionKeys) {
        let (provider, keys) = capturing(default_provider().unwrap());
        let profile = ProtectionProfile::AeadAes128Gcm;
        (Context::new(&MASTER_KEY, &MASTER_SALT, profile, None, None, provider.crypto()).unwrap(), keys)
    }

    fn packet(index: u64, payload: &[u8]) -> OutgoingPacket<'_> {
        OutgoingPacket {
            marker: index.is_multiple_of(9),
            payload_type: 102,
            index,
            timestamp: index as u32 * 10,
            ssrc: 0xdead_beef,
            twcc: None,
            playout: None,
            original: None,
            padding: 0,
            payload,
        }
    }

    #[test]
    fn the_first_rtp_packet_reveals_the_key() {
        let (mut context, keys) = library();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        context.encrypt_rtcp(&report).unwrap();
        assert!(keys.rtp().is_none(), "a report has another key");
        context.encrypt_rtp(&packet(5, b"first").plain()).unwrap();
        assert!(keys.rtp().is_some());
    }

    #[test]
    fn packets_are_encrypted_as_the_library_does_even_after_a_roll_over() {
        let (mut sender, keys) = library();
        let (mut receiver, _) = library();
        let first = packet(32_767, b"the core's only packet");
        receiver.decrypt_rtp(&sender.encrypt_rtp(&first.plain()).unwrap()).unwrap();
        let sealer = Sealer::new(keys.rtp().unwrap()).unwrap();
        let payload: Vec<u8> = (0..1_160).map(|n| n as u8).collect();
        let mut sealed = Vec::new();
        for index in 32_768..32_768 + 70_000 {
            let mut packet = packet(index, &payload[..1 + index as usize % 1_160]);
            // All kinds of packets.
            packet.twcc = (index % 2 == 0).then_some(TwccSequenceNumber { id: 14, number: index as u16 });
            packet.original = (index % 3 == 0).then_some(index as u16);
            packet.padding = if index % 5 == 0 { index as u8 } else { 0 };
            sealed.clear();
            sealer.seal(&packet, &mut sealed);
            assert_eq!(sealed.len(), packet.bytes() + TAG_BYTES);
            assert_eq!(sealed, sender.encrypt_rtp(&packet.plain()).unwrap(), "bit for bit, at {index}");
            assert_eq!(receiver.decrypt_rtp(&sealed).unwrap(), packet.plain(), "at {index}");
        }
        // Two roll-overs later, as after hours.
        sealed.clear();
        sealer.seal(&packet(3 << 16, &payload), &mut sealed);
        assert!(receiver.decrypt_rtp(&sealed).is_err(), "the receiver counts on");
    }

    #[test]
    fn the_core_and_the_sfu_never_both_encrypt() {
        let (mut context, keys) = library();
        let ssrc = packet(5, b"").ssrc;
        let mut sealing = Sealing::by_core(keys, vec![(ssrc, RTCRtpSenderId::default())]);
        sealing.take_over();
        assert!(sealing.core_sender(ssrc).is_some() && sealing.sealer().is_none(), "there is no key yet");
        assert!(sealing.core_sender(ssrc + 1).is_none(), "another SSRC");
        context.encrypt_rtp(&packet(5, b"first").plain()).unwrap();
        sealing.take_over();
        assert!(sealing.core_sender(ssrc).is_none() && sealing.sealer().is_some());
        sealing.take_over();
        assert!(sealing.core_sender(ssrc).is_none() && sealing.sealer().is_some(), "for good");
    }
}
