//! Demultiplexes STUN, DTLS and SRTP by the first bytes of a datagram (RFC 7983).

/// The kind of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    /// A STUN binding request.
    StunRequest {
        /// The part of the USERNAME that is our user name fragment (RFC 8445, 7.2.2).
        ufrag: &'a str,
    },
    /// Any other STUN message.
    Stun {
        /// The transaction id, which relates a response to its request (RFC 8489, 5).
        transaction: [u8; 12],
    },
    /// DTLS, SRTP, or encrypted SRTCP.
    DtlsOrSrtp,
    /// SRTCP with a clear E bit. `webrtc` 0.21.1 would deliver it before checking the tag, so it is dropped.
    UnencryptedRtcp,
    /// None of these.
    Unknown,
}

const STUN_HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const USE_CANDIDATE: u16 = 0x0025;

/// The longest USERNAME that RFC 8489, 14.3 allows.
const MAX_USERNAME: usize = 508;

/// The most bytes and attributes of a STUN message. Messages of ICE have some 120 bytes and 8 attributes; the core
/// copies each attribute.
const MAX_STUN_BYTES: usize = 1_280;
const MAX_ATTRIBUTES: usize = 32;

/// Parses as much of a datagram as routing needs.
pub(crate) fn classify(bytes: &[u8]) -> Datagram<'_> {
    match bytes.first() {
        Some(0..=3) => stun(bytes).unwrap_or(Datagram::Unknown),
        Some(20..=63) => Datagram::DtlsOrSrtp,
        Some(128..=191) if bytes.len() >= 12 => {
            let is_rtcp = (192..=223).contains(&bytes[1]);
            // The E bit is the first bit of the last word of AEAD SRTCP (RFC 7714, 9.2).
            let encrypted = bytes[bytes.len() - 4] & 0x80 != 0;
            if is_rtcp && !encrypted { Datagram::UnencryptedRtcp } else { Datagram::DtlsOrSrtp }
        }
        _ => Datagram::Unknown,
    }
}

/// A message of an ICE check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// A request that selects the pair of addresses (USE-CANDIDATE; RFC 8445, 7.1.1).
    Nominates,
    /// The answer to a request of ours.
    Answers,
}

/// Which message of an ICE check a datagram is. None for all others.
pub(super) fn check(bytes: &[u8]) -> Option<Check> {
    if bytes.len() > MAX_STUN_BYTES || bytes.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    match be16(bytes, 0)? {
        BINDING_SUCCESS => return Some(Check::Answers),
        BINDING_REQUEST => {}
        _ => return None,
    }
    let mut attributes = bytes.get(STUN_HEADER..)?;
    loop {
        let (kind, size) = (be16(attributes, 0)?, usize::from(be16(attributes, 2)?));
        if kind == USE_CANDIDATE {
            return Some(Check::Nominates);
        }
        attributes = attributes.get(4 + size.next_multiple_of(4)..)?;
    }
}

fn stun(bytes: &[u8]) -> Option<Datagram<'_>> {
    if bytes.len() > MAX_STUN_BYTES || bytes.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let transaction = bytes.get(8..STUN_HEADER)?.try_into().ok()?;
    let length = usize::from(be16(bytes, 2)?);
    let mut attributes = bytes.get(STUN_HEADER..STUN_HEADER + length)?;
    let (mut count, mut username) = (0, None);
    while attributes.len() >= 4 {
        count += 1;
        if count > MAX_ATTRIBUTES {
            return None;
        }
        let (kind, size) = (be16(attributes, 0)?, usize::from(be16(attributes, 2)?));
        if kind == USERNAME && username.is_none() {
            username = Some(attributes.get(4..4 + size.min(MAX_USERNAME))?);
        }
        attributes = attributes.get(4 + size.next_multiple_of(4)..)?;
    }
    if be16(bytes, 0)? != BINDING_REQUEST {
        return Some(Datagram::Stun { transaction });
    }
    let name = std::str::from_utf8(username?).ok()?;
    Some(Datagram::StunRequest { ufrag: name.split(':').next()? })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(username: &[u8]) -> Vec<u8> {
        let mut attributes = vec![0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        attributes.extend_from_slice(&USERNAME.to_be_bytes());
        attributes.extend_from_slice(&(username.len() as u16).to_be_bytes());
        attributes.extend_from_slice(username);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        let mut message = BINDING_REQUEST.to_be_bytes().to_vec();
        message.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
        message.extend_from_slice(&MAGIC_COOKIE);
        message.extend_from_slice(&[7; 12]);
        message.extend_from_slice(&attributes);
        message
    }

    #[test]
    fn a_request_names_our_user_name_fragment() {
        assert_eq!(classify(&request(b"abcd:efghi")), Datagram::StunRequest { ufrag: "abcd" });
        let mut answer = request(b"x:y");
        answer[0] = 1;
        assert_eq!(classify(&answer), Datagram::Stun { transaction: [7; 12] });
    }

    #[test]
    fn a_message_with_too_many_attributes_or_bytes_is_not_read() {
        let mut many = request(b"abcd:efghi");
        let before = (many.len() - STUN_HEADER) / 4;
        many.resize(many.len() + 4 * MAX_ATTRIBUTES, 0);
        let length = (many.len() - STUN_HEADER) as u16;
        many[2..4].copy_from_slice(&length.to_be_bytes());
        assert!(before < MAX_ATTRIBUTES);
        assert_eq!(classify(&many), Datagram::Unknown);
        many[0] = 1;
        assert_eq!(classify(&many), Datagram::Unknown, "nor is an answer");
        let mut long = request(&[b'a'; MAX_USERNAME]);
        assert!(matches!(classify(&long), Datagram::StunRequest { .. }));
        long.resize(MAX_STUN_BYTES + 1, 0);
        assert_eq!(classify(&long), Datagram::Unknown);
    }

    #[test]
    fn other_datagrams_are_classified_by_their_first_bytes() {
        assert_eq!(classify(&[22, 254, 253]), Datagram::DtlsOrSrtp);
        assert_eq!(classify(&[0x80; 12]), Datagram::DtlsOrSrtp);
        let mut rtcp = [0u8; 20];
        (rtcp[0], rtcp[1]) = (0x80, 200);
        assert_eq!(classify(&rtcp), Datagram::UnencryptedRtcp);
        rtcp[16] = 0x80;
        assert_eq!(classify(&rtcp), Datagram::DtlsOrSrtp);
        for bad in [&[][..], &[64, 1], &[255; 40], &[0x80, 200], &[0; 19], b"GET / HTTP/1.1"] {
            assert_eq!(classify(bad), Datagram::Unknown, "{bad:?}");
        }
    }

    #[test]
    fn no_truncated_or_modified_request_panics() {
        let good = request(b"abcd:efgh");
        for cut in 0..good.len() {
            assert!(!matches!(classify(&good[..cut]), Datagram::StunRequest { .. }));
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = classify(&bad);
            }
        }
    }
}
