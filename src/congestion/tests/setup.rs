//! A minute of one peer: its link, its feedback, and the video it was sent.

use super::link::Link;
use super::sender::Sender;
use super::{Change, Layers};
use crate::rtp::Track;

/// The kind of RTCP feedback that the receiver sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rtcp {
    EveryPacket,
    Remb,
    ReceiverReports,
    Nothing,
}

/// A minute of one peer.
pub(super) struct Setup {
    pub(super) seconds: u64,
    pub(super) tracks: &'static [Track],
    pub(super) reports: Rtcp,
    /// Milliseconds between two transport-wide feedback packets.
    pub(super) interval: u64,
    /// Whether the video is slides: still, except for a new page now and then.
    pub(super) slides: bool,
    /// The size of the first frame of a new page in the full tier, in bytes; `None` for a usual one.
    pub(super) page: Option<u64>,
    /// The link at the start and its later changes, by second.
    pub(super) links: Vec<(f64, Link)>,
    pub(super) seed: u64,
    /// Whose process is suspended, from one second to another.
    pub(super) still: Option<(Who, f64, f64)>,
}

/// Whose process is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The teacher's process, which notices the suspension.
    Sender,
    /// The teacher's process, which does not notice the suspension.
    SenderUnnoticed,
    /// The receiver.
    Receiver,
}

impl Setup {
    /// A minute of a screen over a link.
    pub(super) fn over(link: Link) -> Self {
        Self {
            seconds: 60,
            tracks: &[Track::Screen],
            reports: Rtcp::EveryPacket,
            interval: 100,
            slides: false,
            page: None,
            links: vec![(0.0, link)],
            seed: 1,
            still: None,
        }
    }

    pub(super) fn with_slides(self) -> Self {
        Self { slides: true, ..self }
    }

    /// Slides whose new pages have this many bytes in the full tier.
    pub(super) fn with_pages(self, bytes: u64) -> Self {
        Self { slides: true, page: Some(bytes), ..self }
    }

    pub(super) fn every(self, interval: u64) -> Self {
        Self { interval, ..self }
    }

    pub(super) fn then(mut self, second: f64, link: Link) -> Self {
        self.links.push((second, link));
        self
    }

    pub(super) fn with_camera(self) -> Self {
        Self { tracks: &[Track::Screen, Track::Camera], ..self }
    }

    pub(super) fn reporting(self, reports: Rtcp) -> Self {
        Self { reports, ..self }
    }

    pub(super) fn stands_still(self, who: Who, from: f64, to: f64) -> Self {
        Self { still: Some((who, from, to)), ..self }
    }

    pub(super) fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub(super) fn run(&self) -> Outcome {
        Sender::new(self).run(self)
    }
}

/// The result for the peer.
#[derive(Default)]
pub(super) struct Outcome {
    /// Layer changes by second.
    pub(super) changes: Vec<(f64, Change)>,
    pub(super) first: Layers,
    /// How long a packet would have waited in the queue, in milliseconds, sampled every 10 ms.
    pub(super) queues: Vec<u64>,
    pub(super) probe_bytes: u64,
    pub(super) bytes: u64,
    /// Retransmissions, and restarts after a PLI.
    pub(super) resent: u64,
    pub(super) restarts: u64,
    pub(super) seconds: f64,
}

impl Outcome {
    /// The layers at this second.
    pub(super) fn at(&self, second: f64) -> Layers {
        self.changes.iter().take_while(|change| change.0 <= second).last().map_or(self.first, |change| change.1.layers)
    }

    pub(super) fn last(&self) -> Layers {
        self.at(self.seconds)
    }

    /// The first second after `from` at which it has these layers and keeps them until `to`.
    pub(super) fn since(&self, layers: Layers, from: f64, to: f64) -> Option<f64> {
        let mut at = (self.at(from) == layers).then_some(from);
        for change in self.changes.iter().filter(|change| change.0 > from && change.0 <= to) {
            at = if change.1.layers == layers { at.or(Some(change.0)) } else { None };
        }
        at
    }

    /// The longest queue from one second to another, in milliseconds.
    pub(super) fn queue(&self, from: f64, to: f64) -> u64 {
        let index = |second: f64| ((second * 100.0) as usize).min(self.queues.len());
        self.queues[index(from)..index(to)].iter().copied().max().unwrap_or(0)
    }

    pub(super) fn seconds_of(&self, wanted: impl Fn(Layers) -> bool) -> f64 {
        let steps = (self.seconds * 100.0) as u32;
        (0..steps).filter(|step| wanted(self.at(f64::from(*step) / 100.0))).count() as f64 / 100.0
    }
}
