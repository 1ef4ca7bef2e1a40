//! What an SFU tells: events, and numbers on request.

use std::collections::HashMap;

use super::peer::Departure;
use super::stats::{PeerStats, PeerTotals};
use crate::id::{UserId, count_of_students};
use crate::rtp::{Delays, Encoding};
use crate::sdp::offer::OfferError;

/// Why an offer was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// It asks for something that can't be sent.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The teacher takes no more students.
    #[error("the room is full: the teacher takes {} (--max-students)", count_of_students(*.0))]
    Full(usize),
    /// The user's last offer is too recent.
    #[error("{0} sends offers too fast, wait a second")]
    TooFast(UserId),
    /// The library did not accept it.
    #[error("the offer can't be answered: {0}")]
    Unanswerable(String),
}

/// What happens in an SFU.
#[derive(Debug, Clone)]
pub enum SfuEvent {
    /// The answer to an offer, with all candidates.
    Answer {
        /// Who offered.
        user: UserId,
        /// The SDP.
        sdp: String,
    },
    /// An offer was refused.
    Refused {
        /// Who offered.
        user: UserId,
        /// Why.
        why: Refusal,
    },
    /// A student's connection stands.
    Connected(UserId),
    /// A student's data channel stands: it can be told something.
    ChannelOpen(UserId),
    /// A student said something over its data channel: text, not parsed yet.
    Heard {
        /// Who.
        user: UserId,
        /// What, at most a byte more than
        /// [`MAX_CHANNEL_MESSAGE_BYTES`](crate::protocol::channel::MAX_CHANNEL_MESSAGE_BYTES).
        text: String,
    },
    /// A student's connection is gone.
    Gone {
        /// Who.
        user: UserId,
        /// Why.
        why: Departure,
    },
    /// An encoder should make a key frame. Said again until one comes.
    KeyFrameNeeded(Encoding),
    /// An encoding is watched from now on, or has not been for a while: its encoder should run, or stop. A slow reader
    /// hears it later, and only what is true then.
    Needed(Encoding, bool),
    /// Something the teacher should read.
    Notice(String),
}

/// Numbers of an SFU.
#[derive(Debug, Clone, Default)]
pub struct SfuStats {
    /// Students whose connection stands.
    pub students: usize,
    /// Students that are about to connect.
    pub connecting: usize,
    /// Students that have not been heard of lately.
    pub disturbed: usize,
    /// Packets that were sent, in total.
    pub packets: u64,
    /// Bytes that were sent, in total, without UDP and IP headers.
    pub bytes: u64,
    /// System calls that it took.
    pub calls: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
    /// Frames that were left out, summed over students that are here and that are gone.
    pub dropped: u64,
    /// Frames that came, by encoding.
    pub frames: HashMap<Encoding, u64>,
    /// Key frames among them, by encoding.
    pub key_frames: HashMap<Encoding, u64>,
    /// Key frames that were asked for, by encoding.
    pub key_requests: HashMap<Encoding, u64>,
    /// Bytes of frames that came, by encoding.
    pub frame_bytes: HashMap<Encoding, u64>,
    /// From the capture of a frame to its hand-over to the socket, for each packet that went to a student; what
    /// newcomers get is older.
    pub send_delay: Delays,
    /// The same of sound alone, which goes before pictures.
    pub sound_delay: Delays,
    /// How many students get which encoding, those that nobody gets left out.
    pub watched: Vec<(Encoding, usize)>,
    /// Students whose packets the library seals, at five times the cost, as their key did not become known.
    pub sealed_by_core: usize,
    /// STUN messages of students that were not read, because there were far more than ICE needs.
    pub checks_left_out: u64,
    /// Each student whose connection stands.
    pub peers: Vec<(UserId, PeerStats)>,
    /// Counts of all students, those included that are gone.
    pub totals: PeerTotals,
}

/// How full a bounded queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// What waits in it: `commands`, `frames`.
    pub name: &'static str,
    /// How many wait.
    pub length: usize,
    /// How many may wait.
    pub capacity: usize,
}
