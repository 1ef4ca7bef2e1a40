//! The form of an input that is more than one message.

/// The longest datagram that the socket reads, in bytes: more than any path MTU of a classroom.
pub(super) const MAX_DATAGRAM_BYTES: usize = 2_048;

/// The maximum length of a reason for a refusal, in bytes, beyond the part of the message that it quotes.
pub(super) const MAX_REASON_BYTES: usize = 512;

/// Splits an input into datagrams: two bytes of length before each, the last one possibly cut.
pub(super) fn datagrams(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(MAX_DATAGRAM_BYTES).min(rest.len());
        let (datagram, rest) = rest.split_at(length);
        input = rest;
        Some(datagram)
    })
}

/// The big-endian number in these bytes.
pub(super) fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
