//! TURN messages in a stream (RFC 8656, 12.5): STUN tells its length, and ChannelData is padded to four bytes.

use super::message::{CHANNEL_HEADER, MAX_MESSAGE_BYTES};

/// A stream that carries something else than TURN.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotTurn;

/// Cuts a stream into messages. It holds at most one message and one read.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    bytes: Vec<u8>,
    /// The bytes of the message that was taken last.
    taken: usize,
}

impl Deframer {
    /// Adds the bytes of a read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, without padding.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, NotTurn> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let &[first, _, high, low, ..] = rest else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (message, padded) = match first {
            0..=3 => (20 + length, 20 + length),
            0x40..=0x4f => (CHANNEL_HEADER + length, (CHANNEL_HEADER + length).next_multiple_of(4)),
            _ => return Err(NotTurn),
        };
        if message > MAX_MESSAGE_BYTES {
            return Err(NotTurn);
        }
        if rest.len() < padded {
            return Ok(None);
        }
        let from = self.taken;
        self.taken += padded;
        Ok(self.bytes.get(from..from + message))
    }
}

/// A message as a stream carries it.
pub(super) fn frame(mut message: Vec<u8>) -> Vec<u8> {
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_the_stream_is_cut() {
        let stun = [&[0, 1, 0, 4][..], &[7; 20]].concat();
        let channel = [0x40, 1, 0, 5, 1, 2, 3, 4, 5];
        let stream = [stun.clone(), frame(channel.to_vec()), stun.clone()].concat();
        for size in 1..stream.len() {
            let (mut deframer, mut messages) = (Deframer::default(), Vec::new());
            for part in stream.chunks(size) {
                deframer.push(part);
                while let Some(message) = deframer.next().unwrap() {
                    messages.push(message.to_vec());
                }
            }
            assert_eq!(messages, [stun.clone(), channel.to_vec(), stun.clone()], "in parts of {size}");
        }
    }

    #[test]
    fn other_protocols_and_long_messages_end_the_stream() {
        for other in [&b"GET / HTTP/1.1"[..], &[22, 3, 1, 2, 0], &[0, 1, 0xff, 0xff, 0], &[0x40, 0, 0xff, 0xff]] {
            let mut deframer = Deframer::default();
            deframer.push(other);
            assert_eq!(deframer.next(), Err(NotTurn), "{other:?}");
        }
    }
}
