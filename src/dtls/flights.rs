//! The handshake of DTLS with one student: how far away it is, and that a lost datagram does not end it.
//!
//! In `rtc` 0.21.1 a side that waits for an answer stops its timer with any handshake record that comes, also with one that
//! it knows already, and does not start it again. So when our certificate is lost, the student's next try silences us for
//! good, and both wait until ICE gives up: at 5 % loss one join in eight. Therefore a flight is repeated here until the
//! next one follows: the same datagrams, which a student that has them drops as replays (RFC 6347, 4.1.2.6), so that its
//! own timer goes on. Repetitions of the core have new record numbers and would stop it, so they are not sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Round trips below this are those of a LAN, where no line is narrow, also of a Wi-Fi, and of a browser that is busy
/// starting.
const NEAR: Duration = Duration::from_millis(40);

/// A flight is repeated after this or three of the last round trips, then after twice as long, and so on: what RFC
/// 6347, 4.2.4.1, wants a second for is an unknown way, but nobody teaches over one of more than that.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// It is repeated so many times: for 25 s, longer than a student is waited for.
const TRIES: u32 = 7;

/// Datagrams of a flight leave together; what comes later is a repetition.
const TOGETHER: Duration = Duration::from_millis(50);

/// Content types of records (RFC 5246, 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A datagram of our last flight: from where to where, and its bytes.
pub(crate) type Said = (SocketAddr, SocketAddr, Bytes);

/// What was said and heard.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    flight: Vec<Said>,
    /// When it was said for the first time.
    said: Option<Instant>,
    /// Whether something came since.
    heard: bool,
    /// When it is said again, and how often it was.
    again: Option<Instant>,
    tries: u32,
    /// The least one and the last one.
    round_trips: Option<(Duration, Duration)>,
    over: bool,
}

impl Handshake {
    /// Whether a datagram is one of DTLS (RFC 7983, 7).
    pub(crate) fn is_of_it(datagram: &[u8]) -> bool {
        datagram.first().is_some_and(|first| (20..=63).contains(first))
    }

    /// The core says a datagram of DTLS: whether it is to be sent.
    pub(crate) fn says(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> bool {
        if self.over || !matches!(datagram.first(), Some(&(HANDSHAKE | CHANGE_CIPHER_SPEC))) {
            return true;
        }
        let since = self.said.filter(|_| !self.heard).map(|said| now.saturating_duration_since(said));
        match since {
            Some(since) if since > TOGETHER => return false,
            Some(_) => {}
            None => {
                self.flight.clear();
                (self.said, self.heard, self.tries) = (Some(now), false, 0);
                self.again = Some(now + self.wait());
            }
        }
        self.flight.push((from, to, Bytes::copy_from_slice(datagram)));
        true
    }

    /// A datagram of DTLS came.
    pub(crate) fn hears(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(said) = self.said.filter(|_| !self.heard && self.tries == 0) {
            let time = now.saturating_duration_since(said);
            self.round_trips = Some((self.round_trips.map_or(time, |(least, _)| least.min(time)), time));
        }
        self.heard = true;
        // Who speaks under the keys has all of the handshake.
        if datagram.first() == Some(&APPLICATION_DATA) {
            self.over = true;
            self.again = None;
            self.flight = Vec::new();
        }
    }

    /// When [`repeats`](Self::repeats) has something to say.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// The last flight, if it is time to say it again.
    pub(crate) fn repeats(&mut self, now: Instant) -> &[Said] {
        if self.again.is_none_or(|at| now < at) {
            return &[];
        }
        self.tries += 1;
        self.again = (self.tries < TRIES).then(|| now + self.wait() * 2u32.pow(self.tries));
        &self.flight
    }

    /// A class that comes all at once is answered slowly; to say everything twice would not be quicker.
    fn wait(&self) -> Duration {
        self.round_trips.map_or(FIRST_WAIT, |(_, last)| FIRST_WAIT.max(last * 3))
    }

    /// Whether the student is so near that nothing is to be found out of its line. One of whom nothing is known is not.
    pub(crate) fn is_near(&self) -> bool {
        self.round_trips.is_some_and(|(least, _)| least < NEAR)
    }
}

#[cfg(test)]
mod tests;
