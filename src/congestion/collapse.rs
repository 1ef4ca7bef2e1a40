//! A link whose rate falls far below that of the layers while they are sent.
//!
//! The bits that wait in front of the link can't be taken back, and audio waits behind them. So as few as possible must
//! follow them until the layers change, and the layers must change before the queue is long.

use std::time::Duration;

use super::estimate::{Estimate, FULL_FOR, PathTrouble};
use super::pacer::PathCapacity;

/// A link has collapsed if packets leave its queue at less than this share of the rate of the layers for [`FULL_FOR`].
/// A burst of our own leaves at the rate of the link, and after jitter packets arrive together.
const COLLAPSED: f64 = 0.75;

/// Video is braked after this time, because that costs little if the link has not collapsed.
const BRAKED_AFTER: Duration = Duration::from_millis(15);

/// The share of the rate out of the queue to which video is braked.
const BRAKED_TO: f64 = 0.5;

/// The trouble of a peer whose layers cost so many bits per second, if its link has collapsed.
pub(super) fn trouble(estimate: &Estimate, cost: u32) -> Option<PathTrouble> {
    backlog(estimate, cost, FULL_FOR).map(|_| PathTrouble::Delay)
}

/// The pace of video on a link that seems to have collapsed.
pub(super) fn brake(estimate: &Estimate, cost: u32) -> Option<PathCapacity> {
    let (rate, queue) = backlog(estimate, cost, BRAKED_AFTER)?;
    Some(PathCapacity { bits_per_second: (f64::from(rate) * BRAKED_TO) as u32, queue })
}

fn backlog(estimate: &Estimate, cost: u32, time: Duration) -> Option<(u32, Duration)> {
    estimate.backlog(time).filter(|(rate, _)| f64::from(*rate) < f64::from(cost) * COLLAPSED)
}
