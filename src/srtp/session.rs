//! SRTP session keys of AES-128-GCM and the nonces under them (RFC 7714).

/// How much longer a sealed packet is: the tag of GCM.
pub(crate) const TAG_BYTES: usize = 16;

/// The bytes of an SRTCP packet that are authenticated and not encrypted: the first header of the compound, and the
/// SSRC of the sender.
pub(super) const RTCP_HEADER: usize = 8;

/// The E flag and the packet's index, behind the tag (RFC 7714, 9.2).
pub(super) const RTCP_TRAILER: usize = 4;

/// The E flag: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// A session key for RTP or for RTCP, in one direction.
#[derive(Clone)]
pub(crate) struct SessionKey {
    pub(super) key: [u8; 16],
    pub(super) salt: [u8; 12],
}

/// The session key of a peer's RTCP, and the packet by which it became known, which the core has opened.
pub(crate) struct RtcpKey {
    pub(super) session: SessionKey,
    /// The sender of that packet.
    pub(super) ssrc: u32,
    /// Its SRTCP index.
    pub(super) index: u32,
}

/// Two zeroes, SSRC and index, xored with the salt; the same makes the salt of a nonce. The index of SRTP has 48 bits,
/// roll-over counter and sequence number (RFC 7714, 8.1); that of SRTCP has 31, behind zeroes (9.1).
pub(super) fn nonce(mut salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    for (byte, known) in salt[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= known;
    }
    for (byte, known) in salt[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= known;
    }
    salt
}

/// Whether a datagram is SRTCP, among those that are neither STUN nor DTLS (RFC 5761, 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

/// The SSRC and the index in the authenticated data of an SRTCP packet. None for other data: RTP headers have other
/// types, and what DTLS authenticates is longer.
pub(super) fn rtcp_index(aad: &[u8]) -> Option<(u32, u32)> {
    let aad = <[u8; RTCP_HEADER + RTCP_TRAILER]>::try_from(aad).ok()?;
    let word = u32::from_be_bytes(*aad.last_chunk()?);
    let ssrc = u32::from_be_bytes(*aad[..RTCP_HEADER].last_chunk()?);
    (is_rtcp(&aad) && word & ENCRYPTED != 0).then_some((ssrc, word & !ENCRYPTED))
}

/// The salt in the nonce of the RTP packet with this header, if it is the first packet of its SSRC, so that the
/// roll-over counter is zero. None for what is no RTP packet: DTLS records begin with their epoch, a zero, and RTCP
/// packets have types from 192 to 223 (RFC 5761, 4).
pub(super) fn rtp_salt(nonce: &[u8], aad: &[u8]) -> Option<[u8; 12]> {
    let nonce_bytes = <[u8; 12]>::try_from(nonce).ok()?;
    let header = aad.first_chunk::<12>()?;
    if header[0] >> 6 != 2 || is_rtcp(header) {
        return None;
    }
    let ssrc = u32::from_be_bytes(*header.last_chunk()?);
    let sequence_number = u16::from_be_bytes([header[2], header[3]]);
    Some(self::nonce(nonce_bytes, ssrc, sequence_number.into()))
}
