//! The messages between the process of a bench and that of its students: one JSON object a line, over stdin and stdout.

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
    /// Join as students that count and open packets. One of the two joins is the first line.
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
    /// To viewers: the measurement begins, and with it the clock of bursts and of the line's rate.
    Begin,
    /// To viewers: send what you have seen.
    End,
}

/// A crowd that joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinCrowd {
    pub(super) students: usize,
    pub(super) threads: usize,
    /// What the RTP timestamps of the lecture mean.
    pub(super) clock: Clock,
}

/// Viewers that join, and the network between them and the SFU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JoinViewers {
    pub(super) students: usize,
    /// The first so many students are behind the network.
    pub(super) bad: usize,
    /// Each direction of the network.
    pub(super) network: PathConfig,
    /// When the line becomes slow, and when it is fast again.
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
    /// What a crowd has seen, all students together.
    Tally(Tally),
    /// The measurement began at this time, by [`now_ms`](super::codes::now_ms).
    Began {
        /// Milliseconds.
        at_ms: u64,
    },
    /// All that a viewer has seen.
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

/// What a viewer has seen. Times are those of [`now_ms`](super::codes::now_ms).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) student: usize,
    /// Since the viewer was connected.
    pub(super) frames: Vec<SeenFrame>,
    /// Decoded frames whose code could not be read.
    pub(super) unreadable: u64,
    /// When the SFU said that the video pauses (true) or goes on.
    pub(super) paused: Vec<(u64, bool)>,
    /// Since the measurement began, as `watch` counts.
    pub(super) screen: TrackCounts,
    pub(super) audio: TrackCounts,
    /// Concealed audio: a time, and how many milliseconds were concealed before it.
    pub(super) concealed: Vec<(u64, u64)>,
    /// Packets for which NACKs were sent, and key frame requests.
    pub(super) nacks: u64,
    pub(super) plis: u64,
    /// What the emulator did to the packets, where there is one.
    pub(super) path: Option<Counts>,
}

/// A decoded frame with a code: an array on the wire, as there are thousands.
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

/// Counters of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrackCounts {
    pub(super) decoded: u64,
    /// Packets that never came, or too late.
    pub(super) lost: u64,
    /// Lost packets whose copy in the next packet was played.
    pub(super) restored: u64,
    pub(super) freezes: u64,
    pub(super) frozen_ms: u64,
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn each_message_is_one_line_and_comes_back_unchanged() {
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
