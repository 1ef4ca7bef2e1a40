//! ICE: the check by which a browser selects a pair of addresses is answered as soon as it can be.
//!
//! The core leaves a check with USE-CANDIDATE unanswered until its own check of that pair has succeeded, and a browser
//! repeats a check only after some 60 ms. So the core gets the last unanswered one once more, right after the peer's
//! answer to a check of ours.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::demux::{Check, check};

/// The last check with USE-CANDIDATE of a peer that has not connected: at most one datagram.
#[derive(Debug, Default)]
pub(super) struct Nomination {
    waiting: Option<((SocketAddr, SocketAddr), BytesMut)>,
}

impl Nomination {
    /// The core gets this datagram, received at the first address of `path` from the second. Returns the datagram that
    /// it should get right afterwards.
    pub(super) fn on_receive(&mut self, path: (SocketAddr, SocketAddr), datagram: &[u8]) -> Option<BytesMut> {
        match check(datagram)? {
            Check::Nominates => self.waiting = Some((path, BytesMut::from(datagram))),
            Check::Answers => {
                let (_, nomination) = self.waiting.take_if(|(of, _)| *of == path)?;
                return Some(nomination);
            }
        }
        None
    }

    /// The peer has connected.
    pub(super) fn forget(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A STUN message of this type, with one attribute of these bytes.
    fn stun(message: u16, attribute: u16, value: &[u8]) -> Vec<u8> {
        let padded = value.len().next_multiple_of(4);
        let mut bytes = Vec::new();
        bytes.extend(message.to_be_bytes());
        bytes.extend((4 + padded as u16).to_be_bytes());
        bytes.extend(0x2112_a442_u32.to_be_bytes());
        bytes.extend([7; 12]);
        bytes.extend(attribute.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes.resize(24 + padded, 0);
        bytes
    }

    #[test]
    fn a_nomination_is_read_again_after_the_answer_from_the_same_address() {
        let path = |port| (SocketAddr::from(([10, 0, 0, 1], 443)), SocketAddr::from(([10, 0, 0, 2], port)));
        let (nominates, answers) = (stun(0x0001, 0x0025, &[]), stun(0x0101, 0x0020, &[1; 8]));
        let mut nomination = Nomination::default();
        assert_eq!(nomination.on_receive(path(1), &answers), None, "nothing waits");
        assert_eq!(nomination.on_receive(path(1), &nominates), None);
        assert_eq!(nomination.on_receive(path(1), &stun(0x0001, 0x0006, b"abcde")), None, "another check");
        assert_eq!(nomination.on_receive(path(2), &answers), None, "another address");
        assert_eq!(nomination.on_receive(path(1), &nominates[..22]), None, "cut off");
        assert_eq!(nomination.on_receive(path(1), &answers).as_deref(), Some(&nominates[..]));
        assert_eq!(nomination.on_receive(path(1), &answers), None, "once");
        nomination.on_receive(path(1), &nominates);
        nomination.forget();
        assert_eq!(nomination.on_receive(path(1), &answers), None);
    }
}
