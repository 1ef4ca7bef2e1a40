//! A crowd: many students in one process, to measure what a class costs its teacher.
//!
//! Each has a socket and a connection of the sans-I/O core of its own, and does ICE and DTLS for real; a few threads
//! drive them all. Every packet is counted by its header. It is opened too as far as the machine can: past that, by
//! some of the students in turn.

mod arrivals;
mod sample;
mod stream;
mod student;
mod thread;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use serde::{Deserialize, Serialize};

pub(crate) use self::student::receiving_socket;
pub(super) use self::thread::REST;
use crate::rtp::Codec;

/// Why a crowd can't begin.
#[derive(Debug, thiserror::Error)]
#[error("can't set up {students} students: {cause}")]
pub struct CrowdError {
    students: usize,
    cause: String,
}

/// What happens in a crowd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrowdEvent {
    /// A student's offer, with its candidate.
    Offer {
        /// Which student, from 0.
        student: usize,
        /// The SDP.
        sdp: String,
    },
    /// A student's connection stands.
    Connected {
        /// Which.
        student: usize,
    },
    /// A student could not begin, or its connection is gone.
    Gone {
        /// Which.
        student: usize,
        /// Why.
        why: String,
    },
}

/// What students have seen since the beginning, all together, in packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// That came, repairs included, each once.
    pub received: u64,
    /// Among them, later than [`Clock::LATE`] after their capture.
    pub late: u64,
    /// That came more than once.
    pub again: u64,
    /// Of an SSRC that no answer named.
    pub strange: u64,
    /// That were asked for again.
    pub nacked: u64,
    /// Feedbacks that told when packets came.
    pub feedbacks: u64,
    /// That were handed to the core, to be opened.
    pub handed: u64,
    /// That it opened.
    pub opened: u64,
    /// That it refused with an error.
    pub unreadable: u64,
    /// For each student that saw one: milliseconds from its offer to the end of its first picture.
    pub first_pictures_ms: Vec<u32>,
}

impl Tally {
    /// Adds those of other students.
    pub fn merge(&mut self, other: &Tally) {
        self.each(other, |mine, theirs| mine + theirs);
        self.first_pictures_ms.extend_from_slice(&other.first_pictures_ms);
    }

    /// What came since `before`, an earlier tally of the same students. First pictures are left as they are.
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
            (&mut self.again, other.again),
            (&mut self.strange, other.strange),
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

/// What the RTP timestamps of a lecture mean: all of its tracks were 0 at this instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The instant.
    pub epoch: SystemTime,
}

impl Clock {
    /// A packet this old would come too late for the jitter buffer that students have by default.
    pub const LATE: Duration = Duration::from_millis(80);

    /// How long before `now` a timestamp was; nothing if it lies ahead, as the clocks of two processes may be apart.
    fn age(&self, codec: Codec, timestamp: u32, now: SystemTime) -> Duration {
        let since = now.duration_since(self.epoch).unwrap_or_default();
        let rate = u64::from(codec.clock_rate());
        let ticks = (since.as_micros() as u64).wrapping_mul(rate) / 1_000_000;
        let age = (ticks as u32).wrapping_sub(timestamp).cast_signed();
        Duration::from_micros(u64::try_from(age).unwrap_or(0) * 1_000_000 / rate)
    }
}

/// What all students share, made once.
struct Shared {
    crypto: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
}

enum Command {
    Answer { student: usize, sdp: String },
    Tally(mpsc::Sender<Tally>),
    Leave(mpsc::Sender<()>),
}

/// A running crowd. Dropping it ends it without farewell.
#[derive(Debug)]
pub struct Crowd {
    threads: Vec<mpsc::Sender<Command>>,
}

impl Crowd {
    /// Starts this many students on as many threads as said; 300 of each make their offers
    /// at once, the others as these get connected.
    ///
    /// # Errors
    /// [`CrowdError`], when no keys or threads can be had.
    pub fn start(
        students: usize,
        threads: usize,
        clock: Clock,
    ) -> Result<(Self, mpsc::Receiver<CrowdEvent>), CrowdError> {
        let failed = |cause: &dyn std::fmt::Display| CrowdError { students, cause: cause.to_string() };
        let crypto = rtc::crypto::default_provider().map_err(|e| failed(&e))?;
        let parameters = CertificateParams::new(vec!["classroom-bench".to_owned()]).map_err(|e| failed(&e))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, parameters)
            .map_err(|e| failed(&e))?;
        let shared = Arc::new(Shared { crypto, certificate });
        let (events, event_queue) = mpsc::channel();
        let mut commands = Vec::new();
        for n in 0..threads.max(1) {
            let (sender, queue) = mpsc::channel();
            let mine: Vec<usize> = (n..students).step_by(threads.max(1)).collect();
            let (shared, events) = (Arc::clone(&shared), events.clone());
            std::thread::Builder::new()
                .name(format!("students-{n}"))
                .spawn(move || thread::run(&mine, &shared, clock, &queue, &events))
                .map_err(|e| failed(&e))?;
            commands.push(sender);
        }
        Ok((Self { threads: commands }, event_queue))
    }

    /// Brings a student the answer to its offer.
    pub fn answer(&self, student: usize, sdp: String) {
        // A thread that has ended has said so by its events.
        let _ = self.threads[student % self.threads.len()].send(Command::Answer { student, sdp });
    }

    /// What was seen until now. Blocks for some milliseconds.
    pub fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for tally in self.ask(Command::Tally) {
            all.merge(&tally);
        }
        all
    }

    /// Says goodbye for all students.
    pub fn leave(self) {
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
    fn the_age_of_a_packet_is_that_of_its_timestamp() {
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
