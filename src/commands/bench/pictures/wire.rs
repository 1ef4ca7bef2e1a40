//! What the two processes of a bench with pictures say to each other: one JSON object a line, over stdin and stdout.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::emulator::{Counts, PathConfig};
use crate::media::tier_of_code;
use crate::rtp::{Latency, Tier};

/// To the students.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToWatchers {
    /// Join. The first line.
    Join(Join),
    /// The answer to a student's offer.
    Answer { student: usize, sdp: String },
    /// It counts from now on: bursts, and when the line is fast again.
    Begin,
    /// Say what you have seen.
    End,
}

/// Who joins, and over which network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) students: usize,
    /// The first so many of them are behind the network.
    pub(super) bad: usize,
    /// Each direction of it.
    pub(super) network: PathConfig,
    /// When its line becomes slow, and when it is fast again.
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
pub(super) enum FromWatchers {
    /// A student's offer.
    Offer { student: usize, sdp: String },
    /// A student's connection stands.
    Connected { student: usize },
    /// A student is gone, or never came.
    Gone { student: usize, why: String },
    /// It counts from this time on.
    Began { at_ms: u64 },
    /// What a student has seen, all of it.
    Sight(Box<Sight>),
}

/// What a student has seen. Times are those of [`now_ms`](crate::media::now_ms).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) student: usize,
    /// Since the connection stands.
    pub(super) pictures: Vec<Picture>,
    /// Decoded pictures whose code could not be read.
    pub(super) unreadable: u64,
    /// When the SFU said that the picture pauses (true), or goes on.
    pub(super) paused: Vec<(u64, bool)>,
    /// Of the time that counts, as `watch` counts it.
    pub(super) screen: Counted,
    pub(super) sound: Counted,
    /// When sound was missing for which nothing came: a time, and how many milliseconds had to be made up before it.
    pub(super) made_up: Vec<(u64, u64)>,
    /// Packets that were asked for again, and key frames.
    pub(super) nacks: u64,
    pub(super) plis: u64,
    /// What the network did to them, where there is a bad one.
    pub(super) path: Option<Counts>,
}

/// A decoded picture: an array on the wire, as there are thousands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OnTheWire", into = "OnTheWire")]
pub(super) struct Picture {
    pub(super) number: u16,
    pub(super) captured_ms: u64,
    pub(super) at_ms: u64,
    pub(super) shown_ms: Option<u64>,
    pub(super) width: u32,
}

impl Picture {
    /// Of which tier it is.
    pub(super) fn tier(&self) -> Tier {
        tier_of_code(self.number)
    }
}

type OnTheWire = (u16, u64, u64, Option<u64>, u32);

impl From<OnTheWire> for Picture {
    fn from((number, captured_ms, at_ms, shown_ms, width): OnTheWire) -> Self {
        Self { number, captured_ms, at_ms, shown_ms, width }
    }
}

impl From<Picture> for OnTheWire {
    fn from(picture: Picture) -> Self {
        (picture.number, picture.captured_ms, picture.at_ms, picture.shown_ms, picture.width)
    }
}

/// The numbers of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) decoded: u64,
    /// Packets that never came, or too late.
    pub(super) lost: u64,
    /// Of them, those whose copy in the next packet was played.
    pub(super) restored: u64,
    pub(super) freezes: u64,
    pub(super) frozen_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_a_line_that_comes_back_as_it_was() {
        let join = Join {
            students: 3,
            bad: 1,
            network: PathConfig { loss: 0.05, rate: Some(600_000), ..PathConfig::default() },
            rate_from: None,
            rate_until: Some(Duration::from_secs(20)),
            seed: u64::MAX,
            sfu: "127.0.0.1:9".parse().unwrap(),
            latency: Latency::AUTO,
        };
        for message in [ToWatchers::Join(join), ToWatchers::Answer { student: 1, sdp: "v=0\r\n".to_owned() }] {
            let line = serde_json::to_string(&message).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<ToWatchers>(&line).unwrap(), message);
        }
        let picture = Picture { number: 1, captured_ms: 2, at_ms: 3, shown_ms: None, width: 4 };
        let sight = Sight { pictures: vec![picture], paused: vec![(5, true)], ..Sight::default() };
        let line = serde_json::to_string(&FromWatchers::Sight(Box::new(sight.clone()))).unwrap();
        assert!(line.contains("[[1,2,3,null,4]]"), "{line}");
        assert_eq!(serde_json::from_str::<FromWatchers>(&line).unwrap(), FromWatchers::Sight(Box::new(sight)));
    }
}
