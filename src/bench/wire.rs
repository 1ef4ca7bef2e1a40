//! The messages between the process of a bench and the students' process: one JSON object per line, over stdin and
//! stdout.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codes::tier_of_code;
use super::crowd::{Clock, CrowdEvent, Tally};
use super::emulator::{Counts, PathConfig};
use crate::rtp::{Latency, Tier};

/// To the students.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToStudents {
    /// Join as students that count and open packets. The first line is one of the two joins.
    JoinCrowd(JoinCrowd),
    /// Join as students that decode.
    JoinViewers(JoinViewers),
    /// The answer to a student's offer.
    Answer {
        /// Which student.
        student: usize,
        /// The SDP.
        sdp: String,
    },
    /// To a crowd: send a tally.
    Tally,
    /// To viewers: the measurement starts, and with it the clock of the bursts and of the rate limit.
    Begin,
    /// To viewers: send what you have received.
    End,
}

/// A crowd that joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinCrowd {
    pub(super) students: usize,
    pub(super) threads: usize,
    /// The meaning of the lecture's RTP timestamps.
    pub(super) clock: Clock,
}

/// Viewers that join, and the network between them and the SFU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JoinViewers {
    pub(super) students: usize,
    /// The first `bad` students are behind the network.
    pub(super) bad: usize,
    /// The configuration of each direction of the network.
    pub(super) network: PathConfig,
    /// When the rate limit starts and ends.
    pub(super) rate_from: Option<Duration>,
    pub(super) rate_until: Option<Duration>,
    pub(super) seed: u64,
    pub(super) sfu: SocketAddr,
    /// The jitter buffer.
    pub(super) latency: Latency,
}

/// From the students.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum FromStudents {
    /// A student's offer.
    Offer {
        /// Which student.
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
    /// The counts of a crowd, all students together.
    Tally(Tally),
    /// The measurement started at this time, by [`now_ms`](super::codes::now_ms).
    Began {
        /// Milliseconds.
        at_ms: u64,
    },
    /// The full record of a viewer.
    Sight(Box<Sight>),
}

impl From<CrowdEvent> for FromStudents {
    fn from(event: CrowdEvent) -> Self {
        match event {
            CrowdEvent::Offer { student, sdp } => FromStudents::Offer { student, sdp },
            CrowdEvent::Connected { student } => FromStudents::Connected { student },
            CrowdEvent::Gone { student, why } => FromStudents::Gone { student, why },
        }
    }
}

/// The record of a viewer. Times are those of [`now_ms`](super::codes::now_ms).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) student: usize,
    /// All frames since the viewer connected.
    pub(super) frames: Vec<SeenFrame>,
    /// Decoded frames whose code could not be read.
    pub(super) unreadable: u64,
    /// When the SFU announced that the video pauses (true) or resumes.
    pub(super) paused: Vec<(u64, bool)>,
    /// Since the start of the measurement, counted as in `watch`.
    pub(super) screen: TrackCounts,
    pub(super) audio: TrackCounts,
    /// Concealed audio: a time, and the milliseconds concealed before it.
    pub(super) concealed: Vec<(u64, u64)>,
    /// Packets for which NACKs were sent, and key frame requests.
    pub(super) nacks: u64,
    pub(super) plis: u64,
    /// The emulator's packet counts, if there is one.
    pub(super) path: Option<Counts>,
}

/// A decoded frame with a code: serialized as an array, as there are thousands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FrameOnWire", into = "FrameOnWire")]
pub(super) struct SeenFrame {
    pub(super) number: u16,
    pub(super) captured_ms: u64,
    pub(super) decoded_ms: u64,
    pub(super) shown_ms: Option<u64>,
    pub(super) width: u32,
}

impl SeenFrame {
    /// The tier of the frame.
    pub(super) fn tier(&self) -> Tier {
        tier_of_code(self.number)
    }
}

type FrameOnWire = (u16, u64, u64, Option<u64>, u32);

impl From<FrameOnWire> for SeenFrame {
    fn from((number, captured_ms, decoded_ms, shown_ms, width): FrameOnWire) -> Self {
        Self { number, captured_ms, decoded_ms, shown_ms, width }
    }
}

impl From<SeenFrame> for FrameOnWire {
    fn from(frame: SeenFrame) -> Self {
        (frame.number, frame.captured_ms, frame.decoded_ms, frame.shown_ms, frame.width)
    }
}

/// The counters of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrackCounts {
    pub(super) decoded: u64,
    /// Packets that never arrived or arrived too late.
    pub(super) lost: u64,
    /// Lost packets restored from their copy in the next packet.
    pub(super) restored: u64,
    pub(super) freezes: u64,
    pub(super) frozen_ms: u64,
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn each_message_is_one_line_and_survives_a_round_trip() {
        let clock = Clock { epoch: SystemTime::now() };
        let crowd = JoinCrowd { students: 3, threads: 1, clock };
        let viewers = JoinViewers {
            students: 3,
            bad: 1,
            network: PathConfig { loss: 0.05, rate: Some(600_000), ..PathConfig::default() },
            rate_from: None,
            rate_until: Some(Duration::from_secs(20)),
            seed: u64::MAX,
            sfu: "127.0.0.1:9".parse().unwrap(),
            latency: Latency::AUTO,
        };
        for message in [
            ToStudents::JoinCrowd(crowd),
            ToStudents::JoinViewers(viewers),
            ToStudents::Answer { student: 1, sdp: "v=0\r\n".to_owned() },
            ToStudents::Tally,
        ] {
            let line = serde_json::to_string(&message).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<ToStudents>(&line).unwrap(), message);
        }
        let frame = SeenFrame { number: 1, captured_ms: 2, decoded_ms: 3, shown_ms: None, width: 4 };
        let sight = Sight { frames: vec![frame], paused: vec![(5, true)], ..Sight::default() };
        let tally = Tally { received: 7, first_frames_ms: vec![1], ..Tally::default() };
        for message in [FromStudents::Sight(Box::new(sight)), FromStudents::Tally(tally)] {
            let line = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<FromStudents>(&line).unwrap(), message);
            assert_eq!(line.contains("[[1,2,3,null,4]]"), matches!(message, FromStudents::Sight(_)), "{line}");
        }
    }
}
