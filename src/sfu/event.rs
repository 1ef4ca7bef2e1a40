//! What an SFU tells: events, and numbers on request.

use std::collections::HashMap;

use super::peer::Departure;
use super::stats::{PeerStats, PeerTotals};
use crate::id::{UserId, count_of_students};
use crate::rtp::{Delays, Encoding};
use crate::sdp::offer::OfferError;

/// Why an offer was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OfferRefusal {
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
        /// The student.
        user: UserId,
        /// The SDP.
        sdp: String,
    },
    /// An offer was refused.
    Refused {
        /// The student.
        user: UserId,
        /// Why.
        why: OfferRefusal,
    },
    /// A student is connected.
    Connected(UserId),
    /// A student's data channel is open: messages can be sent.
    ChannelOpen(UserId),
    /// A text message came over a student's data channel, not parsed yet.
    Heard {
        /// The student.
        user: UserId,
        /// The text, at most a byte longer than
        /// [`MAX_CHANNEL_MESSAGE_BYTES`](crate::protocol::channel::MAX_CHANNEL_MESSAGE_BYTES).
        text: String,
    },
    /// A student's connection is gone.
    Gone {
        /// The student.
        user: UserId,
        /// Why.
        why: Departure,
    },
    /// An encoder should make a key frame. Repeated until one comes.
    KeyFrameNeeded(Encoding),
    /// An encoding is needed from now on, or has not been needed for a while: its encoder should run, or stop. A slow
    /// reader gets it later, and only if it is still true.
    Needed(Encoding, bool),
    /// Something the teacher should read.
    Notice(String),
}

/// Counters and measurements of an SFU.
#[derive(Debug, Clone, Default)]
pub struct SfuStats {
    /// Students that are connected.
    pub students: usize,
    /// Students that are about to connect.
    pub connecting: usize,
    /// Students from which nothing came lately.
    pub disturbed: usize,
    /// Packets that were sent, in total.
    pub packets: u64,
    /// Bytes that were sent, in total, without UDP and IP headers.
    pub bytes: u64,
    /// System calls that it took.
    pub calls: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
    /// Frames that were dropped, summed over all students, including those that have left.
    pub dropped: u64,
    /// Frames that came, by encoding.
    pub frames: HashMap<Encoding, u64>,
    /// Key frames among them, by encoding.
    pub key_frames: HashMap<Encoding, u64>,
    /// Key frames that were asked for, by encoding.
    pub key_requests: HashMap<Encoding, u64>,
    /// Bytes of frames that came, by encoding.
    pub frame_bytes: HashMap<Encoding, u64>,
    /// From the capture of a frame to the socket, for each packet to a student. The first frames of a newcomer are
    /// older.
    pub send_delay: Delays,
    /// The same of audio alone, which goes before video.
    pub sound_delay: Delays,
    /// How many students get each encoding; encodings that nobody gets are left out.
    pub watched: Vec<(Encoding, usize)>,
    /// Students whose packets the library seals, at five times the cost, because their key is not known.
    pub sealed_by_core: usize,
    /// STUN messages of students that were dropped, because there were far more than ICE needs.
    pub checks_left_out: u64,
    /// Each student that is connected.
    pub peers: Vec<(UserId, PeerStats)>,
    /// Counters summed over all students, including those that have left.
    pub totals: PeerTotals,
}

/// How full a bounded queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// `commands` or `frames`.
    pub name: &'static str,
    /// Entries that wait.
    pub length: usize,
    /// Entries that may wait.
    pub capacity: usize,
}
