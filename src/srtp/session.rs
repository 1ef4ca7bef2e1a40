//! SRTP session keys of AES-128-GCM and the nonces under them (RFC 7714).

/// The bytes by which encryption extends a packet: the tag of GCM.
pub(crate) const TAG_BYTES: usize = 16;

/// The bytes of an SRTCP packet that are authenticated and not encrypted: the first header of the compound, and the
/// SSRC of the sender.
pub(super) const RTCP_HEADER: usize = 8;

/// The E flag and the packet's index, which follow the tag (RFC 7714, 9.2).
pub(super) const RTCP_TRAILER: usize = 4;

/// The E flag: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// A session key for RTP or for RTCP, in one direction.
#[derive(Clone)]
pub(crate) struct SessionKey {
    pub(super) key: [u8; 16],
    pub(super) salt: [u8; 12],
}

/// The session key of a peer's RTCP, and the packet that revealed it, which the core has decrypted.
pub(crate) struct RtcpKey {
    pub(super) session: SessionKey,
    /// The sender of that packet.
    pub(super) ssrc: u32,
    /// Its SRTCP index.
    pub(super) index: u32,
}

/// The session key of a publisher's RTP, and the packet that revealed it, which the core has decrypted.
pub(crate) struct RtpKey {
    pub(super) session: SessionKey,
    /// The SSRC of that packet.
    pub(super) ssrc: u32,
    /// Its sequence number, which is its index, because the roll-over counter starts with zero.
    pub(super) sequence_number: u16,
}

/// Builds a nonce: two zero bytes, SSRC and index, XORed with the salt. The same operation recovers the salt from a
/// nonce. The index of SRTP has 48 bits, roll-over counter and sequence number (RFC 7714, 8.1); that of SRTCP has 31
/// bits, preceded by zeroes (9.1).
pub(super) fn nonce(mut salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    for (byte, known) in salt[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= known;
    }
    for (byte, known) in salt[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= known;
    }
    salt
}

/// Whether a datagram is SRTCP, provided that it is neither STUN nor DTLS (RFC 5761, 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

/// The SSRC and the index in the authenticated data of an SRTCP packet. None for other data: RTP headers have other
/// types, and the authenticated data of DTLS is longer.
pub(super) fn rtcp_index(aad: &[u8]) -> Option<(u32, u32)> {
    let aad = <[u8; RTCP_HEADER + RTCP_TRAILER]>::try_from(aad).ok()?;
    let word = u32::from_be_bytes(*aad.last_chunk()?);
    let ssrc = u32::from_be_bytes(*aad[..RTCP_HEADER].last_chunk()?);
    (is_rtcp(&aad) && word & ENCRYPTED != 0).then_some((ssrc, word & !ENCRYPTED))
}

/// The SSRC and the sequence number in the header of an RTP packet. None for data that is not an RTP packet: the
/// authenticated data of DTLS starts with the epoch, whose first byte is zero, and RTCP packets have types from 192 to
/// 223 (RFC 5761, 4).
pub(super) fn rtp_source(aad: &[u8]) -> Option<(u32, u16)> {
    let header = aad.first_chunk::<12>()?;
    if header[0] >> 6 != 2 || is_rtcp(header) {
        return None;
    }
    Some((u32::from_be_bytes(*header.last_chunk()?), u16::from_be_bytes([header[2], header[3]])))
}

/// The salt from the nonce of the RTP packet with this header, provided that its roll-over counter is zero, as in the
/// first packet of an SSRC. None for data that is not an RTP packet.
pub(super) fn rtp_salt(nonce: &[u8], aad: &[u8]) -> Option<[u8; 12]> {
    let nonce_bytes = <[u8; 12]>::try_from(nonce).ok()?;
    let (ssrc, sequence_number) = rtp_source(aad)?;
    Some(self::nonce(nonce_bytes, ssrc, sequence_number.into()))
}
