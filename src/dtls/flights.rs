//! Retransmits our DTLS flights, and measures the round trip time of the handshake.
//!
//! In `rtc` 0.21.1 a side that waits for an answer stops its retransmission timer when any handshake record arrives,
//! even a retransmission, and does not restart it. If our certificate is lost, the peer's next retransmission stops our
//! timer for good, and both sides wait until ICE gives up: this happens to one join in eight at 5 % loss. Flights are
//! therefore retransmitted here until the next flight follows. The datagrams are identical, so a peer that already has
//! them drops them as replays (RFC 6347, 4.1.2.6) and its own timer continues. The core's retransmissions have new
//! record numbers and would stop the peer's timer, so they are dropped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A shorter round trip time is that of a LAN, where no link is narrow. On Wi-Fi, or with a browser that is busy
/// starting, it may be almost this long.
const NEAR: Duration = Duration::from_millis(40);

/// The first retransmission of a flight is due after max(this, 3 x RTT); the interval then doubles (RFC 6347, 4.2.4.1).
/// The RFC starts with a second because the path is unknown; few lectures use a path with an RTT of 200 ms.
const INITIAL: Duration = Duration::from_millis(200);

/// The most retransmissions of a flight: over 25 s, longer than a peer has to connect.
const MAX_RETRANSMISSIONS: u32 = 7;

/// The datagrams of one flight are sent within this time; a later datagram is a retransmission of the core.
const FLIGHT_SPAN: Duration = Duration::from_millis(50);

/// Content types of records (RFC 5246, 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The type of a ClientHello (RFC 5246, 7.4), and where the type of the first message of a datagram is.
const CLIENT_HELLO: u8 = 1;
const TYPE_OFFSET: usize = 13;

/// A datagram of our last flight: source, destination and content.
pub(crate) type FlightDatagram = (SocketAddr, SocketAddr, Bytes);

/// Our last flight, and when it was sent.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    flight: Vec<FlightDatagram>,
    /// The time of the first transmission.
    sent: Option<Instant>,
    /// Whether the peer has answered the flight.
    answered: bool,
    /// The time of the next retransmission, and the number of past ones.
    next: Option<Instant>,
    retransmissions: u32,
    /// The shortest and the last round trip time.
    round_trips: Option<(Duration, Duration)>,
    /// Whether we have sent a ClientHello.
    is_client: bool,
    over: bool,
}

impl Handshake {
    /// Whether a datagram is DTLS (RFC 7983, 7).
    pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
        datagram.first().is_some_and(|first| (20..=63).contains(first))
    }

    /// Handles a DTLS datagram that the core has written. Returns false for a retransmission, which the SFU does not
    /// send.
    pub(crate) fn on_send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> bool {
        if self.over || !matches!(datagram.first(), Some(&(HANDSHAKE | CHANGE_CIPHER_SPEC))) {
            return true;
        }
        let since = self.sent.filter(|_| !self.answered).map(|sent| now.saturating_duration_since(sent));
        match since {
            Some(since) if since > FLIGHT_SPAN => return false,
            Some(_) => {}
            None => {
                self.flight.clear();
                (self.sent, self.answered, self.retransmissions) = (Some(now), false, 0);
                self.next = Some(now + self.timeout());
            }
        }
        self.is_client |= datagram[0] == HANDSHAKE && datagram.get(TYPE_OFFSET) == Some(&CLIENT_HELLO);
        self.flight.push((from, to, Bytes::copy_from_slice(datagram)));
        true
    }

    /// Handles a DTLS datagram that has arrived.
    pub(crate) fn on_receive(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(sent) = self.sent.filter(|_| !self.answered && self.retransmissions == 0) {
            let time = now.saturating_duration_since(sent);
            self.round_trips = Some((self.round_trips.map_or(time, |(least, _)| least.min(time)), time));
        }
        self.answered = true;
        // A peer that sends application data has the whole handshake, and so has a server that changes to the new keys.
        if datagram.first() == Some(&APPLICATION_DATA) || self.is_client && changes_cipher(datagram) {
            self.over = true;
            self.next = None;
            self.flight = Vec::new();
        }
    }

    /// When [`retransmit`](Self::retransmit) is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// The last flight if its retransmission is due, otherwise no datagrams.
    pub(crate) fn retransmit(&mut self, now: Instant) -> &[FlightDatagram] {
        if self.next.is_none_or(|at| now < at) {
            return &[];
        }
        self.retransmissions += 1;
        self.next =
            (self.retransmissions < MAX_RETRANSMISSIONS).then(|| now + self.timeout() * 2u32.pow(self.retransmissions));
        &self.flight
    }

    /// The retransmission timeout. It grows with the round trip time: when a whole class joins at once, answers are
    /// slow, and retransmissions would make them slower.
    fn timeout(&self) -> Duration {
        self.round_trips.map_or(INITIAL, |(_, last)| INITIAL.max(last * 3))
    }

    /// Whether the peer is on the same LAN, so that its path need not be probed. False while no round trip time is
    /// known.
    pub(crate) fn is_near(&self) -> bool {
        self.round_trips.is_some_and(|(least, _)| least < NEAR)
    }
}

/// Whether one of the records of a datagram is a ChangeCipherSpec. Each has a header of 13 bytes, which ends with the
/// length of the body.
fn changes_cipher(mut datagram: &[u8]) -> bool {
    while let Some(kind) = datagram.first() {
        if *kind == CHANGE_CIPHER_SPEC {
            return true;
        }
        let Some(length) = datagram.get(11..13) else { return false };
        let end = 13 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        datagram = datagram.get(end..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests;
