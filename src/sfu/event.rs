//! The events of an SFU, and its counters.

use std::collections::HashMap;
use std::time::Duration;

use super::peer::Departure;
use super::session::SessionId;
use super::stats::{PeerStats, PeerTotals};
use crate::id::{UserId, count_of_students};
use crate::ingest::IngestStats;
use crate::rtp::{Delays, Encoding};
use crate::sdp::offer::OfferError;
use crate::sdp::publish::PublishError;

/// Why an offer was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OfferRefusal {
    /// The offer asks for something that can't be sent.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// No section of a publisher's offer can be accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Another user publishes.
    #[error("{0} teaches in this room already")]
    OtherPublisher(UserId),
    /// A publisher's new connection was not established; its earlier one goes on.
    #[error("the new connection was not established, the earlier one goes on")]
    NeverTookOver,
    /// No publisher has connected yet, so the codecs are not known.
    #[error("the teacher is not live yet, try again in a moment")]
    NotLive,
    /// As many students are connected as the teacher takes.
    #[error("the room is full: the teacher takes {} (--max-students)", count_of_students(*.0))]
    Full(usize),
    /// Too many offers wait.
    #[error("too many students join at the same time, try again in a second")]
    Busy,
    /// The user's last offer is too recent.
    #[error("{0} sends offers too fast, wait a second")]
    TooFast(UserId),
    /// The library did not accept the offer.
    #[error("the offer can't be answered: {0}")]
    Unanswerable(String),
}

/// An event of an SFU.
#[derive(Debug, Clone)]
pub enum SfuEvent {
    /// The answer to an offer, with all candidates.
    Answer {
        /// The student.
        user: UserId,
        /// The SDP.
        sdp: String,
    },
    /// An offer was refused, or its connection was closed at once because the room was full by then.
    Refused {
        /// The student.
        user: UserId,
        /// The reason.
        why: OfferRefusal,
    },
    /// A student is connected.
    Connected(UserId),
    /// A student's data channel is open: messages can be sent.
    ChannelOpen(UserId),
    /// A text message arrived over a student's data channel; it is not parsed yet.
    Heard {
        /// The student.
        user: UserId,
        /// The text, at most one byte longer than
        /// [`MAX_CHANNEL_MESSAGE_BYTES`](crate::protocol::channel::MAX_CHANNEL_MESSAGE_BYTES).
        text: String,
    },
    /// A student's connection is gone.
    Gone {
        /// The student.
        user: UserId,
        /// The reason.
        why: Departure,
    },
    /// An event of a publisher's session.
    Session {
        /// The number of the session.
        number: SessionId,
        /// The event.
        event: SessionEvent,
    },
    /// The available encodings of the publisher, each track best first. Sent when a publisher takes over, and when an
    /// encoding stops or resumes. If the publisher has sessions, the encodings include one for each track that only a
    /// further session would bring.
    Encodings(Vec<Encoding>),
    /// An encoder should produce a key frame. Repeated until one arrives.
    KeyFrameNeeded(Encoding),
    /// An encoding has become needed, or has not been needed for a while: its encoder should start or stop. For a slow
    /// reader the event is delayed, and omitted if it is no longer true.
    Needed(Encoding, bool),
    /// A message for the teacher.
    Notice(String),
}

/// An event of a session. The publisher is gone ([`SfuEvent::Gone`]) after its last one.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The answer to the offer, with all candidates.
    Answer {
        /// The SDP.
        sdp: String,
    },
    /// The offer was refused.
    Refused(OfferRefusal),
    /// The session is connected.
    Connected,
    /// ICE is being restarted; with our credentials and candidates as `application/trickle-ice-sdpfrag`. Or the restart
    /// was refused, and the session goes on.
    Restarted(Result<String, OfferRefusal>),
    /// The connection is gone.
    Gone(Departure),
}

/// Counters and measurements of an SFU.
#[derive(Debug, Clone, Default)]
pub struct SfuStats {
    /// Students that are connected.
    pub students: usize,
    /// Students whose connection is being established.
    pub connecting: usize,
    /// Connected students whose ICE state is `disconnected`: nothing has arrived from them recently.
    pub disturbed: usize,
    /// Packets that were sent, in total.
    pub packets: u64,
    /// Bytes that were sent, in total, without UDP and IP headers.
    pub bytes: u64,
    /// System calls for sending, including those that failed.
    pub calls: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
    /// Frames that were dropped, summed over all students, including those that have left.
    pub dropped: u64,
    /// Frames that arrived, by encoding.
    pub frames: HashMap<Encoding, u64>,
    /// Key frames among them, by encoding.
    pub key_frames: HashMap<Encoding, u64>,
    /// Key frame requests to the encoders, by encoding.
    pub key_requests: HashMap<Encoding, u64>,
    /// Bytes of the frames that arrived, by encoding.
    pub frame_bytes: HashMap<Encoding, u64>,
    /// The delay from the capture of a frame, or from the arrival of a publisher's whole frame, to the socket, for each
    /// packet to a student. The first frames that a newcomer gets are older.
    pub send_delay: Delays,
    /// The same delay for audio alone, which is sent before video.
    pub sound_delay: Delays,
    /// The part of that delay from the arrival of a publisher's whole frame until it can be sent.
    pub ingest_delay: Delays,
    /// The number of students that get each encoding; encodings that nobody gets are omitted.
    pub watched: Vec<(Encoding, usize)>,
    /// Students whose packets are encrypted by the library, at five times the cost, because their session key is not
    /// known.
    pub sealed_by_core: usize,
    /// STUN messages of students that were dropped because they far exceeded what ICE needs.
    pub checks_left_out: u64,
    /// Datagrams to a shared port that were dropped because too many waited for this SFU.
    pub datagrams_dropped: u64,
    /// The statistics of each connected student.
    pub peers: Vec<(UserId, PeerStats)>,
    /// Counters summed over all students, including those that have left.
    pub totals: PeerTotals,
    /// The publisher that is connected to this SFU.
    pub(crate) ingest: Option<PublisherStats>,
}

/// The statistics of a publisher.
#[derive(Debug, Clone)]
pub(crate) struct PublisherStats {
    /// The publisher.
    pub(crate) user: UserId,
    /// Its counters and measurements.
    pub(crate) stats: IngestStats,
    /// The encodings without a packet for two seconds: muted, stopped by the sender, or ended.
    pub(crate) silent: Vec<Encoding>,
    /// The sessions without a frame for two seconds.
    pub(crate) silent_sessions: Vec<SessionId>,
    /// The time since anything came from the publisher: media, RTCP, or the answer to an ICE check, every 2 s.
    pub(crate) silence: Duration,
}

/// The fill level of a bounded queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// `commands` or `frames`.
    pub name: &'static str,
    /// Entries that wait.
    pub length: usize,
    /// Entries that may wait.
    pub capacity: usize,
}
