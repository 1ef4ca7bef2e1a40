//! A crowd: many students in one process, to measure the cost of a class to its SFU.
//!
//! Each student has a socket and a connection of the sans-I/O core, with real ICE, DTLS and SRTP; a few threads drive
//! all students. Every packet is counted by its header. All packets are opened if the machine has enough CPU time;
//! otherwise a few students at a time open theirs, in turn.

mod arrivals;
mod sample;
mod stream;
mod student;
mod thread;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use serde::{Deserialize, Serialize};

pub(crate) use self::student::receiving_socket;
pub(crate) use self::thread::PAUSE;
use crate::rtp::Codec;

/// Why a crowd cannot start.
#[derive(Debug, thiserror::Error)]
#[error("can't set up {students} students: {cause}")]
pub struct CrowdError {
    students: usize,
    cause: String,
}

/// An event of a crowd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrowdEvent {
    /// A student's offer, with its candidate.
    Offer {
        /// Which student, from 0.
        student: usize,
        /// The SDP.
        sdp: String,
    },
    /// A student is connected.
    Connected {
        /// Which student.
        student: usize,
    },
    /// A student could not join, or its connection is gone.
    Gone {
        /// Which student.
        student: usize,
        /// Why.
        why: String,
    },
}

/// The packet counts of all students together since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Received, each counted once; retransmissions of lost packets included.
    pub received: u64,
    /// Received later than [`Clock::LATE`] after their capture.
    pub late: u64,
    /// Received more than once.
    pub duplicates: u64,
    /// Received with an SSRC that no answer contains.
    pub unknown_ssrc: u64,
    /// Packets for which a NACK was sent.
    pub nacked: u64,
    /// Transport-wide feedback packets sent.
    pub feedbacks: u64,
    /// Passed to the core to be opened.
    pub handed: u64,
    /// Opened by the core.
    pub opened: u64,
    /// Rejected by the core with an error.
    pub unreadable: u64,
    /// For each student with a video frame: milliseconds from its offer to the end of its first video frame.
    pub first_frames_ms: Vec<u32>,
}

impl Tally {
    /// Adds the counts of other students.
    pub fn merge(&mut self, other: &Tally) {
        self.each(other, |mine, theirs| mine + theirs);
        self.first_frames_ms.extend_from_slice(&other.first_frames_ms);
    }

    /// The counts since `before`, an earlier tally of the same students. First frames are left unchanged.
    #[must_use]
    pub fn since(&self, before: &Tally) -> Tally {
        let mut since = self.clone();
        since.each(before, u64::saturating_sub);
        since
    }

    fn each(&mut self, other: &Tally, merge: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in [
            (&mut self.received, other.received),
            (&mut self.late, other.late),
            (&mut self.duplicates, other.duplicates),
            (&mut self.unknown_ssrc, other.unknown_ssrc),
            (&mut self.nacked, other.nacked),
            (&mut self.feedbacks, other.feedbacks),
            (&mut self.handed, other.handed),
            (&mut self.opened, other.opened),
            (&mut self.unreadable, other.unreadable),
        ] {
            *mine = merge(*mine, theirs);
        }
    }
}

/// The meaning of a lecture's RTP timestamps: those of all its tracks were 0 at this instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The instant.
    pub epoch: SystemTime,
}

impl Clock {
    /// A packet of this age is late: an adaptive jitter buffer starts with this delay.
    pub const LATE: Duration = Duration::from_millis(80);

    /// The age of a timestamp at `now`; zero for a timestamp in the future, as the clocks of two processes differ.
    fn age(&self, codec: Codec, timestamp: u32, now: SystemTime) -> Duration {
        let since = now.duration_since(self.epoch).unwrap_or_default();
        let rate = u64::from(codec.clock_rate());
        let ticks = (since.as_micros() as u64).wrapping_mul(rate) / 1_000_000;
        let age = (ticks as u32).wrapping_sub(timestamp).cast_signed();
        Duration::from_micros(u64::try_from(age).unwrap_or(0) * 1_000_000 / rate)
    }
}

/// Shared by all students: generating a certificate for each would take too long.
struct Credentials {
    crypto: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
    /// Where the students are.
    address: Ipv4Addr,
}

enum Command {
    Answer { student: usize, sdp: String },
    Tally(mpsc::Sender<Tally>),
    Leave(mpsc::Sender<()>),
}

/// A running crowd. Dropping it ends it without closing the connections.
#[derive(Debug)]
pub struct Crowd {
    threads: Vec<mpsc::Sender<Command>>,
}

impl Crowd {
    /// Starts `students` students on `threads` threads. 300 students of each thread send their offers at once, the
    /// others as soon as those are connected.
    ///
    /// # Errors
    /// [`CrowdError`], if the certificate or a thread cannot be created.
    pub fn start(
        students: usize,
        threads: usize,
        clock: Clock,
    ) -> Result<(Self, mpsc::Receiver<CrowdEvent>), CrowdError> {
        Self::start_at(Ipv4Addr::LOCALHOST, students, threads, clock)
    }

    /// The same at another address of this machine than that of loopback.
    ///
    /// # Errors
    /// As [`Crowd::start`].
    pub fn start_at(
        address: Ipv4Addr,
        students: usize,
        threads: usize,
        clock: Clock,
    ) -> Result<(Self, mpsc::Receiver<CrowdEvent>), CrowdError> {
        let failed = |cause: &dyn std::fmt::Display| CrowdError { students, cause: cause.to_string() };
        let crypto = rtc::crypto::default_provider().map_err(|e| failed(&e))?;
        let parameters = CertificateParams::new(vec!["classroom-bench".to_owned()]).map_err(|e| failed(&e))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, parameters)
            .map_err(|e| failed(&e))?;
        let credentials = Arc::new(Credentials { crypto, certificate, address });
        let (events, event_queue) = mpsc::channel();
        let mut commands = Vec::new();
        for n in 0..threads.max(1) {
            let (sender, queue) = mpsc::channel();
            let mine: Vec<usize> = (n..students).step_by(threads.max(1)).collect();
            let (credentials, events) = (Arc::clone(&credentials), events.clone());
            std::thread::Builder::new()
                .name(format!("students-{n}"))
                .spawn(move || thread::run(&mine, &credentials, clock, &queue, &events))
                .map_err(|e| failed(&e))?;
            commands.push(sender);
        }
        Ok((Self { threads: commands }, event_queue))
    }

    /// Passes a student the answer to its offer.
    pub fn answer(&self, student: usize, sdp: String) {
        // A thread that has ended has reported that in its events.
        let _ = self.threads[student % self.threads.len()].send(Command::Answer { student, sdp });
    }

    /// The counts so far. Blocks for some milliseconds.
    pub fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for tally in self.ask(Command::Tally) {
            all.merge(&tally);
        }
        all
    }

    /// Closes the connections of all students.
    pub fn leave(&self) {
        self.ask(Command::Leave);
    }

    fn ask<T>(&self, question: impl Fn(mpsc::Sender<T>) -> Command) -> Vec<T> {
        let (reply, replies) = mpsc::channel();
        for thread in &self.threads {
            let _ = thread.send(question(reply.clone()));
        }
        drop(reply);
        replies.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_packet_follows_its_timestamp() {
        let epoch = SystemTime::UNIX_EPOCH;
        let clock = Clock { epoch };
        let at = |ms: u64| epoch + Duration::from_millis(ms);
        assert_eq!(clock.age(Codec::Vp8, 9000, at(150)), Duration::from_millis(50));
        assert_eq!(clock.age(Codec::Opus, 4800, at(150)), Duration::from_millis(50));
        assert_eq!(clock.age(Codec::Vp8, 9000, at(50)), Duration::ZERO, "from the future");
        let wrapped = (u64::from(u32::MAX) + 1) * 1000 / 90_000;
        assert!(clock.age(Codec::Vp8, u32::MAX - 899, at(wrapped + 1)) < Duration::from_millis(13));
    }
}
